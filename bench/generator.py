"""The runner's end of the load generator: starts its process, tells it what to do, and meters the server meanwhile."""

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from bench.load.commands import Began, Closed, Command, Done, Ended, Failed, Progressed, Report
from bench.load.matrix import Target
from bench.load.window import Result
from bench.machine import Meter, Usage
from bench.servers import Server

ROOT = Path(__file__).parent.parent
REPORT = msgspec.json.Decoder[Report](Report)
LINE_BYTES_MAX = 1 << 20
SILENCE_S = 300.0
"""A generator that says nothing for so long hangs."""


class LoadFailed(Exception):
    """The load generator could not do what it was told."""


@dataclass(frozen=True)
class Measured:
    """One window: what the generator counted, and what the server's processes used meanwhile."""

    result: Result
    usage: Usage

    @property
    def cpu_us(self) -> float:
        """Processor microseconds of the server, database included, per operation."""
        return self.usage.server_cpu_s / max(1, self.result.operations) * 1e6

    @property
    def memory_bytes(self) -> float:
        """What the memory of the server's own process grew by, per operation."""
        return self.usage.memory_bytes / max(1, self.result.operations)

    @property
    def generator_share(self) -> float:
        """How much of one core the generator used, 0 to 1."""
        return self.result.generator_cpu_s / self.result.seconds


class Generator:
    """The load generator of one server. `server`: for a figure that restarts it, or asks it for something else."""

    def __init__(self, server: Server, target: Target, prefix: str) -> None:
        self.server = server
        self._target = target
        self._prefix = prefix
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "bench.load", self._target.host, str(self._target.port), self._prefix]
        self._process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            start_new_session=True,
        )

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def tell(self, command: Command, progress: Callable[[Progressed], None]) -> tuple[Done, list[Measured]]:
        """Let it carry out `command`; returns what was measured on the way.

        Raises: LoadFailed, also when the server has ended or the generator hangs.
        """
        try:
            return await self._tell(command, progress)
        except psutil.NoSuchProcess as error:
            raise LoadFailed(f"process {error.pid} of the server has ended") from None
        except TimeoutError:
            raise LoadFailed(f"the load generator said nothing for {SILENCE_S:.0f} s") from None

    async def _tell(self, command: Command, progress: Callable[[Progressed], None]) -> tuple[Done, list[Measured]]:
        process = self._process
        assert process is not None, "it was started"
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(command) + b"\n")
        meter = Meter(self.server.roots(), (process.pid, os.getpid()))
        usage: Usage | None = None
        measured: list[Measured] = []
        while line := await asyncio.wait_for(process.stdout.readline(), SILENCE_S):
            match REPORT.decode(line):
                case Progressed() as progressed:
                    progress(progressed)
                case Began():
                    meter.open()
                case Closed():
                    usage = meter.close()
                case Ended(result):
                    assert usage is not None, "a window closes before its result is known"
                    measured.append(Measured(result, usage))
                case Failed(why):
                    raise LoadFailed(why)
                case Done() as done:
                    return done, measured
        raise LoadFailed(f"it ended with {await process.wait()}")
