"""When a cell counts as cut off, and when it is only slow."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hutong.cells import breaker
from hutong.cells.breaker import BreakingLink
from hutong.cells.link import Fault, InProcessLinks, LinkDown
from hutong.cells.messages import Locate, Ping
from hutong.errors import MatrixError, NotFound
from hutong.ids import CellNo

HERE, THERE = CellNo(256), CellNo(512)


class Desk:
    """One cell's breaking link to another, which answers pings and knows no room."""

    def __init__(self) -> None:
        self.links = InProcessLinks()
        self.heard: list[str] = []
        self.pings = 0
        self.link = BreakingLink(HERE, self.links.of(HERE))
        self.link.on_cut, self.link.on_heal = self._cut, self._healed
        self.fail_to_write = 0
        self.links.serve(THERE, Ping, self._ping)
        self.links.serve(THERE, Locate, self._locate)

    @property
    def fault(self) -> Fault:
        return self.links.faults[HERE, THERE]

    async def ask(self, deadline_s: float = 1.0) -> None:
        await self.link.call(THERE, Locate(room_id=bytes(16)), deadline_s)

    async def until(self, *heard: str) -> None:
        async with asyncio.timeout(5):
            while self.heard != list(heard):
                await asyncio.sleep(0.005)

    async def suspicion_is_over(self) -> None:
        probe = self.link._way(THERE).probe
        assert probe is not None
        await asyncio.wait_for(asyncio.shield(probe), 5)

    async def _ping(self, _: CellNo, request: Ping) -> None:
        self.pings += 1

    async def _locate(self, _: CellNo, request: Locate) -> None:
        if request.room_id == b"nowhere":
            raise NotFound("room_id: no such room")

    async def _cut(self, cell: CellNo) -> None:
        if self.fail_to_write:
            self.fail_to_write -= 1
            raise OSError("no room on the disk")
        self.heard.append(f"cut {cell}")

    async def _healed(self, cell: CellNo) -> None:
        self.heard.append(f"healed {cell}")


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(breaker, "BETWEEN_TRIES_S", 0.01)
    monkeypatch.setattr(breaker, "PROBE_EVERY_S", 0.01)
    monkeypatch.setattr(breaker, "RETRY_S", 0.01)
    made = Desk()
    yield made
    await made.link.stop()


async def test_a_call_that_fails_once_cuts_nothing(desk: Desk) -> None:
    desk.fault.lose_replies = 1
    with pytest.raises(LinkDown):
        await desk.ask()
    await desk.suspicion_is_over()
    assert (desk.pings, desk.heard, desk.link.is_cut(THERE)) == (1, [], False)
    await desk.ask()


async def test_three_tries_in_vain_cut_it_off_and_calls_fail_at_once(desk: Desk) -> None:
    desk.fault.cut = True
    with pytest.raises(LinkDown):
        await desk.ask()
    await desk.until("cut 512")
    desk.fault.cut, desk.fault.delay_s = False, 3.0  # it would take its time, if it were asked
    async with asyncio.timeout(0.1):
        with pytest.raises(LinkDown):
            await desk.ask()


async def test_two_failures_cut_nothing(desk: Desk) -> None:
    desk.fault.lose_replies = 1 + breaker.TRIES - 1
    with pytest.raises(LinkDown):
        await desk.ask()
    await desk.suspicion_is_over()
    assert not desk.link.is_cut(THERE)


async def test_slow_is_not_cut(desk: Desk) -> None:
    desk.fault.delay_s = 0.3
    for _ in range(5):
        with pytest.raises(LinkDown):
            await desk.ask(deadline_s=0.05)
    await desk.suspicion_is_over()
    assert (desk.heard, desk.link.is_cut(THERE)) == ([], False)


async def test_silence_is_cut(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "SILENCE_S", 0.1)
    desk.fault.delay_s = 60.0
    with pytest.raises(LinkDown):
        await desk.ask(deadline_s=0.05)
    await desk.until("cut 512")


async def test_a_refusal_is_an_answer(desk: Desk) -> None:
    with pytest.raises(MatrixError, match="no such room"):
        await desk.link.call(THERE, Locate(room_id=b"nowhere"))
    assert desk.link._way(THERE).probe is None


async def test_it_heals_by_itself_and_calls_go_through_before_it_is_told(desk: Desk) -> None:
    desk.fault.cut = True
    with pytest.raises(LinkDown):
        await desk.ask()
    await desk.until("cut 512")
    open_when_told: list[bool] = []

    async def healed(cell: CellNo) -> None:
        open_when_told.append(not desk.link.is_cut(cell))
        desk.heard.append("healed")

    desk.link.on_heal = healed
    desk.fault.cut = False
    await desk.until("cut 512", "healed")
    assert open_when_told == [True]
    await desk.ask()


async def test_nothing_counts_as_cut_before_that_is_written_down(desk: Desk) -> None:
    """What is left out from then on is owed: a restart must know."""
    desk.fail_to_write = 2
    desk.fault.cut = True
    with pytest.raises(LinkDown):
        await desk.ask()
    async with asyncio.timeout(5):
        while desk.fail_to_write:
            assert not desk.link.is_cut(THERE)
            await asyncio.sleep(0.005)
    await desk.until("cut 512")


async def test_what_was_cut_before_a_restart_is_cut_until_it_answers(desk: Desk) -> None:
    desk.fault.cut = True
    desk.link.start_cut(THERE)
    assert desk.link.is_cut(THERE)
    desk.fault.cut = False
    await desk.until("healed 512")


async def test_cut_again_while_what_was_owed_is_being_told_it_stays_owed(desk: Desk) -> None:
    telling = asyncio.Event()

    async def slowly(cell: CellNo) -> None:
        telling.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            desk.heard.append("not told")
            raise

    desk.link.on_heal = slowly
    desk.link.start_cut(THERE)
    await asyncio.wait_for(telling.wait(), 5)
    desk.fault.cut = True
    with pytest.raises(LinkDown):
        await desk.ask()
    await desk.until("not told", "cut 512")


async def test_what_may_get_lost_is_not_sent_to_who_is_cut_off(desk: Desk) -> None:
    desk.fault.cut = True
    desk.link.start_cut(THERE)
    desk.link.send(THERE, Ping())
    assert not desk.links._running
