"""What a run found: for each figure and server the windows, their median, and how the servers compare."""

import statistics
from dataclasses import dataclass, field

from bench.figures import Figure
from bench.figures.goals import Goal, Standing
from bench.figures.units import Unit
from bench.generator import Measured
from bench.servers import OWN, PEER


@dataclass
class Row:
    """One figure of one server: the windows of every round, and the steps of the ramp before them."""

    rounds: list[Measured] = field(default_factory=list)
    ramp: list[Measured] = field(default_factory=list)

    def median(self, unit: Unit) -> Measured:
        """The window of median figure; of an even number the worse of the two middle ones."""
        ordered = sorted(self.rounds, key=unit.of, reverse=unit.less_is_better)
        return ordered[(len(ordered) - 1) // 2]

    def spread(self, unit: Unit) -> float:
        """How far the best and the worst round lie apart, as a share of the median."""
        values = [unit.of(measured) for measured in self.rounds]
        return (max(values) - min(values)) / max(statistics.median(values), 1e-9)


@dataclass
class Results:
    """All that a run found.

    `own` is compared with `peer`; the `title` says what of, where that is not hutong beside Synapse.
    """

    figures: list[Figure]
    servers: list[str]
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)  # by figure and server
    settings: dict[str, dict[str, str]] = field(default_factory=dict)  # by server
    own: str = OWN
    peer: str = PEER
    title: str = ""
    goal: Goal | None = None
    """What every figure must reach here, whatever its own goal is."""

    def median(self, figure: Figure, server: str) -> Measured | None:
        """The median window of `server`; None when it was not measured."""
        row = self.rows.get((figure.key, server))
        return row.median(figure.unit) if row is not None and row.rounds else None

    def of_own(self, figure: Figure) -> Measured | None:
        return self.median(figure, self.own)

    def goal_of(self, figure: Figure) -> Goal | None:
        return self.goal or figure.goal

    def standing(self, figure: Figure) -> Standing:
        """How far `figure` has come."""
        goal = self.goal_of(figure)
        return Standing.UNKNOWN if goal is None else goal.standing(figure, self)

    def worst(self) -> Figure | None:
        """The figure in which `own` does worst beside `peer`; None when nothing can be compared."""
        compared = {figure.key: times for figure in self.figures if (times := self.times(figure)) is not None}
        found = [figure for figure in self.figures if figure.key in compared]
        return min(found, key=lambda figure: compared[figure.key], default=None)

    def times(self, figure: Figure) -> float | None:
        """How many times as good as the peer we are; None when only one of the two was measured, or nothing was."""
        own, peer = self.median(figure, self.own), self.median(figure, self.peer)
        if own is None or peer is None or not figure.unit.of(own) or not figure.unit.of(peer):
            return None
        return figure.unit.times(figure.unit.of(own), figure.unit.of(peer))

    def times_cpu(self, figure: Figure) -> float | None:
        """How many times less processor time than the peer's one of our operations takes; None as in `times`."""
        own, peer = self.median(figure, self.own), self.median(figure, self.peer)
        return peer.cpu_us / own.cpu_us if own is not None and peer is not None and own.cpu_us else None

    def faults(self) -> list[str]:
        """What makes a figure worth nothing: errors, missing and doubled deliveries."""
        found = []
        for (figure, server), row in self.rows.items():
            for measured in (*row.ramp, *row.rounds):
                counted = measured.result
                if counted.errors or counted.missing or counted.duplicates:
                    found.append(
                        f"{server}, {figure}: {counted.errors} errors, {counted.missing} missing, "
                        f"{counted.duplicates} duplicates"
                    )
        return found
