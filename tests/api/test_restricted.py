"""Rooms that one may join by being in another one, through HTTP and across regions. "Restricted rooms"."""

import pytest

from tests.conftest import Newcomer
from tests.support.client import Client, Json, path, refused

VIA = "join_authorised_via_users_server"


def allows(*rooms: str, knock: bool = False) -> Json:
    conditions = [{"type": "m.room_membership", "room_id": room} for room in rooms]
    return {"join_rule": "knock_restricted" if knock else "restricted", "allow": conditions}


async def restricted_room(founder: Client, *rooms: str, knock: bool = False, **options: object) -> str:
    """A room of `founder`'s that members of `rooms` may join."""
    rules = {"type": "m.room.join_rules", "state_key": "", "content": allows(*rooms, knock=knock)}
    return await founder.create_room(preset="private_chat", initial_state=[rules], **options)


@pytest.fixture
async def annex(alice: Client, room: str) -> str:
    """A room of alice's, whose members are let in from `room`, where alice and bob are."""
    return await restricted_room(alice, room)


async def joined_as(watcher: Client, room: str, joiner: Client) -> Json:
    """The content of the joiner's own membership, as another member sees it."""
    await watcher.until(lambda: watcher.membership(room, joiner) == "join", f"{joiner.name} to join")
    content: Json = watcher.state[room]["m.room.member", joiner.user_id]["content"]
    return content


async def test_a_member_of_the_named_room_joins_from_abroad(
    alice: Client, bob: Client, carol: Client, annex: str
) -> None:
    with refused("M_FORBIDDEN", naming="invitation", status=403):
        await carol.join(annex)
    assert await bob.join(annex, reason="by the side gate") == annex
    content = await joined_as(alice, annex, bob)
    assert content[VIA] == alice.user_id
    assert content["reason"] == "by the side gate"
    assert set(await alice.joined_members(annex)) == {alice.user_id, bob.user_id}
    said = await bob.send(annex, "here I am")
    await alice.sees(annex, said)


async def test_the_named_room_may_be_at_home_anywhere(alice: Client, bob: Client, carol: Client) -> None:
    """Bob's room in eu opens alice's in cn to carol of ru."""
    club = await bob.create_room(preset="public_chat")
    hall = await restricted_room(alice, club)
    with refused("M_FORBIDDEN"):
        await carol.join(hall)
    await carol.join(club)
    await carol.join(hall)
    assert (await joined_as(alice, hall, carol))[VIA] == alice.user_id


async def test_in_one_region_it_is_the_same(newcomer: Newcomer, alice: Client, room: str, annex: str) -> None:
    anna = await newcomer("anna", "cn")
    with refused("M_FORBIDDEN"):
        await anna.join(annex)
    await anna.join(room)
    await anna.join(annex)
    assert (await joined_as(alice, annex, anna))[VIA] == alice.user_id


async def test_who_has_left_the_named_room_is_not_let_in(bob: Client, room: str, annex: str) -> None:
    await bob.leave(room)
    with refused("M_FORBIDDEN"):
        await bob.join(annex)


async def test_an_invitation_needs_no_other_room_and_leaves_no_authority_behind(
    alice: Client, carol: Client, annex: str
) -> None:
    await alice.invite(annex, carol)
    await carol.accept(annex)
    assert VIA not in await joined_as(alice, annex, carol)


async def is_told_of_the_ban(person: Client, room: str) -> None:
    await person.until(lambda: person.membership(room) == "ban", "the ban")


async def test_who_is_banned_stays_outside_and_is_told_so(
    alice: Client, bob: Client, carol: Client, annex: str
) -> None:
    """Bob, who is in the room that opens this one, and carol, who is not."""
    for person in (bob, carol):
        await alice.ban(annex, person)
        await is_told_of_the_ban(person, annex)
        with refused("M_FORBIDDEN", naming="banned"):
            await person.join(annex)


async def test_once_in_nobody_asks_again_and_a_new_name_carries_no_authority(
    alice: Client, bob: Client, room: str, annex: str
) -> None:
    await bob.join(annex)
    await bob.leave(room)
    await bob.ok("PUT", path("profile", bob.user_id, "displayname"), {"displayname": "Bob of the annex"})
    await alice.until(
        lambda: alice.state[annex].get(("m.room.member", bob.user_id), {}).get("content", {}).get("displayname"),
        "bob's new name",
    )
    assert VIA not in alice.state[annex]["m.room.member", bob.user_id]["content"]
    assert await bob.join(annex) == annex


async def test_a_rule_that_names_no_room_of_ours_cannot_be_looked_into(alice: Client, bob: Client) -> None:
    hall = await restricted_room(alice)
    with refused("M_UNABLE_TO_AUTHORISE_JOIN", status=403):
        await bob.join(hall)
    await alice.set_state(hall, "m.room.join_rules", allows("!elsewhere:example.org"))
    with refused("M_UNABLE_TO_AUTHORISE_JOIN", status=403):
        await bob.join(hall)


async def test_where_nobody_may_invite_nobody_is_let_in(alice: Client, bob: Client, room: str) -> None:
    levels = {"invite": 50, "users": {alice.user_id: 100}}
    hall = await restricted_room(alice, room, room_version="11", power_level_content_override=levels)
    await bob.join(hall)
    await bob.leave(hall)
    await alice.leave(hall)
    with refused("M_UNABLE_TO_GRANT_JOIN", status=403):
        await bob.join(hall)


async def test_somebody_at_home_vouches_then_the_highest_abroad(
    newcomer: Newcomer, alice: Client, bob: Client, carol: Client, room: str
) -> None:
    """Alice of cn, although carol of ru is above her; without alice carol before bob of eu: each time the same."""
    await carol.join(room)
    levels = {"invite": 50, "users": {alice.user_id: 100, bob.user_id: 50, carol.user_id: 150}}
    hall = await restricted_room(alice, room, room_version="11", power_level_content_override=levels)
    for person in (carol, bob):
        await person.join(hall)
        assert (await joined_as(alice, hall, person))[VIA] == alice.user_id
    await alice.leave(hall)
    dora = await newcomer("dora", "ru")
    await dora.join(room)
    for _ in range(2):
        await dora.join(hall)
        assert (await joined_as(bob, hall, dora))[VIA] == carol.user_id
        await dora.leave(hall)
        await bob.until(lambda: bob.membership(hall, dora) == "leave", "dora to leave")


async def test_no_client_says_on_whose_authority_it_joins(alice: Client, bob: Client, carol: Client, room: str) -> None:
    hall = await restricted_room(alice, room)
    await alice.invite(hall, carol)
    await carol.until(lambda: hall in carol.invitations, "the invitation")
    await carol.leave(hall)
    own = path("rooms", hall, "state", "m.room.member", carol.user_id)
    forged = {"membership": "join", VIA: alice.user_id}
    answer = await carol.put(own, forged)
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    await carol.join(room)
    answer = await carol.put(own, {**forged, VIA: bob.user_id})
    assert answer.status == 200, answer
    assert (await joined_as(alice, hall, carol))[VIA] == alice.user_id


async def test_a_rule_changed_while_nobody_of_the_region_was_in_counts_as_it_is_now(
    alice: Client, bob: Client, room: str
) -> None:
    """Bob's region still has the copy of when he left: it says that the room takes invitations only."""
    hall = await alice.create_room(preset="private_chat", invite=[bob.user_id])
    await bob.accept(hall)
    await bob.leave(hall)
    await alice.set_state(hall, "m.room.join_rules", allows(room))
    await bob.join(hall)
    assert (await joined_as(alice, hall, bob))[VIA] == alice.user_id


async def test_knock_restricted_opens_to_members_and_takes_knocks_of_others(
    alice: Client, bob: Client, carol: Client, room: str
) -> None:
    hall = await restricted_room(alice, room, knock=True)
    await bob.join(hall)
    assert (await joined_as(alice, hall, bob))[VIA] == alice.user_id
    with refused("M_FORBIDDEN"):
        await carol.join(hall)
    await carol.ok("POST", path("knock", hall), {})
    await alice.until(lambda: alice.membership(hall, carol) == "knock", "the knock")
    await alice.invite(hall, carol)
    await carol.accept(hall)
    assert VIA not in await joined_as(alice, hall, carol)
