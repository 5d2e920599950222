"""What a room is: its state and who may change it. Client-Server API v1.19, "Getting events for a room"."""

from typing import TYPE_CHECKING

import pytest

from tests.support.client import Client, path, refused

if TYPE_CHECKING:
    from hutong.node import Node


async def test_state_is_kept_by_type_and_key(alice: Client, room: str) -> None:
    await alice.set_state(room, "org.example.gate", {"open": True}, "east")
    await alice.set_state(room, "org.example.gate", {"open": False}, "west")
    await alice.set_state(room, "org.example.gate", {"open": False}, "east")
    assert await alice.get_state(room, "org.example.gate", "east") == {"open": False}
    assert await alice.get_state(room, "org.example.gate", "west") == {"open": False}
    with refused("M_NOT_FOUND", status=404):
        await alice.get_state(room, "org.example.gate", "north")
    with refused("M_NOT_FOUND", status=404):
        await alice.get_state(room, "org.example.gate")


async def test_a_state_key_may_hold_anything(alice: Client, bob: Client, room: str) -> None:
    key = "a/b %2F 门 #?"
    told = await alice.set_state(room, "org.example.gate", {"open": True}, key)
    assert (await bob.sees(room, told))["state_key"] == key
    assert await bob.get_state(room, "org.example.gate", key) == {"open": True}


async def test_the_whole_event_on_request(alice: Client, room: str) -> None:
    told = await alice.set_state(room, "m.room.topic", {"topic": "persimmons"})
    answer = await alice.get(path("rooms", room, "state", "m.room.topic"), format="event")
    assert answer.body["event_id"] == told
    assert answer.body["content"] == {"topic": "persimmons"}


async def test_what_was_before_is_told_with_the_change(alice: Client, bob: Client, room: str) -> None:
    await alice.set_state(room, "m.room.topic", {"topic": "first"})
    second = await alice.set_state(room, "m.room.topic", {"topic": "second"})
    assert (await alice.sees(room, second))["unsigned"]["prev_content"] == {"topic": "first"}


async def test_the_state_is_the_same_from_every_region(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    last = await alice.set_state(lane, "m.room.topic", {"topic": "the lane"})
    states = []
    for person in (alice, bob, carol):
        await person.sees(lane, last)
        state = await person.all_state(lane)
        states.append({key: (event["event_id"], event["content"], event["sender"]) for key, event in state.items()})
    assert states[0] == states[1] == states[2]


async def test_an_unpowerful_person_changes_no_state(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    before = await alice.all_state(lane)
    for person in (bob, carol):
        for type in ("m.room.name", "m.room.power_levels", "m.room.join_rules", "org.example.gate"):
            with refused("M_FORBIDDEN", status=403):
                await person.set_state(lane, type, {"name": "mine", "join_rule": "public", "users": {}})
    assert await alice.all_state(lane) == before


async def test_power_given_is_power_had_abroad(alice: Client, carol: Client, lane: str) -> None:
    levels = await alice.get_state(lane, "m.room.power_levels")
    levels["users"] = {**levels.get("users", {}), carol.user_id: 50}
    await alice.set_state(lane, "m.room.power_levels", levels)
    await carol.set_state(lane, "m.room.name", {"name": "Переулок"})
    assert await alice.get_state(lane, "m.room.name") == {"name": "Переулок"}
    with refused("M_FORBIDDEN"):
        await carol.set_state(lane, "m.room.power_levels", {**levels, "users": {carol.user_id: 100}})


async def test_levels_say_who_may_speak(alice: Client, bob: Client, room: str) -> None:
    levels = await alice.get_state(room, "m.room.power_levels")
    told = await alice.set_state(room, "m.room.power_levels", {**levels, "events_default": 10})
    await bob.sees(room, told)
    with refused("M_FORBIDDEN"):
        await bob.send(room, "may I")
    await alice.send(room, "I may")


async def test_a_level_for_one_type_of_ones_own(alice: Client, bob: Client, room: str) -> None:
    levels = await alice.get_state(room, "m.room.power_levels")
    levels["events"] = {**levels.get("events", {}), "org.example.gavel": 50}
    told = await alice.set_state(room, "m.room.power_levels", levels)
    await bob.sees(room, told)
    with refused("M_FORBIDDEN"):
        await bob.send_event(room, "org.example.gavel", {})
    await bob.send_event(room, "org.example.hammer", {})
    assert (await bob.get_state(room, "m.room.power_levels"))["events"]["org.example.gavel"] == 50


async def test_nobody_speaks_in_anothers_name(alice: Client, bob: Client, room: str) -> None:
    with refused("M_FORBIDDEN"):
        await alice.set_state(room, "org.example.seat", {"at": "window"}, bob.user_id)
    await alice.set_state(room, "org.example.seat", {"at": "door"}, alice.user_id)


async def test_the_create_event_is_made_once(alice: Client, room: str) -> None:
    before = (await alice.all_state(room))["m.room.create", ""]
    answer = await alice.put(path("rooms", room, "state", "m.room.create"), {"room_version": "11"})
    assert answer.status in (400, 403)
    assert (await alice.all_state(room))["m.room.create", ""] == before


async def test_join_rules_changed_here_hold_there(alice: Client, carol: Client, room: str) -> None:
    await alice.set_state(room, "m.room.join_rules", {"join_rule": "invite"})
    with refused("M_FORBIDDEN"):
        await carol.join(room)


async def test_a_membership_can_be_written_as_state(alice: Client, bob: Client, carol: Client, room: str) -> None:
    await alice.set_state(room, "m.room.member", {"membership": "invite"}, carol.user_id)
    await carol.accept(room)
    joined = {"membership": "join", "displayname": "Боб here only"}
    await bob.set_state(room, "m.room.member", joined, bob.user_id)
    assert (await alice.joined_members(room))[bob.user_id]["display_name"] == "Боб here only"
    await carol.set_state(room, "m.room.member", {"membership": "leave"}, carol.user_id)
    assert (await alice.members(room))[carol.user_id] == "leave"


async def test_who_left_reads_the_state_of_then(alice: Client, carol: Client, lane: str) -> None:
    told = await alice.set_state(lane, "m.room.topic", {"topic": "then"})
    await carol.sees(lane, told)
    await carol.leave(lane)
    await alice.set_state(lane, "m.room.topic", {"topic": "now"})
    assert await carol.get_state(lane, "m.room.topic") == {"topic": "then"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("users_default", "50"),
        ("events_default", 1.5),
        ("state_default", None),
        ("users", []),
        ("users", {"not an id": 50}),
        ("events", {"m.room.name": "50"}),
        ("notifications", {"room": []}),
        ("ban", 2**60),
    ],
)
async def test_levels_that_are_no_levels_are_named(alice: Client, room: str, field: str, value: object) -> None:
    before = await alice.get_state(room, "m.room.power_levels")
    answer = await alice.put(path("rooms", room, "state", "m.room.power_levels"), {**before, field: value})
    assert answer.status in (400, 403)
    assert field in answer.error
    assert await alice.get_state(room, "m.room.power_levels") == before


async def test_asking_for_somebodys_membership_writes_nothing(
    alice: Client, bob: Client, carol: Client, node: "Node"
) -> None:
    room = await alice.create_room()

    async def known() -> int:
        pools = [cell.pool for cell in node.cells.values()]
        return sum([await pool.fetchval("SELECT count(*) FROM members") for pool in pools])

    before = await known()
    for stranger in (bob, carol):
        with refused("M_NOT_FOUND", status=404):
            await alice.get_state(room, "m.room.member", stranger.user_id)
    assert await known() == before
