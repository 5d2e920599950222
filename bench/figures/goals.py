"""What a row must reach, and whether it does."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bench.figures import Figure
    from bench.results import Results


class Standing(StrEnum):
    """How far a row has come."""

    AIM = "aim"
    MET = "met"
    SHORT = "short"
    UNKNOWN = "-"


class Goal(Protocol):
    """`required` and `aim` say in words what `standing` looks at; `aim` is empty where there is none."""

    @property
    def required(self) -> str: ...
    @property
    def aim(self) -> str: ...

    def standing(self, figure: "Figure", results: "Results") -> Standing:
        """What `figure` reached; UNKNOWN when what it is compared with was not measured."""


def standing(*, met: bool, aim: bool) -> Standing:
    return Standing.SHORT if not met else Standing.AIM if aim else Standing.MET


@dataclass(frozen=True)
class Times:
    """So many times the peer's figure."""

    at_least: float
    aimed_at: float | None = None
    p99_ms_aimed_at: float | None = None
    """Our own latency, which belongs to the aim alone."""

    @property
    def required(self) -> str:
        return f"{self.at_least:g}x"

    @property
    def aim(self) -> str:
        if self.aimed_at is None:
            return ""
        latency = "" if self.p99_ms_aimed_at is None else f", p99 under {self.p99_ms_aimed_at:g} ms"
        return f"{self.aimed_at:g}x{latency}"

    def standing(self, figure: "Figure", results: "Results") -> Standing:
        times, own = results.times(figure), results.of_own(figure)
        if times is None or own is None:
            return Standing.UNKNOWN
        soon = self.p99_ms_aimed_at is None or own.result.p99_ms < self.p99_ms_aimed_at
        return standing(met=times >= self.at_least, aim=self.aimed_at is not None and times >= self.aimed_at and soon)


@dataclass(frozen=True)
class AtMost:
    """So much of our own, in the figure's unit, whatever the peer's is."""

    at_most: float
    aimed_at: float

    @property
    def required(self) -> str:
        return f"at most {self.at_most:g}"

    @property
    def aim(self) -> str:
        return f"{self.aimed_at:g}"

    def standing(self, figure: "Figure", results: "Results") -> Standing:
        own = results.of_own(figure)
        if own is None:
            return Standing.UNKNOWN
        found = figure.unit.of(own)
        return standing(met=found <= self.at_most, aim=found <= self.aimed_at)


@dataclass(frozen=True)
class Within:
    """Not worse than the peer's figure by more than a share of it."""

    share: float

    @property
    def required(self) -> str:
        return f"within {self.share:.0%}"

    @property
    def aim(self) -> str:
        return ""

    def standing(self, figure: "Figure", results: "Results") -> Standing:
        own, peer = results.of_own(figure), results.median(figure, results.peer)
        if own is None or peer is None:
            return Standing.UNKNOWN
        allowed = 1 + self.share if figure.unit.less_is_better else 1 - self.share
        worst = figure.unit.of(peer) * allowed
        found = figure.unit.of(own)
        return standing(met=found <= worst if figure.unit.less_is_better else found >= worst, aim=False)
