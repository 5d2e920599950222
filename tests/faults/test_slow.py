"""A region that is slow slows nobody down who has nothing to do with it."""

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.client import Client
from tests.support.ways import CN, EU, RU, Ways

if TYPE_CHECKING:
    from hutong.node import Node

SLOW_S = 0.9
BLOCKS, MESSAGES = 6, 25
BLOCKS_SOAKING, MESSAGES_SOAKING = 20, 100
NOISE_S = 0.08
"""What a busy machine adds to its slowest messages by chance; waiting for the slow region once would add 900 ms."""


async def block(speaker: Client, listener: Client, room: str, messages: int) -> list[float]:
    """How long each of some messages is on its way to somebody who waits for it."""
    took = []
    since = (await listener.sync(listener.since))["next_batch"]
    for n in range(messages):
        waiting = asyncio.create_task(listener.sync(since, timeout=10_000))
        began = time.perf_counter()
        sent = await speaker.send(room, f"{n}")
        while True:
            body = await waiting
            since = body["next_batch"]
            events = body.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", [])
            if any(event["event_id"] == sent for event in events):
                break
            waiting = asyncio.create_task(listener.sync(since, timeout=10_000))
        took.append(time.perf_counter() - began)
    return took


async def chatter(people: tuple[Client, ...], room: str) -> None:
    """Everybody speaks in a room in which the slow region is, one after the other."""
    while True:
        for person in people:
            await person.send(room, "meanwhile")
            await asyncio.sleep(0.1)


@pytest.mark.soak
async def test_a_slow_region_slows_down_no_room_without_it(
    alice: Client, bob: Client, carol: Client, lane: str, node: "Node", ways: Ways, soaking: bool
) -> None:
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    blocks, messages = (BLOCKS_SOAKING, MESSAGES_SOAKING) if soaking else (BLOCKS, MESSAGES)
    usual: list[float] = []
    beside: list[float] = []
    talking = [asyncio.create_task(chatter((alice, bob, carol), lane))]
    try:
        for _ in range(blocks // 2):
            usual += await block(alice, bob, room, messages)
            ways.both(RU, CN, delay_s=SLOW_S)
            ways.both(RU, EU, delay_s=SLOW_S)
            beside += await block(alice, bob, room, messages)
            ways.heal()
    finally:
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
    assert not any(cell.link.is_cut(other) for cell in node.cells.values() for other in node.cells), "slow is not cut"
    before, after = percentile(usual), percentile(beside)
    print(f"p99 {before * 1_000:.0f} ms, beside a slow region {after * 1_000:.0f} ms")
    assert after < before * 1.2 + (0 if soaking else NOISE_S)
    assert statistics.median(beside) < statistics.median(usual) * 1.2 + (0 if soaking else NOISE_S / 4)


def percentile(took: list[float]) -> float:
    return statistics.quantiles(took, n=100)[98]
