"""Who is and was in a room, and its state, as different people may see it. GET /members, /joined_members, /state."""

import asyncio

import pytest

from tests.conftest import Newcomer
from tests.support.client import Client, Json, path, refused

WORDS = ("join", "invite", "knock", "leave", "ban")


async def a_room_with_all_kinds(newcomer: Newcomer, alice: Client) -> tuple[str, dict[str, Client]]:
    """A room where each membership is somebody's, in different regions."""
    people = {
        word: await newcomer(word, region) for word, region in zip(WORDS, ("eu", "ru", "cn", "eu", "ru"), strict=True)
    }
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room = await alice.create_room(preset="private_chat", initial_state=[rules])
    await people["knock"].ok("POST", path("knock", room), {})
    for word in ("join", "invite", "leave"):
        await alice.invite(room, people[word])
    for word in ("join", "leave"):
        await people[word].accept(room)
    await people["leave"].leave(room)
    await alice.ban(room, people["ban"])
    return room, people


async def test_members_by_membership_and_by_what_it_is_not(newcomer: Newcomer, alice: Client) -> None:
    """The two filters together are an "or", as the specification has it."""
    room, people = await a_room_with_all_kinds(newcomer, alice)
    everybody = {alice.user_id: "join"} | {person.user_id: word for word, person in people.items()}
    for asked in (alice, people["join"]):
        async with asyncio.timeout(10):
            while await asked.members(room) != everybody:
                await asyncio.sleep(0.05)
        for word in WORDS:
            is_so = {user for user, membership in everybody.items() if membership == word}
            assert set(await asked.members(room, membership=word)) == is_so
            assert set(await asked.members(room, not_membership=word)) == everybody.keys() - is_so
            for other in WORDS:
                is_not = {user for user, membership in everybody.items() if membership != other}
                both = await asked.members(room, membership=word, not_membership=other)
                assert set(both) == is_so | is_not
    for name in ("membership", "not_membership"):
        answer = await alice.get(path("rooms", room, "members"), **{name: "visiting"})
        assert (answer.status, answer.errcode, name in answer.error) == (400, "M_INVALID_PARAM", True)


async def test_who_is_invited_knocks_or_is_banned_sees_no_members_and_no_state(
    newcomer: Newcomer, alice: Client
) -> None:
    room, people = await a_room_with_all_kinds(newcomer, alice)
    stranger = await newcomer("stranger", "eu")
    for person in (people["invite"], people["knock"], people["ban"], stranger):
        for verb in ("members", "joined_members", "state", "state/m.room.create"):
            answer = await person.get(path("rooms", room) + "/" + verb)
            assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN"), (person.name, verb)


HISTORIES = ("joined", "invited", "shared", "world_readable")


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("region", ["cn", "ru"])
async def test_members_of_before_are_shown_to_whom_the_history_of_before_is(
    newcomer: Newcomer, alice: Client, bob: Client, region: str, history: str
) -> None:
    """Bob comes and goes before Lena comes. With a token from before her time she asks who was there."""
    lena = await newcomer("lena", region)
    visibility = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": history}}
    room = await alice.create_room(preset="public_chat", initial_state=[visibility])
    await bob.join(room)
    await alice.until(lambda: alice.membership(room, bob) == "join", "bob to join")
    await bob.leave(room)
    await alice.until(lambda: alice.membership(room, bob) == "leave", "bob to leave")
    await lena.join(room)
    said = await alice.send(room, "welcome")
    await lena.sees(room, said)
    ends = await tokens(lena, room)
    earlier = [await lena.members(room, at=end) for end in ends]
    was_in = [told.get(bob.user_id) == "join" for told in earlier]
    if history in ("shared", "world_readable"):
        assert any(was_in), "bob was there, and she may read what was said then"
    else:
        assert not any(was_in), "bob was gone before her time"
        before = [told for told in earlier if lena.user_id not in told]
        # The first events of a room are from before it says who may read them; nobody but alice was there.
        assert all(told in ({alice.user_id: "join"}, {}) for told in before)
    assert earlier[0] == {alice.user_id: "join", bob.user_id: "leave", lena.user_id: "join"}


async def tokens(person: Client, room: str) -> list[str]:
    """Tokens of every place in a room's past, latest first."""
    found: list[str] = []
    token: str | None = None
    while True:
        page = await person.messages(room, limit=1, **({"from": token} if token else {}))
        found.append(page["start"])
        if "end" not in page:
            return found
        token = page["end"]


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("region", ["cn", "ru"])
async def test_who_has_left_sees_the_room_as_it_was_then(
    newcomer: Newcomer, alice: Client, bob: Client, region: str, history: str
) -> None:
    lena = await newcomer("lena", region)
    visibility = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": history}}
    room = await alice.create_room(preset="public_chat", name="then", initial_state=[visibility])
    await lena.join(room)
    event_id = await alice.set_state(room, "m.room.topic", {"topic": "then"})
    await lena.sees(room, event_id)
    own = await alice.set_state(room, "org.example.own", {"v": 1}, "key")
    await lena.sees(room, own)
    await lena.leave(room)
    await alice.set_state(room, "m.room.topic", {"topic": "now"})
    await alice.set_state(room, "org.example.own", {"v": 2}, "key")
    await alice.set_state(room, "org.example.new", {}, "")
    await bob.join(room)
    await alice.until(lambda: alice.membership(room, bob) == "join", "bob to join")

    assert await lena.get_state(room, "m.room.topic") == {"topic": "then"}
    assert await lena.get_state(room, "org.example.own", "key") == {"v": 1}
    for missing in (("org.example.new", ""), ("m.room.member", bob.user_id)):
        with refused("M_NOT_FOUND", status=404):
            await lena.get_state(room, *missing)
    whole = await lena.ok("GET", path("rooms", room, "state", "m.room.topic", ""), query={"format": "event"})
    assert (whole["event_id"], whole["content"], whole["sender"]) == (event_id, {"topic": "then"}, alice.user_id)
    assert whole["state_key"] == ""
    state = await lena.all_state(room)
    assert state["m.room.topic", ""]["content"] == {"topic": "then"}
    assert ("org.example.new", "") not in state
    assert await lena.members(room) == {alice.user_id: "join", lena.user_id: "leave"}
    latest: Json = await lena.messages(room, limit=1)
    assert await lena.members(room, at=latest["start"]) == {alice.user_id: "join", lena.user_id: "leave"}
    assert await lena.members(room, membership="join") == {alice.user_id: "join"}
    with refused("M_FORBIDDEN", status=403):
        await lena.joined_members(room)


async def test_format_is_content_or_event(alice: Client, room: str) -> None:
    target = path("rooms", room, "state", "m.room.name", "")
    assert (await alice.get(target)).body == {"name": "Courtyard"} == (await alice.get(target, format="content")).body
    assert (await alice.get(target, format="event")).body["type"] == "m.room.name"
    answer = await alice.get(target, format="yaml")
    assert (answer.status, "format" in answer.error) == (400, True)
