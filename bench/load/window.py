"""A window of time in which something is counted, and what is said about it afterwards."""

from array import array
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Protocol

import msgspec

Clock = Callable[[], float]
STALL_S = 1.0
STALL_LATENCIES = 2.0
"""No answer for STALL_S and for so many times the usual latency, with requests under way, is a stall: of the machine or
of the server, but no saturation. The second, because a slow server answers in bursts, about one latency apart."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One measured window. Latencies in milliseconds; `generator_cpu_s` is what the load generator itself used."""

    operations: int
    seconds: float
    concurrency: int
    p50_ms: float
    p99_ms: float
    longest_gap_ms: float
    generator_cpu_s: float
    errors: int = 0
    missing: int = 0
    duplicates: int = 0
    turned_away: int = 0
    """Answered 429 or 503: an overloaded server may, and does not keep up then."""

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds

    @property
    def stalled(self) -> bool:
        return self.longest_gap_ms >= max(STALL_S * 1_000, STALL_LATENCIES * self.p50_ms)


class Marks(Protocol):
    """Told when a measured window opens and closes, so that somebody can read the servers' processor times."""

    def opened(self, concurrency: int) -> None: ...
    def closed(self) -> None: ...
    def ended(self, result: Result) -> None:
        """The window's result is known: what was under way has been answered, or is missing."""


class Window:
    """Counts operations and their latencies from `__init__` to `close`, which is cheap; `result` is not."""

    def __init__(self, concurrency: int, clock: Clock = perf_counter) -> None:
        self._concurrency = concurrency
        self._clock = clock
        self._latencies_s = array("d")
        self._longest_gap_s = 0.0
        self._cpu_s = process_time()
        self._start = self._last = self._end = clock()

    def count(self, began: float, now: float) -> None:
        """One operation that began at `began` is done at `now`.

        Cost: under a microsecond; it is in every measured loop.
        """
        self._latencies_s.append(now - began)
        gap_s = now - self._last
        if gap_s > self._longest_gap_s:
            self._longest_gap_s = gap_s
        self._last = now

    def close(self, now: float) -> None:
        self._longest_gap_s = max(self._longest_gap_s, now - self._last)
        self._cpu_s = process_time() - self._cpu_s
        self._end = now

    def result(self, *, errors: int = 0, missing: int = 0, duplicates: int = 0) -> Result:
        """What was counted, with what is known only after the window has been closed."""
        ordered = sorted(self._latencies_s)
        return Result(
            operations=len(ordered),
            seconds=self._end - self._start,
            concurrency=self._concurrency,
            p50_ms=quantile_ms(ordered, 0.50),
            p99_ms=quantile_ms(ordered, 0.99),
            longest_gap_ms=self._longest_gap_s * 1_000,
            generator_cpu_s=self._cpu_s,
            errors=errors,
            missing=missing,
            duplicates=duplicates,
        )


def quantile_ms(ordered_s: list[float], share: float) -> float:
    """The value below which `share` of `ordered_s` lie, in milliseconds; 0 when there are none."""
    if not ordered_s:
        return 0.0
    return ordered_s[min(len(ordered_s) - 1, int(share * len(ordered_s)))] * 1_000
