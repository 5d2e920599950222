"""Starting, stopping, being killed: what a node leaves behind, and what it finds."""

import asyncio
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from hutong.engines.process import OPEN_FILES_WANTED
from tests.support.client import Client, path
from tests.support.process import NodeProcess


async def a_room_with_words(node: NodeProcess) -> tuple[Client, str]:
    alice = await node.register("alice", "cn")
    room = await alice.create_room()
    await alice.send(room, "before")
    return alice, room


@contextmanager
def few_open_files() -> Iterator[int]:
    """What is started within may open as few files as a shell usually allows. Gives the number it may raise that to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1_024), hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_clean_stop_leaves_nothing_running(node_process: NodeProcess) -> None:
    with few_open_files() as allowed:
        node = await node_process.start()
    assert psutil.Process(node.pid).rlimit(psutil.RLIMIT_NOFILE)[0] == min(allowed, OPEN_FILES_WANTED), "each waits"
    alice, room = await a_room_with_words(node)
    waiting = asyncio.create_task(alice.sync((await alice.sync())["next_batch"], timeout=30_000))
    await asyncio.sleep(0)  # let it be sent
    assert await node.terminate() == 0
    assert node.postgres() == []
    await asyncio.gather(waiting, return_exceptions=True)  # it was answered or cut off, not held
    await node.start()
    assert await alice.texts(room) == ["before"]


async def test_orphaned_databases_are_taken_over(node_process: NodeProcess) -> None:
    node = await node_process.start()
    alice, room = await a_room_with_words(node)
    await node.kill()
    assert node.postgres() != [], "PostgreSQL outlives a kill -9 of hutong"
    await node.start()
    assert await alice.texts(room) == ["before"]
    await alice.send(room, "after")
    assert await node.terminate() == 0
    assert node.postgres() == []


async def test_everything_killed_recovers_by_itself(node_process: NodeProcess) -> None:
    node = await node_process.start()
    alice, room = await a_room_with_words(node)
    await node.kill_everything()
    assert node.postgres() == []
    await node.start()
    assert await alice.texts(room) == ["before"]
    await alice.send(room, "after")


async def test_a_database_that_dies_under_the_node_comes_back(node_process: NodeProcess) -> None:
    node = await node_process.start()
    alice, room = await a_room_with_words(node)
    for process in node.postgres():
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    async with asyncio.timeout(30):
        target = path("rooms", room, "send", "m.room.message", "again")
        while (await alice.put(target, {"msgtype": "m.text", "body": "after"})).status != 200:
            await asyncio.sleep(0.2)
    assert await alice.texts(room) == ["before", "after"]


async def test_a_second_node_on_the_same_data_is_refused(node_process: NodeProcess) -> None:
    node = await node_process.start()
    second = NodeProcess(node.data, node.port, node.session, node.contract, node.config)
    await second.launch()
    assert await second.ended() == 2
    assert re.search(rf"\b{node.pid}\b", second.output), second.output
    assert "Traceback" not in second.output
    await a_room_with_words(node)  # the first is unharmed


async def test_two_that_start_at_once_are_one(node_process: NodeProcess) -> None:
    other = NodeProcess(
        node_process.data, node_process.port, node_process.session, node_process.contract, node_process.config
    )
    await asyncio.gather(node_process.launch(), other.launch())
    running: list[NodeProcess] = []
    async with asyncio.timeout(60):
        while not running or (node_process.running and other.running):
            running = [node for node in (node_process, other) if node.running and await node.is_ready()]
            await asyncio.sleep(0.05)
    assert len(running) == 1
    loser = other if running[0] is node_process else node_process
    assert await loser.ended() == 2
    await a_room_with_words(running[0])
    assert await running[0].terminate() == 0


@pytest.mark.parametrize("signals", [1, 2])
async def test_it_can_be_stopped_while_it_starts(node_process: NodeProcess, signals: int) -> None:
    await node_process.launch()
    async with asyncio.timeout(30):
        while not node_process.postgres():
            await asyncio.sleep(0.01)
    for _ in range(signals):
        node_process.signal()
    await node_process.ended()
    await node_process.start()
    await a_room_with_words(node_process)
