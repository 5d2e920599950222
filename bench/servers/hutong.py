"""hutong from this working tree, as an operator starts it: one region, its embedded PostgreSQL, limits off."""

import asyncio
import importlib.metadata
import subprocess
import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from bench.load.matrix import Target
from bench.servers import postgres
from bench.servers.process import ServerProcess, free_ports
from hutong.config import Passwords
from hutong.engines.postgres import EmbeddedPostgres

COST = Passwords()
"""What a password's hash costs when nothing is configured, as here."""
CONFIGURATION = """\
[limits]
enabled = false

[log]
level = "warning"

[regions.cn]
number = 1
server_name = "cn.localhost"
"""


class Hutong:
    """One process. Everything that is not written in CONFIGURATION is as it is for everybody."""

    name = "hutong"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._data = directory / "data"
        self._process: ServerProcess | None = None
        self._target: Target | None = None

    async def start(self) -> Target:
        target = Target("127.0.0.1", free_ports(1))
        config = self._directory / "hutong.toml"
        config.write_text(CONFIGURATION)
        programme = str(Path(sys.executable).parent / "hutong")
        command = [programme, "serve", "--data", str(self._data), "--port", str(target.port), "--config", str(config)]
        self._process = ServerProcess(command, self._directory, self._directory / "hutong.log")
        self._target = target
        await self._process.start(target)
        return target

    async def restart(self) -> None:
        assert self._process is not None, "it was started"
        assert self._target is not None, "it was started"
        await self._process.stop()  # and its database with it
        await self._process.start(self._target)

    def default_hashing(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()  # as always

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop()

    def roots(self) -> list[int]:
        assert self._process is not None, "it was started"
        return [self._process.pid, *postgres.postmasters(self._data)]

    async def settings(self) -> dict[str, str]:
        return {
            "version": await asyncio.to_thread(_version),
            "process": "one, one region of one cell; rate limits off, everything else as it comes",
            "passwords": f"Argon2id, {COST.memory_kib / 1024:g} MiB and {COST.passes} passes",
            **await postgres.settings(EmbeddedPostgres(self._data / "cn" / "postgres").dsn("cell0")),
        }


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
