"""Creation of rooms. Client-Server API v1.19, POST /createRoom."""

import pytest

from tests.support.client import Client, Refused, refused

VERSIONS = ("10", "11", "12")


@pytest.mark.parametrize(
    ("preset", "join_rule", "history", "guests"),
    [
        ("private_chat", "invite", "shared", "can_join"),
        ("trusted_private_chat", "invite", "shared", "can_join"),
        ("public_chat", "public", "shared", "forbidden"),
    ],
)
async def test_a_preset_sets_who_may_enter(
    alice: Client, preset: str, join_rule: str, history: str, guests: str
) -> None:
    room = await alice.create_room(preset=preset)
    assert await alice.get_state(room, "m.room.join_rules") == {"join_rule": join_rule}
    assert await alice.get_state(room, "m.room.history_visibility") == {"history_visibility": history}
    said = (await alice.all_state(room)).get(("m.room.guest_access", ""), {"content": {"guest_access": "forbidden"}})
    assert said["content"] == {"guest_access": guests}


async def test_without_preset_the_visibility_decides(alice: Client) -> None:
    private = await alice.create_room()
    public = await alice.create_room(visibility="public")
    assert (await alice.get_state(private, "m.room.join_rules"))["join_rule"] == "invite"
    assert (await alice.get_state(public, "m.room.join_rules"))["join_rule"] == "public"


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_room_of_each_version_says_so(alice: Client, version: str) -> None:
    room = await alice.create_room(room_version=version)
    create = (await alice.all_state(room))["m.room.create", ""]
    assert create["content"]["room_version"] == version
    assert create["sender"] == alice.user_id
    # Versions 1 to 10 name the creator in the content, later ones by the sender alone.
    assert create["content"].get("creator") == (alice.user_id if version == "10" else None)


async def test_the_id_of_a_version_12_room_is_that_of_its_create_event(alice: Client) -> None:
    room = await alice.create_room(room_version="12")
    create = (await alice.all_state(room))["m.room.create", ""]
    assert room == "!" + create["event_id"].removeprefix("$")
    assert ":" not in room


@pytest.mark.parametrize("version", ["10", "11"])
async def test_the_id_of_an_older_room_names_its_server(alice: Client, version: str) -> None:
    assert (await alice.create_room(room_version=version)).endswith(":cn.localhost")


async def test_a_creator_of_version_12_stands_above_all_levels(alice: Client, bob: Client) -> None:
    room = await alice.create_room(room_version="12", preset="trusted_private_chat", invite=[bob.user_id])
    levels = await alice.get_state(room, "m.room.power_levels")
    assert alice.user_id not in levels.get("users", {})
    create = (await alice.all_state(room))["m.room.create", ""]["content"]
    assert create["additional_creators"] == [bob.user_id]


@pytest.mark.parametrize("version", ["10", "11"])
async def test_in_a_trusted_chat_those_invited_are_as_powerful(alice: Client, bob: Client, version: str) -> None:
    room = await alice.create_room(room_version=version, preset="trusted_private_chat", invite=[bob.user_id])
    users = (await alice.get_state(room, "m.room.power_levels"))["users"]
    assert users[alice.user_id] == users[bob.user_id] == 100


async def test_the_events_come_in_the_order_of_the_specification(alice: Client, bob: Client) -> None:
    room = await alice.create_room(
        name="Courtyard",
        topic="who waters the persimmon tree",
        preset="private_chat",
        initial_state=[{"type": "org.example.gate", "state_key": "east", "content": {"open": True}}],
        invite=[bob.user_id],
        is_direct=True,
    )
    events = await alice.history(room, "f")
    order = [event["type"] for event in events]
    assert order[:3] == ["m.room.create", "m.room.member", "m.room.power_levels"]
    assert order.index("m.room.join_rules") < order.index("org.example.gate") < order.index("m.room.name")
    assert order.index("m.room.name") < order.index("m.room.topic")
    invitation = events[-1]
    assert (invitation["type"], invitation["state_key"]) == ("m.room.member", bob.user_id)
    assert invitation["content"]["is_direct"] is True
    assert await alice.get_state(room, "m.room.name") == {"name": "Courtyard"}
    assert (await alice.get_state(room, "m.room.topic"))["topic"] == "who waters the persimmon tree"
    assert await alice.get_state(room, "org.example.gate", "east") == {"open": True}


async def test_levels_of_the_creation_override_the_usual_ones(alice: Client) -> None:
    room = await alice.create_room(power_level_content_override={"events_default": 30})
    levels = await alice.get_state(room, "m.room.power_levels")
    assert levels["events_default"] == 30
    assert levels["state_default"] == 50


async def test_creation_content_is_kept(alice: Client) -> None:
    room = await alice.create_room(creation_content={"m.federate": False, "type": "m.space"})
    create = (await alice.all_state(room))["m.room.create", ""]["content"]
    assert create["type"] == "m.space"


async def test_an_initial_state_may_not_be_created_twice_by_a_client(alice: Client) -> None:
    before = await alice.joined_rooms()
    with refused("M_BAD_JSON"):
        await alice.create_room(initial_state=[{"type": "m.room.create", "content": {}}])
    assert await alice.joined_rooms() == before


async def test_an_unknown_version_is_named(alice: Client) -> None:
    with refused("M_UNSUPPORTED_ROOM_VERSION", naming="room_version", status=400):
        await alice.create_room(room_version="hutong.1")
    assert await alice.joined_rooms() == []


async def test_a_room_with_people_of_every_region_from_the_start(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.create_room(invite=[bob.user_id, carol.user_id], name="Courtyard")
    for person in (bob, carol):
        await person.accept(room)
        assert await person.get_state(room, "m.room.name") == {"name": "Courtyard"}
    assert set(await alice.joined_members(room)) == {alice.user_id, bob.user_id, carol.user_id}


async def test_a_failed_invitation_creates_nothing(alice: Client) -> None:
    before = await alice.joined_rooms()
    for whom in ("@nobody:elsewhere.example", "not an id"):
        with pytest.raises(Refused):
            await alice.create_room(invite=[whom])
    assert await alice.joined_rooms() == before


async def test_who_is_trusted_creates_the_room_together_with_those_named_as_creators(
    alice: Client, bob: Client, carol: Client
) -> None:
    room = await alice.create_room(
        preset="trusted_private_chat",
        invite=[bob.user_id, carol.user_id],
        creation_content={"additional_creators": [bob.user_id]},
    )
    created = await alice.get_state(room, "m.room.create")
    assert sorted(created["additional_creators"]) == sorted([bob.user_id, carol.user_id])


@pytest.mark.parametrize("version", ["10", "11", "12"])
async def test_nobody_is_named_as_creator_who_is_not(alice: Client, bob: Client, version: str) -> None:
    room = await alice.create_room(room_version=version, creation_content={"creator": bob.user_id, "room_version": "1"})
    created = await alice.get_state(room, "m.room.create")
    assert created["room_version"] == version
    assert created.get("creator") == (alice.user_id if version == "10" else None)
