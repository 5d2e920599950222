"""One run: the servers are started, prepared, and measured in turn, so that whatever disturbs the machine meets all."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Protocol, TypeVar

from bench.figures import Figure, Plan
from bench.figures.goals import Goal
from bench.generator import Generator
from bench.load.commands import Progressed
from bench.results import Results, Row
from bench.servers import OWN, PEER, Server

S = TypeVar("S")


class Listener(Protocol):
    """Hears how a run gets on."""

    def doing(self, what: str, so_far: str = "") -> None:
        """`so_far`: how much of it is done already."""

    def done(self) -> None:
        """One of the `steps` of the run is done."""


@dataclass(frozen=True)
class Comparison:
    """Which figures are taken of which servers, and what they are compared for."""

    servers: list[Server]
    figures: list[Figure]
    plan: Plan
    own: str = OWN
    peer: str = PEER
    title: str = ""
    goal: Goal | None = None

    @property
    def steps(self) -> int:
        """How often a run says `done`: each server is prepared for each figure, then measured."""
        return sum(len(self.asked(figure, self.servers)) for figure in self.figures) * (1 + self.plan.rounds)

    def asked(self, figure: Figure, servers: list[S]) -> list[S]:
        """Those of `servers` of which `figure` is taken."""
        return [
            each
            for server, each in zip(self.servers, servers, strict=True)
            if figure.has_peer or server.name != self.peer
        ]


async def run(comparison: Comparison, prefix: str, told: Listener) -> Results:
    """Measure every figure on every server, `plan.rounds` windows each, the servers in turn.

    Raises: LoadFailed, NotStarted.
    """
    plan, servers = comparison.plan, comparison.servers
    results = Results(
        comparison.figures,
        [server.name for server in servers],
        own=comparison.own,
        peer=comparison.peer,
        title=comparison.title,
        goal=comparison.goal,
    )
    async with AsyncExitStack() as stack:
        # Two of the servers may be one node: their people have other names.
        prefixes = [f"{prefix}{letter}" for letter in ascii_lowercase]
        generators = [await started(server, own, stack, told) for server, own in zip(servers, prefixes, strict=False)]
        for figure in results.figures:
            asked = list(zip(comparison.asked(figure, servers), comparison.asked(figure, generators), strict=True))
            for server, generator in asked:
                row = results.rows[figure.key, server.name] = Row()
                row.ramp += await figure.prepare(generator, plan, _progress(server.name, figure.key, told))
                told.done()
            for number in range(plan.rounds):
                for server, generator in asked:
                    told.doing(f"{figure.key}, round {number + 1} of {plan.rounds}, {server.name}")
                    measured = await figure.measure(generator, plan, _progress(server.name, figure.key, told))
                    results.rows[figure.key, server.name].rounds.append(measured)
                    told.done()
        for server in servers:
            results.settings[server.name] = await server.settings()
    return results


async def measure_ceiling(ceiling: Server, results: Results, plan: Plan, prefix: str, told: Listener) -> None:
    """What the load generator itself can do, once for each figure that `ceiling` can be asked for.

    Raises: LoadFailed, NotStarted.
    """
    async with AsyncExitStack() as stack:
        generator = await started(ceiling, prefix, stack, told)
        for figure in results.figures:
            if not figure.has_ceiling:
                continue
            progress = _progress(ceiling.name, figure.key, told)
            ramp = await figure.prepare(generator, plan, progress)
            told.doing(f"{figure.key}, the load generator's own ceiling")
            measured = await figure.measure(generator, plan, progress)
            results.rows[figure.key, ceiling.name] = Row([measured], ramp)
            told.done()


async def started(server: Server, prefix: str, stack: AsyncExitStack, told: Listener) -> Generator:
    """A load generator for `server`, which `stack` stops with it. Raises: NotStarted."""
    told.doing(f"starting {server.name}")
    stack.push_async_callback(server.stop)
    target = await server.start()
    generator = Generator(server, target, prefix)
    stack.push_async_callback(generator.stop)
    await generator.start()
    return generator


def _progress(server: str, figure: str, told: Listener) -> Callable[[Progressed], None]:
    def progressed(so_far: Progressed) -> None:
        told.doing(f"{figure}, preparing {server}, {so_far.what}", f" {so_far.done:,} of {so_far.total:,}")

    return progressed
