"""`kill -9` in the middle of the work: what was acknowledged is there, once, and what was not can be sent again."""

import asyncio
import json
import random
import signal
import sys
from pathlib import Path

import asyncpg
import pytest

from hutong.engines.postgres import EmbeddedPostgres
from tests.faults.chat import Chat
from tests.support.client import Client
from tests.support.process import NodeProcess

CRASHING = Path(__file__).with_name("crashing_node.py")
SETTLED_WITHIN_S = 25.0
SENDERS_EACH = 3
CN, EU, RU = 256, 512, 768
COMMITS = {
    "the content is staged at its home": (RU, "put_content"),
    "the home of the room has numbered the event": (CN, "put_events"),
    "the home of the content has taken the event up": (RU, "put_events"),
}


@pytest.fixture
async def node(node_process: NodeProcess) -> NodeProcess:
    return await node_process.start()


async def settled(node: NodeProcess) -> None:
    """Wait until no region holds content whose fate is open."""
    async with asyncio.timeout(SETTLED_WITHIN_S):
        for region in ("cn", "eu", "ru"):
            dsn = EmbeddedPostgres(node.data / region / "postgres").dsn("cell0")
            connection = await asyncpg.connect(dsn)
            try:
                while await connection.fetchval("SELECT count(*) FROM content WHERE state = 1"):
                    await asyncio.sleep(0.1)
            finally:
                await connection.close()


@pytest.mark.soak
async def test_killed_in_the_middle_of_a_send_load(node: NodeProcess, soaking: bool, seeded: random.Random) -> None:
    chat = await Chat.start(node)
    for turn in range(50 if soaking else 3):
        enough = len(chat.acknowledged) + seeded.randrange(5, 80)

        async def go_on(person: Client, number: int, turn: int = turn, enough: int = enough) -> None:
            said = 0
            while await chat.say(person, f"{turn}/{person.region}/{number}/{said}"):
                said += 1
                if len(chat.acknowledged) >= enough:
                    node.signal(signal.SIGKILL)

        people = (chat.alice, chat.carol)
        await asyncio.gather(*(go_on(person, number) for person in people for number in range(SENDERS_EACH)))
        assert await node.ended() == -9
        await node.start()
        await chat.send_again()
        await chat.check()
        await settled(node)


@pytest.mark.soak
@pytest.mark.parametrize("commit", COMMITS)
@pytest.mark.parametrize("again", [True, False], ids=["sent again", "not sent again"])
async def test_killed_after_one_of_the_commits_of_a_send_abroad(
    node_process: NodeProcess, commit: str, again: bool, soaking: bool, seeded: random.Random, tmp_path: Path
) -> None:
    order = tmp_path / "order"
    node_process.command = (sys.executable, CRASHING, order)
    node = await node_process.start()
    chat = await Chat.start(node)
    cell, part = COMMITS[commit]
    for turn in range(25 if soaking else 1):
        order.write_text(json.dumps({"cell": cell, "part": part, "after": seeded.randrange(1, 4)}))
        said = 0
        while await chat.say(chat.carol, f"{turn}/{said}"):
            said += 1
        assert await node.ended() == -9
        order.unlink()
        await node.start()
        if again:
            await chat.send_again()
            await chat.check()
        await settled(node)
        if not again:
            await chat.check()
            texts = [await person.texts(chat.room) for person in (chat.alice, chat.bob, chat.carol)]
            assert texts[0] == texts[1] == texts[2], "it is there for all, or for nobody"
            await chat.send_again()
        await chat.check()
