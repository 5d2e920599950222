from collections.abc import Callable

from hutong.ids import MemberRef, RoomNo
from hutong.typing_notices.board import TypingBoard

ROOM, OTHER = RoomNo(1), RoomNo(2)
ALICE, BOB = MemberRef(11), MemberRef(12)


class Clock:
    """An event loop's clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self._due: list[tuple[float, Callable[[], object]]] = []
        self.woken = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> None:
        self._due.append((when, callback))

    def pass_s(self, seconds: float) -> None:
        until = self.now + seconds
        while due := sorted((when, n) for n, (when, _) in enumerate(self._due) if when <= until):
            self.now, n = due[0]
            self.woken += 1
            self._due.pop(n)[1]()
        self.now = until


def board() -> tuple[TypingBoard, Clock, list[RoomNo]]:
    clock, told = Clock(), list[RoomNo]()
    return TypingBoard(clock, told.append), clock, told


def test_a_notice_ends_when_its_time_is_up() -> None:
    typing, clock, told = board()
    typing.set(ROOM, ALICE, 3_000)
    typing.set(ROOM, BOB, 5_000)
    clock.pass_s(2.9)
    assert typing.typists(ROOM) == [ALICE, BOB]
    clock.pass_s(0.2)
    assert typing.typists(ROOM) == [BOB]
    clock.pass_s(2)
    assert typing.typists(ROOM) == []
    assert told == [ROOM] * 4


def test_typing_on_prolongs_a_notice_and_tells_nobody_again() -> None:
    typing, clock, told = board()
    typing.set(ROOM, ALICE, 3_000)
    clock.pass_s(2)
    typing.set(ROOM, ALICE, 3_000)
    clock.pass_s(2)
    assert typing.typists(ROOM) == [ALICE]
    assert told == [ROOM]
    clock.pass_s(1.1)
    assert typing.typists(ROOM) == []


def test_a_shorter_notice_replaces_a_longer_one() -> None:
    typing, clock, _ = board()
    typing.set(ROOM, ALICE, 30_000)
    typing.set(ROOM, ALICE, 1_000)
    clock.pass_s(1.1)
    assert typing.typists(ROOM) == []


def test_stopping_tells_only_when_somebody_typed() -> None:
    typing, _, told = board()
    typing.set(ROOM, ALICE, 0)
    assert told == []
    typing.set(ROOM, ALICE, 1_000)
    typing.set(ROOM, ALICE, 0)
    assert told == [ROOM, ROOM]
    assert typing.typists(ROOM) == []


def test_a_reader_is_told_the_rooms_that_changed_after_its_number() -> None:
    typing, _, _ = board()
    typing.set(ROOM, ALICE, 1_000)
    mark = typing.eph
    typing.set(OTHER, BOB, 1_000)
    assert typing.changed_after(mark) == [OTHER]
    typing.set(ROOM, BOB, 1_000)
    assert set(typing.changed_after(mark)) == {ROOM, OTHER}
    assert typing.changed_after(typing.eph) == []


def test_few_rooms_are_not_looked_for_among_all_changes() -> None:
    typing, _, _ = board()
    typing.set(ROOM, ALICE, 1_000)
    mark = typing.eph
    assert typing.changed_among({ROOM, OTHER}, mark) == []
    assert typing.changed_among({ROOM, OTHER}, mark - 1) == [ROOM]
    for number in range(100):
        typing.set(RoomNo(100 + number), BOB, 1_000)
    typing.set(OTHER, BOB, 1_000)
    typing.changed_after = never  # type: ignore[method-assign]
    assert typing.changed_among({ROOM, OTHER}, mark) == [OTHER]


def never(eph: int) -> list[RoomNo]:
    raise AssertionError("it went through the hundred rooms of others")


def test_a_room_full_of_typists_takes_no_more() -> None:
    typing, clock, _ = board()
    for number in range(300):
        typing.set(ROOM, MemberRef(number), 1_000)
    assert len(typing.typists(ROOM)) == 200
    clock.pass_s(2)
    assert typing.typists(ROOM) == []


def test_short_notices_leave_no_timers_behind_that_go_on_for_ever() -> None:
    typing, clock, _ = board()
    for _ in range(100):
        typing.set(ROOM, BOB, 5_000)
        typing.set(ROOM, ALICE, 10)
        clock.pass_s(0.02)
    for second in range(40):
        if second == 20:
            clock.woken = 0
        typing.set(ROOM, BOB, 5_000)
        clock.pass_s(1)
    assert clock.woken <= 20
