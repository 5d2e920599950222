"""The chat mix against the pretended server, and the search for the rate that is kept up with."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from time import perf_counter

import pytest
from msgspec.structs import replace as changed

from bench.load import chat, search
from bench.load.groups import GROUP, Groups, Pace
from bench.load.search import Step
from bench.load.trivial import RECEIPT, TYPING, Faults, Trivial
from bench.load.window import Result
from tests.unit.bench.pretended import Kept, pretended, silent

PACE = Pace(limit_ms=100.0, lead_s=0.05, hopeless_s=0.15, drain_s=10.0)
RATE = 200.0
WINDOW_S = 0.1
GOOD = Result(
    operations=100,
    seconds=1.0,
    concurrency=100,
    p50_ms=10.0,
    p99_ms=50.0,
    longest_gap_ms=20.0,
    generator_cpu_s=0.1,
)


@pytest.fixture(autouse=True)
def few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "HOLDS_MAX", 2)


async def held(
    change: Callable[[Trivial], None] = lambda _: None,
    faults: Faults | None = None,
    *,
    seconds: float = WINDOW_S,
    pace: Pace = PACE,
) -> list[Result]:
    """Windows around RATE, by two groups."""
    async with pretended(faults) as (target, server):
        groups = await Groups.prepare(target, "a", 2, silent, pace)
        change(server)
        kept = Kept()
        await chat.hold(groups, RATE, seconds, kept)
        return kept.results


async def test_everybody_gets_every_message_and_what_the_others_type_and_read() -> None:
    events: dict[bytes, list[bytes]] = {}

    def look(server: Trivial) -> None:
        nonlocal events
        events = server.events

    results = await held(look)
    assert len(results) >= search.HOLDS_MAX + 1, "it keeps up with all of them"
    assert results[-1].concurrency > results[0].concurrency == RATE
    for result in results:
        assert (result.errors, result.missing, result.duplicates, result.turned_away) == (0, 0, 0, 0)
        assert 0 < result.p50_ms <= result.p99_ms
    said = [event for room in events.values() for event in room]
    receipts = sum(event.startswith(RECEIPT[:20]) for event in said)
    typing = said.count(TYPING)
    messages = len(said) - receipts - typing
    assert 2 * messages < receipts < 3 * messages
    assert messages / 6 < typing <= 2 * messages / 3, "on and off before every third, but for the first ones of a step"


@pytest.mark.parametrize(
    ("instead", "missing", "duplicates"), [(lambda said: b"", 1, 0), (lambda said: said + b"," + said, 0, 1)]
)
async def test_what_is_lost_or_doubled_is_not_kept_up_with(
    instead: Callable[[bytes], bytes], missing: int, duplicates: int
) -> None:
    one = GROUP + 3
    first, *_ = await held(
        faults=lambda wake, said: instead(said) if wake == one else said, pace=replace(PACE, drain_s=0.2)
    )
    assert (first.missing, first.duplicates) == (missing, duplicates)
    assert not chat.kept_up(first)


async def test_a_server_that_forgets_receipts_is_noticed() -> None:
    def forget(server: Trivial) -> None:
        tell = server._tell

        def tell_less(transport: asyncio.Transport, room: bytes, event: bytes, answer: bytes) -> None:
            tell(transport, room, TYPING if event.startswith(RECEIPT[:20]) else event, answer)

        server._tell = tell_less  # type: ignore[method-assign]

    first, *_ = await held(forget)
    assert first.errors == 1


def slow(capacity: float) -> Callable[[Trivial], None]:
    """A server that takes a message every so often, in order, and lets the others wait."""

    def slower(server: Trivial) -> None:
        loop, send, free_at = asyncio.get_running_loop(), server._send, perf_counter()

        def later(transport: asyncio.Transport, room: bytes, body: bytes) -> None:
            nonlocal free_at
            free_at = max(free_at, perf_counter()) + 1 / capacity
            loop.call_later(free_at - perf_counter(), send, transport, room, body)

        server._send = later  # type: ignore[method-assign]

    return slower


async def test_what_is_hopeless_ends_early_and_is_waited_for() -> None:
    first, *_ = await held(slow(RATE / 4), seconds=5.0)
    assert not chat.kept_up(first, PACE.limit_ms)
    assert first.seconds < 2.5
    assert first.p99_ms > PACE.hopeless_s * 1_000
    assert (first.missing, first.errors) == (0, 0)


async def test_what_is_turned_away_is_not_missing_and_not_kept_up_with() -> None:
    def refuse(server: Trivial) -> None:
        send, numbers = server._send, iter(range(10**6))

        def some(transport: asyncio.Transport, room: bytes, body: bytes) -> None:
            if next(numbers) == 20:
                transport.write(b"HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\n\r\n{}")
            else:
                send(transport, room, body)

        server._send = some  # type: ignore[method-assign]

    first, *_ = await held(refuse)
    assert (first.turned_away, first.missing, first.errors) == (1, 0, 0)
    assert not chat.kept_up(first)


def up_to(capacity: float, asked: list[float]) -> Callable[[float], Awaitable[Step]]:
    async def measure(rate: float) -> Step:
        asked.append(rate)
        return Step(GOOD, kept_up=rate <= capacity, at_ease=rate < capacity / 3, disturbed=False)

    return measure


@pytest.mark.parametrize("capacity", [0.7, 4.1, 6.0, 1_500.0, 4_096.0])
async def test_a_search_is_quick_and_close(capacity: float) -> None:
    asked: list[float] = []
    found = await search.highest(up_to(capacity, asked))
    assert found <= capacity < found * search.RESOLUTION
    assert len(asked) <= 12


async def test_nothing_is_found_where_nothing_is_kept_up_with() -> None:
    assert await search.highest(up_to(0.0, [])) == 0.0


async def test_a_window_is_looked_for_on_both_sides() -> None:
    asked: list[float] = []
    await search.hold(up_to(115.0, asked), 100.0)
    assert asked == pytest.approx([100, 110, 121])
    asked.clear()
    await search.hold(up_to(90.0, asked), 100.0)
    assert asked == pytest.approx([100, 100 / 1.1, 100 / 1.21])


async def test_a_stall_is_no_failure() -> None:
    answers = iter([(False, True), (True, False), (False, True), (False, True), (False, True)])

    async def measure(rate: float) -> Step:
        kept_up, disturbed = next(answers)
        return Step(GOOD, kept_up=kept_up, at_ease=False, disturbed=disturbed)

    assert (await search.believed(measure, 5.0)).kept_up
    assert not (await search.believed(measure, 5.0)).kept_up, "three in a row are believed"
    with pytest.raises(StopIteration):
        next(answers)


@pytest.mark.parametrize(
    ("result", "rate", "late_ms", "stood_still"),
    [
        (GOOD, 100.0, 0.0, False),
        (GOOD, 100.0, 100.0, True),
        (changed(GOOD, longest_gap_ms=300.0), 100.0, 0.0, True),
        (changed(GOOD, longest_gap_ms=300.0, p50_ms=120.0), 100.0, 0.0, False),
        (changed(GOOD, longest_gap_ms=700.0), 4.0, 0.0, False),
    ],
)
def test_what_stood_still(result: Result, rate: float, late_ms: float, stood_still: bool) -> None:
    assert chat.disturbed(result, rate, late_ms) == stood_still
