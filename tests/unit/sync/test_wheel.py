"""Deadlines by one timer, in the time of a real event loop."""

import asyncio

from hutong.sync.wheel import TICK_S, Wheel


class Timed:
    def __init__(self) -> None:
        self.over: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def time_is_up(self) -> None:
        self.over.set_result(asyncio.get_running_loop().time())


async def test_each_deadline_is_noticed_in_its_tick_and_never_before() -> None:
    loop, wheel = asyncio.get_running_loop(), Wheel()
    dues = [loop.time() + delay for delay in (0.02, 0.2, 0.1, 0.4, -1.0)]
    waits = [Timed() for _ in dues]
    for timed, due in zip(waits, dues, strict=True):
        wheel.add(timed, due)
    async with asyncio.timeout(5):
        ends = await asyncio.gather(*(timed.over for timed in waits))
    assert all(due <= end for due, end in zip(dues, ends, strict=True))
    assert ends[0] <= ends[2] <= ends[1] <= ends[3]
    assert wheel._timer is None, "nothing wakes while nobody waits"
    assert not wheel._slots


async def test_what_is_discarded_is_not_told_and_leaves_nothing() -> None:
    loop, wheel = asyncio.get_running_loop(), Wheel()
    gone, stays = Timed(), Timed()
    slot = wheel.add(gone, loop.time() + TICK_S)
    wheel.add(stays, loop.time() + TICK_S)
    wheel.discard(gone, slot)
    wheel.discard(gone, slot)
    await asyncio.wait_for(stays.over, 5)
    assert not gone.over.done()
    assert not wheel._slots


async def test_a_wheel_that_stood_still_goes_on() -> None:
    loop, wheel = asyncio.get_running_loop(), Wheel()
    for _ in range(2):
        timed = Timed()
        wheel.add(timed, loop.time() + 0.01)
        await asyncio.wait_for(timed.over, 5)
        await asyncio.sleep(2 * TICK_S)
