"""Offers a server requests at a fixed rate, whatever it answers, and says what became of each. A process of its own.

An open loop: the next request is due when it is due. Only the connections are bounded; what is due while all of them
are busy is counted as `held`. Whoever has waited for `patience_s` goes away in the middle, as people do.
"""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, cast

import msgspec
import uvloop
from httptools import HttpResponseParser

NUMBER = "n0000000"
TICK_S = 0.01
OPENED_AT_ONCE = 64
DRAIN_S = 3.0
ROOT = Path(__file__).parents[2]
PLAN, REPORT = "plan.json", "report.json"


class Stream(msgspec.Struct, frozen=True):
    """`rate` requests per second over `connections`; in `requests`, taken in turn, NUMBER is one that counts on.

    Numbers begin after `numbers_from`, so that another flood of the same requests has others.
    """

    name: str
    rate: float
    connections: int
    requests: list[bytes]
    patience_s: float = 5.0
    numbers_from: int = 0
    keep: bool = False
    """Whether the bodies of what was served are wanted."""


class Plan(msgspec.Struct, frozen=True):
    host: str
    port: int
    seconds: float
    streams: list[Stream]


class Told(msgspec.Struct):
    """What became of the requests of one stream. `served`: by second; `waits_s`: how long each of those took."""

    offered: int = 0
    held: int = 0
    went_away: int = 0
    broken: int = 0
    statuses: dict[int, int] = {}
    served: dict[int, int] = {}
    refused: dict[int, int] = {}
    waits_s: list[float] = []
    refusal_waits_s: list[float] = []
    wrong_refusals: list[str] = []
    """The first few refusals that do not say when to come back."""
    bodies: list[bytes] = []

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    def count(self, *statuses: int) -> int:
        return sum(self.statuses.get(status, 0) for status in statuses)


class Report(msgspec.Struct):
    streams: dict[str, Told]
    late_s: float
    """The longest that the flood itself was behind its time."""


class _Client(asyncio.Protocol):
    """One connection: one request at a time, then back into the queue of those that are free."""

    def __init__(self, free: "deque[_Client]", told: Told, keep: bool, began: float) -> None:
        self.free, self.told, self.keep, self.began = free, told, keep, began
        self.transport: asyncio.Transport | None = None
        self.sent_at = 0.0
        self.busy = False
        self._fresh()

    def _fresh(self) -> None:
        self.parser = HttpResponseParser(self)
        self.retry_after, self.body = b"", b""

    def send(self, request: bytes, now: float) -> None:
        assert self.transport is not None
        self.sent_at, self.busy = now, True
        self.transport.write(request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.free.append(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy:
            self.told.broken += 1
        self.transport, self.busy = None, False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self.retry_after = value

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        told, now, status = self.told, perf_counter(), self.parser.get_status_code()
        second, wait_s = int(now - self.began), now - self.sent_at
        told.statuses[status] = told.statuses.get(status, 0) + 1
        if status == 200:
            told.served[second] = told.served.get(second, 0) + 1
            told.waits_s.append(wait_s)
            if self.keep:
                told.bodies.append(self.body)
        elif status in {429, 503}:
            told.refused[second] = told.refused.get(second, 0) + 1
            told.refusal_waits_s.append(wait_s)
            self._check(status)
        self.busy, self.retry_after, self.body = False, b"", b""
        if self.parser.should_keep_alive() and self.transport is not None:
            self.free.append(self)
        elif self.transport is not None:
            self.transport.close()
            self.transport = None

    def _check(self, status: int) -> None:
        good = self.retry_after.isdigit() and int(self.retry_after) >= 1
        if good and (status == 503 or b'"retry_after_ms":' in self.body):
            return
        if len(self.told.wrong_refusals) < 5:
            self.told.wrong_refusals.append(f"{status}, Retry-After {self.retry_after!r}, {self.body!r}")


class _Flow:
    """One stream under way."""

    def __init__(self, stream: Stream, connect: Callable[["_Flow"], "asyncio.Task[None]"]) -> None:
        self.stream, self.connect = stream, connect
        self.told, self.free = Told(), deque[_Client]()
        self.clients: list[_Client] = []
        self.opening: set[asyncio.Task[None]] = set()
        self.due, self.next_number, self.began = 0.0, 0, 0.0

    def tick(self, now: float, passed_s: float) -> None:
        stream, told = self.stream, self.told
        self.due += stream.rate * passed_s
        while self.due >= 1:
            self.due -= 1
            told.offered += 1
            client = self._free()
            if client is None:
                told.held += 1
                continue
            request = stream.requests[self.next_number % len(stream.requests)]
            self.next_number += 1
            client.send(request.replace(NUMBER.encode(), b"n%07d" % (stream.numbers_from + self.next_number)), now)

    def _free(self) -> _Client | None:
        while self.free:
            client = self.free.popleft()
            if client.transport is not None and not client.transport.is_closing():
                return client
        return None

    def renew(self, now: float) -> None:
        """Those who are tired of waiting hang up; a connection that is gone is opened again."""
        for client in self.clients:
            if client.busy and now - client.sent_at > self.stream.patience_s and client.transport is not None:
                self.told.went_away += 1
                client.busy = False
                client.transport.abort()
        self.clients = [client for client in self.clients if client.transport is not None]
        missing = self.stream.connections - len(self.clients) - len(self.opening)
        for _ in range(min(missing, OPENED_AT_ONCE)):
            self.opening.add(self.connect(self))


async def pour(plan: Plan) -> Report:
    loop = asyncio.get_running_loop()

    async def open_one(flow: _Flow) -> None:
        try:
            async with asyncio.timeout(plan.seconds):
                _, client = await loop.create_connection(
                    lambda: _Client(flow.free, flow.told, flow.stream.keep, flow.began), plan.host, plan.port
                )
            flow.clients.append(client)
        except OSError:
            flow.told.broken += 1
        finally:
            flow.opening.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    flows = [_Flow(stream, lambda flow: loop.create_task(open_one(flow))) for stream in plan.streams]
    while any(len(flow.clients) < flow.stream.connections for flow in flows):
        for flow in flows:
            flow.renew(perf_counter())
        await asyncio.gather(*(task for flow in flows for task in flow.opening))
    print("open", flush=True)
    began = last = renewed = perf_counter()
    late_s = 0.0
    for flow in flows:
        flow.began = began
        for client in flow.clients:
            client.began = began
    while (now := perf_counter()) - began < plan.seconds:
        for flow in flows:
            flow.tick(now, now - last)
        if now - renewed > 0.25:
            renewed = now
            for flow in flows:
                flow.renew(now)
        late_s = max(late_s, now - last - TICK_S)
        last = now
        await asyncio.sleep(TICK_S)
    print("over", flush=True)
    until = perf_counter() + DRAIN_S
    while any(client.busy for flow in flows for client in flow.clients) and perf_counter() < until:
        await asyncio.sleep(TICK_S)
    for flow in flows:
        for client in flow.clients:
            if client.transport is not None:
                client.transport.abort()
    return Report({flow.stream.name: flow.told for flow in flows}, late_s)


def request(method: str, target: str, token: str = "", body: Any = None) -> bytes:
    """One request, whole. `target` is below `/_matrix/client/v3`."""
    lines = [f"{method} /_matrix/client/v3{target} HTTP/1.1", "Host: 127.0.0.1"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    encoded = b"" if body is None else msgspec.json.encode(body)
    if encoded:
        lines += ["Content-Type: application/json", f"Content-Length: {len(encoded)}"]
    return "\r\n".join([*lines, "", ""]).encode() + encoded


@dataclass
class Flood:
    """A flood in a process of its own, so that it is late for nobody. It leaves its report in `folder`."""

    process: asyncio.subprocess.Process
    folder: Path

    @classmethod
    @asynccontextmanager
    async def of(cls, plan: Plan) -> AsyncIterator["Flood"]:
        """Its connections are open, and it flows."""
        with TemporaryDirectory(prefix="hutong-flood-") as name:
            folder = Path(name)
            (folder / PLAN).write_bytes(msgspec.json.encode(plan))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.support.flood", folder),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
            )  # fmt: skip
            try:
                flood = cls(process, folder)
                await flood._says(b"open")
                yield flood
            finally:
                if process.returncode is None:
                    process.kill()
                await process.communicate()

    async def over(self) -> None:
        """Nothing more is offered."""
        await self._says(b"over")

    async def report(self) -> Report:
        assert await self.process.wait() == 0
        return msgspec.json.decode((self.folder / REPORT).read_bytes(), type=Report)

    async def _says(self, word: bytes) -> None:
        assert self.process.stdout is not None
        assert (await self.process.stdout.readline()).strip() == word


if __name__ == "__main__":
    place = Path(sys.argv[1])
    wanted = msgspec.json.decode((place / PLAN).read_bytes(), type=Plan)
    (place / REPORT).write_bytes(msgspec.json.encode(uvloop.run(pour(wanted))))
