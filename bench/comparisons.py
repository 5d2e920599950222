"""What is compared: hutong with Synapse, three regions with one, and a node with a past with a new one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.figures import Figure, Plan
from bench.figures.across import SendsAcross
from bench.figures.goals import Within
from bench.figures.registry import REGISTRY, Sizes
from bench.run import Comparison, Listener
from bench.servers import Server, filled
from bench.servers.hutong import Hutong
from bench.servers.regions import ACROSS, WITHIN, within_and_across
from bench.servers.synapse import Synapse

SERVERS: dict[str, Callable[[Path], Server]] = {"hutong": Hutong, "synapse": Synapse}
EMPTY = "a new one"
PAST = "with a past"
PARTS = ("across", "present")
"""What is no figure of both servers, by the name that `--figures` knows it under."""
FIGURES = (*REGISTRY, *PARTS)
PRESENT_ROUNDS = 5
"""To tell a fifth from chance takes more windows, and shorter ones do."""
PRESENT_WINDOW_S = 3.0


def figures(names: list[str], sizes: Sizes) -> list[Figure]:
    """Those of `names` that are taken of both servers."""
    return [figure for name in names if name in REGISTRY for figure in REGISTRY[name](sizes)]


def across(directory: Path, sizes: Sizes, plan: Plan) -> Comparison:
    """Sends from one region into another, beside sends within one, of the same node."""
    figure = SendsAcross(sizes.at_once, sizes.rooms)
    servers: list[Server] = list(within_and_across(directory))
    return Comparison(servers, [figure], plan, own=ACROSS, peer=WITHIN, title=figure.title)


async def present(directory: Path, names: list[str], sizes: Sizes, plan: Plan, told: Listener) -> Comparison:
    """The figures of `names`, or all, with a past beside none. Copies the past into `directory`.

    Raises: LoadFailed, NotStarted.
    """
    chosen = [name for name in names if name in REGISTRY] or list(REGISTRY)
    smaller = replace(sizes, members=sizes.members[:1], waiting=sizes.waiting[:1])
    past = await filled.filled(sizes.accounts, sizes.events, told)
    told.doing("copying the data folder with a past")
    await filled.copy(past, directory / "data")
    new = directory / "new"
    new.mkdir()
    return Comparison(
        [Hutong(new, EMPTY), Hutong(directory, PAST)],
        figures(chosen, smaller),
        replace(plan, rounds=max(plan.rounds, PRESENT_ROUNDS), window_s=min(plan.window_s, PRESENT_WINDOW_S)),
        own=PAST,
        peer=EMPTY,
        title=f"all of these again with {sizes.events:,} events and {sizes.accounts:,} accounts present",
        goal=Within(0.2),
    )
