"""What `/sync` tells of a room that somebody is not in any more, or never was in: nothing that came after, no state."""

import json

import pytest

from tests.api.test_sync import eventually, token, told
from tests.conftest import Newcomer
from tests.support.client import Client, Json, path

ARCHIVED = {"room": {"include_leave": True, "timeline": {"limit": 50}}}
WAYS_OUT = ("left and was banned", "left, was invited and declined", "was kicked and banned")


@pytest.fixture(params=["cn", "ru"])
async def leaver(request: pytest.FixtureRequest, newcomer: Newcomer) -> Client:
    """Somebody of the room's own region, and somebody of one that only has a copy of the room."""
    return await newcomer("lena", request.param)


async def a_way_out(alice: Client, leaver: Client, room: str, how: str) -> str:
    """Lena is out, the room goes on, and her membership changes once more. The room's end, as she is told of it."""
    left, _, then = how.partition(" and ") if "banned" in how else how.partition(", ")
    await (alice.kick(room, leaver) if "kicked" in left else leaver.leave(room))
    await alice.set_state(room, "m.room.topic", {"topic": "a secret"})
    await alice.send(room, "between ourselves")
    if "banned" in then:
        await alice.ban(room, leaver)
        return "ban"
    await alice.invite(room, leaver)
    await leaver.until(lambda: room in leaver.invitations, "the invitation")
    await leaver.leave(room)
    return "leave"


def ended(body: Json, room: str, person: Client, membership: str) -> bool:
    events = told(body, room, "leave")
    return any(e.get("state_key") == person.user_id and e["content"]["membership"] == membership for e in events[-1:])


@pytest.mark.parametrize("state_after", [False, True])
@pytest.mark.parametrize("how", WAYS_OUT)
async def test_who_is_out_is_told_nothing_of_what_came_after(
    alice: Client, leaver: Client, how: str, state_after: bool
) -> None:
    room = await alice.create_room(preset="public_chat", topic="persimmons")
    await leaver.join(room)
    await leaver.sees(room, await alice.send(room, "while she was in"))
    query: Json = {"use_state_after": "true"} if state_after else {}
    since = await token(leaver)
    end = await a_way_out(alice, leaver, room, how)
    body = await eventually(leaver, since, lambda body: ended(body, room, leaver, end), **query)
    assert "secret" not in json.dumps(body)
    assert "between ourselves" not in json.dumps(body)
    for filter in (ARCHIVED, {"room": {"include_leave": True, "timeline": {"types": ["m.room.member"]}}}):
        for since_then in (None, since):
            body = await leaver.sync(since_then, filter=filter, **query)
            there = body["rooms"]["leave"][room]
            assert "secret" not in json.dumps(body)
            assert "between ourselves" not in json.dumps(body)
            state = there.get("state_after" if state_after else "state", {}).get("events", [])
            known = {(e["type"], e["state_key"]): e for e in state}
            if since_then is None:
                assert known["m.room.topic", ""]["content"]["topic"] == "persimmons"
            if state_after:
                assert known["m.room.member", leaver.user_id]["content"]["membership"] == end
            assert told(body, room, "leave")[-1]["content"]["membership"] == end


async def test_who_declined_an_invitation_is_told_nothing_of_the_room(alice: Client, leaver: Client) -> None:
    room = await alice.create_room(preset="private_chat", topic="a secret")
    await alice.send(room, "between ourselves")
    await alice.invite(room, leaver)
    await leaver.until(lambda: room in leaver.invitations, "the invitation")
    await leaver.leave(room)
    await leaver.until(lambda: room not in leaver.invitations, "the end of the invitation")
    queries: list[Json] = [{}, {"use_state_after": "true"}, {"full_state": "true"}]
    for query in queries:
        body = await leaver.sync(filter=ARCHIVED, **query)
        there = body["rooms"]["leave"][room]
        assert "secret" not in json.dumps(body)
        assert "between ourselves" not in json.dumps(body)
        events = there["timeline"]["events"] + there.get("state", {}).get("events", [])
        assert {event["state_key"] for event in events} == {leaver.user_id}


async def test_who_left_pages_from_a_token_of_later(alice: Client, leaver: Client, room: str) -> None:
    """The token lies beyond all that is theirs: the page begins where they left."""
    await leaver.join(room)
    await leaver.sees(room, await alice.send(room, "while she was in"))
    await leaver.leave(room)
    for number in range(12):
        await alice.send(room, f"between ourselves {number}")
    await alice.ban(room, leaver)
    await leaver.until(lambda: leaver.membership(room) == "ban", "the ban")
    for begin in ({"from": await token(leaver)}, {}):
        page = await leaver.messages(room, "b", limit=2, **begin)
        texts = [event["content"].get("body") or event["content"]["membership"] for event in page["chunk"]]
        assert texts == ["leave", "while she was in"]
        assert "end" in page


async def test_who_left_and_came_back_in_between_is_told_of_the_gap(alice: Client, leaver: Client, room: str) -> None:
    await leaver.join(room)
    await leaver.sees(room, await alice.send(room, "while she was in"))
    since = await token(leaver)
    await leaver.leave(room)
    missed = [await alice.send(room, "missed"), await alice.set_state(room, "m.room.topic", {"topic": "missed too"})]
    await leaver.join(room)
    last = await alice.send(room, "back")
    await leaver.sees(room, last)
    body = await leaver.sync(since, filter={"room": {"timeline": {"limit": 1}}})
    there = body["rooms"]["join"][room]
    assert there["timeline"]["limited"]
    assert [event["event_id"] for event in there["timeline"]["events"]] == [last]
    state = {(e["type"], e["state_key"]): e["content"] for e in there["state"]["events"]}
    assert state["m.room.topic", ""] == {"topic": "missed too"}
    assert state["m.room.member", leaver.user_id]["membership"] == "join"
    found, before = set[str](), there["timeline"]["prev_batch"]
    while before is not None:
        page = await leaver.messages(room, "b", limit=20, **{"from": before})
        found |= {event["event_id"] for event in page["chunk"]}
        before = page.get("end")
    assert set(missed) <= found


@pytest.mark.parametrize("state_after", ["false", "true"])
async def test_full_state_is_told_of_every_room_that_one_is_in(alice: Client, room: str, state_after: str) -> None:
    """With a token too, at once, and the timeline only since it."""
    other, left = await alice.create_room(), await alice.create_room()
    await alice.leave(left)
    since = await token(alice)
    last = await alice.send(room, "new")
    body = await alice.sync(since, timeout=30_000, full_state="true", use_state_after=state_after)
    assert set(body["rooms"]) == {"join"}
    assert set(body["rooms"]["join"]) == {room, other}
    for name, lines in ((room, [last]), (other, [])):
        there = body["rooms"]["join"][name]
        part = "state_after" if state_after == "true" else "state"
        assert {"state", "state_after"} & set(there) == {part}
        assert {"m.room.create", "m.room.member", "m.room.power_levels"} <= {e["type"] for e in there[part]["events"]}
        assert [event["event_id"] for event in there["timeline"]["events"]] == lines


async def test_a_room_that_is_told_at_all_says_its_state_after(alice: Client, bob: Client, room: str) -> None:
    since = await token(alice)
    await alice.type_in(room)
    there = (await alice.sync(since, use_state_after="true"))["rooms"]["join"][room]
    assert there["state_after"] == {"events": []}
    assert "state" not in there


async def test_another_device_is_told_that_a_room_was_left_and_forgotten(alice: Client) -> None:
    room = await alice.create_room()
    tablet = await alice.another_device()
    since = await token(tablet)
    await alice.leave(room)
    await alice.forget(room)
    body = await tablet.sync(since)
    assert told(body, room, "leave")[-1]["content"]["membership"] == "leave"
    assert room not in (await tablet.sync(filter=ARCHIVED)).get("rooms", {}).get("leave", {})


async def test_a_knock_waits_with_what_may_be_known_of_the_room(alice: Client, leaver: Client) -> None:
    rules = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    room = await alice.create_room(name="Tea house", topic="a secret", initial_state=rules)
    await alice.send(room, "between ourselves")
    since = await token(leaver)
    server = room.partition(":")[2] or "cn.localhost"
    await leaver.ok("POST", path("knock", room), {}, query={"via": server})
    body = await eventually(leaver, since, lambda body: room in body.get("rooms", {}).get("knock", {}))
    for each in (body, await leaver.sync()):
        events = each["rooms"]["knock"][room]["knock_state"]["events"]
        shown = {(event["type"], event["state_key"]): event["content"] for event in events}
        assert shown["m.room.name", ""] == {"name": "Tea house"}
        assert shown["m.room.member", leaver.user_id]["membership"] == "knock"
        assert "between ourselves" not in json.dumps(each)
    await alice.kick(room, leaver)
    body = await eventually(leaver, body["next_batch"], lambda body: room in body.get("rooms", {}).get("leave", {}))
    assert told(body, room, "leave")[-1]["content"]["membership"] == "leave"
    assert "a secret" not in json.dumps(await leaver.sync(filter=ARCHIVED))
