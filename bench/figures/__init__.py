"""The figures: what each measures, how its world is prepared, and how a window is taken. `registry.py` lists them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from bench.figures.goals import Goal
from bench.figures.units import Unit
from bench.generator import Generator, Measured
from bench.load.commands import Progressed

Progress = Callable[[Progressed], None]


@dataclass(frozen=True)
class Plan:
    """How long everything takes."""

    rounds: int
    window_s: float
    warm_s: float
    step_s: float

    def with_rounds(self, rounds: int) -> "Plan":
        return replace(self, rounds=rounds)


DEFAULT = Plan(rounds=3, window_s=6.0, warm_s=2.0, step_s=3.0)
QUICK = Plan(rounds=1, window_s=2.0, warm_s=0.5, step_s=1.0)


class Figure(Protocol):
    """One row of the results."""

    key: str
    title: str

    @property
    def unit(self) -> Unit:
        """What it is counted in."""

    @property
    def goal(self) -> Goal | None:
        """What the row must reach; None for one that stands there to be compared."""

    @property
    def has_peer(self) -> bool:
        """Whether the peer is asked for the same."""

    @property
    def has_ceiling(self) -> bool:
        """Whether the pretended server can be asked for the same, so that the load generator meets its own limit."""

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        """Make its world on one server; returns what a ramp measured on the way, if it has one."""

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        """One window."""
