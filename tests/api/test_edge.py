"""The edge on real sockets: what a broken, slow, greedy or hostile client meets. No node is needed, none is started."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from hutong.config import Limits, Rate
from hutong.errors import RegionAway, UnknownToken
from hutong.http.app import build_app
from hutong.http.limits import RateLimiter
from hutong.http.request import (
    EMPTY,
    Caller,
    Request,
    Response,
    caller,
    client_address,
    raw_body,
    request_region,
)
from hutong.http.server import HttpServer
from hutong.ids import AccountNo, CellNo, DeviceNo

QUICK = Limits(enabled=False, header_seconds_max=0.4, request_seconds_max=0.4, idle_seconds_max=0.8, connections_max=50)
PATIENCE_SECONDS = 10
SPOILED = 300
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "access-control-allow-headers": "X-Requested-With, Content-Type, Authorization",
}


class Echo:
    async def on_put(self, req: Request, resp: Response, name: str) -> None:
        raw = await raw_body(req)
        resp.data = json.dumps({"name": name, "bytes": len(raw), "account": caller(req).account}).encode()


class Tiny:
    auth = False

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.data = json.dumps({"region": request_region(req), "address": client_address(req)}).encode()


class Large:
    auth = False

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.data = b'"' + b"x" * 5_000_000 + b'"'


class Streamed:
    auth = False

    async def on_get(self, req: Request, resp: Response) -> None:
        async def parts() -> AsyncIterator[bytes]:
            for number in range(3):
                yield b"[%d]" % number

        resp.stream = parts()


class Away:
    auth = False

    async def on_get(self, req: Request, resp: Response) -> None:
        raise RegionAway("cn", retry_after_ms=1_500)


class Waiting:
    """A long poll: waits until it is woken or nobody listens any more."""

    auth = False
    waits = True

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.woken = asyncio.Event()
        self.broken_off = asyncio.Semaphore(0)

    async def on_get(self, req: Request, resp: Response) -> None:
        self.begun.release()
        try:
            await self.woken.wait()
        except asyncio.CancelledError:
            self.broken_off.release()
            raise
        resp.data = b'"woken"'


class Stubborn:
    """Never ends by itself."""

    auth = False

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)

    async def on_get(self, req: Request, resp: Response) -> None:
        self.begun.release()
        await asyncio.Event().wait()


async def authenticate(token: str) -> Caller:
    if token != "bobs":
        raise UnknownToken
    return Caller(CellNo(512), AccountNo(5), DeviceNo(6), b"")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def errcode(self) -> str:
        return str(json.loads(self.body)["errcode"])


@dataclass
class Line:
    """A connection, with bytes in and answers out."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, head: bool = False) -> Answer:
        async with asyncio.timeout(PATIENCE_SECONDS):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            fields = [line.split(": ", 1) for line in lines[1:]]
            headers = {name.lower(): value for name, value in fields}
            assert len(headers) == len(fields), f"a header twice in {fields}"
            if headers.get("transfer-encoding") == "chunked":
                body = b""
                while size := int(await self.reader.readline(), 16):
                    body += await self.reader.readexactly(size)
                    await self.reader.readline()
                await self.reader.readline()
            else:
                body = await self.reader.readexactly(0 if head else int(headers.get("content-length", "0")))
            return Answer(int(lines[0].split()[1]), headers, body)

    async def ended(self) -> bool:
        """Wait until the server has closed."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


@dataclass
class Edge:
    server: HttpServer
    waiting: Waiting
    stubborn: Stubborn

    @asynccontextmanager
    async def line(self, bind: int = 0) -> AsyncIterator[Line]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.ports[bind], limit=8 << 20)
        try:
            yield Line(reader, writer)
        finally:
            writer.close()

    async def ask(self, data: bytes, bind: int = 0, *, head: bool = False) -> Answer:
        async with self.line(bind) as line:
            await line.send(data)
            return await line.answer(head=head)


@asynccontextmanager
async def serve(
    limits: Limits, limiter: RateLimiter | None = None, more: Iterable[tuple[str, object]] = ()
) -> AsyncIterator[Edge]:
    waiting, stubborn = Waiting(), Stubborn()
    routes = [
        ("/echo/{name}", Echo()),
        ("/tiny", Tiny()),
        ("/large", Large()),
        ("/streamed", Streamed()),
        ("/away", Away()),
        ("/waiting", waiting),
        ("/sync", waiting),
        ("/stubborn", stubborn),
        *more,
    ]
    app = build_app(routes, authenticate, hosts={"eu.localhost": "eu"}, limiter=limiter)
    server = HttpServer(app, [("127.0.0.1", 0, None), ("127.0.0.1", 0, "ru")], limits)
    await server.start()
    try:
        yield Edge(server, waiting, stubborn)
    finally:
        await server.stop(0.05)


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with serve(QUICK) as running:
        yield running


def put(path: str, body: bytes = EMPTY, *headers: bytes) -> bytes:
    lines = [b"PUT %b HTTP/1.1" % path.encode(), b"host: x", b"authorization: Bearer bobs"]
    return b"\r\n".join([*lines, b"content-length: %d" % len(body), *headers, b"", body])


TINY = b"GET /tiny HTTP/1.1\r\nhost: x\r\n\r\n"
WAITING = b"GET /waiting HTTP/1.1\r\nhost: x\r\n\r\n"

EVERY_KIND = {
    "an answer": (TINY, 200, None),
    "a preflight": (b"OPTIONS /echo/x HTTP/1.1\r\nhost: x\r\norigin: https://a\r\n\r\n", 204, None),
    "a preflight of what is not served": (b"OPTIONS /nowhere HTTP/1.1\r\nhost: x\r\n\r\n", 204, None),
    "an unknown path": (b"GET /_matrix/client/v3/nowhere HTTP/1.1\r\nhost: x\r\n\r\n", 404, "M_UNRECOGNIZED"),
    "server to server": (b"GET /_matrix/federation/v1/version HTTP/1.1\r\nhost: x\r\n\r\n", 404, "M_UNRECOGNIZED"),
    "a wrong method": (b"DELETE /echo/x HTTP/1.1\r\nhost: x\r\n\r\n", 405, "M_UNRECOGNIZED"),
    "a rare method": (b"PROPFIND /tiny HTTP/1.1\r\nhost: x\r\n\r\n", 405, "M_UNRECOGNIZED"),
    "an invented method": (b"FROB /tiny HTTP/1.1\r\nhost: x\r\n\r\n", 405, "M_UNRECOGNIZED"),
    "no token": (b"PUT /echo/x HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", 401, "M_MISSING_TOKEN"),
    "an unknown token": (put("/echo/x").replace(b"bobs", b"eves"), 401, "M_UNKNOWN_TOKEN"),
    "a region that is away": (b"GET /away HTTP/1.1\r\nhost: x\r\n\r\n", 503, "M_UNKNOWN"),
    "a body too large": (put("/echo/x", b"x" * 1_200_000), 413, "M_TOO_LARGE"),
    "a megabyte of one header": (b"GET /tiny HTTP/1.1\r\nx: " + b"x" * 1_000_000 + b"\r\n\r\n", 431, "M_TOO_LARGE"),
    "a megabyte of headers": (b"GET /tiny HTTP/1.1\r\n" + b"x: y\r\n" * 170_000 + b"\r\n", 431, "M_TOO_LARGE"),
    "a header without end": (b"GET /tiny HTTP/1.1\r\nx: " + b"x" * 1_000_000, 431, "M_TOO_LARGE"),
    "a name of a header without end": (b"GET /tiny HTTP/1.1\r\n" + b"x" * 1_000_000, 431, "M_TOO_LARGE"),
    "a megabyte of query": (b"GET /tiny?" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n", 414, "M_TOO_LARGE"),
    "a megabyte of path": (b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n", 414, "M_TOO_LARGE"),
    "a megabyte of trailer": (
        put("/echo/x").split(b"content-length")[0]
        + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx: "
        + b"x" * 1_000_000,
        431,
        "M_TOO_LARGE",
    ),
    "a tunnel": (b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\n\r\n", 405, "M_UNRECOGNIZED"),
    "a request of 1991": (b"GET /tiny\r\n\r\n", 400, "M_UNKNOWN"),
    "a version to come": (b"GET /tiny HTTP/3.0\r\n\r\n", 400, "M_UNKNOWN"),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 405, "M_UNRECOGNIZED"),
    "two lengths": (
        b"PUT /echo/x HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        400,
        "M_UNKNOWN",
    ),
    "a length and chunks": (
        b"PUT /echo/x HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "M_UNKNOWN",
    ),
    "a length that is none": (b"PUT /echo/x HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400, "M_UNKNOWN"),
    "no UTF-8 in the path": (b"GET /%ff HTTP/1.1\r\nhost: x\r\n\r\n", 400, "M_INVALID_PARAM"),
    "raw bytes in the query": (b"GET /tiny?a=\xc3\xa4 HTTP/1.1\r\nhost: x\r\n\r\n", 400, "M_INVALID_PARAM"),
    "half a request line": (b"GET /ti", 408, "M_UNKNOWN"),
    "half a request": (b"GET /tiny HTTP/1.1\r\nhost: x\r\n", 408, "M_UNKNOWN"),
    "half a body": (put("/echo/x", b"x" * 90)[:-10], 408, "M_UNKNOWN"),
    "no body where one is announced": (put("/echo/x", b"x" * 90)[:-90], 408, "M_UNKNOWN"),
}


@pytest.mark.parametrize("what", EVERY_KIND)
async def test_every_answer_has_its_code_and_lets_a_browser_read_it(edge: Edge, what: str) -> None:
    sent, status, errcode = EVERY_KIND[what]
    answer = await edge.ask(sent)
    assert answer.status == status, answer
    assert {name: answer.headers.get(name) for name in CORS} == CORS
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "date" in answer.headers
    if errcode is not None:
        assert answer.errcode == errcode
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body)["error"]


@pytest.mark.parametrize(
    "what", [name for name, (_, status, _) in EVERY_KIND.items() if status in {408, 413, 414, 431}]
)
async def test_nothing_of_a_refused_request_is_held_for_ever(edge: Edge, what: str) -> None:
    async with edge.line() as line:
        await line.send(EVERY_KIND[what][0])
        answer = await line.answer()
        if answer.headers.get("connection") == "close":
            assert await line.ended()
        else:  # all of the request had arrived, or is read and dropped: the line can go on
            await line.send(TINY)
            assert (await line.answer()).status == 200


async def test_a_header_that_drips_is_cut_off_in_time(edge: Edge) -> None:
    async with edge.line() as line:
        began = asyncio.get_running_loop().time()

        async def drip() -> None:
            while True:
                await line.send(b"a")
                await asyncio.sleep(0.05)

        dripping = asyncio.ensure_future(drip())
        try:
            await line.send(b"GET /tiny HTTP/1.1\r\nx: ")
            assert (await line.answer()).status == 408
        finally:
            dripping.cancel()
        assert asyncio.get_running_loop().time() - began < 5


async def test_a_slow_body_that_keeps_its_pace_is_read(edge: Edge) -> None:
    async with edge.line() as line:
        body = b"x" * 9_000
        request = put("/echo/x", body)
        await line.send(request[: -len(body)])
        for start in range(0, len(body), 1_000):
            await asyncio.sleep(0.1)  # 10,000 bytes a second, and 0.9 s in all: more than twice `request_seconds_max`
            await line.send(body[start : start + 1_000])
        assert json.loads((await line.answer()).body)["bytes"] == 9_000


async def test_idle_connections_are_closed_and_busy_ones_are_not(edge: Edge) -> None:
    async with edge.line() as fresh, edge.line() as used, edge.line() as waiting:
        await used.send(TINY)
        assert (await used.answer()).status == 200
        await waiting.send(WAITING)
        await edge.waiting.begun.acquire()
        assert await fresh.ended()
        assert await used.ended()
        edge.waiting.woken.set()
        assert (await waiting.answer()).body == b'"woken"'


async def test_pipelined_requests_are_answered_in_order(edge: Edge) -> None:
    async with edge.line() as line:
        await line.send(WAITING + b"".join(put(f"/echo/{number}", b"x" * number) for number in range(20)) + TINY)
        await edge.waiting.begun.acquire()
        edge.waiting.woken.set()
        assert (await line.answer()).body == b'"woken"'
        for number in range(20):
            assert json.loads((await line.answer()).body) == {"name": str(number), "bytes": number, "account": 5}
        assert (await line.answer()).status == 200


@pytest.mark.parametrize("step", [1, 7, 64])
async def test_it_does_not_matter_where_the_bytes_are_cut(edge: Edge, step: int) -> None:
    sent = put("/echo/%E8%83%A1", b"x" * 50) + b"GET http://x:1/tiny?a=b HTTP/1.1\r\n\r\n" + put("/echo/z", b"")
    async with edge.line() as line:
        for start in range(0, len(sent), step):
            await line.send(sent[start : start + step])
            await asyncio.sleep(0)
        assert json.loads((await line.answer()).body)["name"] == "胡"
        assert (await line.answer()).status == 200
        assert json.loads((await line.answer()).body)["name"] == "z"


@pytest.mark.parametrize("bad", [b"nonsense\r\n\r\n", b"GET /tiny HTTP/1.1\r\nx: " + b"x" * 100_000, b"GET /ti"])
async def test_a_refusal_waits_for_the_answers_before_it(edge: Edge, bad: bytes) -> None:
    async with edge.line() as line:
        await line.send(WAITING + TINY + bad)
        await edge.waiting.begun.acquire()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.8):  # nothing may overtake
                await line.reader.readexactly(1)
        edge.waiting.woken.set()
        assert (await line.answer()).body == b'"woken"'
        assert (await line.answer()).status == 200
        assert (await line.answer()).status >= 400
        assert await line.ended()


async def test_too_many_pipelined_requests_are_refused_in_turn(edge: Edge) -> None:
    async with edge.line() as line:
        await line.send(WAITING + TINY * 200)
        await edge.waiting.begun.acquire()
        edge.waiting.woken.set()
        statuses = [(await line.answer()).status for _ in range(66)]
        assert statuses == [200] * 65 + [503]
        assert await line.ended()


async def test_head_has_the_headers_of_get_and_no_body(edge: Edge) -> None:
    async with edge.line() as line:
        await line.send(TINY.replace(b"GET", b"HEAD") + TINY)
        head, get = await line.answer(head=True), await line.answer()
        assert head.headers["content-length"] == get.headers["content-length"]
        await line.send(b"HEAD /nowhere HTTP/1.1\r\n\r\n" + TINY)
        assert (await line.answer(head=True)).status == 404
        assert (await line.answer()).status == 200


async def test_answers_in_pieces(edge: Edge) -> None:
    async with edge.line() as line:
        await line.send(b"GET /streamed HTTP/1.1\r\n\r\n" + TINY)
        assert (await line.answer()).body == b"[0][1][2]"
        assert (await line.answer()).status == 200
        await line.send(b"GET /streamed HTTP/1.0\r\n\r\n")
        assert (await line.reader.read()).endswith(b"\r\n\r\n[0][1][2]")


async def test_old_and_closing_clients_are_answered_and_closed(edge: Edge) -> None:
    for sent in (b"GET /tiny HTTP/1.0\r\n\r\n", TINY.replace(b"host", b"connection: close\r\nhost")):
        async with edge.line() as line:
            await line.send(sent)
            answer = await line.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await line.ended()


async def test_an_offer_to_upgrade_is_passed_over(edge: Edge) -> None:
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n\r\n"
    async with edge.line() as line:
        await line.send(b"GET /tiny HTTP/1.1\r\n" + offer + TINY)
        assert (await line.answer()).status == 200
        assert (await line.answer()).status == 200
        await line.send(put("/echo/x", b"abc", offer.rstrip()) + TINY)
        assert json.loads((await line.answer()).body)["bytes"] == 3
        assert (await line.answer()).status == 200


async def test_who_asks_first_is_told_to_go_on(edge: Edge) -> None:
    async with edge.line() as line:
        request = put("/echo/x", b"abc", b"expect: 100-continue")
        await line.send(request[:-3])
        assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await line.send(b"abc")
        assert json.loads((await line.answer()).body)["bytes"] == 3


async def test_a_body_that_nobody_wants_is_dropped_and_the_line_goes_on(edge: Edge) -> None:
    async with edge.line() as line:
        await line.send(put("/echo/x", b"x" * 3_000_000).replace(b"bobs", b"eves") + TINY)
        assert (await line.answer()).status == 401
        assert (await line.answer()).status == 200


async def test_a_client_that_does_not_read_does_not_fill_the_memory(edge: Edge) -> None:
    async with edge.line() as line:
        line.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await line.send(b"GET /large HTTP/1.1\r\n\r\n" * 30)
        async with edge.line() as other:
            await other.send(TINY)
            assert (await other.answer()).status == 200
        (served,) = (c for c in edge.server._shared.connections if c.transport.get_write_buffer_size())
        assert served.transport.get_write_buffer_size() < 12_000_000


async def test_a_long_poll_ends_when_its_client_goes(edge: Edge) -> None:
    async with edge.line() as line:
        await line.send(WAITING)
        await edge.waiting.begun.acquire()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await edge.waiting.broken_off.acquire()


async def test_more_connections_than_allowed_are_told_so() -> None:
    async with serve(replace(QUICK, connections_max=2, idle_seconds_max=60)) as edge:
        async with edge.line() as one, edge.line() as two:
            for line in (one, two):
                await line.send(TINY)
                assert (await line.answer()).status == 200
            refused = await edge.ask(TINY)
            assert (refused.status, refused.headers["retry-after"]) == (503, "2")
            await one.send(TINY)
            assert (await one.answer()).status == 200
        await until(lambda: edge.server.connections == 0)
        assert (await edge.ask(TINY)).status == 200


async def test_the_region_is_that_of_the_port_or_the_host(edge: Edge) -> None:
    async def region(sent: bytes, bind: int) -> Any:
        return json.loads((await edge.ask(sent, bind)).body)["region"]

    assert await region(TINY, 0) is None
    assert await region(TINY, 1) == "ru"
    assert await region(TINY.replace(b"host: x", b"host: eu.localhost:8008"), 0) == "eu"
    assert await region(TINY.replace(b"host: x", b"host: eu.localhost:8008"), 1) == "ru"


async def test_a_proxy_on_this_machine_is_believed_about_the_last_address(edge: Edge) -> None:
    sent = TINY.replace(b"host", b"x-forwarded-for: 203.0.113.9, 192.0.2.7\r\nhost")
    assert json.loads((await edge.ask(sent)).body)["address"] == "192.0.2.7"


async def test_retry_after_is_rounded_up(edge: Edge) -> None:
    answer = await edge.ask(b"GET /away HTTP/1.1\r\nhost: x\r\n\r\n")
    assert answer.headers["retry-after"] == "2"
    assert json.loads(answer.body) == {
        "errcode": "M_UNKNOWN",
        "error": "region cn cannot be reached at the moment; try again",
        "hutong.region": "cn",
        "retry_after_ms": 1_500,
    }


async def test_too_many_requests() -> None:
    limits = Limits(read=Rate(0.01, 3))
    limiter = RateLimiter(limits, b"secret", asyncio.get_running_loop().time)
    async with serve(limits, limiter) as edge, edge.line() as line:
        await line.send(TINY * 4)
        answers = [await line.answer() for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert answers[3].errcode == "M_LIMIT_EXCEEDED"
        assert 0 < int(answers[3].headers["retry-after"]) <= 100


async def test_guessing_tokens_is_counted_too() -> None:
    limits = Limits(read=Rate(0.01, 3))
    limiter = RateLimiter(limits, b"secret", asyncio.get_running_loop().time)
    async with serve(limits, limiter) as edge, edge.line() as line:
        await line.send(put("/echo/x").replace(b"bobs", b"eves") * 4)
        assert [(await line.answer()).status for _ in range(4)] == [401, 401, 401, 429]


async def test_a_stop_lets_go_of_who_waits_and_does_not_wait_for_the_stubborn() -> None:
    async with serve(QUICK) as edge, edge.line() as idle, edge.line() as waiting, edge.line() as stubborn:
        await waiting.send(WAITING)
        await edge.waiting.begun.acquire()
        await stubborn.send(b"GET /stubborn HTTP/1.1\r\n\r\n")
        await edge.stubborn.begun.acquire()
        await idle.send(TINY)
        assert (await idle.answer()).status == 200
        stopping = asyncio.ensure_future(edge.server.stop(0.3))
        assert await idle.ended()
        answer = await waiting.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert not stopping.done()
        assert (await stubborn.answer()).status == 503
        async with asyncio.timeout(PATIENCE_SECONDS):
            await stopping
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", edge.server.ports[0])


async def test_a_port_that_is_taken_is_named(edge: Edge) -> None:
    taken = edge.server.ports[1]
    second = HttpServer(None, [("127.0.0.1", 0, None), ("127.0.0.1", taken, None)], QUICK)
    with pytest.raises(OSError, match=f"127.0.0.1, port {taken}"):
        await second.start()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", second.ports[0])


async def test_localhost_is_served_on_all_its_addresses() -> None:
    server = HttpServer(build_app([("/tiny", Tiny())], authenticate), [("localhost", 0, None)], QUICK)
    await server.start()
    try:
        loop = asyncio.get_running_loop()
        for host in {str(address[0]) for *_, address in await loop.getaddrinfo("localhost", server.ports[0])}:
            try:
                reader, writer = await asyncio.open_connection(host, server.ports[0])
            except OSError:
                assert ":" in host  # a machine without IPv6
                continue
            line = Line(reader, writer)
            await line.send(TINY)
            assert (await line.answer()).status == 200
            writer.close()
    finally:
        await server.stop(0.05)


def spoiled(dice: random.Random) -> bytes:
    """Requests that were in order, until some of their bytes were lost, doubled, changed or moved."""
    sound = [TINY, put("/echo/x", b"x" * 50), EVERY_KIND["a preflight"][0], put("/echo/%2F", EMPTY, b"x: y")]
    chunked = (
        put("/echo/c")
        .replace(b"content-length: 2", b"transfer-encoding: chunked")
        .replace(b"{}", b"2\r\n{}\r\n0\r\n\r\n")
    )
    data = bytearray(b"".join(dice.choices([*sound, chunked], k=3)))
    for _ in range(dice.randint(1, 4)):
        at, length = dice.randrange(len(data)), dice.choice((1, 1, 2, 7, 40))
        part = bytes(data[at : at + length])
        data[at : at + length] = dice.choice((b"", part * 2, dice.randbytes(length), b"\r\n", b"9" * length))
    return bytes(data)


async def test_whatever_is_sent_is_answered_or_closed_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # shown when the test fails
    dice = random.Random(seed)
    quicker = replace(
        QUICK, header_seconds_max=0.2, request_seconds_max=0.2, idle_seconds_max=0.2, connections_max=SPOILED + 1
    )

    async def one(edge: Edge, sent: bytes) -> None:
        async with edge.line() as line:
            await line.send(sent)
            said = b""
            with suppress(ConnectionResetError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    said = await line.reader.read()  # until it closes: at the latest when it has been idle for too long
            assert said, f"closed without a word: {sent!r}"
            assert b"HTTP/1.1 5" not in said, sent

    async with serve(quicker) as edge:
        await asyncio.gather(*(one(edge, spoiled(dice)) for _ in range(SPOILED)))
        assert (await edge.ask(TINY)).status == 200
        await until(lambda: edge.server.connections == 0)
    assert caplog.text == ""


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)
