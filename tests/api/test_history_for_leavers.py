"""What somebody sees of a room that they are not in any more: all up to their leaving, nothing of what came later."""

import pytest

from tests.conftest import Newcomer
from tests.support.client import Client, Json, refused

OUT_AGAIN = ("banned", "declined", "kicked again")


async def leave_and_be_shown_out(alice: Client, leaver: Client, room: str, how: str) -> None:
    """Lena leaves; the room goes on; then her membership changes once more without her being in."""
    await alice.set_state(room, "m.room.topic", {"topic": "persimmons"})
    await leaver.until(lambda: leaver.state[room].get(("m.room.topic", "")), "the topic")
    await leaver.leave(room)
    await alice.set_state(room, "m.room.topic", {"topic": "a secret"})
    await alice.send(room, "between ourselves")
    if how == "banned":
        await alice.ban(room, leaver)
    else:
        await alice.invite(room, leaver)
        await leaver.until(lambda: room in leaver.invitations, "the invitation")
        await (leaver.leave(room) if how == "declined" else alice.kick(room, leaver))
        await leaver.until(lambda: room not in leaver.invitations, "the invitation to go away")


@pytest.fixture(params=["cn", "ru"])
async def leaver(request: pytest.FixtureRequest, newcomer: Newcomer, room: str) -> Client:
    """Somebody of the room's own region, and somebody of one that only has a copy of the room."""
    person = await newcomer("lena", request.param)
    await person.join(room)
    return person


@pytest.mark.parametrize("how", OUT_AGAIN)
async def test_state_is_as_at_the_leaving_whatever_happened_since(
    alice: Client, leaver: Client, room: str, how: str
) -> None:
    await leave_and_be_shown_out(alice, leaver, room, how)
    await leaver.until(lambda: how != "banned" or membership_of(leaver, room) == "ban", "the ban")
    assert await leaver.get_state(room, "m.room.topic") == {"topic": "persimmons"}
    assert (await leaver.all_state(room))["m.room.topic", ""]["content"] == {"topic": "persimmons"}
    assert (await leaver.members(room))[leaver.user_id] == "leave"
    assert "between ourselves" not in await leaver.texts(room)


def membership_of(person: Client, room: str) -> str:
    event: Json = person.state[room].get(("m.room.member", person.user_id), {"content": {}})
    return str(event["content"].get("membership", ""))


async def test_a_name_taken_up_after_the_leaving_is_not_shown(alice: Client, leaver: Client, room: str) -> None:
    said = await alice.send(room, "before")
    await leaver.sees(room, said)
    await leaver.leave(room)
    await alice.put(f"/profile/{alice.user_id}/displayname", {"displayname": "A Secret"})
    page = await leaver.messages(room, filter='{"lazy_load_members":true}')
    [shown] = [event for event in page["state"] if event["state_key"] == alice.user_id]
    assert "A Secret" not in str(shown)


async def test_who_was_never_in_is_told_that_there_is_no_such_event(alice: Client, carol: Client, room: str) -> None:
    said = await alice.send(room, "not for carol")
    with refused("M_NOT_FOUND", status=404):
        await carol.event(room, said)
    with refused("M_NOT_FOUND", status=404):
        await carol.event(room, "$AAAAAAAAAAAAAAAAAAAAAA")


async def test_a_room_is_not_found_under_another_servers_name(
    newcomer: Newcomer, alice: Client, bob: Client, room: str
) -> None:
    old = await alice.create_room(preset="public_chat", room_version="11")
    assert old.endswith(":cn.localhost")
    wrong = old.replace(":cn.", ":eu.")
    await bob.join(old)
    for person in (alice, bob, await newcomer("dora", "eu")):
        with refused("M_NOT_FOUND", status=404):
            await person.join(wrong)
