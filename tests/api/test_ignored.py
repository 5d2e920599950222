"""Whom somebody ignores: what they say is not told, what they set as state is, and they are not counted."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from hutong.ids import CellNo
from tests.support.client import Client, path

if TYPE_CHECKING:
    from hutong.node import Node


async def ignore(person: Client, *whom: Client, content: Any = None) -> None:
    content = {"ignored_users": {each.user_id: {} for each in whom}} if content is None else content
    await person.ok("PUT", path("user", person.user_id, "account_data", "m.ignored_user_list"), content)


def said(told: dict[str, Any], room: str) -> list[str]:
    """The texts in the timeline of one answer."""
    events = told.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", [])
    return [event["content"]["body"] for event in events if "body" in event["content"]]


async def test_only_the_state_of_who_is_ignored_is_told(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    since = (await alice.sync())["next_batch"]
    await ignore(alice, bob)
    await bob.send(lane, "unheard")
    levels = await alice.get_state(lane, "m.room.power_levels")
    await alice.set_state(lane, "m.room.power_levels", {**levels, "events": {}, "state_default": 0})
    name = await bob.set_state(lane, "m.room.name", {"name": "Bob's"})
    last = await carol.send(lane, "heard")
    await alice.sees(lane, last)
    for told in (await alice.sync(), await alice.sync(since)):
        assert said(told, lane) == ["heard"]
        assert name in [event["event_id"] for event in told["rooms"]["join"][lane]["timeline"]["events"]]
    fresh = await alice.another_device()
    assert said(await fresh.sync(), lane) == ["heard"], "every device"


async def test_it_holds_at_once_and_what_was_missed_stays_missed(
    alice: Client, bob: Client, carol: Client, lane: str
) -> None:
    """By the tail: a client that waits."""
    await alice.poll()
    await ignore(alice, bob)
    await bob.send(lane, "unheard")
    first = await carol.send(lane, "first")
    await alice.sees(lane, first)
    await ignore(alice)
    again = await bob.send(lane, "heard again")
    await alice.sees(lane, again)
    bodies = [event["content"]["body"] for event in alice.timeline[lane] if "body" in event["content"]]
    assert bodies == ["first", "heard again"]
    assert said(await alice.sync(), lane) == ["unheard", "first", "heard again"], "a fresh sync has them"


async def test_who_is_ignored_is_not_counted(alice: Client, bob: Client, carol: Client, lane: str) -> None:
    await alice.poll()
    await ignore(alice, bob)
    you = {"m.mentions": {"user_ids": [alice.user_id]}}
    root = await carol.send(lane, "root", **you)
    for n in range(3):
        await bob.send(lane, f"unheard {n}", **you)
    await bob.send(lane, "in a thread", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    last = await carol.send(lane, "heard")
    await alice.sees(lane, last)
    assert alice.unread[lane] == 2
    for device in (alice, await alice.another_device()):
        counted = (await device.sync())["rooms"]["join"][lane]["unread_notifications"]
        assert counted == {"notification_count": 2, "highlight_count": 1}
    await ignore(alice)
    counted = (await alice.sync())["rooms"]["join"][lane]["unread_notifications"]
    assert counted == {"notification_count": 6, "highlight_count": 4}


async def test_an_invitation_by_who_is_ignored_is_not_told(alice: Client, bob: Client, carol: Client) -> None:
    since = (await alice.sync())["next_batch"]
    await ignore(alice, bob)
    unwanted = await bob.create_room(invite=[alice.user_id])
    wanted = await carol.create_room(invite=[alice.user_id])
    await alice.until(lambda: wanted in alice.invitations, "carol's invitation")
    for told in (await alice.sync(), await alice.sync(since)):
        assert list(told["rooms"]["invite"]) == [wanted]
    assert unwanted not in alice.invitations
    await ignore(alice)
    assert set((await alice.sync())["rooms"]["invite"]) == {wanted, unwanted}


async def test_a_list_that_makes_no_sense_ignores_nobody(alice: Client, bob: Client, room: str) -> None:
    for nonsense in ({}, {"ignored_users": [bob.user_id]}, {"ignored_users": 5}, {"ignored_users": {"": {}, "x": 1}}):
        await ignore(alice, content=nonsense)
        event = await bob.send(room, "heard")
        await alice.sees(room, event)
    await ignore(alice, alice, bob)
    own = await alice.send(room, "myself")
    await alice.sees(room, own)


class Counted(list[Any]):
    """A list that counts how often it is gone through."""

    passes = 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return super().__iter__()


async def test_what_is_loud_is_not_gone_through_for_each_room(
    node: "Node", alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        room = await alice.create_room(preset="public_chat")
        await bob.join(room)
        await alice.sees(room, await bob.send(room, "unheard"))
    await ignore(alice, bob)
    reads, told = node.slices[CellNo(alice.cell)].sync.reads, []
    loud = reads.loud

    async def counted(*arguments: Any) -> Counted:
        told.append(Counted(await loud(*arguments)))
        return told[-1]

    monkeypatch.setattr(reads, "loud", counted)
    await (await alice.another_device()).sync()
    assert [(len(each), each.passes) for each in told] == [(4, 2)], "for the names, and for the rooms"
