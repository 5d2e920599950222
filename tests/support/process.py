"""A node as a process of its own, to be stopped, killed and started again."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from tests.support.client import Client, Http
from tests.support.openapi import Contract

HUTONG = Path(sys.executable).with_name("hutong")
START_S = 60.0
STOP_S = 30.0


def environment() -> dict[str, str]:
    """This process's environment without settings of hutong, which would reach into the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HUTONG_")}


@dataclass
class NodeProcess:
    """`hutong serve`, or another `command` that takes the same options, on `data` and the four ports from `port`."""

    data: Path
    port: int
    session: aiohttp.ClientSession
    contract: Contract | None = None
    config: Path | None = None
    command: Sequence[str | Path] = (HUTONG, "serve")
    log: list[str] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None
    _reader: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def http(self) -> Http:
        return Http(self.session, self.base_url, self.contract)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, *more: str | Path) -> "NodeProcess":
        """Start, and return once the node says that it is ready.

        Raises: AssertionError with what it printed, when it ends or does not get there within a minute.
        """
        await self.launch(*more)
        assert self._process is not None
        try:
            async with asyncio.timeout(START_S):
                while not await self.is_ready():
                    if self._process.returncode is not None:
                        raise AssertionError(f"the node ended with {self._process.returncode}:\n{self.output}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"not ready after {START_S:.0f} s:\n{self.output}") from None
        return self

    async def launch(self, *more: str | Path) -> None:
        """Start, and do not wait."""
        assert self._process is None or self._process.returncode is not None, "it runs"
        self._process = await asyncio.create_subprocess_exec(
            *self.command,
            *("--data", self.data, "--port", str(self.port)),
            *(("--config", self.config) if self.config else ()),
            *more,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment(),
        )
        self._reader = asyncio.create_task(self._read(self._process))

    @property
    def output(self) -> str:
        return "".join(self.log[-60:])

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.log.append(line.decode(errors="replace"))

    async def is_ready(self) -> bool:
        try:
            async with self.session.get(self.base_url + "/health/ready") as response:
                return response.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def ended(self, within_s: float = STOP_S) -> int:
        """Wait for the process to end; its exit status (minus the signal that killed it)."""
        assert self._process is not None
        try:
            async with asyncio.timeout(within_s):
                status = await self._process.wait()
        except TimeoutError:
            await self.kill()
            raise AssertionError(f"still running after {within_s:.0f} s:\n{self.output}") from None
        await self._drained()
        return status

    def signal(self, number: int = signal.SIGTERM) -> None:
        if self.running:
            os.kill(self.pid, number)

    async def terminate(self) -> int:
        """SIGTERM, and wait. Returns the exit status."""
        self.signal()
        return await self.ended()

    async def kill(self) -> None:
        """`kill -9` of the node alone: its PostgreSQL servers live on."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self._drained()

    async def kill_everything(self) -> None:
        """`kill -9` of the node and of every PostgreSQL process that serves its data folder."""
        await self.kill()
        processes = self.postgres()
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        await asyncio.to_thread(psutil.wait_procs, processes, timeout=STOP_S)

    def postgres(self) -> list[psutil.Process]:
        """The PostgreSQL processes of this data folder, whoever started them: each works in its cluster's folder."""
        found = []
        for process in psutil.process_iter(["name"]):
            try:
                if process.info["name"] == "postgres" and Path(process.cwd()).is_relative_to(self.data):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    async def _drained(self) -> None:
        # Servers that outlive the node may hold its standard output open: the reader is not waited for.
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    async def register(self, name: str, region: str) -> Client:
        return await Client(self.http, name, region).register()


async def run(node: NodeProcess, *arguments: str | Path) -> tuple[int, str]:
    """Run a command of hutong on the node's data. Returns its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(str(HUTONG), *map(str, arguments), "--data", str(node.data)),
        *(("--config", str(node.config)) if node.config else ()),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment() | {"COLUMNS": "100"},
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()
