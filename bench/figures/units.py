"""What a figure is counted in: a rate, a time, or memory."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.generator import Measured


@dataclass(frozen=True)
class Unit:
    """`of` reads the figure from one window."""

    name: str
    of: Callable[[Measured], float]
    less_is_better: bool = False

    def times(self, own: float, peer: float) -> float:
        """How many times as good as the peer's figure our own is."""
        better, worse = (peer, own) if self.less_is_better else (own, peer)
        return better / worse


PER_SECOND = Unit("per second", lambda measured: measured.result.rate)
MILLISECONDS = Unit("ms", lambda measured: measured.result.p50_ms, less_is_better=True)
"""The usual time of one operation."""
KIB_EACH = Unit("KiB each", lambda measured: measured.memory_bytes / 1024, less_is_better=True)
"""What the memory of the server's own process grew by, for each of those who were counted."""
