"""More is asked of the edge than may be at work, on real sockets: what is refused, how, and what goes on regardless."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from hutong.http.admission import Kind
from hutong.http.request import Request, Response, only_while_wanted
from tests.api.test_edge import CORS, QUICK, TINY, WAITING, Edge, Line, put, serve

ONE_AT_ONCE = replace(QUICK, reads_max=1, writes_max=1, request_seconds_max=5.0)
STUBBORN = b"GET /stubborn HTTP/1.1\r\nhost: x\r\n\r\n"
ALIVE = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
async def full() -> AsyncIterator[tuple[Edge, Line]]:
    """An edge that has all the reads at work that it may have, and whoever asked for them."""
    async with serve(ONE_AT_ONCE) as edge, edge.line() as greedy:
        await greedy.send(STUBBORN)
        await edge.stubborn.begun.acquire()
        yield edge, greedy


async def test_what_is_too_much_is_refused_and_its_connection_goes_on(full: tuple[Edge, Line]) -> None:
    edge, greedy = full
    async with edge.line() as line:
        for _ in range(3):
            await line.send(TINY)
            refused = await line.answer()
            assert (refused.status, refused.errcode) == (503, "M_UNKNOWN")
            assert int(refused.headers["retry-after"]) >= 1
            assert "connection" not in refused.headers
            assert {name: refused.headers[name] for name in CORS} == CORS
        greedy.writer.close()
        async with asyncio.timeout(5):
            while edge.server.admission.at_work()[Kind.READ]:
                await asyncio.sleep(0)
        await line.send(TINY)
        assert (await line.answer()).status == 200, "who asked had gone, so nothing was left at work"


async def test_a_refusal_of_head_has_no_body(full: tuple[Edge, Line]) -> None:
    edge, _ = full
    async with edge.line() as line:
        await line.send(TINY.replace(b"GET", b"HEAD") + TINY)
        assert (await line.answer(head=True)).status == 503
        assert (await line.answer()).status == 503


async def test_what_comes_behind_a_refused_request_is_answered_in_turn(full: tuple[Edge, Line]) -> None:
    edge, _ = full
    async with edge.line() as line:
        await line.send(TINY + put("/echo/x") + TINY)
        assert [(await line.answer()).status for _ in range(3)] == [503, 200, 503]


async def test_a_body_that_nobody_wants_does_not_hurt_what_follows() -> None:
    async with serve(ONE_AT_ONCE) as edge, edge.line() as slow, edge.line() as line:
        body = b"x" * 300_000
        await slow.send(put("/echo/slow", body)[:-1])
        async with asyncio.timeout(5):
            while not edge.server.admission.at_work()[Kind.WRITE]:
                await asyncio.sleep(0)
        await line.send(put("/echo/refused", body))
        assert (await line.answer()).status == 503
        await slow.send(body[-1:])
        assert (await slow.answer()).status == 200
        await line.send(put("/echo/later"))
        assert (await line.answer()).status == 200


async def test_a_refused_connection_that_is_to_end_ends(full: tuple[Edge, Line]) -> None:
    edge, _ = full
    async with edge.line() as line:
        await line.send(TINY.replace(b"host: x", b"connection: close"))
        refused = await line.answer()
        assert (refused.status, refused.headers["connection"]) == (503, "close")
        assert await line.ended()


async def test_who_asks_whether_anybody_is_there_is_answered(full: tuple[Edge, Line]) -> None:
    edge, _ = full
    assert (await edge.ask(ALIVE)).status == 404, "of a test's edge, which serves no such thing; but no refusal"
    assert (await edge.ask(TINY.replace(b"GET", b"OPTIONS"))).status == 204


async def test_many_refusals_are_all_said(full: tuple[Edge, Line]) -> None:
    edge, _ = full
    async with AsyncExitStack() as open_lines:
        lines = [await open_lines.enter_async_context(edge.line()) for _ in range(40)]
        for line in lines:
            await line.send(TINY * 10)
        for line in lines:
            assert {(await line.answer()).status for _ in range(10)} == {503}
        # Some go before they hear of it.
        for line in lines[:20]:
            await line.send(TINY * 10)
            line.writer.close()
        for line in lines[20:]:
            await line.send(TINY)
            assert (await line.answer()).status == 503


async def test_a_waiting_request_takes_no_place_of_those_that_work() -> None:
    async with serve(ONE_AT_ONCE) as edge, edge.line() as first, edge.line() as second:
        sync = WAITING.replace(b"/waiting ", b"/sync?since=h1.1.2.3.4 ")
        for line in (first, second):
            await line.send(sync)
            await edge.waiting.begun.acquire()
        assert (await edge.ask(TINY)).status == 200
        edge.waiting.woken.set()
        for line in (first, second):
            assert (await line.answer()).body == b'"woken"'


async def test_a_read_that_nobody_waits_for_any_more_is_broken_off() -> None:
    async with serve(QUICK) as edge:
        async with edge.line() as line:
            await line.send(STUBBORN)
            await edge.stubborn.begun.acquire()
        async with asyncio.timeout(5):
            while edge.server.admission.at_work()[Kind.READ]:
                await asyncio.sleep(0)


class Proving:
    """Waits for its turn, then does something that must be done to the end."""

    auth = False

    def __init__(self) -> None:
        self.begun, self.turn = asyncio.Semaphore(0), asyncio.Event()
        self.proved, self.finish, self.finished = asyncio.Semaphore(0), asyncio.Event(), asyncio.Event()

    async def on_post(self, req: Request, resp: Response) -> None:
        self.begun.release()
        with only_while_wanted(req):
            await self.turn.wait()
        self.proved.release()
        await self.finish.wait()
        self.finished.set()


async def test_a_password_that_nobody_waits_for_any_more_is_not_checked_but_what_came_of_one_is_done() -> None:
    proving = Proving()
    ask = b"POST /login HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    async with serve(QUICK, more=[("/login", proving)]) as edge:
        async with edge.line() as line:
            await line.send(ask)
            await proving.begun.acquire()
        at_work = edge.server.admission.at_work
        async with asyncio.timeout(5):
            while at_work()[Kind.PASSWORD]:
                await asyncio.sleep(0)
        proving.turn.set()
        async with edge.line() as line:
            await line.send(ask)
            await proving.proved.acquire()
        async with asyncio.timeout(5):
            while edge.server.connections:
                await asyncio.sleep(0)
            proving.finish.set()
            await proving.finished.wait()
        assert proving.proved.locked(), "the first one, whose client had gone, never got so far"
