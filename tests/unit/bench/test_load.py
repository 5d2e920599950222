"""The load generator against the pretended server: what it counts, and that it notices what is lost or doubled."""

from itertools import repeat

import pytest
from msgspec.structs import replace

from bench.load.deliveries import Deliveries, Lost, saturation
from bench.load.sends import Sends
from bench.load.window import Result, Window, quantile_ms
from tests.unit.bench.pretended import Kept, drops_are_expected, pretended, silent

MEMBERS = 8
WINDOW_S = 0.1


async def test_sends_are_counted_between_the_marks() -> None:
    async with pretended() as (target, trivial):
        sends = await Sends.prepare(target, "a", rooms=2, at_once=4, progress=silent)
        kept = Kept()
        await sends.measure(0.02, WINDOW_S, kept)
        [result] = kept.results
        assert kept.heard == ["opened 4", "closed", "ended"]
        assert 0 < result.operations <= sum(map(len, trivial.events.values()))
        assert result.errors == 0
        assert 0 < result.p50_ms <= result.p99_ms
        assert all(trivial.events.values()), "each room was written to"


async def test_an_event_id_that_comes_twice_is_an_error() -> None:
    async with pretended() as (target, trivial):
        sends = await Sends.prepare(target, "a", rooms=1, at_once=2, progress=silent)
        trivial.numbers = repeat(7)
        kept = Kept()
        await sends.measure(0.0, WINDOW_S, kept)
        assert kept.results[0].errors >= kept.results[0].operations - 1 > 0


async def test_a_server_that_goes_away_ends_the_sends() -> None:
    async with pretended() as (target, trivial):
        sends = await Sends.prepare(target, "a", rooms=1, at_once=2, progress=silent)
        trivial.events.clear()  # the next send makes the pretended server drop the connection
        with drops_are_expected():
            kept = Kept()
            await sends.measure(0.0, WINDOW_S, kept)
        assert kept.results[0].operations == 0
        assert kept.results[0].errors == 2


async def test_every_delivery_is_counted_once() -> None:
    async with pretended() as (target, _):
        deliveries = await Deliveries.prepare(target, "a", MEMBERS, silent)
        kept = Kept()
        await deliveries.measure(3, WINDOW_S, kept)
        await deliveries.measure(2, WINDOW_S, kept)  # again, by members who come back
        assert kept.heard == ["opened 3", "closed", "ended", "opened 2", "closed", "ended"]
        for result in kept.results:
            assert result.operations > MEMBERS
            assert (result.missing, result.duplicates, result.errors) == (0, 0, 0)


async def test_a_lost_delivery_is_missing() -> None:
    def lose_one(wake: int, events: bytes) -> bytes:
        return b"" if wake == 5 else events

    async with pretended(lose_one) as (target, _):
        deliveries = await Deliveries.prepare(target, "a", MEMBERS, silent, drain_s=0.1)
        kept = Kept()
        await deliveries.measure(1, WINDOW_S, kept)
        assert kept.results[0].missing == 1
        assert kept.results[0].duplicates == 0


async def test_a_ramp_ends_when_deliveries_are_lost() -> None:
    async with pretended(lambda wake, events: b"" if wake == 5 else events) as (target, _):
        deliveries = await Deliveries.prepare(target, "a", MEMBERS, silent, drain_s=0.1)
        with pytest.raises(Lost, match="1 deliveries"):
            await deliveries.ramp(WINDOW_S, Kept())


async def test_a_doubled_delivery_is_a_duplicate() -> None:
    def double_one(wake: int, events: bytes) -> bytes:
        return events + b"," + events if wake == 5 else events

    async with pretended(double_one) as (target, _):
        deliveries = await Deliveries.prepare(target, "a", MEMBERS, silent)
        kept = Kept()
        await deliveries.measure(1, WINDOW_S, kept)
        assert kept.results[0].duplicates == 1
        assert kept.results[0].missing == 0


def measured(at_once: int, rate: int, longest_gap_ms: float = 1.0) -> Result:
    return Result(
        operations=rate,
        seconds=1.0,
        concurrency=at_once,
        p50_ms=1.0,
        p99_ms=2.0,
        longest_gap_ms=longest_gap_ms,
        generator_cpu_s=0.1,
    )


def test_saturation_is_the_least_under_way_that_is_fast_enough() -> None:
    assert saturation([measured(1, 100), measured(2, 190), measured(4, 196), measured(8, 150)]) == 2
    assert saturation([measured(1, 5)]) == 1


def test_a_stall_is_told_from_a_slow_server() -> None:
    assert measured(1, 100, longest_gap_ms=1_000).stalled
    assert not measured(1, 1, longest_gap_ms=999).stalled
    assert not replace(measured(1, 100, longest_gap_ms=1_000), p50_ms=800.0).stalled, "it answers in bursts"


def test_a_window_knows_its_longest_gap_even_at_its_end() -> None:
    times = iter([10.0])
    window = Window(1, clock=lambda: next(times))
    window.count(9.9, 10.1)
    window.count(10.0, 10.2)
    window.close(12.0)
    result = window.result()
    assert result.longest_gap_ms == pytest.approx(1_800)
    assert result.rate == 1.0
    assert result.p99_ms == pytest.approx(200)


def test_quantiles_of_nothing_and_of_one() -> None:
    assert quantile_ms([], 0.99) == 0.0
    assert quantile_ms([0.002], 0.5) == quantile_ms([0.002], 0.99) == 2.0
