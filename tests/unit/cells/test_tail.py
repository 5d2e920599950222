"""The end of the log in memory: what it holds, what it forgets, and whom it wakes."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.cells import tail as tail_module
from hutong.cells.codes import LogKind
from hutong.cells.records import Envelope, Event, Record, Words
from hutong.cells.tail import LATEST, Tail
from hutong.ids import AccountNo, HomeNo, MemberRef, Minute, Pos, RoomNo, Seq
from hutong.rooms.event_types import MESSAGE

ALICE, BOB = MemberRef(-11), MemberRef(12)
ROOM, OTHER = RoomNo(1), RoomNo(2)


def event(pos: int, room: RoomNo = ROOM, sender: MemberRef = ALICE) -> Record:
    env = Envelope(
        room=room, seq=Seq(pos), event_id=pos.to_bytes(16, "big"), home=HomeNo(4_096), sender=sender, type=MESSAGE,
        skey=None, value=None, rel_seq=None, rel_type=None, minute=Minute(1), notes=0, prev_seq=None,
        redacted_by=None,
    )  # fmt: skip
    words = Words(0, "m.room.message", None, b"{}")
    return Record(pos=Pos(pos), kind=LogKind.EVENT, room=room, event=Event(pos=Pos(pos), env=env), words=words)


def own(pos: int, account: int, room: RoomNo = ROOM) -> Record:
    return Record(pos=Pos(pos), kind=LogKind.MEMBERSHIP, room=room, account=AccountNo(account))


def positions(records: list[Record]) -> list[int]:
    return [record.pos for record in records]


def test_a_room_is_told_without_what_concerns_one_account_alone() -> None:
    tail = Tail(Pos(0))
    tail.publish([event(1), own(2, 7), event(3, OTHER), event(4)], Pos(4))
    assert positions(tail.of_room(ROOM, Pos(0))) == [1, 4]
    assert positions(tail.of_room(ROOM, Pos(1))) == [4]
    assert positions(tail.of_account(AccountNo(7), Pos(0))) == [2]
    assert tail.of_room(ROOM, Pos(4)) == tail.of_account(AccountNo(8), Pos(0)) == []


@given(st.lists(st.tuples(st.sampled_from([ROOM, OTHER]), st.sampled_from([0, 7, 8])), max_size=40), st.integers(1, 9))
def test_after_trimming_it_still_tells_everything_that_it_says_it_can(
    kinds: list[tuple[RoomNo, int]], records_max: int
) -> None:
    tail = Tail(Pos(0), records_max)
    records = [own(pos, account, room) if account else event(pos, room) for pos, (room, account) in enumerate(kinds, 1)]
    for record in records:
        tail.publish([record], record.pos)
    assert tail.start == max(0, len(records) - records_max)
    for since in range(tail.start, tail.head + 1):
        assert tail.reaches(Pos(since))
        for room in (ROOM, OTHER):
            wanted = [r.pos for r in records if not r.account and r.room == room and r.pos > since]
            assert positions(tail.of_room(room, Pos(since))) == wanted
        for account in (7, 8):
            wanted = [r.pos for r in records if r.account == account and r.pos > since]
            assert positions(tail.of_account(AccountNo(account), Pos(since))) == wanted
    assert not tail.reaches(Pos(tail.start - 1))
    kept = [*tail._by_room.values(), *tail._by_account.values()]
    assert sum(map(len, kept)) == min(len(records), records_max)
    assert all(kept), "nothing is kept for a room or an account of which nothing is told"


def test_who_waits_is_woken_for_each_record_and_sees_all_of_the_batch() -> None:
    tail = Tail(Pos(0))
    seen: list[tuple[str, int, int]] = []

    def waiter(record: Record | None) -> None:
        if record is not None:
            seen.append(("room" if not record.account else "own", record.pos, tail.head))

    tail.subscribe(waiter, [ROOM], [AccountNo(7)])
    tail.publish([event(1), own(2, 7), event(3, OTHER), own(4, 8), event(5)], Pos(5))
    assert seen == [("room", 1, 5), ("own", 2, 5), ("room", 5, 5)]
    tail.unsubscribe(waiter, [ROOM], [AccountNo(7)])
    tail.publish([event(6)], Pos(6))
    assert len(seen) == 3
    assert not tail.watched(ROOM)


def test_a_redacted_event_keeps_its_place_and_loses_its_words() -> None:
    tail = Tail(Pos(0))
    tail.publish([event(1), event(2)], Pos(2))
    tail.redact(ROOM, Seq(1), Seq(9))
    first, second = tail.of_room(ROOM, Pos(0))
    assert first.event is not None
    assert (first.event.env.redacted_by, first.words) == (9, None)
    assert second.words is not None


def test_of_an_erased_person_no_words_are_left() -> None:
    tail = Tail(Pos(0))
    tail.publish([event(1), event(2, sender=BOB), event(3, OTHER)], Pos(3))
    tail.forget_words(ROOM, ALICE)
    assert [record.words is None for record in tail.of_room(ROOM, Pos(0))] == [True, False]
    assert tail.of_room(OTHER, Pos(0))[0].words is not None


def test_after_a_reset_nothing_before_it_is_told() -> None:
    tail = Tail(Pos(0))
    tail.publish([event(1), own(2, 7)], Pos(2))
    tail.reset(Pos(5))
    assert (tail.head, tail.start, tail.resets) == (5, 5, 1)
    assert tail.of_room(ROOM, Pos(0)) == tail.of_account(AccountNo(7), Pos(0)) == []
    assert not tail.reaches(Pos(4))


def receipts(pos: int, room: RoomNo = ROOM) -> Record:
    return Record(pos=Pos(pos), kind=LogKind.RECEIPTS, room=room)


async def test_receipts_wait_for_other_news_of_their_room_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "RIDE_S", 0.01)
    tail, told, arrived = Tail(Pos(0)), list[Pos | None](), asyncio.Event()

    def waiter(record: Record | None) -> None:
        told.append(None if record is None else record.pos)
        if record is None:
            arrived.set()

    tail.subscribe(waiter, [ROOM])
    tail.publish([receipts(1)], Pos(1))
    tail.publish([event(2)], Pos(2))
    tail.publish([receipts(3), event(4)], Pos(4))
    assert not tail._riding, "an event took them along"
    tail.publish([receipts(5), event(6, OTHER), own(7, 7), receipts(8)], Pos(8))
    assert list(tail._riding) == [ROOM], "nobody watches the other room, and what one account hears is no ride"
    async with asyncio.timeout(5):
        await arrived.wait()
    assert told == [1, 2, 3, 4, 5, 8, None]
    assert not tail._riding


def test_an_event_is_found_among_the_latest() -> None:
    tail = Tail(Pos(0))
    tail.publish([event(pos) for pos in range(1, LATEST + 2)], Pos(LATEST + 1))
    tail.publish([event(LATEST + 2, OTHER)], Pos(LATEST + 2))
    found = tail.find(ROOM, (2).to_bytes(16, "big"))
    assert found is not None
    assert found.seq == 2
    assert tail.find(ROOM, (1).to_bytes(16, "big")) is None, "it is looked for no further"
    assert tail.find(ROOM, (LATEST + 2).to_bytes(16, "big")) is None, "it is in another room"
    places = [Seq(place) for place in (1, 2, LATEST, LATEST + 2)]
    ids = {Seq(place): place.to_bytes(16, "big") for place in (2, LATEST)}
    assert tail.ids_at(ROOM, places) == ids, "they are looked for as far, and in this room"
    assert tail.ids_at(ROOM, []) == tail.ids_at(RoomNo(3), places) == {}
