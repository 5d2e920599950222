"""Starting a server's process, waiting until it answers, and stopping it."""

import asyncio
import os
import signal
import socket
from pathlib import Path

from bench.load import matrix, wire
from bench.load.matrix import Target

READY_S = 90.0
STOP_S = 20.0
VERSIONS = matrix.request("GET", "/_matrix/client/versions", None)


class NotStarted(Exception):
    """A server did not get as far as answering; the message has the end of its log."""


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on. Another process may still take one before we do."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = int(probe.getsockname()[1])
        if first + count < 65_536 and all(_is_free(port) for port in range(first, first + count)):
            return first
    raise NotStarted("no free ports in a row on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class ServerProcess:
    """A child in a session of its own, so that an interrupt stops it through us and in order."""

    def __init__(self, command: list[str], cwd: Path, log: Path) -> None:
        self._command = command
        self._cwd = cwd
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was started"
        return self._process.pid

    async def start(self, target: Target, environment: dict[str, str] | None = None) -> None:
        """Start it and wait until `/versions` is answered. Raises: NotStarted."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._cwd,
                env={**os.environ, **(environment or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(READY_S):
                while not await _answers(target):
                    if self._process.returncode is not None:
                        raise NotStarted(f"{self._command[0]} ended with {self._process.returncode}:\n{self._tail()}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise NotStarted(f"{self._command[0]} does not answer after {READY_S:.0f} s:\n{self._tail()}") from None

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    async def stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _answers(target: Target) -> bool:
    try:
        connection = await wire.connect(target.host, target.port)
    except OSError:
        return False
    try:
        status, _ = await wire.ask(connection, VERSIONS, timeout_s=5)
    except TimeoutError:
        return False
    finally:
        connection.close()
    return status == 200
