"""Who is in a room, through HTTP and across regions. Client-Server API v1.19, "Room membership"."""

import pytest

from tests.conftest import Newcomer
from tests.support.client import Client, path, refused


async def private_room(alice: Client, *guests: Client) -> str:
    room = await alice.create_room(preset="private_chat", name="Courtyard")
    for guest in guests:
        await alice.invite(room, guest)
        await guest.accept(room)
    return room


async def test_an_invitation_reaches_another_region_with_what_the_room_is(alice: Client, bob: Client) -> None:
    room = await alice.create_room(preset="private_chat", name="Courtyard")
    await alice.invite(room, bob, reason="the persimmons are ripe")
    await bob.until(lambda: room in bob.invitations, "the invitation")
    shown = {(event["type"], event["state_key"]): event for event in bob.invitations[room]}
    assert shown["m.room.name", ""]["content"] == {"name": "Courtyard"}
    assert shown["m.room.join_rules", ""]["content"] == {"join_rule": "invite"}
    own = shown["m.room.member", bob.user_id]
    assert own["sender"] == alice.user_id
    assert own["content"]["membership"] == "invite"
    assert own["content"]["reason"] == "the persimmons are ripe"


async def test_who_was_not_invited_stays_outside(alice: Client, bob: Client, carol: Client) -> None:
    room = await private_room(alice, bob)
    with refused("M_FORBIDDEN"):
        await carol.join(room)
    assert carol.user_id not in await alice.members(room)


async def test_anybody_may_join_a_public_room_by_its_id(alice: Client, carol: Client, room: str) -> None:
    assert await carol.join(room) == room
    assert room in await carol.joined_rooms()
    assert (await alice.members(room))[carol.user_id] == "join"


async def test_joining_by_the_other_endpoint_is_the_same(carol: Client, room: str) -> None:
    answer = await carol.post(path("join", room))
    assert answer == (200, {"room_id": room})


async def test_joining_twice_changes_nothing(alice: Client, bob: Client, room: str) -> None:
    before = await alice.history(room)
    await bob.join(room)
    assert await alice.history(room) == before


async def test_a_room_that_is_nowhere_cannot_be_joined(alice: Client) -> None:
    for nowhere in ("!AAAAAAAAAAAAAAAAAAAAAA:ru.localhost", "!AAAAAAAAAAAAAAAAAAAAAA"):
        with refused("M_NOT_FOUND", status=404):
            await alice.join(nowhere)


async def test_bob_declines_and_alice_sees_it(alice: Client, bob: Client) -> None:
    room = await private_room(alice)
    await alice.invite(room, bob)
    await bob.until(lambda: room in bob.invitations, "the invitation")
    await bob.leave(room)
    await alice.until(
        lambda: (
            (event := alice.state[room].get(("m.room.member", bob.user_id)))
            and event["content"]["membership"] == "leave"
        ),
        "bob's refusal",
    )
    assert room not in (await bob.sync()).get("rooms", {}).get("invite", {})


async def test_an_invitation_can_be_taken_back(alice: Client, bob: Client) -> None:
    room = await private_room(alice)
    await alice.invite(room, bob)
    await bob.until(lambda: room in bob.invitations, "the invitation")
    await alice.kick(room, bob)
    await bob.until(lambda: room not in bob.invitations, "the invitation to go away")
    with refused("M_FORBIDDEN"):
        await bob.join(room)


async def test_who_left_hears_no_more_and_may_come_back(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    await carol.leave(lane)
    unheard = await alice.send(lane, "carol does not hear this")
    await bob.sees(lane, unheard)
    with refused("M_FORBIDDEN"):
        await carol.send(lane, "nor say this")
    assert lane not in (await carol.sync()).get("rooms", {}).get("join", {})
    with refused("M_NOT_FOUND"):
        await carol.event(lane, unheard)
    await carol.join(lane)
    heard = await alice.send(lane, "welcome back")
    await carol.sees(lane, heard)


async def test_who_left_still_reads_what_was_said_before(alice: Client, carol: Client, lane: str) -> None:
    before = await alice.send(lane, "before")
    await carol.sees(lane, before)
    await carol.leave(lane)
    await alice.send(lane, "after")
    assert await carol.texts(lane) == ["before"]


async def test_forgetting_takes_the_room_away(carol: Client, lane: str) -> None:
    with refused("M_UNKNOWN", status=400):
        await carol.forget(lane)  # one leaves first
    await carol.leave(lane)
    await carol.forget(lane)
    told = await carol.sync(filter={"room": {"include_leave": True}})
    assert lane not in told.get("rooms", {}).get("leave", {})
    with refused("M_FORBIDDEN"):
        await carol.messages(lane)


async def test_a_kick_crosses_the_lane(alice: Client, carol: Client, lane: str) -> None:
    await carol.poll()
    await alice.kick(lane, carol, reason="for now")
    await carol.until(lambda: carol.membership(lane) == "leave", "the kick")
    shown = carol.state[lane]["m.room.member", carol.user_id]
    assert shown["sender"] == alice.user_id
    assert shown["content"]["reason"] == "for now"
    with refused("M_FORBIDDEN"):
        await carol.send(lane, "let me in")
    await carol.join(lane)  # kicked is not banned


async def test_banned_in_every_region_until_unbanned(alice: Client, carol: Client, lane: str) -> None:
    await alice.ban(lane, carol, reason="enough")
    assert (await alice.members(lane))[carol.user_id] == "ban"
    await carol.until(lambda: carol.membership(lane) == "ban", "the ban")
    with refused("M_FORBIDDEN"):
        await carol.join(lane)
    with refused("M_FORBIDDEN"):
        await alice.invite(lane, carol)
    await alice.unban(lane, carol)
    assert (await alice.members(lane))[carol.user_id] == "leave"
    await carol.join(lane)
    assert (await alice.members(lane))[carol.user_id] == "join"


async def test_only_the_powerful_kick_and_ban(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    for act in (bob.kick, bob.ban):
        with refused("M_FORBIDDEN"):
            await act(lane, carol)
        with refused("M_FORBIDDEN"):
            await act(lane, alice)
    assert set(await alice.joined_members(lane)) == {alice.user_id, bob.user_id, carol.user_id}


async def test_a_moderator_abroad_keeps_order(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    levels = await alice.get_state(lane, "m.room.power_levels")
    levels["users"] = {**levels.get("users", {}), bob.user_id: 50}
    told = await alice.set_state(lane, "m.room.power_levels", levels)
    await bob.sees(lane, told)
    await bob.kick(lane, carol)
    assert (await alice.members(lane))[carol.user_id] == "leave"


async def test_one_who_is_outside_invites_nobody(bob: Client, carol: Client, room: str) -> None:
    with refused("M_FORBIDDEN"):
        await carol.invite(room, bob)


async def test_who_is_inside_already_is_not_invited(alice: Client, bob: Client, room: str) -> None:
    with refused("M_FORBIDDEN"):
        await alice.invite(room, bob)


async def test_another_servers_person_cannot_be_invited_and_the_server_is_named(alice: Client, room: str) -> None:
    before = await alice.members(room)
    answer = await alice.post(path("rooms", room, "invite"), {"user_id": "@eve:elsewhere.example"})
    assert 400 <= answer.status < 500
    assert "elsewhere.example" in answer.error
    assert await alice.members(room) == before


async def test_nobody_who_does_not_exist_is_invited(alice: Client, room: str) -> None:
    before = await alice.members(room)
    answer = await alice.post(path("rooms", room, "invite"), {"user_id": "@nobody-of-that-name:ru.localhost"})
    assert 400 <= answer.status < 500
    assert await alice.members(room) == before


async def test_members_can_be_asked_for_by_membership(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    await carol.leave(lane)
    assert await alice.members(lane, membership="leave") == {carol.user_id: "leave"}
    assert await alice.members(lane, not_membership="leave") == {alice.user_id: "join", bob.user_id: "join"}
    either = await alice.members(lane, membership="leave", not_membership="join")
    assert either == {carol.user_id: "leave"}, "either this, or not that"
    assert await alice.members(lane, membership="join", not_membership="leave") == {
        alice.user_id: "join", bob.user_id: "join"
    }  # fmt: skip


async def test_joined_members_are_seen_alike_from_everywhere(
    alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    last = await alice.send(lane, "all here?")
    expected = {alice.user_id, bob.user_id, carol.user_id}
    for person in (alice, bob, carol):
        await person.sees(lane, last)
        assert set(await person.joined_members(lane)) == expected
        assert await person.members(lane) == dict.fromkeys(expected, "join")


async def test_a_display_name_comes_with_the_membership(newcomer: Newcomer, alice: Client, room: str) -> None:
    dana = await newcomer("dana", "ru")
    await dana.ok("PUT", path("profile", dana.user_id, "displayname"), {"displayname": "Дана"})
    await dana.join(room)
    assert (await alice.joined_members(room))[dana.user_id]["display_name"] == "Дана"


@pytest.mark.parametrize("verb", ["join", "leave", "members", "joined_members", "messages", "state"])
async def test_strangers_learn_nothing(alice: Client, carol: Client, verb: str) -> None:
    room = await private_room(alice)
    method = "POST" if verb in ("join", "leave") else "GET"
    query = {"dir": "b"} if verb == "messages" else {}
    answer = await carol.request(method, path("rooms", room, verb), {} if method == "POST" else None, query=query)
    assert answer.status in (403, 404)


async def test_an_alias_that_nobody_gave_is_not_found(alice: Client) -> None:
    with refused("M_NOT_FOUND", naming="roomIdOrAlias", status=404):
        await alice.ok("POST", path("join", "#nowhere:cn.localhost"), {})
