"""The servers that are measured: how each is set up, started, asked for its settings, and stopped."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from bench.load.matrix import Target

OWN = "hutong"
PEER = "synapse"
CEILING = "ceiling"


class Server(Protocol):
    """One server under measurement."""

    name: str

    async def start(self) -> Target:
        """Start it with a new, empty data folder, and return where it listens once it answers."""

    async def restart(self) -> None:
        """Stop server and database and start them with the same data, at the same address, until it answers."""

    def default_hashing(self) -> AbstractAsyncContextManager[None]:
        """Within it, whoever registers gets the password hash that comes as the default, whatever it costs."""

    async def stop(self) -> None:
        """Stop all that `start` started. Safe to call twice, and after a start that failed."""

    def roots(self) -> list[int]:
        """The processes at the top of its trees, the server's own before its database's.

        What they use is what an operation costs.
        """

    async def settings(self) -> dict[str, str]:
        """What a reader must know to judge its figures, asked of the running server where it can be asked."""
