"""`python -m bench.costs`: the processor time of one operation, of the node and of its databases.

One client at a time, so that every operation pays for a commit of its own, and then many at once, which share them. The
demo as it comes, three regions, rate limits off. Prints the table that stands in docs/costs.md; takes under a minute.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import psutil

from bench.load import matrix, wire
from bench.load.matrix import CLIENT, TEXT, Account, SendRequest, Target
from bench.machine import trees_cpu_s
from bench.servers import postgres
from bench.servers.hutong import LIMITS_OFF, serve
from bench.servers.process import ServerProcess, free_ports

READERS, ROOMS, EARLIER, AT_ONCE = 100, 20, 200, 64
ROW = "| {0} | {1:,.0f} | {2:,.0f} |"


@dataclass
class Node:
    """The demo, and what its processes have used."""

    target: Target
    process: ServerProcess
    data: Path

    def used_s(self) -> tuple[float, float]:
        """Processor seconds of the node and of its databases so far."""
        node = psutil.Process(self.process.pid)
        databases = trees_cpu_s(psutil.Process(pid) for pid in postgres.postmasters(self.data))
        times = node.cpu_times()
        return times.user + times.system, databases


@dataclass
class Clients:
    """Connections that stay open, a request at a time on each."""

    target: Target
    connections: list[wire.Connection] = field(default_factory=list)

    async def open(self, count: int) -> "Clients":
        while len(self.connections) < count:
            self.connections.append(await wire.connect(self.target.host, self.target.port))
        return self

    def ask(self, number: int, request: bytes) -> "asyncio.Future[bytes]":
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def done(status: int, body: bytes) -> None:
            if status == 200:
                answered.set_result(body)
            else:
                answered.set_exception(AssertionError(f"{status} {body!r} to {request[:120]!r}"))

        self.connections[number].send(request, done)
        return answered

    async def ask_all(self, requests: Iterable[bytes], at_once: int = 1) -> list[bytes]:
        """All of them, `at_once` under way."""
        left, answers = iter(requests), list[bytes]()

        async def follow(number: int) -> None:
            for request in left:
                answers.append(await self.ask(number, request))

        await asyncio.gather(*map(follow, range(at_once)))
        return answers


async def measure(node: Node, what: str, count: int, work: Callable[[], Awaitable[Any]]) -> None:
    """Print what `work`, which does something `count` times, used each time."""
    before = node.used_s()
    await work()
    after = node.used_s()
    print(ROW.format(what, *((b - a) / count * 1e6 for a, b in zip(before, after, strict=True))), flush=True)


def decoded(answers: Sequence[bytes]) -> list[Any]:
    return list(map(msgspec.json.decode, answers))


async def people(clients: Clients, region: str, count: int) -> list[Account]:
    """Newcomers of a region, registered a few at a time."""
    requests = []
    for number in range(count):
        body = {
            "username": f"{region}{number}", "password": matrix.PASSWORD, "hutong.region": region,
            "auth": {"type": "m.login.dummy"},
        }  # fmt: skip
        requests.append(matrix.request("POST", f"{CLIENT}/register", None, body))
    answers = await clients.ask_all(requests, at_once=2)
    return [msgspec.json.decode(answer, type=Account) for answer in answers]


async def run(node: Node) -> None:
    clients = await Clients(node.target).open(READERS)
    crowd = await people(clients, "cn", READERS)
    [carol] = await people(clients, "ru", 1)
    writer, reader = crowd[:2]
    room = decoded(await clients.ask_all([matrix.create_room(writer.access_token)]))[0]["room_id"]
    entering = [matrix.join(room, person.access_token) for person in (*crowd[1:], carol)]
    others = decoded(await clients.ask_all(matrix.create_room(reader.access_token) for _ in range(ROOMS - 1)))
    numbers = iter(range(1_000_000))

    def sends(account: Account, where: str, count: int) -> list[bytes]:
        request = SendRequest.to(where, account.access_token, TEXT)
        return [request.with_transaction(b"m%d" % next(numbers)) for _ in range(count)]

    for other in others:
        await clients.ask_all(sends(reader, other["room_id"], 10), at_once=8)
    print("| operation | node, µs | PostgreSQL, µs |\n|---|---|---|")
    await measure(node, "a join", len(entering) - 1, lambda: clients.ask_all(entering[:-1]))
    await clients.ask_all(entering[-1:])
    lane = decoded(await clients.ask_all([matrix.create_room(writer.access_token)]))[0]["room_id"]
    await clients.ask_all([matrix.join(lane, carol.access_token)])
    quiet = decoded(await clients.ask_all([matrix.create_room(writer.access_token)]))[0]["room_id"]
    await clients.ask_all(sends(writer, quiet, EARLIER), at_once=AT_ONCE)
    count = 500
    await measure(node, "a send, alone", count, lambda: clients.ask_all(sends(writer, quiet, count)))
    many = 8 * count
    await measure(
        node, f"a send, {AT_ONCE} at once", many, lambda: clients.ask_all(sends(writer, quiet, many), AT_ONCE)
    )
    await clients.ask_all(sends(carol, lane, 50))
    await measure(node, "a send abroad, alone", count, lambda: clients.ask_all(sends(carol, lane, count)))
    said = decoded(await clients.ask_all(sends(writer, room, 10)))
    receipts = [
        matrix.request("POST", f"{_path(room)}/receipt/m.read/{quote(event['event_id'], safe='')}", token, {})
        for event in said
        for token in [person.access_token for person in crowd]
    ]
    await measure(node, f"a receipt, {AT_ONCE} at once", len(receipts), lambda: clients.ask_all(receipts, AT_ONCE))
    typing = f"{_path(quiet)}/typing/{quote(writer.user_id, safe='')}"
    bodies = ({"typing": True, "timeout": 30_000}, {"typing": False})
    notices = [matrix.request("PUT", typing, writer.access_token, body) for body in bodies] * count
    await measure(node, "a typing notice", len(notices), lambda: clients.ask_all(notices))
    pages = [matrix.page(quiet, writer.access_token, "", 100)] * count
    await clients.ask_all(pages[:20])
    await measure(node, "a page of 100 events", len(pages), lambda: clients.ask_all(pages))
    first = [matrix.request("GET", f"{CLIENT}/sync?timeout=0", reader.access_token)] * 100
    await clients.ask_all(first[:10])
    await measure(node, f"a first sync, {ROOMS} rooms", len(first), lambda: clients.ask_all(first))
    await _deliver(node, clients, crowd, sends(writer, room, 60))
    logins = [matrix.login(person.user_id) for person in crowd[:40]]
    await measure(node, "a login", len(logins), lambda: clients.ask_all(logins))


async def _deliver(node: Node, clients: Clients, crowd: list[Account], messages: list[bytes]) -> None:
    """Messages, one after the other, to everybody else of the room, who wait."""
    waiting = list(range(1, len(crowd)))
    tokens = decoded([await clients.ask(n, _sync(crowd[n], None, 0)) for n in waiting])
    since = {n: token["next_batch"] for n, token in zip(waiting, tokens, strict=True)}

    async def deliver(requests: Iterable[bytes]) -> None:
        for request in requests:
            polls = [clients.ask(n, _sync(crowd[n], since[n], 30_000)) for n in waiting]
            await clients.ask(0, request)
            for n, body in zip(waiting, await asyncio.gather(*polls), strict=True):
                since[n] = msgspec.json.decode(body)["next_batch"]

    await deliver(messages[:10])
    left = messages[10:]
    name = f"a delivery, {len(waiting)} waiting, the poll and its share of the send included"
    await measure(node, name, len(left) * len(waiting), lambda: deliver(left))


def _path(room: str) -> str:
    return f"{CLIENT}/rooms/{quote(room, safe='')}"


def _sync(account: Account, since: str | None, timeout_ms: int) -> bytes:
    after = "" if since is None else f"&since={quote(since, safe='')}"
    return matrix.request("GET", f"{CLIENT}/sync?timeout={timeout_ms}{after}", account.access_token)


async def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="hutong-costs-"))
    folder.chmod(0o755)
    target, settings = Target("127.0.0.1", free_ports(4)), folder / "hutong.toml"
    settings.write_text(LIMITS_OFF)
    process = ServerProcess(serve(folder / "data", target.port, settings), folder, folder / "hutong.log")
    try:
        await process.start(target)
        await run(Node(target, process, folder / "data"))
    finally:
        await process.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
