"""The highest rate that a server keeps up with: doubling until it does not, then halving the difference."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import sqrt

from bench.load.window import Result

FIRST = 4.0
LOWEST = 0.25
RESOLUTION = 1.1
"""The search ends when the lowest rate that was too high is no more than so many times the highest that was not."""
AT_EASE = 0.2
"""With a latency below this share of the limit, the next rate is four times as high instead of twice."""
DISTURBED_MAX = 2
"""How often one step is measured again because something stood still."""
HOLDS_MAX = 6
"""How many steps away from the rate that was found a window looks."""


@dataclass(frozen=True)
class Step:
    """One rate, measured. `disturbed`: the machine stood still meanwhile, which says nothing about the server."""

    result: Result
    kept_up: bool
    at_ease: bool
    disturbed: bool


Measure = Callable[[float], Awaitable[Step]]
"""Measures one rate, in operations per second."""


async def believed(measure: Measure, rate: float) -> Step:
    """Measure `rate`; once more, DISTURBED_MAX times at most, when it failed while something stood still."""
    for _ in range(DISTURBED_MAX):
        step = await measure(rate)
        if step.kept_up or not step.disturbed:
            return step
    return await measure(rate)


async def highest(measure: Measure) -> float:
    """The highest rate that is kept up with, to within RESOLUTION; 0 when even LOWEST is too high.

    Cost: for a thousand times FIRST about a dozen steps.
    """
    low, high, rate = 0.0, 0.0, FIRST
    while not high or low * RESOLUTION < high:
        step = await believed(measure, rate)
        if step.kept_up:
            low = rate
        else:
            high = rate
        if not high:
            rate = low * (4 if step.at_ease else 2)
        elif low:
            rate = sqrt(low * high)
        else:
            rate = high / 2
            if rate < LOWEST:
                break
    return low


async def hold(measure: Measure, rate: float) -> None:
    """Measure around `rate`: upwards while it is kept up with, or else downwards until it is, HOLDS_MAX steps away."""
    first = await believed(measure, rate)
    for _ in range(HOLDS_MAX):
        rate = rate * RESOLUTION if first.kept_up else rate / RESOLUTION
        if (await believed(measure, rate)).kept_up != first.kept_up:
            return
