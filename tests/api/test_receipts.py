"""Receipts and read markers through HTTP, also between regions."""

from functools import partial
from typing import Any

import pytest

from tests.support.client import Client, path


def stands(client: Client, room: str, event: str, whom: Client, type: str = "m.read") -> Any:
    """The receipt of `whom` at an event, as `client` was told."""
    return client.receipts[room].get(event, {}).get(type, {}).get(whom.user_id)


async def test_a_receipt_is_told_to_everybody_in_every_region(
    alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    event = await alice.send(lane, "read me")
    for client in (bob, carol):
        await client.sees(lane, event)
    await bob.mark_read(lane, event)
    for client in (alice, bob, carol):
        await client.until(partial(stands, client, lane, event, bob), "bob's receipt")
        assert stands(client, lane, event, bob)["ts"] > 0


async def test_who_comes_later_is_told_where_receipts_stand(alice: Client, bob: Client, room: str) -> None:
    event = await alice.send(room, "read me")
    await bob.sees(room, event)
    await bob.mark_read(room, event)
    await alice.until(lambda: stands(alice, room, event, bob), "bob's receipt")
    other = await alice.another_device()
    await other.poll()
    assert stands(other, room, event, bob)


async def test_a_private_receipt_is_told_to_its_owner_alone(alice: Client, bob: Client, room: str) -> None:
    event = await alice.send(room, "read me")
    await bob.sees(room, event)
    phone = await bob.another_device()
    await phone.poll()
    await bob.mark_read(room, event, "m.read.private")
    await phone.until(lambda: stands(phone, room, event, bob, "m.read.private"), "the private receipt")
    after = await alice.send(room, "a later event")
    await alice.sees(room, after)
    await bob.sees(room, after)
    await bob.mark_read(room, after)
    await alice.until(lambda: stands(alice, room, after, bob), "the public receipt that came after")
    assert stands(alice, room, event, bob, "m.read.private") is None
    fresh = await alice.another_device()
    assert "m.read.private" not in str(await fresh.sync())


async def test_no_marker_moves_back(alice: Client, bob: Client, room: str) -> None:
    first = await alice.send(room, "one")
    second = await alice.send(room, "two")
    await alice.mark_read(room, second)
    await alice.mark_read(room, first)
    fresh = await alice.another_device()
    await fresh.poll()
    assert stands(fresh, room, second, alice)
    assert stands(fresh, room, first, alice) is None


async def test_the_fully_read_marker_is_account_data_of_the_room(alice: Client, room: str) -> None:
    event = await alice.send(room, "read me")
    other = await alice.another_device()
    await other.poll()
    body = {"m.fully_read": event, "m.read": event, "m.read.private": event}
    await alice.ok("POST", path("rooms", room, "read_markers"), body)
    told = await other.sync(other.since, timeout=5_000)
    assert told["rooms"]["join"][room]["account_data"]["events"] == [
        {"type": "m.fully_read", "content": {"event_id": event}}
    ]
    assert told["rooms"]["join"][room]["unread_notifications"]["notification_count"] == 0
    where = path("user", alice.user_id, "rooms", room, "account_data", "m.fully_read")
    assert await alice.ok("GET", where) == {"event_id": event}
    elsewhere = await alice.create_room()
    missing = await alice.get(path("user", alice.user_id, "rooms", elsewhere, "account_data", "m.fully_read"))
    assert (missing.status, missing.errcode) == (404, "M_NOT_FOUND")


async def test_a_threaded_receipt_names_its_thread(alice: Client, room: str) -> None:
    root = await alice.send(room, "root")
    reply = await alice.send(room, "reply", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    await alice.mark_read(room, reply, thread_id=root)
    await alice.mark_read(room, root, thread_id="main")
    fresh = await alice.another_device()
    await fresh.poll()
    assert stands(fresh, room, reply, alice)["thread_id"] == root
    assert stands(fresh, room, root, alice)["thread_id"] == "main"


async def test_a_receipt_for_the_wrong_thread_is_refused(alice: Client, room: str) -> None:
    root = await alice.send(room, "root")
    reply = await alice.send(room, "reply", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    plain = await alice.send(room, "plain")
    for event, thread, type in (
        (reply, "main", "m.read"),
        (plain, root, "m.read"),
        (plain, "", "m.read"),
        (plain, "$unknown", "m.read"),
        (plain, "main", "m.fully_read"),
    ):
        answer = await alice.post(path("rooms", room, "receipt", type, event), {"thread_id": thread})
        assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM"), (event, thread, answer)
        assert "thread_id" in answer.error
    for no_text in (5, None, ["main"], True):
        answer = await alice.post(path("rooms", room, "receipt", "m.read", plain), {"thread_id": no_text})
        assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM"), no_text
        assert "thread_id" in answer.error


async def test_who_is_not_in_the_room_marks_nothing(alice: Client, carol: Client, room: str) -> None:
    event = await alice.send(room, "read me")
    old = await alice.create_room(room_version="11")
    for person, where in (
        (carol, room),
        (carol, "!nowhere:cn.localhost"),
        (alice, f"{room}:cn.localhost"),
        (alice, f"{room}:matrix.org"),
        (alice, old.partition(":")[0]),
        (alice, old.replace("cn.", "ru.")),
    ):
        for answer in (
            await person.post(path("rooms", where, "receipt", "m.read", event)),
            await person.post(path("rooms", where, "read_markers"), {"m.read": event}),
            await person.put(path("rooms", where, "typing", person.user_id), {"typing": True}),
        ):
            assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN"), (where, answer)
    answer = await carol.post(path("rooms", "nonsense", "receipt", "m.read", event))
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")
    assert stands(alice, room, event, alice) is None


async def test_markers_of_one_request_move_together_or_not_at_all(alice: Client, room: str) -> None:
    event = await alice.send(room, "read me")
    other = await alice.another_device()
    await other.poll()
    where = path("rooms", room, "read_markers")
    for wrong in ({"m.read.private": "$nothing"}, {"m.read": "nonsense"}):
        answer = await alice.post(where, {"m.fully_read": event, **wrong})
        assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")
        assert next(iter(wrong)) in answer.error
    for no_text in (5, None):
        answer = await alice.post(where, {"m.fully_read": event, "m.read": no_text})
        assert (answer.status, answer.errcode) == (400, "M_BAD_JSON")
    assert (await alice.post(where, {})).status == 200
    marker = await alice.get(path("user", alice.user_id, "rooms", room, "account_data", "m.fully_read"))
    assert marker.status == 404
    assert "rooms" not in await other.sync(other.since)


async def test_a_fully_read_marker_is_set_by_a_receipt_too_and_moves_forward_only(alice: Client, room: str) -> None:
    first = await alice.send(room, "one")
    second = await alice.send(room, "two")
    where = path("user", alice.user_id, "rooms", room, "account_data", "m.fully_read")
    for event in (second, first):
        await alice.mark_read(room, event, "m.fully_read")
        assert await alice.ok("GET", where) == {"event_id": second}
    told = (await alice.sync())["rooms"]["join"][room]
    assert {"type": "m.fully_read", "content": {"event_id": second}} in told["account_data"]["events"]
    for place in (where, path("user", alice.user_id, "account_data", "m.fully_read")):
        answer = await alice.put(place, {"event_id": first})
        assert (answer.status, answer.errcode) == (405, "M_BAD_JSON")


@pytest.mark.parametrize(("type", "event"), [("m.unread", None), ("m.read", "$nothing"), ("m.read", "nonsense")])
async def test_a_bad_type_or_event_is_refused(alice: Client, room: str, type: str, event: str | None) -> None:
    real = await alice.send(room, "read me")
    answer = await alice.post(path("rooms", room, "receipt", type, event or real))
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")


async def test_an_event_of_another_room_is_refused(alice: Client, room: str) -> None:
    other = await alice.create_room()
    elsewhere = await alice.send(other, "elsewhere")
    answer = await alice.post(path("rooms", room, "receipt", "m.read", elsewhere))
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")
