"""examples/chat.py, as the README has it run: two terminals, two regions, a chat."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Newcomer
from tests.support.openapi import REPOSITORY
from tests.support.process import environment

if TYPE_CHECKING:
    from hutong.node import Node

DEADLINE_S = 20


async def terminal(node: "Node | str", *arguments: str) -> Process:
    env = {**environment(), "CHAT_URL": node if isinstance(node, str) else node.base_url}
    command = (sys.executable, str(REPOSITORY / "examples" / "chat.py"), *arguments)
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=env)


async def reads(process: Process, expected: str) -> None:
    """Wait until a line that holds `expected` is on the screen."""
    seen: list[str] = []
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            async for line in process.stdout:
                seen.append(line.decode())
                if expected in seen[-1]:
                    return
    except TimeoutError:
        pass
    raise AssertionError(f"{expected!r} is not on the screen:\n{''.join(seen)}")


async def types(process: Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    await process.stdin.drain()


async def test_two_terminals_in_two_regions_chat(node: "Node", worker_id: str) -> None:
    alice_name, carol_name = f"chat-alice-{worker_id}", f"chat-carol-{worker_id}"
    alice = await terminal(node, "cn", alice_name)
    await reads(alice, f"You are @{alice_name}:cn.localhost.")
    carol = await terminal(node, "ru", carol_name, f"@{alice_name}:cn.localhost")
    await reads(carol, f"You are @{carol_name}:ru.localhost.")
    await reads(alice, f"@{carol_name}:ru.localhost invited you, and you are in.")
    await types(carol, "привет из переулка")
    await reads(alice, "привет из переулка")
    await types(alice, "院子里见")
    await reads(carol, "院子里见")
    for process in (alice, carol):
        assert process.stdin is not None
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0


@pytest.mark.parametrize(
    ("url", "arguments", "said"),
    [
        ("http://localhost:9/", ["cn", "alice"], "There is no node on http://localhost:10: `make run` starts one"),
        ("localhost", ["cn", "alice"], "CHAT_URL is localhost; it is like http://localhost:8008"),
        ("http://localhost:x", ["cn", "alice"], "CHAT_URL is http://localhost:x; it is like http://localhost:8008"),
        ("http://localhost:9", ["us", "alice"], "usage: chat.py cn|eu|ru NAME [@WHOM:SERVER]"),
        ("http://localhost:9", [], "usage: chat.py cn|eu|ru NAME [@WHOM:SERVER]"),
    ],
)
async def test_what_keeps_it_from_starting_is_said_in_one_line(url: str, arguments: list[str], said: str) -> None:
    process = await terminal(url, *arguments)
    output, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert said in output.decode()
    assert (process.returncode, output.count(b"\n")) == (1, 1)


async def test_a_name_that_is_taken_is_said_so(node: "Node", newcomer: Newcomer) -> None:
    taken = await newcomer("chatter", "cn", password="another password than the example's")
    process = await terminal(node, "cn", taken.name)
    await reads(process, "can neither log in nor register")
    assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 1
