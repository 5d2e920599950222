"""The way between two regions fails in every manner: what a person sees, and that nothing is lost or doubled."""

import asyncio
import itertools
from typing import TYPE_CHECKING

from hutong.ids import CellNo, Seq, event_id_bytes
from tests.conftest import Newcomer
from tests.support.client import Answer, Client, Json, path
from tests.support.ways import CN, EU, RU, Ways

if TYPE_CHECKING:
    from hutong.node import Node

TEXT = {"msgtype": "m.text", "body": "once"}
SLOW_S = 0.9


async def attempt(person: Client, room: str, txn: str = "once", content: Json = TEXT) -> Answer:
    return await person.put(path("rooms", room, "send", "m.room.message", txn), content)


def is_away(answer: Answer, region: str) -> None:
    assert answer.status == 503, answer
    assert answer.body["hutong.region"] == region, answer
    assert int(answer.headers["Retry-After"]) >= 1
    assert region in answer.error


async def test_a_lost_reply_is_one_event_when_sent_again(alice: Client, carol: Client, lane: str, ways: Ways) -> None:
    ways.one(RU, CN, lose_replies=1)
    is_away(await attempt(carol, lane), "cn")
    sent = await attempt(carol, lane)
    assert sent.status == 200, sent
    for person in (alice, carol):
        await person.sees(lane, sent.body["event_id"])
        assert await person.texts(lane) == ["once"]


async def test_a_lost_reply_is_one_event_also_when_it_is_not_sent_again(
    alice: Client, carol: Client, lane: str, ways: Ways
) -> None:
    ways.one(RU, CN, lose_replies=1)
    is_away(await attempt(carol, lane), "cn")
    mark = await alice.send(lane, "after it")
    for person in (alice, carol):
        await person.sees(lane, mark)
        await person.until(lambda person=person: len(person.timeline[lane]) > 1, "the room")  # type: ignore[misc]
        assert await person.texts(lane) == ["once", "after it"]


async def test_a_doubled_call_is_one_event(alice: Client, bob: Client, carol: Client, lane: str, ways: Ways) -> None:
    for src, dest in itertools.permutations((CN, EU, RU), 2):
        ways.one(src, dest, double_calls=20)
    sent = [await person.send(lane, person.region) for person in (carol, bob, alice)]
    for person in (alice, bob, carol):
        for event_id in sent:
            await person.sees(lane, event_id)
        assert await person.texts(lane) == ["ru", "eu", "cn"]


async def test_a_doubled_leaving_is_a_leaving(alice: Client, carol: Client, lane: str, ways: Ways) -> None:
    """The second time, who has left is refused to leave: that must not take back the first."""
    ways.one(RU, CN, double_calls=1)
    await carol.leave(lane, reason="the kettle")
    await alice.until(
        lambda: (
            (event := alice.state[lane].get(("m.room.member", carol.user_id)))
            and event["content"] == {"membership": "leave", "reason": "the kettle"}
        ),
        "carol's leaving, with her words",
    )


async def test_one_cut_does_not_keep_others_from_being_settled(
    alice: Client, bob: Client, carol: Client, lane: str, node: "Node", ways: Ways
) -> None:
    """What ru has sent to cn waits for cn; what it has sent to eu, with the reply lost, is asked for meanwhile."""
    other = await bob.create_room(preset="public_chat")
    await carol.join(other)
    ways.one(RU, CN, cut=True)
    for txn in "abcd":  # so many that one of them has its turn first
        is_away(await attempt(carol, lane, txn), "cn")
    ways.one(RU, EU, lose_replies=1)
    ways.one(EU, RU, cut=True)  # nor may the event itself come back and say that it is there
    is_away(await attempt(carol, other), "eu")
    ways.one(RU, EU)
    reads = node.cells[CellNo(RU)].reads
    async with asyncio.timeout(30):
        while {cell_of(home) for _, _, home, _, _ in await reads.unsettled()} != {CN}:
            await asyncio.sleep(0.05)


def cell_of(home: int) -> int:
    return home // 4_096 * 256


async def test_what_cannot_be_done_now_says_which_region_is_away(carol: Client, lane: str, ways: Ways) -> None:
    ways.cut_off(CN)
    is_away(await attempt(carol, lane), "cn")
    answer = await carol.put(path("rooms", lane, "state", "m.room.topic"), {"topic": "x"})
    is_away(answer, "cn")
    ways.heal()
    assert (await attempt(carol, lane)).status == 200


async def test_who_gave_up_waiting_for_a_room_is_not_kept(carol: Client, lane: str, node: "Node") -> None:
    replication = node.cells[CellNo(RU)].replication
    room = node.cells[CellNo(RU)].view.room_no(lane)
    assert room is not None
    assert not await replication.wait_for(room, Seq(2**40), 0.01)
    waiting = asyncio.create_task(replication.wait_for(room, Seq(2**40), 60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert room not in replication._waiting


async def test_a_cut_elsewhere_is_not_felt(newcomer: Newcomer, bob: Client, ways: Ways) -> None:
    room = await bob.create_room(preset="public_chat")
    berta = await newcomer("berta", "eu")
    ways.cut_off(CN)
    async with asyncio.timeout(3):
        await berta.join(room)
        sent = await bob.send(room, "cn is away and we are not")
        await berta.sees(room, sent)


async def test_what_was_said_during_a_cut_arrives_after_it(
    alice: Client, bob: Client, carol: Client, lane: str, ways: Ways
) -> None:
    await carol.poll()
    ways.cut_off(RU)
    said = [await person.send(lane, f"{n} {person.region}") for n in range(3) for person in (alice, bob)]
    assert (await carol.sync(carol.since)).get("rooms", {}).get("join", {}).get(lane) is None
    ways.heal()
    for event_id in said:
        await carol.sees(lane, event_id)
    assert [event["event_id"] for event in carol.timeline[lane]][-6:] == said
    assert await carol.texts(lane) == await alice.texts(lane)


async def test_a_slow_region_is_only_slow(alice: Client, bob: Client, carol: Client, lane: str, ways: Ways) -> None:
    for other in (CN, EU):
        ways.both(RU, other, delay_s=SLOW_S)
    sent = await carol.send(lane, "from far away")
    for person in (alice, bob, carol):
        assert (await person.sees(lane, sent))["content"]["body"] == "from far away"
    near = await alice.send(lane, "near")
    await bob.sees(lane, near)
    await carol.sees(lane, near)
    assert await carol.texts(lane) == await alice.texts(lane) == ["from far away", "near"]


async def test_a_redaction_during_a_cut_holds_after_it(alice: Client, carol: Client, lane: str, ways: Ways) -> None:
    sent = await carol.send(lane, "take this back")
    await alice.sees(lane, sent)
    ways.cut_off(RU)
    await alice.redact(lane, sent)
    assert (await alice.event(lane, sent))["content"] == {}
    ways.heal()
    mark = await alice.send(lane, "mark")
    await carol.sees(lane, mark)
    assert (await carol.event(lane, sent))["content"] == {}


async def test_a_receipt_of_a_cut_room_counts_at_once_and_is_heard_of_after_the_heal(
    alice: Client, bob: Client, carol: Client, lane: str, ways: Ways
) -> None:
    """cn, the room's home, is away: carol's own devices know at once, everybody else once it is back."""
    root = await alice.send(lane, "read me")
    last = await alice.send(lane, "in a thread", **{"m.relates_to": {"rel_type": "m.thread", "event_id": root}})
    for person in (bob, carol):
        await person.sees(lane, last)
    phone = await carol.another_device()
    await phone.poll()
    assert phone.unread[lane] == 2
    ways.cut_off(CN)
    async with asyncio.timeout(2):
        await carol.mark_read(lane, root, thread_id="main")
        await carol.mark_read(lane, last, thread_id=root)
    await phone.until(lambda: phone.unread[lane] == 0, "that everything is read")
    for person in (alice, bob):
        assert carol.user_id not in str(person.receipts[lane])
    ways.heal()
    for person in (alice, bob, await bob.another_device()):
        await person.until(
            lambda person=person: (  # type: ignore[misc]
                (at := person.receipts[lane]).get(root, {}).get("m.read", {}).get(carol.user_id, {}).get("thread_id")
                == "main"
                and at.get(last, {}).get("m.read", {}).get(carol.user_id, {}).get("thread_id") == root
            ),
            "carol's receipts",
        )


async def test_of_many_receipts_during_a_cut_the_last_holds_after_it(
    alice: Client, bob: Client, carol: Client, lane: str, ways: Ways
) -> None:
    events = [await alice.send(lane, f"{n}") for n in range(4)]
    await carol.sees(lane, events[-1])
    ways.cut_off(RU)
    for event in events:
        await carol.mark_read(lane, event)
    await carol.mark_read(lane, events[0], "m.read.private")
    ways.heal()
    for person in (alice, bob):
        await person.until(
            lambda person=person: carol.user_id in str(person.receipts[lane].get(events[-1])),  # type: ignore[misc]
            "carol's last receipt",
        )
        fresh = await person.another_device()
        await fresh.poll()
        assert list(fresh.receipts[lane]) == [events[-1]]
        assert "m.read.private" not in str(fresh.receipts)


async def test_a_mention_during_a_cut_highlights_after_it(
    alice: Client, carol: Client, lane: str, newcomer: Newcomer, node: "Node", ways: Ways
) -> None:
    """Also where nobody looks at the room: the envelope says that somebody is named."""
    reads = node.cells[CellNo(RU)].reads
    clara = await newcomer("clara", "ru")
    await clara.join(lane)
    ways.cut_off(RU)
    sent = await alice.send(lane, "clara!", **{"m.mentions": {"user_ids": [clara.user_id]}})
    ways.heal()
    async with asyncio.timeout(15):
        while await reads.event_by_id(event_id_bytes(sent) or b"") is None:
            await asyncio.sleep(0.05)
    for person, highlights in ((clara, 1), (carol, 0)):
        counted = (await person.sync())["rooms"]["join"][lane]["unread_notifications"]
        assert counted["highlight_count"] == highlights
