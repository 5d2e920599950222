"""What `/sync` tells of a room that somebody is not in any more, or never was in: nothing that came after, no state."""

import json

import pytest

from tests.api.test_sync import eventually, token, told
from tests.conftest import Newcomer
from tests.support.client import Client, Json

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
