"""Sessions over a real tail; what the tables would say comes from a small stand-in."""

from collections.abc import Collection

import pytest

from hutong.cells.codes import LogKind
from hutong.cells.records import Record
from hutong.cells.sync_reads import MyRoom
from hutong.cells.tail import Tail
from hutong.ids import AccountNo, DeviceNo, HomeNo, Pos, RoomNo, Seq
from hutong.rooms.event_types import Membership
from hutong.sync.session import IDLE_S, Session, Sessions
from tests.unit.sync.people import ALICE, BOB, ROOM, move, record

ACCOUNT, PHONE = AccountNo(7), DeviceNo(70)
OTHER = RoomNo(99)


class Tables:
    """The rooms of one account, as `SyncReads.my_rooms` would find them."""

    def __init__(self) -> None:
        self.rooms: list[MyRoom] = []
        self.reads = 0
        self.away = False

    async def my_rooms(self, account: AccountNo, upto: Pos, only: Collection[RoomNo] | None = None) -> list[MyRoom]:
        if self.away:
            raise ConnectionError
        self.reads += 1
        return [row for row in self.rooms if row.pos <= upto and (only is None or row.room in only)]

    def member(self, seq: int, pos: int, membership: Membership, room: RoomNo = ROOM) -> None:
        self.rooms = [row for row in self.rooms if row.room != room]
        self.rooms.append(
            MyRoom(room, ALICE, False, bytes(16), HomeNo(1), 12, Seq(0), Seq(seq), Pos(pos), int(membership))
        )


def sessions(tail: Tail, tables: Tables) -> Sessions:
    return Sessions(tail, tables, lambda _: "cn.localhost")  # type: ignore[arg-type]


def publish(tail: Tail, *records: Record) -> None:
    tail.publish(records, records[-1].pos)


def moved(pos: int) -> Record:
    return Record(pos=Pos(pos), kind=LogKind.MEMBERSHIP, room=ROOM, account=ACCOUNT)


async def test_a_session_hears_of_its_rooms_and_reads_them_once() -> None:
    tail, tables = Tail(Pos(5)), Tables()
    tables.member(1, 1, Membership.JOIN)
    all = sessions(tail, tables)
    session = all.open(ACCOUNT, PHONE)
    assert await all.refresh(session) == 5
    publish(tail, record(1))
    assert await all.refresh(session) == 10
    assert session.last[ROOM] == session.last_pos == 10
    assert tables.reads == 1
    assert all.open(ACCOUNT, PHONE) is session
    all.stop()


async def test_a_session_of_many_rooms_looks_only_at_those_with_news() -> None:
    session, compared = Session(ACCOUNT, PHONE), list[int]()

    class Compared(int):
        def __gt__(self, other: int) -> bool:
            compared.append(int(self))
            return int(self) > other

    def tell(room: int, pos: int) -> None:
        session(Record(pos=Pos(Compared(pos)), kind=LogKind.RECEIPTS, room=RoomNo(room)))

    for room in range(1_000):
        tell(room, room)
    tell(7, 1_000)
    assert session.touched_after(Pos(998)) == [7, 999]
    assert compared == [1_000, 999, 998]
    tell(5, 1_001)
    assert session.touched_after(Pos(999)) == [5, 7]


class Waiter:
    """Counts how often it is told of news, and waits no more then."""

    def __init__(self, session: Session) -> None:
        self.told = 0
        self._session = session
        session.wait(self)

    def has_news(self) -> None:
        self.told += 1
        self._session.wait_no_more(self)


async def test_a_wait_ends_with_a_record_or_a_nudge_and_is_told_once() -> None:
    tail, tables = Tail(Pos(5)), Tables()
    tables.member(1, 1, Membership.JOIN)
    all = sessions(tail, tables)
    session = all.open(ACCOUNT, PHONE)
    await all.refresh(session)
    waiters = [Waiter(session) for _ in range(3)]
    session.wait_no_more(waiters[1])
    publish(tail, record(1), record(2))
    assert [waiter.told for waiter in waiters] == [1, 0, 1]
    nudged = Waiter(session)
    tail.nudge(ROOM)
    tail.nudge(ROOM)
    assert nudged.told == 1
    all.stop()


async def test_a_room_joined_meanwhile_is_heard_of_from_its_join_on() -> None:
    tail, tables = Tail(Pos(5)), Tables()
    all = sessions(tail, tables)
    session = all.open(ACCOUNT, PHONE)
    await all.refresh(session)
    joined = move(2, ALICE, Membership.JOIN)
    tables.member(2, 20, Membership.JOIN)
    publish(tail, Record(pos=Pos(20), kind=LogKind.EVENT, room=ROOM, event=joined), moved(21), record(3))
    assert await all.refresh(session) == 30
    own = session.rooms[ROOM]
    assert [(m.seq, m.pos, m.membership) for m in own.history] == [(2, 20, Membership.JOIN)]
    assert session.last[ROOM] == 30, "the message after the join came before anybody listened"
    assert session.before(own, Pos(5), Pos(30)).membership == 0
    publish(tail, record(4))
    assert session.last_pos == 40
    all.stop()


async def test_every_move_between_two_looks_is_known() -> None:
    tail, tables = Tail(Pos(15)), Tables()
    tables.member(1, 10, Membership.JOIN)
    all = sessions(tail, tables)
    session = all.open(ACCOUNT, PHONE)
    await all.refresh(session)
    tables.member(4, 40, Membership.JOIN)
    publish(
        tail,
        Record(pos=Pos(20), kind=LogKind.EVENT, room=ROOM, event=move(2, ALICE, Membership.LEAVE)),
        moved(21),
        Record(pos=Pos(30), kind=LogKind.EVENT, room=ROOM, event=move(3, BOB, Membership.LEAVE)),
        Record(pos=Pos(40), kind=LogKind.EVENT, room=ROOM, event=move(4, ALICE, Membership.JOIN)),
        moved(41),
    )
    await all.refresh(session)
    own = session.rooms[ROOM]
    assert [m.seq for m in own.history] == [1, 2, 4]
    assert session.before(own, Pos(15), Pos(41)).broken
    assert not session.before(own, Pos(15), Pos(21)).broken, "joined until the leave itself"
    assert session.before(own, Pos(25), Pos(41)).membership == Membership.LEAVE
    assert not session.before(own, Pos(40), Pos(41)).broken
    all.stop()


async def test_rooms_are_read_anew_after_the_tail_forgot_everything() -> None:
    tail, tables = Tail(Pos(15)), Tables()
    tables.member(1, 10, Membership.JOIN)
    all = sessions(tail, tables)
    session = all.open(ACCOUNT, PHONE)
    await all.refresh(session)
    tail.reset(Pos(90))
    await all.refresh(session)
    assert (tables.reads, session.loaded) == (2, 90)
    all.stop()


async def test_a_session_whose_rooms_could_not_be_read_reads_them_again() -> None:
    tail, tables = Tail(Pos(15)), Tables()
    tables.member(1, 10, Membership.JOIN)
    all = sessions(tail, tables)
    session = all.open(ACCOUNT, PHONE)
    tables.away = True
    with pytest.raises(ConnectionError):
        await all.refresh(session)
    tables.away = False
    await all.refresh(session)
    assert set(session.rooms) == {ROOM}
    tables.member(2, 20, Membership.LEAVE)
    publish(tail, Record(pos=Pos(20), kind=LogKind.EVENT, room=ROOM, event=move(2, ALICE, Membership.LEAVE)), moved(21))
    tables.away = True
    with pytest.raises(ConnectionError):
        await all.refresh(session)
    tables.away = False
    await all.refresh(session)
    assert session.rooms[ROOM].history[-1].membership == Membership.LEAVE
    all.stop()


async def test_a_log_out_ends_the_wait_and_the_session() -> None:
    tail, tables = Tail(Pos(5)), Tables()
    tables.member(1, 1, Membership.JOIN)
    all = sessions(tail, tables)
    session = all.open(ACCOUNT, PHONE)
    await all.refresh(session)
    waiter = Waiter(session)
    all.end(ACCOUNT, DeviceNo(71))
    assert (session.ended, waiter.told) == (False, 0)
    all.end(ACCOUNT)
    assert (session.ended, waiter.told) == (True, 1)
    assert not tail.watched(ROOM)
    assert len(all) == 0
    all.stop()


async def test_a_session_ends_some_time_after_its_last_poll() -> None:
    tail, tables = Tail(Pos(5)), Tables()
    tables.member(1, 1, Membership.JOIN)
    all = sessions(tail, tables)
    session = all.open(ACCOUNT, PHONE)
    await all.refresh(session)
    all._end_idle()
    assert len(all) == 1, "it still polls"
    all.close(session)
    all._end_idle()
    assert len(all) == 1, "its client may poll on"
    session.used_at -= IDLE_S
    all._end_idle()
    assert len(all) == 0
    assert not tail.watched(ROOM)
    all.stop()
