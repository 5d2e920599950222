"""One run: the servers are started, prepared, and measured in turn, so that whatever disturbs the machine meets all."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Protocol

from bench.figures import QUICK, Figure, Plan
from bench.generator import Generator
from bench.load.commands import Progressed
from bench.results import Results, Row
from bench.servers import Server


class Listener(Protocol):
    """Hears how a run gets on."""

    def doing(self, what: str, so_far: str = "") -> None:
        """`so_far`: how much of it is done already."""

    def done(self) -> None:
        """One of the `steps` of the run is done."""


def steps(servers: int, figures: list[Figure], plan: Plan) -> int:
    """How often a run says `done`: each server is prepared for each figure, then measured; and so is the ceiling."""
    return len(figures) * servers * (1 + plan.rounds) + sum(figure.has_ceiling for figure in figures)


async def run(
    servers: list[Server], ceiling: Server, figures: list[Figure], plan: Plan, prefix: str, told: Listener
) -> Results:
    """Measure every figure on every server, `plan.rounds` windows each, the servers in turn; the ceiling once.

    Raises: LoadFailed, NotStarted.
    """
    results = Results(figures, [server.name for server in servers])
    async with AsyncExitStack() as stack:
        generators = [await _started(server, prefix, stack, told) for server in servers]
        for figure in figures:
            for server, generator in zip(servers, generators, strict=True):
                row = results.rows[figure.key, server.name] = Row()
                row.ramp += await figure.prepare(generator, plan, _progress(server.name, figure.title, told))
                told.done()
            for number in range(plan.rounds):
                for server, generator in zip(servers, generators, strict=True):
                    told.doing(f"{figure.title}, round {number + 1} of {plan.rounds}, {server.name}")
                    measured = await figure.measure(generator, plan, _progress(server.name, figure.title, told))
                    results.rows[figure.key, server.name].rounds.append(measured)
                    told.done()
        for server in servers:
            results.settings[server.name] = await server.settings()
    await _measure_ceiling(ceiling, results, QUICK, prefix, told)
    return results


async def _measure_ceiling(ceiling: Server, results: Results, plan: Plan, prefix: str, told: Listener) -> None:
    async with AsyncExitStack() as stack:
        generator = await _started(ceiling, prefix, stack, told)
        for figure in results.figures:
            if not figure.has_ceiling:
                continue
            progress = _progress(ceiling.name, figure.title, told)
            ramp = await figure.prepare(generator, plan, progress)
            told.doing(f"{figure.title}, the load generator's own ceiling")
            measured = await figure.measure(generator, plan, progress)
            results.rows[figure.key, ceiling.name] = Row([measured], ramp)
            told.done()


async def _started(server: Server, prefix: str, stack: AsyncExitStack, told: Listener) -> Generator:
    told.doing(f"starting {server.name}")
    stack.push_async_callback(server.stop)
    target = await server.start()
    generator = Generator(server, target, prefix)
    stack.push_async_callback(generator.stop)
    await generator.start()
    return generator


def _progress(server: str, title: str, told: Listener) -> Callable[[Progressed], None]:
    def progressed(so_far: Progressed) -> None:
        told.doing(f"{title}, preparing {server}, {so_far.what}", f" {so_far.done:,} of {so_far.total:,}")

    return progressed
