"""Unread counts as clients get them: by thread, of mentions, and the same in every region."""

import json
from typing import Any

from tests.support.client import Client, path

THREADS = json.dumps({"room": {"timeline": {"unread_thread_notifications": True, "limit": 1}}})


def in_thread(root: str) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}


async def unread(person: Client, room: str, **query: Any) -> tuple[int, int]:
    """Notifications and highlights of the whole room, as a device is told that comes new."""
    told = (await person.sync(**query))["rooms"]["join"][room]["unread_notifications"]
    return told["notification_count"], told["highlight_count"]


async def by_thread(person: Client, room: str) -> dict[str, tuple[int, int]]:
    told = (await person.sync(filter=THREADS))["rooms"]["join"][room]
    lines = {"main": told["unread_notifications"], **told.get("unread_thread_notifications", {})}
    return {line: (counted["notification_count"], counted["highlight_count"]) for line, counted in lines.items()}


async def test_each_thread_is_counted_and_cleared_for_itself(
    alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    root = await alice.send(lane, "root")
    plain = await alice.send(lane, "plain")
    first = await alice.send(lane, "in the thread", **in_thread(root))
    last = await alice.send(lane, "in the thread, for you", **in_thread(root), **mention(bob, carol))
    for person in (bob, carol):
        await person.sees(lane, last)
        assert await by_thread(person, lane) == {"main": (2, 0), root: (2, 1)}
        assert await unread(person, lane) == (4, 1)
        await person.mark_read(lane, first, thread_id=root)
        assert await by_thread(person, lane) == {"main": (2, 0), root: (1, 1)}
        await person.mark_read(lane, plain, "m.read.private", thread_id="main")
        assert await by_thread(person, lane) == {"main": (0, 0), root: (1, 1)}
        await person.mark_read(lane, last)
        assert await by_thread(person, lane) == {"main": (0, 0)}
    assert await unread(alice, lane) == (0, 0)


async def test_a_waiting_client_is_told_of_threads_as_they_change(alice: Client, bob: Client, room: str) -> None:
    """By the tail, and what it tells is what a device is told that comes new."""
    root = await alice.send(room, "root")
    await bob.sees(room, root)
    await bob.mark_read(room, root)
    since = (await bob.sync(filter=THREADS))["next_batch"]
    for _ in range(2):
        await alice.send(room, "in the thread", **in_thread(root))
        told = await bob.sync(since, timeout=10_000, filter=THREADS)
        since = told["next_batch"]
    here = told["rooms"]["join"][room]
    assert here["unread_thread_notifications"] == {root: {"notification_count": 2, "highlight_count": 0}}
    assert here["unread_notifications"] == {"notification_count": 0, "highlight_count": 0}
    assert await by_thread(bob, room) == {"main": (0, 0), root: (2, 0)}
    await bob.send(room, "an answer", **in_thread(root))
    assert await by_thread(bob, room) == {"main": (0, 0)}


async def test_what_relates_to_something_in_a_thread_is_in_it(alice: Client, bob: Client, room: str) -> None:
    root = await alice.send(room, "root")
    reply = await alice.send(room, "reply", **in_thread(root))
    await bob.sees(room, reply)
    await bob.mark_read(room, reply)
    far = await alice.send(room, "a reference", **{"m.relates_to": {"rel_type": "m.reference", "event_id": reply}})
    further = await alice.send(room, "and to that", **{"m.relates_to": {"rel_type": "m.reference", "event_id": far}})
    await alice.send(room, "too far", **{"m.relates_to": {"rel_type": "m.reference", "event_id": further}})
    beside = await alice.send(room, "beside", **{"m.relates_to": {"rel_type": "m.reference", "event_id": root}})
    await bob.sees(room, beside)
    assert await by_thread(bob, room) == {"main": (2, 0), root: (2, 0)}
    wrong = await bob.post(path("rooms", room, "receipt", "m.read", far), {"thread_id": "main"})
    assert (wrong.status, wrong.errcode) == (400, "M_INVALID_PARAM")
    await bob.mark_read(room, further, thread_id=root)
    assert await by_thread(bob, room) == {"main": (2, 0)}


async def test_a_mention_of_the_room_highlights_for_all_if_its_sender_may(
    alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    everybody = {"m.mentions": {"room": True}}
    vain = await bob.send(lane, "everybody!", **everybody)
    await carol.sees(lane, vain)
    assert await unread(carol, lane) == (1, 0), "bob may not"
    heard = await alice.send(lane, "everybody!", **everybody)
    for person in (bob, carol):
        told = await person.sees(lane, heard)
        assert told["content"]["m.mentions"] == {"room": True}
    assert await unread(bob, lane) == (1, 1)
    assert await unread(carol, lane) == (2, 1)
    levels = await alice.get_state(lane, "m.room.power_levels")
    await alice.set_state(lane, "m.room.power_levels", {**levels, "notifications": {"room": 0}})
    again = await carol.send(lane, "everybody!", **everybody)
    await bob.sees(lane, again)
    assert await unread(bob, lane) == (2, 2)


def mention(*people: Client) -> dict[str, Any]:
    return {"m.mentions": {"user_ids": [person.user_id for person in people]}}


async def test_a_mention_highlights_in_any_event_but_a_notice(alice: Client, bob: Client, room: str) -> None:
    event = await alice.send(room, "hello")
    await bob.sees(room, event)
    await bob.mark_read(room, event)
    await alice.send_event(room, "org.example.knock", mention(bob))
    edit = {"m.relates_to": {"rel_type": "m.replace", "event_id": event}, "m.new_content": {"body": "hello bob"}}
    last = await alice.send(room, "* hello bob", **edit, **mention(bob))
    await bob.sees(room, last)
    assert await unread(bob, room) == (2, 2)
    notice = await alice.send_event(room, "m.room.message", {"msgtype": "m.notice", "body": "hello", **mention(bob)})
    await bob.sees(room, notice)
    assert await unread(bob, room) == (2, 2)


async def test_what_makes_no_sound_is_not_counted(alice: Client, bob: Client, room: str) -> None:
    event = await alice.send(room, "hello")
    await bob.sees(room, event)
    await bob.mark_read(room, event)
    await alice.send_event(
        room, "m.reaction", {"m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": "👍"}}
    )
    await alice.send_event(room, "m.room.message", {"msgtype": "m.notice", "body": "a bot speaks"})
    await alice.set_state(room, "m.room.topic", {"topic": "quiet"})
    last = await alice.send_event(room, "org.example.own", {})
    await bob.sees(room, last)
    assert await unread(bob, room) == (0, 0)
    await alice.send_event(room, "m.call.invite", {"call_id": "c", "version": "1"})
    tombstone = await alice.set_state(room, "m.room.tombstone", {"body": "over", "replacement_room": room})
    await bob.sees(room, tombstone)
    assert await unread(bob, room) == (2, 1)


async def test_a_thread_from_before_somebody_abroad_came_is_counted(alice: Client, carol: Client, room: str) -> None:
    """Its root is not in the copy that carol's region keeps."""
    root = await alice.send(room, "root")
    await alice.send(room, "before carol came", **in_thread(root))
    await carol.join(room)
    last = await alice.send(room, "and after", **in_thread(root))
    await carol.sees(room, last)
    assert await by_thread(carol, room) == {"main": (0, 0), root: (1, 0)}
    await carol.mark_read(room, last, thread_id=root)
    assert await by_thread(carol, room) == {"main": (0, 0)}
    await carol.until(lambda: last in carol.receipts[room], "the receipt")
    assert carol.receipts[room][last]["m.read"][carol.user_id]["thread_id"] == root
