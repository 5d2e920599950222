"""Clients that only wait: the memory that each of them takes."""

from bench.figures import Plan, Progress
from bench.figures.goals import AtMost
from bench.figures.units import KIB_EACH
from bench.generator import Generator, Measured
from bench.load.commands import MeasureWaiting, PrepareWaiting

GUESTS = 300
"""Clients that wait before those who count."""


class Waiting:
    """Memory of the server's own process for each client that waits. The server is started anew for every window."""

    unit = KIB_EACH
    goal = AtMost(8, 6)
    has_ceiling = False

    def __init__(self, clients: int, *, has_peer: bool) -> None:
        self._clients = clients
        self.has_peer = has_peer
        self.key = f"waiting-{clients}"
        self.title = f"memory per waiting client, {clients:,} of them"

    async def prepare(self, generator: Generator, plan: Plan, progress: Progress) -> list[Measured]:
        await generator.tell(PrepareWaiting(clients=self._clients, guests=GUESTS), progress)
        return []

    async def measure(self, generator: Generator, plan: Plan, progress: Progress) -> Measured:
        await generator.server.restart()
        _, [measured] = await generator.tell(MeasureWaiting(clients=self._clients), progress)
        return measured
