"""Clients that only wait, against the pretended server: who is counted, and when memory is read."""

from collections.abc import Callable

import pytest

from bench.load.trivial import Trivial
from bench.load.waiting import GROUP, Waiting
from tests.unit.bench.pretended import Kept, pretended, silent

CLIENTS, GUESTS = 2 * GROUP + 5, GROUP


class Watching(Kept):
    """Notes how many wait when memory is read."""

    def __init__(self, trivial: Trivial) -> None:
        super().__init__()
        self.waiting: list[int] = []
        self._trivial = trivial

    def _look(self) -> None:
        waiting = [transport for room in self._trivial.waiting.values() for transport, _ in room]
        self.waiting.append(sum(not transport.is_closing() for transport in waiting))

    def opened(self, concurrency: int) -> None:
        super().opened(concurrency)
        self._look()

    def closed(self) -> None:
        super().closed()
        self._look()


async def measured(faults: Callable[[int, bytes], bytes] | None = None, *, drain_s: float = 5.0) -> Watching:
    async with pretended(faults) as (target, trivial):
        kept = Watching(trivial)
        waiting = await Waiting.prepare(target, "a", CLIENTS, GUESTS, silent, calm_s=0.01, drain_s=drain_s)
        await waiting.measure(kept)
        return kept


async def test_memory_is_read_while_the_guests_wait_and_when_all_do() -> None:
    kept = await measured()
    assert kept.heard == [f"opened {CLIENTS}", "closed", "ended"]
    assert kept.waiting == [GUESTS, GUESTS + CLIENTS]
    [result] = kept.results
    assert result.operations == CLIENTS
    assert (result.missing, result.duplicates, result.errors) == (0, 0, 0)
    assert 0 < result.p50_ms <= result.p99_ms


async def test_they_can_come_again() -> None:
    async with pretended() as (target, trivial):
        waiting = await Waiting.prepare(target, "a", CLIENTS, GUESTS, silent, calm_s=0.01)
        kept = Watching(trivial)
        for _ in range(2):
            await waiting.measure(kept)
        assert kept.waiting == [GUESTS, GUESTS + CLIENTS] * 2
        assert [(result.missing, result.duplicates, result.errors) for result in kept.results] == [(0, 0, 0)] * 2


@pytest.mark.parametrize(
    ("events", "missing", "duplicates"), [(lambda said: b"", 1, 0), (lambda said: said + b"," + said, 0, 1)]
)
async def test_who_is_not_told_did_not_wait(events: Callable[[bytes], bytes], missing: int, duplicates: int) -> None:
    def one(wake: int, said: bytes) -> bytes:
        return events(said) if wake == GUESTS + 3 else said

    [result] = (await measured(one, drain_s=0.2)).results
    assert (result.missing, result.duplicates) == (missing, duplicates)
