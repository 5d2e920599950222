"""The link between cells, and what goes wrong on it. Every failure of the other side is one of two kinds."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest

from hutong.cells.link import Fault, InProcessLinks, LinkDown, Request
from hutong.errors import Forbidden, MatrixError
from hutong.ids import CellNo

HERE, THERE = CellNo(256), CellNo(512)


class Add(Request[int], frozen=True, kw_only=True):
    flow: ClassVar[str] = "add"
    reply: ClassVar[Any] = int
    number: int


class Say(Request[str], frozen=True, kw_only=True):
    flow: ClassVar[str] = "say"
    reply: ClassVar[Any] = str
    text: str


async def echo(_: CellNo, request: Say) -> str:
    return request.text * 2


class Adder:
    """Answers with the sum of what it was asked to add."""

    def __init__(self) -> None:
        self.sum = 0

    async def __call__(self, _: CellNo, request: Add) -> int:
        self.sum += request.number
        return self.sum


@pytest.fixture
def adder() -> Adder:
    return Adder()


@pytest.fixture
def links(adder: Adder) -> InProcessLinks:
    links = InProcessLinks()
    links.serve(THERE, Add, adder)
    return links


def failing_with(error: BaseException) -> Callable[[CellNo, Add], Awaitable[int]]:
    async def fail(_: CellNo, __: Add) -> int:
        raise error

    return fail


async def test_a_question_and_its_answer(links: InProcessLinks) -> None:
    crossed: list[tuple[int, int, str]] = []
    links.recorder = lambda src, dest, flow, raw: crossed.append((src, dest, flow))
    assert await links.of(HERE).call(THERE, Add(number=3)) == 3
    assert crossed == [(HERE, THERE, "add"), (THERE, HERE, "add")]


async def test_a_cell_that_is_not_there_is_away(links: InProcessLinks) -> None:
    with pytest.raises(LinkDown):
        await links.of(THERE).call(HERE, Add(number=1))


async def test_what_the_other_side_refuses_arrives_as_it_was_said(links: InProcessLinks) -> None:
    links.serve(THERE, Add, failing_with(Forbidden("number: is secret", extra=7)))
    with pytest.raises(MatrixError) as caught:
        await links.of(HERE).call(THERE, Add(number=1))
    assert caught.value.body() == {"errcode": "M_FORBIDDEN", "error": "number: is secret", "extra": 7}
    assert caught.value.status == 403


@pytest.mark.parametrize("error", [ConnectionRefusedError(), RuntimeError("a mistake"), TimeoutError()])
async def test_whatever_else_happens_to_the_other_side_it_did_not_answer(
    links: InProcessLinks, error: Exception
) -> None:
    """Its database is away, or its code has a mistake: here that cell is away, and no other cell suffers."""
    links.serve(THERE, Add, failing_with(error))
    with pytest.raises(LinkDown):
        await links.of(HERE).call(THERE, Add(number=1))


async def test_a_cut_goes_one_way(links: InProcessLinks, adder: Adder) -> None:
    links.faults[HERE, THERE] = Fault(cut=True)
    with pytest.raises(LinkDown):
        await links.of(HERE).call(THERE, Add(number=1))
    assert await links.of(THERE).call(THERE, Add(number=1)) == 1
    assert adder.sum == 1


async def test_a_lost_reply_and_a_doubled_call_have_happened(links: InProcessLinks, adder: Adder) -> None:
    links.faults[HERE, THERE] = Fault(lose_replies=1)
    with pytest.raises(LinkDown):
        await links.of(HERE).call(THERE, Add(number=1))
    assert adder.sum == 1
    links.faults[HERE, THERE] = Fault(double_calls=1)
    assert await links.of(HERE).call(THERE, Add(number=1)) == 3
    assert await links.of(HERE).call(THERE, Add(number=1)) == 4


async def test_a_message_that_is_too_long_does_not_arrive(
    links: InProcessLinks, adder: Adder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asks knows what to do about a cell that does not answer; there is no third kind of failure."""
    monkeypatch.setattr("hutong.cells.link.MESSAGE_BYTES_MAX", 24)
    links.serve(THERE, Say, echo)
    with pytest.raises(LinkDown):
        await links.of(HERE).call(THERE, Say(text="n" * 30))
    with pytest.raises(LinkDown) as caught:
        await links.of(HERE).call(THERE, Say(text="n" * 12))
    assert caught.value.dest == THERE
    assert await links.of(HERE).call(THERE, Say(text="n")) == "nn"
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_who_is_slow_beyond_the_deadline_is_away(links: InProcessLinks) -> None:
    links.faults[HERE, THERE] = Fault(delay_s=60)
    with pytest.raises(LinkDown):
        await links.of(HERE).call(THERE, Add(number=1), deadline_s=0.01)


async def test_what_is_sent_without_an_answer_never_raises(links: InProcessLinks) -> None:
    reached = asyncio.Event()

    async def fail(_: CellNo, __: Add) -> int:
        reached.set()
        raise RuntimeError("a mistake")

    links.serve(THERE, Add, fail)
    links.of(HERE).send(THERE, Add(number=1))  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        await reached.wait()
    await links.close()
