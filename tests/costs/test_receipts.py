"""Receipts of a busy room: few rows, and nobody is woken for them who is woken for a message anyway."""

import asyncio

import pytest

from hutong.cells import tail
from hutong.cells.writer import OFTEN_S
from hutong.node import Node
from tests.costs.counting import CN, Costs, counted, settled
from tests.costs.scene import Scene, all_waiting
from tests.support.client import Json

READERS, MESSAGES = 10, 20


async def test_receipts_ride_with_the_next_message(node: Node, crowd: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "RIDE_S", 60.0)  # on a busy machine ten receipts and a message take their time
    readers = crowd.others[:READERS]
    said = await crowd.writer.send(crowd.room, "read this")
    async with all_waiting(node, readers) as polls, counted(node) as costs:
        await asyncio.gather(*(reader.mark_read(crowd.room, said) for reader in readers))
        await crowd.writer.send(crowd.room, "and this")
        bodies = await asyncio.gather(*polls)
    assert costs.calls["looks"] == READERS, "each was woken once"
    asked = [read for read in costs.reads if " events " in read]
    assert not asked, "which event was read is known without the database"
    for body in bodies:
        told = body["rooms"]["join"][crowd.room]
        assert [event["content"]["body"] for event in told["timeline"]["events"]] == ["and this"]
        assert readers_of(told, said) == {reader.user_id for reader in readers}


def readers_of(told: Json, event_id: str) -> set[str]:
    events = [event["content"] for event in told["ephemeral"]["events"] if event["type"] == "m.receipt"]
    return {name for content in events for name in content[event_id]["m.read"]}


async def test_what_ten_readers_write_does_not_grow_with_what_is_said(node: Node, crowd: Scene) -> None:
    """Ten receipts for each message: said twice as fast, no more rows for as long."""
    readers = crowd.others[:READERS]

    async def chat(pause_s: float, messages: int) -> tuple[Costs, float]:
        said = [await crowd.writer.send(crowd.room, f"message {number}") for number in range(messages)]
        loop = asyncio.get_running_loop()
        await settled(node)
        async with counted(node) as costs:
            began, marking = loop.time(), []
            for event_id in said:
                marking += [asyncio.create_task(reader.mark_read(crowd.room, event_id)) for reader in readers]
                await asyncio.sleep(pause_s)
            await asyncio.gather(*marking)
            took_s = loop.time() - began
        assert not costs.reads, costs
        return costs, took_s

    for pause_s, messages in ((0.05, MESSAGES), (0.025, 2 * MESSAGES)):
        costs, took_s = await chat(pause_s, messages)
        moves_max = (took_s / OFTEN_S + 1) * READERS
        assert costs.rows["receipts"] <= moves_max < messages * READERS, f"in {took_s:.2f} s: {costs}"
        assert costs.rows["log"] == costs.commits[CN], "one record for the room and commit"
