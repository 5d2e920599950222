"""Every figure by the name that `--figures` knows it under, in the order in which they are measured."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.figures import Figure
from bench.figures.sending import Deliveries, FanOut, Sends, WaitingRoom


@dataclass(frozen=True)
class Sizes:
    """How large the worlds are that the figures are taken in."""

    at_once: int
    """Sends under way."""
    rooms: int
    """The rooms that they go to."""
    members: tuple[int, ...]
    """Of each room in which everybody waits."""


FULL = Sizes(at_once=64, rooms=20, members=(200, 1_000))
SMALL = Sizes(at_once=64, rooms=20, members=(50,))


def _sends(sizes: Sizes) -> list[Figure]:
    return [Sends(sizes.at_once, min(sizes.rooms, sizes.at_once))]


def _deliveries(sizes: Sizes) -> list[Figure]:
    return [figure for room in map(WaitingRoom, sizes.members) for figure in (FanOut(room), Deliveries(room))]


REGISTRY: dict[str, Callable[[Sizes], list[Figure]]] = {
    "sends": _sends,
    "deliveries": _deliveries,
}
