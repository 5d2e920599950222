"""hutong with the demo's three regions in one process, for what goes from one region to another."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from bench.load.commands import Places
from bench.load.matrix import Target
from bench.servers import postgres
from bench.servers.hutong import CHEAP_PASSWORDS, LIMITS_OFF, serve
from bench.servers.process import ServerProcess, free_ports

REGIONS = ("cn", "eu", "ru")
"""In the order of their ports, which follow the node's own."""
WITHIN = "one region"
ACROSS = "three regions"


class Regions:
    """One node, started by the first who needs it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._data = directory / "data"
        self._process: ServerProcess | None = None
        self._target: Target | None = None

    async def start(self) -> Target:
        if self._target is None:
            self._target = Target("127.0.0.1", free_ports(1 + len(REGIONS)))
            config = self._directory / "hutong.toml"
            config.write_text(LIMITS_OFF + CHEAP_PASSWORDS)
            command = serve(self._data, self._target.port, config)
            self._process = ServerProcess(command, self._directory, self._directory / "hutong.log")
            await self._process.start(self._target)
        return self._target

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop()

    def roots(self) -> list[int]:
        assert self._process is not None, "it was started"
        return [self._process.pid, *postgres.postmasters(self._data)]

    def port(self, region: str) -> int:
        """Who registers there is at home in `region`."""
        assert self._target is not None, "it was started"
        return self._target.port + 1 + REGIONS.index(region)


class Placed:
    """The node with people of certain regions; several of these share one node, and are measured in turn."""

    def __init__(self, node: Regions, name: str, *, senders: str, rooms: str, readers: str) -> None:
        self.name = name
        self._node = node
        self._regions = (senders, rooms, readers)

    @property
    def places(self) -> Places:
        senders, rooms, readers = map(self._node.port, self._regions)
        return Places(senders=senders, rooms=rooms, readers=readers)

    async def start(self) -> Target:
        return await self._node.start()

    async def restart(self) -> None:
        raise NotImplementedError("nothing that is measured here needs it")

    def default_hashing(self) -> AbstractAsyncContextManager[None]:
        raise NotImplementedError("nobody logs in here")

    async def stop(self) -> None:
        await self._node.stop()

    def roots(self) -> list[int]:
        return self._node.roots()

    async def settings(self) -> dict[str, str]:
        senders, rooms, readers = self._regions
        return {"people": f"senders of {senders}, rooms of {rooms}, readers of {readers}"}


def within_and_across(directory: Path) -> tuple[Placed, Placed]:
    """One node twice: with everybody in one region, and with senders, rooms and readers in three."""
    node = Regions(directory)
    return (
        Placed(node, WITHIN, senders="cn", rooms="cn", readers="cn"),
        Placed(node, ACROSS, senders="ru", rooms="cn", readers="eu"),
    )
