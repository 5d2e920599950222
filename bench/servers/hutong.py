"""hutong from this working tree, as an operator starts it: one region, its embedded PostgreSQL, limits off."""

import asyncio
import importlib.metadata
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.load.matrix import Target
from bench.servers import OWN, postgres
from bench.servers.process import ServerProcess, free_ports
from hutong.config import Passwords
from hutong.engines.postgres import EmbeddedPostgres

COST = Passwords()
"""What a password's hash costs when nothing is configured."""
LIMITS_OFF = """\
[limits]
enabled = false

[log]
level = "warning"
"""
ONE_REGION = """
[regions.cn]
number = 1
server_name = "cn.localhost"
"""
CHEAP_PASSWORDS = """
[passwords]
memory_kib = 8
passes = 1
"""
"""For those who register: that is set-up here, not a figure. Each hash says what it costs whoever logs in."""


class Hutong:
    """One process. Everything that is not written above is as it is for everybody.

    `data`: its data folder, where that is there already.
    """

    def __init__(self, directory: Path, name: str = OWN, data: Path | None = None) -> None:
        self.name = name
        self._directory = directory
        self._data = data or directory / "data"
        self._process: ServerProcess | None = None
        self._target: Target | None = None

    async def start(self) -> Target:
        self._target = Target("127.0.0.1", free_ports(1))
        await self._start(ONE_REGION + CHEAP_PASSWORDS)
        return self._target

    async def _start(self, settings: str) -> None:
        assert self._target is not None, "its address is known"
        config = self._directory / "hutong.toml"
        config.write_text(LIMITS_OFF + settings)
        self._process = ServerProcess(
            serve(self._data, self._target.port, config), self._directory, self._directory / "hutong.log"
        )
        await self._process.start(self._target)

    async def restart(self) -> None:
        await self.stop()  # and its database with it
        await self._start(ONE_REGION + CHEAP_PASSWORDS)

    @asynccontextmanager
    async def default_hashing(self) -> AsyncIterator[None]:
        """Raises: NotStarted, since it is a setting that is read at the start."""
        await self.stop()
        await self._start(ONE_REGION)
        yield
        await self.restart()

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop()

    def roots(self) -> list[int]:
        assert self._process is not None, "it was started"
        return [self._process.pid, *postgres.postmasters(self._data)]

    async def settings(self) -> dict[str, str]:
        return {
            "version": await asyncio.to_thread(_version),
            "process": "one, one region of one cell; rate limits off",
            "passwords": f"Argon2id, {COST.memory_kib / 1024:g} MiB and {COST.passes} passes for those who log in, "
            "8 KiB and 1 for all others",
            **await postgres.settings(EmbeddedPostgres(self._data / "cn" / "postgres").dsn("cell0")),
        }


def serve(data: Path, port: int, config: Path) -> list[str]:
    """The command of a node."""
    programme = str(Path(sys.executable).parent / "hutong")
    return [programme, "serve", "--data", str(data), "--port", str(port), "--config", str(config)]


def _version() -> str:
    """The version, and the commit of the working tree that is measured, if git knows one."""
    version = importlib.metadata.version("hutong")
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        check=False,
        capture_output=True,
        text=True,
    )
    return f"{version}, {described.stdout.strip()}" if described.returncode == 0 else version
