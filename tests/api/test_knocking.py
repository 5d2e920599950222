"""Asking to be let in, across regions: `/knock`, what everybody sees of it, and how it ends. "Knocking on rooms"."""

import pytest

from tests.conftest import Newcomer
from tests.support.client import Client, Json, path, refused

RULE = "m.room.join_rules"
ABOUT_OTHERS = ("invite", "kick", "ban", "unban")


async def knock(person: Client, room: str, **body: str) -> Json:
    answer: Json = await person.ok("POST", path("knock", room), body)
    return answer


@pytest.fixture
async def gate(alice: Client, bob: Client) -> str:
    """A room of alice's that takes knocks, with bob of eu in it."""
    rules = {"type": RULE, "state_key": "", "content": {"join_rule": "knock"}}
    room = await alice.create_room(preset="private_chat", name="Courtyard", initial_state=[rules])
    await alice.invite(room, bob)
    await bob.accept(room)
    return room


def knocks(told: Json) -> dict[str, dict[tuple[str, str], Json]]:
    """The stripped state of each room that is knocked on, by type and state key."""
    rooms = told.get("rooms", {}).get("knock", {})
    return {
        room: {(event["type"], event["state_key"]): event for event in shown["knock_state"]["events"]}
        for room, shown in rooms.items()
    }


@pytest.fixture(params=["cn", "ru"])
async def outsider(request: pytest.FixtureRequest, newcomer: Newcomer) -> Client:
    return await newcomer("lena", request.param)


async def test_a_knock_is_heard_inside_and_shown_to_who_knocks(
    alice: Client, bob: Client, outsider: Client, gate: str
) -> None:
    start = (await outsider.sync())["next_batch"]
    assert await knock(outsider, gate, reason="the persimmons are ripe") == {"room_id": gate}
    for told in (await outsider.sync(), await outsider.sync(start)):
        shown = knocks(told)[gate]
        assert shown["m.room.name", ""]["content"] == {"name": "Courtyard"}
        assert shown["m.room.create", ""]["sender"] == alice.user_id
        own = shown["m.room.member", outsider.user_id]
        assert (own["sender"], own["content"]["membership"]) == (outsider.user_id, "knock")
        assert own["content"]["reason"] == "the persimmons are ripe"
        for other in ("join", "invite", "leave"):
            assert gate not in told.get("rooms", {}).get(other, {})
    for member in (alice, bob):
        await hears_the_knock(member, gate, outsider)
        content = member.state[gate]["m.room.member", outsider.user_id]["content"]
        assert content["reason"] == "the persimmons are ripe"
    assert await outsider.joined_rooms() == []
    with refused("M_FORBIDDEN"):
        await outsider.send(gate, "not yet inside")


async def hears_the_knock(member: Client, room: str, outsider: Client) -> None:
    await member.until(lambda: member.membership(room, outsider) == "knock", "the knock")


async def test_to_accept_a_knock_is_to_invite(alice: Client, outsider: Client, gate: str) -> None:
    await knock(outsider, gate)
    await outsider.poll()
    with refused("M_FORBIDDEN"):
        await outsider.join(gate)
    await alice.invite(gate, outsider, reason="come in")
    await outsider.accept(gate)
    await outsider.until(lambda: outsider.membership(gate) == "join", "their own joining")
    assert (await alice.members(gate))[outsider.user_id] == "join"
    assert gate not in knocks(await outsider.sync())


@pytest.mark.parametrize("act", ["kick", "ban"])
async def test_a_knock_is_declined(alice: Client, bob: Client, outsider: Client, gate: str, act: str) -> None:
    await knock(outsider, gate)
    await outsider.poll()
    with refused("M_FORBIDDEN"):
        await bob.kick(gate, outsider)  # takes the power to kick
    await getattr(alice, act)(gate, outsider, reason="no room left")
    ended = "leave" if act == "kick" else "ban"
    await outsider.until(lambda: outsider.membership(gate) == ended, "the answer")
    shown = outsider.state[gate]["m.room.member", outsider.user_id]
    assert (shown["sender"], shown["content"]["reason"]) == (alice.user_id, "no room left")
    assert gate not in knocks(await outsider.sync())
    if act == "kick":
        assert await knock(outsider, gate) == {"room_id": gate}  # it may be tried again
    else:
        with refused("M_FORBIDDEN", naming="banned"):
            await knock(outsider, gate)


async def test_a_knock_is_taken_back(alice: Client, outsider: Client, gate: str) -> None:
    await knock(outsider, gate)
    await alice.until(lambda: alice.membership(gate, outsider) == "knock", "the knock")
    since = (await outsider.sync())["next_batch"]
    await outsider.leave(gate, reason="never mind")
    await alice.until(lambda: alice.membership(gate, outsider) == "leave", "the end of it")
    assert alice.state[gate]["m.room.member", outsider.user_id]["content"]["reason"] == "never mind"
    told = await outsider.sync(since)
    assert gate in told["rooms"]["leave"]
    assert gate not in knocks(told) | knocks(await outsider.sync())


async def test_to_knock_again_is_to_say_it_again(alice: Client, outsider: Client, gate: str) -> None:
    await knock(outsider, gate, reason="first")
    await knock(outsider, gate, reason="second")
    await alice.until(
        lambda: (
            alice.state[gate].get(("m.room.member", outsider.user_id), {}).get("content", {}).get("reason") == "second"
        ),
        "the second knock",
    )
    assert knocks(await outsider.sync())[gate]["m.room.member", outsider.user_id]["content"]["reason"] == "second"


async def test_who_knocks_sees_nothing_of_the_inside(alice: Client, outsider: Client, gate: str) -> None:
    said = await alice.send(gate, "between ourselves")
    await knock(outsider, gate)
    for verb in ("members", "state", "joined_members", "messages?dir=b"):
        answer = await outsider.get(path("rooms", gate) + "/" + verb)
        assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN"), verb
    with refused("M_NOT_FOUND"):
        await outsider.event(gate, said)


async def test_a_knock_is_refused_where_none_is_taken(
    alice: Client, bob: Client, outsider: Client, gate: str, room: str
) -> None:
    with refused("M_FORBIDDEN", naming="join rule is public", status=403):
        await knock(outsider, room)
    with refused("M_FORBIDDEN", naming="already", status=403):
        await knock(bob, gate)
    await alice.invite(gate, outsider)
    await outsider.until(lambda: gate in outsider.invitations, "the invitation")
    with refused("M_FORBIDDEN", naming="invited", status=403):
        await knock(outsider, gate)
    with refused("M_NOT_FOUND", status=404):
        await knock(outsider, "!AAAAAAAAAAAAAAAAAAAAAA:cn.localhost")
    with refused("M_NOT_FOUND", status=404):
        await knock(outsider, "#nowhere:cn.localhost")
    for body in ({"reason": 5}, {"reason": "x" * 2_001}):
        answer = await outsider.post(path("knock", gate), body)
        assert (answer.status, "reason" in answer.error) == (400, True), answer


async def test_a_reason_has_its_limits(alice: Client, bob: Client, carol: Client, gate: str) -> None:
    await alice.ban(gate, carol)
    before = await alice.members(gate)
    for verb in ("join", "leave", "knock", "invite", "kick", "ban", "unban"):
        target = path("knock", gate) if verb == "knock" else path("rooms", gate, verb)
        about = {"user_id": (carol if verb == "unban" else bob).user_id} if verb in ABOUT_OTHERS else {}
        answer = await alice.post(target, {**about, "reason": "x" * 2_001})
        assert (answer.status, answer.errcode, "reason" in answer.error) == (400, "M_INVALID_PARAM", True), answer
        answer = await alice.post(target, {**about, "reason": ["x"]})
        assert (answer.status, "reason" in answer.error) == (400, True), answer
    assert await alice.members(gate) == before
