"""A repeated request finds what the first one made, also when nobody knows how the first one ended."""

import asyncio

import pytest

from hutong.cells.decisions import Decisions
from hutong.cells.records import Txn
from hutong.cells.retention import TXNS_KEPT_MIN, Retention
from hutong.cells.transactions import OF_DEVICE_MAX, Transactions
from hutong.ids import DeviceNo, Minute
from tests.unit.cells.desk import ALICES, Desk, new_id

DEVICE = (ALICES, DeviceNo(3))
KEY, OTHER = b"\1" * 16, b"\2" * 16


@pytest.fixture
def transactions(desk: Desk) -> Transactions:
    return Transactions(desk.home.reads)


async def sent(desk: Desk, key: bytes) -> bytes:
    """A message that was committed with a transaction, whatever anybody heard of it."""
    event_id = new_id()
    await desk.writer.submit(desk.message(await desk.create_room(), event_id, Txn(*DEVICE, key)))
    return event_id


async def test_a_new_one_is_new_and_then_known(transactions: Transactions) -> None:
    assert await transactions.begin(DEVICE, KEY) is None
    event_id = new_id()
    transactions.end(DEVICE, KEY, event_id)
    assert await transactions.begin(DEVICE, KEY) == event_id
    assert await transactions.begin(DEVICE, OTHER) is None


async def test_after_a_start_the_table_knows(desk: Desk, transactions: Transactions) -> None:
    event_id = await sent(desk, KEY)
    assert await transactions.begin(DEVICE, KEY) == event_id


async def test_one_that_failed_may_have_been_committed_all_the_same(desk: Desk, transactions: Transactions) -> None:
    """The client was told that the database is away, and so was the server; the commit had got through."""
    await transactions.begin(DEVICE, OTHER)
    transactions.end(DEVICE, OTHER, new_id())
    assert await transactions.begin(DEVICE, KEY) is None
    event_id = await sent(desk, KEY)
    transactions.end(DEVICE, KEY, None)
    assert await transactions.begin(DEVICE, KEY) == event_id


async def test_one_that_was_refused_may_be_tried_again(transactions: Transactions) -> None:
    for _ in range(3):
        assert await transactions.begin(DEVICE, KEY) is None
        transactions.end(DEVICE, KEY, None)


async def test_equal_requests_wait_for_each_other(transactions: Transactions) -> None:
    assert await transactions.begin(DEVICE, KEY) is None
    waiting = [asyncio.create_task(transactions.begin(DEVICE, KEY)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    event_id = new_id()
    transactions.end(DEVICE, KEY, event_id)
    async with asyncio.timeout(5):
        assert await asyncio.gather(*waiting) == [event_id] * 3


async def test_what_was_given_up_is_new_again(transactions: Transactions) -> None:
    await transactions.begin(DEVICE, KEY)
    transactions.end(DEVICE, KEY, new_id())
    transactions.forget(DEVICE, KEY)
    assert await transactions.begin(DEVICE, KEY) is None


async def test_one_at_a_time_decides_about_an_event() -> None:
    deciding, event_id, inside = Decisions(), new_id(), 0

    async def decide() -> None:
        nonlocal inside
        async with deciding.about(event_id):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    others = [asyncio.create_task(decide()) for _ in range(5)]
    await asyncio.sleep(0)
    assert deciding.on(event_id)
    others[2].cancel()
    await asyncio.gather(*others, return_exceptions=True)
    assert not deciding.on(event_id), "nothing is kept of what is decided"
    async with deciding.about(new_id()):
        assert not deciding.on(event_id)


async def test_what_nobody_comes_back_for_is_swept(desk: Desk, transactions: Transactions) -> None:
    event_id = await sent(desk, KEY)  # in minute 1
    retention = Retention(desk.tables.pool)
    await retention.sweep(Minute(1 + TXNS_KEPT_MIN), desk.tail.head)
    assert await desk.home.reads.txns(*DEVICE) == {KEY: event_id}
    await retention.sweep(Minute(2 + TXNS_KEPT_MIN), desk.tail.head)
    assert await desk.home.reads.txns(*DEVICE) == {}
    assert await transactions.begin(DEVICE, KEY) is None


async def test_a_device_that_sends_on_and_on_takes_no_more_memory(transactions: Transactions) -> None:
    keys = [number.to_bytes(16, "big") for number in range(5 * OF_DEVICE_MAX)]
    for key in keys:
        assert await transactions.begin(DEVICE, key) is None
        transactions.end(DEVICE, key, key)
    assert len(transactions._devices[DEVICE]) <= 2 * OF_DEVICE_MAX
    for key in keys[-OF_DEVICE_MAX:]:
        assert await transactions.begin(DEVICE, key) == key
