"""What a reader is told while the home of somebody's words is slow or cut off: nothing false, nothing lost."""

import asyncio

import pytest

from hutong.ids import CellNo
from hutong.node import Node
from tests.api.test_sync import eventually, token, told
from tests.support.client import Client, Json
from tests.support.ways import CN, EU, RU, Ways, forget_words


def texts(body: Json, room: str) -> list[str]:
    return [event["content"].get("body") for event in told(body, room)]


TOO_SLOW_S = 1.3
"""Longer than a reader waits for words, shorter than it takes to count as cut off."""


async def talk(alice: Client, bob: Client, carol: Client, lane: str) -> str:
    """alice of cn, bob of eu and alice again speak; carol of ru has the copies. Returns her token from before."""
    other = await carol.another_device()
    since = await token(carol)
    for speaker, text in ((alice, "first"), (bob, "second"), (alice, "third")):
        event = await speaker.send(lane, text)
        for listener in (alice, bob, other):
            await listener.sees(lane, event)
    return since


async def test_an_answer_ends_before_what_is_slow_and_goes_on_afterwards(
    node: Node, alice: Client, bob: Client, carol: Client, lane: str, ways: Ways
) -> None:
    since = await talk(alice, bob, carol, lane)
    forget_words(node, "ru")
    ways.one(RU, EU, delay_s=TOO_SLOW_S)
    body = await carol.sync(since)
    assert texts(body, lane) == ["first"]
    stuck = await carol.sync(body["next_batch"], timeout=100)
    assert "rooms" not in stuck
    assert stuck["next_batch"] == body["next_batch"]
    waiting = asyncio.create_task(carol.sync(stuck["next_batch"], timeout=20_000))
    await asyncio.sleep(0)
    ways.heal()
    async with asyncio.timeout(10):
        assert texts(await waiting, lane) == ["second", "third"]


async def test_a_first_sync_waits_for_what_is_slow(
    node: Node, alice: Client, bob: Client, carol: Client, lane: str, ways: Ways
) -> None:
    await talk(alice, bob, carol, lane)
    forget_words(node, "ru")
    ways.one(RU, EU, delay_s=TOO_SLOW_S)
    waiting = asyncio.create_task(carol.sync())
    await asyncio.wait([waiting], timeout=TOO_SLOW_S)
    assert not waiting.done()
    ways.heal()
    assert texts(await waiting, lane)[-3:] == ["first", "second", "third"]


async def test_a_first_sync_says_when_a_region_is_too_slow_for_it(
    node: Node, alice: Client, bob: Client, carol: Client, lane: str, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hutong.sync.poll.SLOW_WAIT_S", 0.1)
    await talk(alice, bob, carol, lane)
    forget_words(node, "ru")
    ways.one(RU, EU, delay_s=TOO_SLOW_S)
    answer = await carol.get("/sync")
    assert (answer.status, answer.body["hutong.region"]) == (503, "eu")


async def test_an_invitation_from_a_region_that_is_cut_off_still_says_who_invites(
    alice: Client, carol: Client, ways: Ways
) -> None:
    since = await token(carol)
    room = await alice.create_room(name="Tea house")
    await alice.invite(room, carol)
    await eventually(carol, since, lambda body: room in body.get("rooms", {}).get("invite", {}))
    await ways.cut_and_noticed(CN)
    body = await carol.sync()
    [event] = body["rooms"]["invite"][room]["invite_state"]["events"]
    assert (event["type"], event["sender"]) == ("m.room.member", alice.user_id)
    assert event["state_key"] == carol.user_id


async def test_a_slow_home_holds_up_its_own_words_only(
    node: Node, alice: Client, bob: Client, carol: Client, lane: str, ways: Ways
) -> None:
    since = await talk(alice, bob, carol, lane)
    forget_words(node, "ru")
    ways.one(RU, EU, delay_s=0.2)
    assert texts(await carol.sync(since), lane) == ["first", "second", "third"]


async def test_whatever_was_said_abroad_is_told_however_much_it_is(
    node: Node, bob: Client, carol: Client, lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer of another cell has more than so many bytes of words; the reader's cell asks for the rest."""
    said = [f"{n} " + "long " * 6_000 for n in range(8)]
    for text in said:
        event = await bob.send(lane, text)
    await carol.sees(lane, event)
    forget_words(node, "ru")
    monkeypatch.setattr("hutong.cells.link.MESSAGE_BYTES_MAX", 100_000)
    monkeypatch.setattr("hutong.cells.words.ANSWER_BYTES_MAX", 50_000)
    assert texts(await carol.sync(), lane)[-8:] == said
    forget_words(node, "ru")
    page = await carol.messages(lane, limit=8)
    assert [event["content"]["body"] for event in reversed(page["chunk"])] == said


def receipts(body: Json, room: str) -> Json:
    """event id -> type -> user id -> receipt"""
    ephemeral = body.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {"events": []})
    return next((event["content"] for event in ephemeral["events"] if event["type"] == "m.receipt"), {})


async def test_a_receipt_whose_owners_home_is_slow_is_told_afterwards(
    node: Node, alice: Client, bob: Client, carol: Client, lane: str, ways: Ways
) -> None:
    event = await alice.send(lane, "read me")
    for listener in (bob, carol):
        await listener.sees(lane, event)
    since = await token(carol)
    await bob.mark_read(lane, event)
    last = await alice.send(lane, "afterwards")
    await (await carol.another_device()).sees(lane, last)
    forget_words(node, "ru")
    ways.one(RU, EU, delay_s=TOO_SLOW_S)
    body = await carol.sync(since)
    assert receipts(body, lane) == {}
    ways.heal()
    seen: Json = receipts(body, lane)
    for _ in range(3):
        body = await carol.sync(body["next_batch"])
        seen |= receipts(body, lane)
    assert bob.user_id in seen[event]["m.read"]


async def test_a_receipt_is_told_when_a_slow_home_of_the_room_says_where_its_thread_begins(
    node: Node, alice: Client, carol: Client, ways: Ways
) -> None:
    room = await alice.create_room(preset="public_chat")
    root = await alice.send(room, "root")
    await carol.join(room)
    relation = {"rel_type": "m.thread", "event_id": root}
    reply = await alice.send_event(
        room, "m.room.message", {"msgtype": "m.text", "body": "in it", "m.relates_to": relation}
    )
    await carol.sees(room, reply)
    since = await token(carol)
    await alice.mark_read(room, reply, thread_id=root)
    last = await alice.send(room, "afterwards")
    await (await carol.another_device()).sees(room, last)
    node.slices[CellNo(RU)].sync.builder._roots._kept.clear()
    ways.one(RU, CN, delay_s=TOO_SLOW_S)
    body = await carol.sync(since)
    assert receipts(body, room) == {}
    ways.heal()
    seen: Json = {}
    for _ in range(3):
        body = await carol.sync(body["next_batch"])
        seen |= receipts(body, room)
    assert seen[reply]["m.read"][alice.user_id]["thread_id"] == root


async def test_an_own_move_after_the_unreadable_loses_nothing_before_it(
    node: Node, alice: Client, bob: Client, carol: Client, lane: str, ways: Ways
) -> None:
    since = await talk(alice, bob, carol, lane)
    await carol.put(f"/profile/{carol.user_id}/displayname", {"displayname": "Carol"})
    await carol.until(lambda: "displayname" in str(carol.timeline[lane]), "her own new name")
    forget_words(node, "ru")
    slices = node.slices[CellNo(RU)]
    who = await slices.accounts.sessions.resolve(carol.token)
    slices.sync.sessions.end(who.account)  # her session begins anew: it knows her last move only
    ways.one(RU, EU, delay_s=TOO_SLOW_S)
    body = await carol.sync(since)
    assert texts(body, lane) == ["first"]
    ways.heal()
    seen: list[str] = []
    while "third" not in seen:
        body = await carol.sync(body["next_batch"], timeout=2_000)
        seen += texts(body, lane)
    assert seen[:2] == ["second", "third"]
