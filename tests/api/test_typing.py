"""Typing notices through HTTP, also between regions."""

from functools import partial

from tests.support.client import Client, path


def types(client: Client, room: str, *who: Client) -> bool:
    """Whether `client` was told last that exactly these people type."""
    return client.typists[room] == [person.user_id for person in who]


async def test_who_types_is_told_to_everybody_in_every_region(
    alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    for client in (alice, bob, carol):
        await client.poll()
    await bob.type_in(lane)
    for client in (alice, carol):
        await client.until(partial(types, client, lane, bob), "bob typing")
    await bob.type_in(lane, typing=False)
    for client in (alice, carol):
        await client.until(partial(types, client, lane), "bob stopping")


async def test_a_notice_ends_by_itself(alice: Client, bob: Client, room: str) -> None:
    await alice.poll()
    await bob.type_in(room, timeout_ms=400)
    await alice.until(lambda: alice.typists[room] == [bob.user_id], "bob typing")
    await alice.until(lambda: alice.typists[room] == [], "the end of it")


async def test_a_first_sync_tells_who_types(alice: Client, bob: Client, room: str) -> None:
    await alice.poll()
    await bob.type_in(room)
    await alice.until(lambda: alice.typists[room] == [bob.user_id], "bob typing")
    fresh = await alice.another_device()
    await fresh.poll()
    assert fresh.typists[room] == [bob.user_id]


async def test_nobody_types_for_another(alice: Client, bob: Client, room: str) -> None:
    answer = await alice.put(path("rooms", room, "typing", bob.user_id), {"typing": True})
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")


async def test_who_is_not_in_the_room_types_in_vain(carol: Client, room: str) -> None:
    answer = await carol.put(path("rooms", room, "typing", carol.user_id), {"typing": True})
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")


async def test_a_bad_notice_is_refused(alice: Client, room: str) -> None:
    where = path("rooms", room, "typing", alice.user_id)
    assert (await alice.put(where, {})).errcode == "M_MISSING_PARAM"
    assert (await alice.put(where, {"typing": "yes"})).errcode == "M_BAD_JSON"
    assert (await alice.put(where, {"typing": True, "timeout": -1})).errcode == "M_INVALID_PARAM"
