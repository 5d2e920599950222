"""First syncs, pages, joins and logins against the pretended server: what is counted, and what is found wrong."""

from itertools import repeat

import pytest

from bench.load import matrix
from bench.load.entering import RESIDENTS, Joins, Logins, NobodyLeft
from bench.load.loop import Tally, Work, run
from bench.load.reading import PAGE, FirstSyncs, Pages
from bench.load.trivial import Faults
from bench.load.window import Result
from tests.unit.bench.pretended import Kept, drops_are_expected, pretended, silent

WINDOW_S = 0.1
LONG_S = 30.0
"""More than a window that ends by itself needs."""


def wrong(result: Result) -> tuple[int, int, int]:
    return result.errors, result.missing, result.duplicates


def once(number: int, instead: Faults) -> Faults:
    """The answer of that number is replaced by what `instead` makes of it."""
    return lambda wake, events: instead(wake, events) if wake == number else events


def lost(_: int, events: bytes) -> bytes:
    return b""


def doubled(_: int, events: bytes) -> bytes:
    return events + b"," + events


def first_again(_: int, events: bytes) -> bytes:
    """As many events as there should be, the first of them twice and the last one not at all."""
    first, *others = events.split(b',{"type"')
    return b',{"type"'.join([first, first.removeprefix(b'{"type"'), *others[:-1]])


async def test_a_loop_ends_when_nobody_has_anything_to_ask() -> None:
    def ask(times: int) -> Work:
        for _ in range(times):
            assert b"access_token" in (yield matrix.register("somebody"))

    async with pretended() as (target, _):
        kept = Kept()
        await run(target, [ask(3), ask(0), ask(4)], LONG_S, kept, Tally())
        assert kept.heard == ["opened 3", "closed", "ended"]
        assert kept.results[0].operations == 7


async def test_a_refusal_ends_one_work_alone_and_is_an_error() -> None:
    def ask(room: str) -> Work:
        yield matrix.page(room, "nobody", "", PAGE)
        yield matrix.register("somebody")

    async with pretended() as (target, trivial):
        trivial.events[b"there"] = []
        kept = Kept()
        with drops_are_expected():  # of a room that it does not know
            await run(target, [ask("there"), ask("nowhere")], LONG_S, kept, Tally())
        assert kept.results[0].operations == 2
        assert kept.results[0].errors == 1


@pytest.mark.parametrize(
    ("faults", "found"),
    [(None, (0, 0, 0)), (once(5, lost), (0, 4, 0)), (once(5, doubled), (0, 0, 4)), (once(5, first_again), (0, 1, 1))],
)
async def test_a_first_sync_holds_every_room_and_event(faults: Faults | None, found: tuple[int, int, int]) -> None:
    async with pretended(faults) as (target, _):
        world = await FirstSyncs.prepare(target, "a", rooms=3, events=4, progress=silent)
        await world.log_in(2, silent)
        kept = Kept()
        await world.measure(LONG_S, kept)
        assert kept.results[0].operations == 2, "one for each new device"
        assert wrong(kept.results[0]) == found


async def test_a_first_sync_without_one_of_the_rooms_is_noticed() -> None:
    async with pretended() as (target, trivial):
        world = await FirstSyncs.prepare(target, "a", rooms=3, events=4, progress=silent)
        await world.log_in(1, silent)
        trivial.rooms_of[world.devices[0].access_token.encode()].pop()
        kept = Kept()
        await world.measure(LONG_S, kept)
        assert wrong(kept.results[0]) == (0, 4, 0)


@pytest.mark.parametrize(
    ("faults", "found"),
    [
        (None, (0, 0, 0)),
        (once(2, lost), (1, 2 * PAGE, 0)),
        (once(2, doubled), (1, PAGE, PAGE)),
        (once(2, first_again), (0, 1, 1)),
    ],
)
async def test_a_history_is_read_page_by_page(faults: Faults | None, found: tuple[int, int, int]) -> None:
    async with pretended(faults) as (target, _):
        world = await Pages.prepare(target, "a", rooms=1, pages=3, at_once=1, progress=silent)
        kept = Kept()
        await world.measure(WINDOW_S, kept)
        assert kept.results[0].operations > 6, "and again from its end"
        assert wrong(kept.results[0]) == found


async def test_each_group_joins_every_room_once() -> None:
    async with pretended() as (target, trivial):
        world = await Joins.prepare(target, "a", rooms=2, windows=2, group=3, at_once=4, progress=silent)
        assert [len(members) for members in trivial.members.values()] == [RESIDENTS, RESIDENTS]
        kept = Kept()
        await world.measure(LONG_S, kept)
        await world.measure(LONG_S, kept)
        assert [result.operations for result in kept.results] == [6, 6]
        assert [wrong(result) for result in kept.results] == [(0, 0, 0)] * 2
        assert all(len(set(members)) == RESIDENTS + 6 for members in trivial.members.values())
        with pytest.raises(NobodyLeft):
            await world.measure(LONG_S, kept)


async def test_who_joined_and_is_no_member_is_missing() -> None:
    async with pretended() as (target, trivial):
        world = await Joins.prepare(target, "a", rooms=2, windows=1, group=3, at_once=4, progress=silent)
        trivial.members = {room: Full(members) for room, members in trivial.members.items()}
        kept = Kept()
        await world.measure(LONG_S, kept)
        assert wrong(kept.results[0]) == (0, 6, 0)


class Full(list[bytes]):
    """Members of a room that takes nobody more."""

    def append(self, member: bytes) -> None:
        return


async def test_a_token_that_is_given_out_twice_is_a_duplicate() -> None:
    async with pretended() as (target, trivial):
        world = await Logins.prepare(target, "a", people=3, at_once=2, progress=silent)
        kept = Kept()
        await world.measure(WINDOW_S, kept)
        trivial.numbers = repeat(7)
        await world.measure(WINDOW_S, kept)
        assert wrong(kept.results[0]) == (0, 0, 0)
        assert kept.results[0].operations > 3
        assert kept.results[1].duplicates >= kept.results[1].operations - 3 > 0
