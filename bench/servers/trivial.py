"""The server that only pretends: its figures are the load generator's own ceiling."""

import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from bench.load.matrix import Target
from bench.servers.process import ServerProcess, free_ports

ROOT = Path(__file__).parent.parent.parent


class Trivial:
    """See `bench/load/trivial.py`."""

    name = "ceiling"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: ServerProcess | None = None

    async def start(self) -> Target:
        target = Target("127.0.0.1", free_ports(1))
        command = [sys.executable, "-m", "bench.load.trivial", str(target.port)]
        self._process = ServerProcess(command, ROOT, self._directory / "trivial.log")
        await self._process.start(target)
        return target

    async def restart(self) -> None:
        raise NotImplementedError("it would forget everything")

    def default_hashing(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop()

    def roots(self) -> list[int]:
        assert self._process is not None, "it was started"
        return [self._process.pid]

    async def settings(self) -> dict[str, str]:
        return {}
