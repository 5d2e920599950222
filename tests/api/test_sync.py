"""`/sync` through HTTP: what a client is told, once, in order, and nothing else."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.client import Client, Json, path, refused

Newcomer = Callable[..., Awaitable[Client]]
LAZY = {"room": {"state": {"lazy_load_members": True}}}


def joined(body: Json, room: str) -> Json:
    return dict(body["rooms"]["join"][room])


def told(body: Json, room: str, section: str = "join") -> list[Json]:
    """The events of a room's timeline in one answer."""
    return list(body.get("rooms", {}).get(section, {}).get(room, {}).get("timeline", {}).get("events", []))


def texts(body: Json, room: str) -> list[str]:
    return [event["content"]["body"] for event in told(body, room) if "body" in event["content"]]


def kinds(events: list[Json]) -> set[tuple[str, str]]:
    return {(event["type"], event["state_key"]) for event in events if "state_key" in event}


async def token(client: Client) -> str:
    return str((await client.sync())["next_batch"])


async def eventually(client: Client, since: str, found: Callable[[Json], Any], **query: Any) -> Json:
    """Poll from `since`, always with the newest token, until an answer satisfies `found`."""
    async with asyncio.timeout(15):
        while True:
            body = await client.sync(since, timeout=2_000, **query)
            if found(body):
                return body
            since = body["next_batch"]


# A first sync


async def test_a_first_sync_tells_of_every_joined_room_its_state_and_its_last_events(alice: Client, room: str) -> None:
    for number in range(12):
        await alice.send(room, f"number {number}")
    body = await alice.sync()
    there = joined(body, room)
    assert texts(body, room) == [f"number {number}" for number in range(2, 12)]
    assert there["timeline"]["limited"] is True
    state = kinds(there["state"]["events"])
    assert {("m.room.create", ""), ("m.room.name", ""), ("m.room.power_levels", "")} <= state
    assert ("m.room.member", alice.user_id) in state
    assert there["summary"]["m.joined_member_count"] == 2
    assert there["summary"]["m.invited_member_count"] == 0


async def test_state_that_lies_in_the_timeline_is_not_repeated_before_it(alice: Client) -> None:
    room = await alice.create_room(name="Small")
    there = joined(await alice.sync(), room)
    ids = [event["event_id"] for event in there["timeline"]["events"]]
    assert len(ids) == len(set(ids))
    assert not set(ids) & {event["event_id"] for event in there.get("state", {}).get("events", [])}
    assert kinds(there["timeline"]["events"]) | kinds(there.get("state", {}).get("events", [])) >= {
        ("m.room.create", ""),
        ("m.room.name", ""),
    }


async def test_paging_back_from_a_first_sync_completes_the_room(alice: Client, room: str) -> None:
    sent = [await alice.send(room, f"number {number}") for number in range(25)]
    there = joined(await alice.sync(), room)
    shown = [event["event_id"] for event in there["timeline"]["events"]]
    page = await alice.messages(room, "b", limit=100, **{"from": there["timeline"]["prev_batch"]})
    before = [event["event_id"] for event in reversed(page["chunk"])]
    assert (before + shown)[-25:] == sent
    assert len(before + shown) == len(set(before + shown))


async def test_the_server_tells_its_push_rules_and_counts_of_keys(alice: Client) -> None:
    body = await alice.sync()
    stored = {event["type"]: event["content"] for event in body["account_data"]["events"]}
    assert stored["m.push_rules"]["global"]["override"][0]["rule_id"] == ".m.rule.master"
    assert body["device_one_time_keys_count"] == {}


# Going on


async def test_nothing_new_is_nothing_told(alice: Client, room: str) -> None:
    since = await token(alice)
    body = await alice.sync(since)
    assert "rooms" not in body
    assert "account_data" not in body


async def test_what_is_said_arrives_once_and_in_order(alice: Client, bob: Client, room: str) -> None:
    since = await token(bob)
    for number in range(5):
        await alice.send(room, f"number {number}")
    seen: list[str] = []
    async with asyncio.timeout(15):
        while len(seen) < 5:
            body = await bob.sync(since, timeout=5_000)
            since = body["next_batch"]
            seen += texts(body, room)
    assert seen == [f"number {number}" for number in range(5)]
    assert texts(await bob.sync(since), room) == []


async def test_a_waiting_sync_returns_when_something_is_said(alice: Client, room: str) -> None:
    since = await token(alice)
    waiting = asyncio.create_task(alice.sync(since, timeout=30_000))
    await asyncio.sleep(0)
    event = await alice.send(room, "hello")
    async with asyncio.timeout(10):
        body = await waiting
    assert [e["event_id"] for e in told(body, room)] == [event]


async def test_a_waiting_sync_returns_empty_when_its_time_is_over(alice: Client, room: str) -> None:
    since = await token(alice)
    began = asyncio.get_running_loop().time()
    body = await alice.sync(since, timeout=300)
    assert asyncio.get_running_loop().time() - began >= 0.29
    assert "rooms" not in body


async def test_a_token_can_be_used_again(alice: Client, room: str) -> None:
    since = await token(alice)
    await alice.send(room, "one")
    first = await alice.sync(since)
    await alice.send(room, "two")
    again = await alice.sync(since)
    assert texts(first, room) == ["one"]
    assert texts(again, room) == ["one", "two"]
    assert texts(await alice.sync(first["next_batch"]), room) == ["two"]


async def test_two_devices_are_told_the_same(alice: Client, room: str) -> None:
    other = await alice.another_device()
    since, others = await token(alice), await token(other)
    event = await alice.send(room, "to both")
    for client, at in ((alice, since), (other, others)):
        assert [e["event_id"] for e in told(await client.sync(at, timeout=5_000), room)] == [event]


async def test_only_the_sending_device_is_told_its_transaction(alice: Client, room: str) -> None:
    other = await alice.another_device()
    since, others = await token(alice), await token(other)
    await alice.send_event(room, "m.room.message", {"msgtype": "m.text", "body": "x"}, txn="txn-77")
    [mine] = told(await alice.sync(since), room)
    [theirs] = told(await other.sync(others), room)
    assert mine["unsigned"]["transaction_id"] == "txn-77"
    assert "transaction_id" not in theirs["unsigned"]
    assert mine["unsigned"]["membership"] == "join"
    assert mine["unsigned"]["age"] >= 0


async def test_a_gap_is_told_with_the_changes_of_state_in_it(alice: Client, room: str) -> None:
    since = await token(alice)
    await alice.set_state(room, "m.room.topic", {"topic": "before"})
    for number in range(12):
        await alice.send(room, f"number {number}")
    await alice.set_state(room, "m.room.name", {"name": "after"})
    there = joined(await alice.sync(since), room)
    assert there["timeline"]["limited"] is True
    assert len(there["timeline"]["events"]) == 10
    assert kinds(there["state"]["events"]) == {("m.room.topic", "")}
    assert there["timeline"]["events"][-1]["type"] == "m.room.name"


async def test_a_change_of_state_carries_what_it_replaced(alice: Client, room: str) -> None:
    first = await alice.set_state(room, "m.room.topic", {"topic": "one"})
    since = await token(alice)
    await alice.set_state(room, "m.room.topic", {"topic": "two"})
    [event] = told(await alice.sync(since), room)
    assert event["unsigned"]["prev_content"] == {"topic": "one"}
    assert event["unsigned"]["replaces_state"] == first


async def test_a_redacted_event_is_never_told_with_its_words(alice: Client, bob: Client, room: str) -> None:
    since = await token(alice)
    event = await alice.send(room, "regretted")
    redaction = await alice.redact(room, event, reason="typo")
    body = await alice.sync(since)
    assert [e["event_id"] for e in told(body, room)] == [event, redaction]
    assert told(body, room)[0]["content"] == {}
    assert told(body, room)[0]["unsigned"]["redacted_because"]["event_id"] == redaction
    seen = await eventually(bob, await token(bob), lambda body: True)
    assert "regretted" not in json.dumps(seen)


# Invitations, joining, leaving


async def test_an_invitation_shows_the_room_and_who_invites(alice: Client, carol: Client) -> None:
    since = await token(carol)
    room = await alice.create_room(name="Tea house")
    await alice.invite(room, carol)
    body = await eventually(carol, since, lambda body: room in body.get("rooms", {}).get("invite", {}))
    events = body["rooms"]["invite"][room]["invite_state"]["events"]
    found = {(event["type"], event["state_key"]): event for event in events}
    assert found["m.room.name", ""]["content"]["name"] == "Tea house"
    own = found["m.room.member", carol.user_id]
    assert (own["sender"], own["content"]["membership"]) == (alice.user_id, "invite")
    first = await carol.sync()
    assert room in first["rooms"]["invite"]
    assert "rooms" not in await carol.sync(body["next_batch"])


async def test_a_room_joined_since_is_told_whole(alice: Client, carol: Client, room: str) -> None:
    await alice.send(room, "before carol")
    since = await token(carol)
    await carol.join(room)
    body = await eventually(carol, since, lambda body: room in body.get("rooms", {}).get("join", {}))
    there = joined(body, room)
    known = kinds(there.get("state", {}).get("events", [])) | kinds(there["timeline"]["events"])
    assert {("m.room.create", ""), ("m.room.name", ""), ("m.room.member", carol.user_id)} <= known
    assert ("m.room.member", alice.user_id) in known
    assert there["timeline"]["limited"] is True
    assert there["summary"]["m.joined_member_count"] == 3
    event = await alice.send(room, "after carol")
    body = await eventually(carol, body["next_batch"], lambda body: told(body, room))
    assert [e["event_id"] for e in told(body, room)] == [event]


async def test_who_leaves_is_told_up_to_the_leave_and_no_further(alice: Client, bob: Client, room: str) -> None:
    since = await token(bob)
    last = await alice.send(room, "still with us")
    await bob.sees(room, last)
    await bob.leave(room)
    await alice.send(room, "gone at last")
    body = await eventually(bob, since, lambda body: room in body.get("rooms", {}).get("leave", {}))
    events = told(body, room, "leave")
    assert events[-1]["content"]["membership"] == "leave"
    assert "gone at last" not in json.dumps(body)
    later = await bob.sync(body["next_batch"])
    assert "rooms" not in later
    first = await bob.sync()
    assert room not in first.get("rooms", {}).get("leave", {})
    with_left = await bob.sync(filter={"room": {"include_leave": True}})
    assert told(with_left, room, "leave")[-1]["content"]["membership"] == "leave"
    assert "gone at last" not in json.dumps(with_left)


async def test_who_is_kicked_is_told_by_whom_and_why(alice: Client, bob: Client, room: str) -> None:
    since = await token(bob)
    await alice.kick(room, bob, reason="noise")
    body = await eventually(bob, since, lambda body: room in body.get("rooms", {}).get("leave", {}))
    event = told(body, room, "leave")[-1]
    assert (event["sender"], event["content"]["reason"]) == (alice.user_id, "noise")


async def test_an_invitation_that_is_withdrawn_leaves_the_list(alice: Client, carol: Client) -> None:
    room = await alice.create_room()
    since = await token(carol)
    await alice.invite(room, carol)
    body = await eventually(carol, since, lambda body: room in body.get("rooms", {}).get("invite", {}))
    await alice.kick(room, carol)
    body = await eventually(carol, body["next_batch"], lambda body: room in body.get("rooms", {}).get("leave", {}))
    [event] = told(body, room, "leave")
    assert event["content"]["membership"] == "leave"


async def test_a_room_joined_again_is_told_anew(alice: Client, bob: Client, room: str) -> None:
    since = await token(bob)
    await bob.leave(room)
    body = await eventually(bob, since, lambda body: room in body.get("rooms", {}).get("leave", {}))
    await alice.set_state(room, "m.room.topic", {"topic": "meanwhile"})
    await bob.join(room)
    body = await eventually(bob, body["next_batch"], lambda body: room in body.get("rooms", {}).get("join", {}))
    there = joined(body, room)
    assert ("m.room.topic", "") in kinds(there.get("state", {}).get("events", [])) | kinds(there["timeline"]["events"])
    assert there["timeline"]["limited"] is True


async def test_history_that_only_members_may_see_stays_hidden_from_who_joins_later(
    alice: Client, newcomer: Newcomer
) -> None:
    dave = await newcomer("dave", "cn")
    state = [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}]
    room = await alice.create_room(preset="public_chat", initial_state=state)
    await alice.send(room, "among ourselves")
    since = await token(dave)
    await dave.join(room)
    await alice.send(room, "welcome")
    body = await eventually(dave, since, lambda body: texts(body, room))
    first = await dave.sync()
    for shown in (body, first):
        assert "among ourselves" not in json.dumps(shown)
        assert "welcome" in texts(shown, room)
    there = joined(first, room)
    assert ("m.room.create", "") in kinds(there["state"]["events"])
    assert there["timeline"]["events"][0]["state_key"] == dave.user_id


# Filters


async def test_types_and_limits_choose_what_is_told(alice: Client, room: str) -> None:
    await alice.send(room, "one")
    await alice.set_state(room, "m.room.topic", {"topic": "t"})
    await alice.send_event(room, "cn.hutong.custom", {"body": "custom"})
    await alice.send(room, "two")

    async def shown(**timeline: Any) -> list[str]:
        return texts(await alice.sync(filter={"room": {"timeline": timeline}}), room)

    assert await shown(types=["m.room.message"]) == ["one", "two"]
    assert await shown(types=["m.room.message"], limit=1) == ["two"]
    assert await shown(types=["cn.hutong.*"]) == ["custom"]
    assert await shown(not_types=["m.room.*"]) == ["custom"]
    assert await shown(types=["m.*"], not_senders=[alice.user_id]) == []
    assert await shown(senders=[alice.user_id], types=["m.room.message"]) == ["one", "two"]
    assert await shown(types=[]) == []


async def test_rooms_are_chosen_by_filter_in_line_or_kept(alice: Client, room: str) -> None:
    other = await alice.create_room()
    chosen = {"room": {"not_rooms": [other]}}
    body = await alice.sync(filter=chosen)
    assert room in body["rooms"]["join"]
    assert other not in body["rooms"]["join"]
    kept = await alice.ok("POST", path("user", alice.user_id, "filter"), chosen)
    again = await alice.sync(filter=kept["filter_id"])
    assert set(again["rooms"]["join"]) == set(body["rooms"]["join"])


async def test_state_left_out_of_a_filtered_timeline_is_still_told(alice: Client, room: str) -> None:
    since = await token(alice)
    await alice.set_state(room, "m.room.topic", {"topic": "unseen"})
    body = await alice.sync(since, filter={"room": {"timeline": {"types": ["m.room.message"]}}})
    assert kinds(joined(body, room)["state"]["events"]) == {("m.room.topic", "")}
    assert told(body, room) == []


async def test_lazy_loading_tells_of_those_who_speak_and_of_each_only_once(
    alice: Client, bob: Client, newcomer: Newcomer
) -> None:
    room = await alice.create_room(preset="public_chat")
    silent = await newcomer("dave", "cn")
    for client in (bob, silent):
        await client.join(room)
    for number in range(10):
        await bob.sees(room, await alice.send(room, f"filler {number}"))
    first = await alice.sync(filter=LAZY)
    members = {key for type, key in kinds(joined(first, room)["state"]["events"]) if type == "m.room.member"}
    assert alice.user_id in members
    await bob.send(room, "hello")
    body = await eventually(alice, first["next_batch"], lambda body: texts(body, room), filter=LAZY)
    told_now = kinds(joined(body, room).get("state", {}).get("events", []))
    assert told_now <= {("m.room.member", bob.user_id)}
    if ("m.room.member", bob.user_id) not in kinds(joined(first, room)["state"]["events"]):
        assert told_now == {("m.room.member", bob.user_id)}
    await bob.send(room, "again")
    later = await eventually(alice, body["next_batch"], lambda body: texts(body, room), filter=LAZY)
    assert joined(later, room).get("state", {}).get("events", []) == []
    redundant = {"room": {"state": {"lazy_load_members": True, "include_redundant_members": True}}}
    repeated = await alice.sync(body["next_batch"], filter=redundant)
    assert kinds(joined(repeated, room)["state"]["events"]) == {("m.room.member", bob.user_id)}


async def test_full_state_repeats_the_state_and_not_the_timeline(alice: Client, room: str) -> None:
    since = await token(alice)
    body = await alice.sync(since, full_state="true")
    there = joined(body, room)
    assert {("m.room.create", ""), ("m.room.name", "")} <= kinds(there["state"]["events"])
    assert told(body, room) == []


async def test_state_after_tells_how_things_stand_at_the_end(alice: Client, room: str) -> None:
    since = await token(alice)
    event = await alice.set_state(room, "m.room.topic", {"topic": "now"})
    there = joined(await alice.sync(since, use_state_after="true"), room)
    assert "state" not in there
    assert [e["event_id"] for e in there["state_after"]["events"]] == [event]
    assert [e["event_id"] for e in there["timeline"]["events"]] == [event]
    first = joined(await alice.sync(use_state_after="true"), room)
    assert ("m.room.topic", "") in kinds(first["state_after"]["events"])


async def test_event_fields_leave_out_the_rest(alice: Client, room: str) -> None:
    await alice.send(room, "trimmed")
    event = told(await alice.sync(filter={"event_fields": ["type", "content.body"]}), room)[-1]
    assert event["content"] == {"body": "trimmed"}
    assert "unsigned" not in event


# Counts and account data


async def test_unread_counts_rise_with_messages_and_fall_with_receipts(alice: Client, bob: Client, room: str) -> None:
    first = await alice.send(room, "one")
    second = await alice.send(room, "two")
    await bob.sees(room, second)

    async def unread() -> int:
        return int(joined(await bob.sync(), room)["unread_notifications"]["notification_count"])

    assert await unread() >= 2
    await bob.mark_read(room, first)
    assert await unread() == 1
    await bob.mark_read(room, second, "m.read.private")
    assert await unread() == 0
    third = await alice.send(room, "three")
    await bob.sees(room, third)
    assert bob.unread[room] == 1
    await bob.send(room, "an answer clears as well")
    assert await unread() == 0


async def test_a_mention_highlights(alice: Client, bob: Client, room: str) -> None:
    since = await token(bob)
    event = await alice.send(room, "bob!", **{"m.mentions": {"user_ids": [bob.user_id]}})
    body = await eventually(bob, since, lambda body: told(body, room))
    assert joined(body, room)["unread_notifications"]["highlight_count"] == 1
    await bob.mark_read(room, event)
    body = await eventually(bob, body["next_batch"], lambda body: room in body.get("rooms", {}).get("join", {}))
    counts = joined(body, room)["unread_notifications"]
    assert (counts["highlight_count"], counts["notification_count"]) == (0, 0)


async def test_account_data_reaches_the_other_devices(alice: Client, room: str) -> None:
    other = await alice.another_device()
    since = await token(other)
    await alice.put(path("user", alice.user_id, "account_data", "cn.hutong.colour"), {"colour": "jade"})
    await alice.put(path("user", alice.user_id, "rooms", room, "account_data", "m.tag"), {"tags": {"m.favourite": {}}})
    body = await other.sync(since, timeout=5_000)
    assert body["account_data"]["events"] == [{"type": "cn.hutong.colour", "content": {"colour": "jade"}}]
    there = joined(body, room)
    assert there["account_data"]["events"] == [{"type": "m.tag", "content": {"tags": {"m.favourite": {}}}}]
    assert "account_data" not in await other.sync(body["next_batch"])


# Bad input


@pytest.mark.parametrize("since", ["nonsense", "s72594_4483_1934", "h1.0.1", "h1.xyz.5.7.0", "r1.0.000000000000.5"])
async def test_a_malformed_token_is_refused(alice: Client, since: str) -> None:
    with refused("M_INVALID_PARAM", "since", 400):
        await alice.sync(since)


async def test_a_token_ahead_of_the_log_is_refused(alice: Client) -> None:
    parts = (await token(alice)).split(".")
    parts[2] = str(int(parts[2]) + 10_000)
    with refused("M_INVALID_PARAM", "since", 400):
        await alice.sync(".".join(parts))


async def test_a_token_of_another_region_or_generation_begins_anew(alice: Client, bob: Client, room: str) -> None:
    body = await alice.sync(await token(bob))
    assert ("m.room.create", "") in kinds(joined(body, room).get("state", {}).get("events", [])) | kinds(
        told(body, room)
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"filter": '{"room":'}, "filter"),
        ({"filter": '{"room":{"timeline":{"limit":"x"}}}'}, "limit"),
        ({"filter": "unknown"}, "filter"),
        ({"timeout": "soon"}, "timeout"),
        ({"full_state": "perhaps"}, "full_state"),
        ({"set_presence": "asleep"}, "set_presence"),
    ],
)
async def test_a_bad_parameter_is_refused_by_its_name(alice: Client, query: dict[str, str], field: str) -> None:
    answer = await alice.get("/sync", **query)
    assert answer.status == 400
    assert field in answer.error
