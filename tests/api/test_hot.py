"""The short way on real sockets: the same answers and limits as the long way, and nothing that waits costs a task."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import pytest

from hutong.config import Limits, Rate
from hutong.errors import BadParam, RegionAway
from hutong.http.app import build_app
from hutong.http.call import Call, HotResource, Outcome, Wait, Waker
from hutong.http.limits import RateLimiter
from hutong.http.request import query_int
from hutong.http.server import HttpServer
from tests.api.test_edge import PATIENCE_SECONDS, QUICK, Answer, Line, Tiny, authenticate, until

BOB = b"authorization: Bearer bobs\r\n"
DETOUR = b"expect: 100-continue\r\n"
"""A header with which a request takes the long way."""


class Kept(Wait):
    """Waits until a test says so."""

    def __init__(self) -> None:
        self.waker: Waker | None = None
        self.answer: bytes | None = None
        self.asked = 0
        self.cancelled = 0

    def park(self, waker: Waker) -> None:
        self.waker = waker

    def resume(self) -> Outcome:
        self.asked += 1
        return self if self.answer is None else self.answer

    def cancel(self) -> None:
        self.waker = None
        self.cancelled += 1

    def wake(self, answer: bytes | None) -> None:
        self.answer = answer
        if self.waker is not None:
            self.waker.woken()


class Echo(HotResource):
    """Says what it was asked, and whether a task was made for it. Names choose other ends."""

    def __init__(self) -> None:
        self.short = 0

    def hot_put(self, call: Call) -> Outcome:
        self.short += asyncio.current_task() is None
        match call.path["name"]:
            case "refused":
                raise BadParam("name", "is refused")
            case "broken":
                raise ZeroDivisionError("a secret")
            case "away":
                raise RegionAway("cn", retry_after_ms=1_500)
            case "later":
                return self._later(call)
        return self._seen(call)

    async def _later(self, call: Call) -> Outcome:
        await asyncio.sleep(0.01)
        if query_int(call, "fail", 0, 0, 9):
            raise RegionAway("cn", retry_after_ms=2_500)
        return self._seen(call)

    def _seen(self, call: Call) -> bytes:
        seen = {
            "name": call.path["name"],
            "query": dict(call.params),
            "body": call.body.decode(errors="replace"),
            "account": call.caller.account,
        }
        return json.dumps(seen).encode()


class Waiting(HotResource):
    waits = True

    def __init__(self) -> None:
        self.polls: list[Kept] = []

    def hot_get(self, call: Call) -> Outcome:
        self.polls.append(Kept())
        return self.polls[-1]


@dataclass
class Edge:
    server: HttpServer
    echo: Echo
    waiting: Waiting

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.ports[0], limit=8 << 20)
        try:
            yield Line(reader, writer)
        finally:
            writer.close()

    async def ask(self, data: bytes) -> Answer:
        async with self.line() as line:
            await line.send(data)
            return await line.answer()


@asynccontextmanager
async def serve(limits: Limits = QUICK, limiter: RateLimiter | None = None) -> AsyncIterator[Edge]:
    echo, waiting = Echo(), Waiting()
    app = build_app(
        [("/echo/{name}", echo), ("/waiting", waiting), ("/tiny", Tiny())],
        authenticate,
        authenticate_cached=lambda token: None if token != "bobs" else BOBS,
        limiter=limiter,
    )
    server = HttpServer(app, [("127.0.0.1", 0, None)], limits)
    await server.start()
    try:
        yield Edge(server, echo, waiting)
    finally:
        await server.stop(0.05)


BOBS = asyncio.run(authenticate("bobs"))


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with serve() as running:
        yield running


def put(path: str, body: bytes = b"{}", *headers: bytes) -> bytes:
    lines = [b"PUT %b HTTP/1.1" % path.encode(), b"host: x", BOB.strip(), *headers]
    return b"\r\n".join([*lines, b"content-length: %d" % len(body), b"", body])


def chunked(path: str, body: bytes = b"{}", *headers: bytes) -> bytes:
    """The same request, such that it takes the long way."""
    lines = [b"PUT %b HTTP/1.1" % path.encode(), b"host: x", BOB.strip(), *headers, b"transfer-encoding: chunked", b""]
    return b"\r\n".join([*lines, b"%x" % len(body), body, b"0", b"", b""])


POLL = b"GET /waiting HTTP/1.1\r\nhost: x\r\n" + BOB + b"\r\n"

ALIKE = {
    "plain": ("/echo/x", b'{"a":1}', ()),
    "a query": ("/echo/x?a=1&b=%C3%A4&b=+c&flag", b"{}", ()),
    "encoded": ("/echo/%21r%3Acn.localhost", b"{}", ()),
    "an encoded slash": ("/echo/a%2Fb%252F", b"{}", ()),
    "not ASCII": ("/echo/%E5%8C%97", "北".encode(), ()),
    "an error": ("/echo/refused", b"{}", ()),
    "a mistake of ours": ("/echo/broken", b"{}", ()),
    "an error with a time": ("/echo/away", b"{}", ()),
    "work": ("/echo/later", b"{}", ()),
    "work that fails": ("/echo/later?fail=1", b"{}", ()),
    "a query that is wrong": ("/echo/later?fail=x", b"{}", ()),
    "a last one": ("/echo/x", b"{}", (b"connection: close",)),
    "lower and upper case": ("/echo/x", b"{}", (b"X-Some: Thing",)),
}


@pytest.mark.parametrize("what", ALIKE)
async def test_both_ways_give_the_same_answer(edge: Edge, what: str) -> None:
    path, body, headers = ALIKE[what]
    short = await edge.ask(put(path, body, *headers))
    assert edge.echo.short == 1
    long = await edge.ask(chunked(path, body, *headers))
    assert edge.echo.short == 1, "the second took the long way"
    for answer in (short, long):
        assert answer.headers.pop("date")
    assert short == long
    assert "a secret" not in short.body.decode()


LONG = {
    "who is not known yet": put("/echo/x").replace(b"bobs", b"eves"),
    "no token": put("/echo/x").replace(BOB, b""),
    "two tokens": put("/echo/x", b"{}", BOB.strip()),
    "a token of another scheme": put("/echo/x").replace(b"Bearer", b"Basic"),
    "a body too large": put("/echo/x", b"x" * 70_000),
    "old HTTP": put("/echo/x").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "who asks first": put("/echo/x", b"{}", DETOUR.strip()),
    "no UTF-8 in the path": put("/echo/%ff"),
    "raw bytes in the query": put("/echo/x").replace(b"/echo/x", b"/echo/x?a=\xc3\xa4"),
    "a method that is not served": put("/echo/x").replace(b"PUT", b"GET"),
    "a preflight": put("/echo/x").replace(b"PUT", b"OPTIONS"),
    "a path that is not served": put("/nowhere"),
}


@pytest.mark.parametrize("what", LONG)
async def test_what_is_unusual_takes_the_long_way(edge: Edge, what: str) -> None:
    answer = await edge.ask(LONG[what])
    assert edge.echo.short == 0
    assert answer.status in {100, 200, 204, 400, 401, 404, 405, 413}


async def test_requests_of_both_ways_are_answered_in_order(edge: Edge) -> None:
    tiny = b"GET /tiny HTTP/1.1\r\nhost: x\r\n\r\n"
    asked = [put(f"/echo/{'later' if n % 7 == 0 else n}") if n % 3 else tiny for n in range(30)]
    async with edge.line() as line:
        await line.send(b"".join(asked))
        for number in range(30):
            answer = json.loads((await line.answer()).body)
            assert answer.get("name") == (None if number % 3 == 0 else "later" if number % 7 == 0 else str(number))


@pytest.mark.parametrize("step", [1, 7])
async def test_it_does_not_matter_where_the_bytes_are_cut(edge: Edge, step: int) -> None:
    data = put("/echo/a", b"1") + put("/echo/b", b"22")
    async with edge.line() as line:
        for at in range(0, len(data), step):
            await line.send(data[at : at + step])
            await asyncio.sleep(0)
        assert [json.loads((await line.answer()).body)["body"] for _ in range(2)] == ["1", "22"]


async def test_half_a_body_is_refused_in_time_and_closed(edge: Edge) -> None:
    async with edge.line() as line:
        await line.send(put("/echo/x", b"x" * 90)[:-10])
        assert (await line.answer()).status == 408
        assert await line.ended()


async def test_what_waits_has_no_task_and_is_answered_when_woken(edge: Edge) -> None:
    before = len(asyncio.all_tasks())
    async with edge.line() as line:
        await line.send(POLL)
        await until(lambda: bool(edge.waiting.polls) and edge.waiting.polls[0].waker is not None)
        [poll] = edge.waiting.polls
        assert len(asyncio.all_tasks()) == before
        [connection] = edge.server._shared.connections
        assert connection._reader is None
        poll.wake(None)  # nothing yet: it waits on
        await until(lambda: poll.asked == 2)
        poll.wake(b'"woken"')
        assert (await line.answer()).body == b'"woken"'
        await line.send(put("/echo/x"))
        assert (await line.answer()).status == 200
    assert not poll.cancelled


async def test_a_wait_ends_with_its_client(edge: Edge) -> None:
    async with edge.line() as line:
        await line.send(POLL)
        await until(lambda: bool(edge.waiting.polls))
    [poll] = edge.waiting.polls
    await until(lambda: poll.cancelled == 1)
    await until(lambda: edge.server.connections == 0)


async def test_who_waits_is_not_idle(edge: Edge) -> None:
    async with edge.line() as line:
        await line.send(POLL)
        await until(lambda: bool(edge.waiting.polls))
        await asyncio.sleep(QUICK.idle_seconds_max * 2)
        edge.waiting.polls[0].wake(b"1")
        assert (await line.answer()).body == b"1"


async def test_a_stop_lets_go_of_who_waits() -> None:
    async with serve() as edge, edge.line() as line:
        await line.send(POLL)
        await until(lambda: bool(edge.waiting.polls))
        await edge.server.stop(1)
        answer = await line.answer()
        assert answer.status == 503
        assert answer.headers["connection"] == "close"
        assert edge.waiting.polls[0].cancelled == 1


async def test_who_does_not_read_is_not_worked_for(edge: Edge) -> None:
    """Answers to a client that does not read them wait for it, and are not made ahead."""
    async with edge.line() as line:
        line.reader._transport.pause_reading()  # type: ignore[attr-defined]
        writing = asyncio.create_task(line.send(put("/echo/x", b"x" * 60_000) * 500))
        await until(lambda: edge.echo.short > 1)
        made = -1
        while made != edge.echo.short:
            made = edge.echo.short
            await asyncio.sleep(0.1)
        assert made < 400
        line.reader._transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(500):
            assert (await line.answer()).status == 200
        await writing


async def test_too_many_requests_are_refused_the_same_way() -> None:
    limits = replace(QUICK, enabled=True, read=Rate(per_second=0.5, burst=1))
    limiter = RateLimiter(limits, bytes(32), lambda: 100.0)
    async with serve(limiter=limiter) as edge:
        assert (await edge.ask(put("/echo/x"))).status == 200
        answers = [await edge.ask(put("/echo/x")), await edge.ask(chunked("/echo/x"))]
        assert [answer.status for answer in answers] == [429, 429]
        assert [answer.headers["retry-after"] for answer in answers] == ["2", "2"]
        assert [answer.errcode for answer in answers] == ["M_LIMIT_EXCEEDED"] * 2
        assert edge.echo.short == 1


async def test_whatever_is_sent_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # shown when the test fails
    dice = random.Random(seed)

    async def one(edge: Edge) -> None:
        data = bytearray(b"".join(dice.choices([put("/echo/x", b"ab"), put("/echo/later"), POLL], k=3)))
        for _ in range(dice.randint(1, 4)):
            at, length = dice.randrange(len(data)), dice.choice((1, 1, 2, 7, 40))
            part = bytes(data[at : at + length])
            data[at : at + length] = dice.choice((b"", part * 2, dice.randbytes(length), b"\r\n", b"9" * length))
        async with edge.line() as line:
            await line.send(bytes(data))
            with suppress(ConnectionResetError, TimeoutError):
                async with asyncio.timeout(1):
                    assert b"HTTP/1.1 5" not in await line.reader.read(), data

    quicker = replace(QUICK, header_seconds_max=0.2, request_seconds_max=0.2, idle_seconds_max=0.2, connections_max=301)
    async with serve(quicker) as edge:
        await asyncio.gather(*(one(edge) for _ in range(300)))
        assert (await edge.ask(put("/echo/x"))).status == 200
        async with asyncio.timeout(PATIENCE_SECONDS):
            while edge.server.connections:  # requests behind a poll keep its line from being read to the end
                for poll in edge.waiting.polls:
                    poll.wake(b"1")
                await asyncio.sleep(0.01)
        await until(lambda: not any(edge.server.admission.at_work().values()))
        assert all(poll.waker is None or poll.answer is not None for poll in edge.waiting.polls)
    assert caplog.text == ""
