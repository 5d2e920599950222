"""A command reaches the node that runs, and nobody else does."""

import asyncio
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from hutong import config
from hutong.commands.control import SOCKET, Refused, ask, control
from hutong.engines.node_lock import NodeLock
from hutong.errors import NotFound

NODE = cast("Any", object())


async def _double(node: Any, arguments: Mapping[str, Any]) -> object:
    assert node is NODE
    return arguments["text"] * 2


async def _absent(node: Any, arguments: Mapping[str, Any]) -> object:
    raise NotFound("user_id: there is no such account")


async def _broken(node: Any, arguments: Mapping[str, Any]) -> object:
    raise ValueError(arguments["text"])


OPERATIONS = {"double": _double, "absent": _absent, "broken": _broken}


async def test_what_is_asked_is_done_by_the_node_that_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = tmp_path / ("a long way down " * 8)
    settings = config.load(None, {}, data=data)
    lock = NodeLock.acquire(data, 8008)
    try:
        async with control(NODE, settings, OPERATIONS):
            assert stat.S_IMODE((data / SOCKET).stat().st_mode) == 0o600
            assert await ask(settings, "double", OPERATIONS, text="ж" * 100_000) == "ж" * 200_000
            with pytest.raises(Refused, match="user_id: there is no such account"):
                await ask(settings, "absent", OPERATIONS)
            with pytest.raises(Refused, match="the node failed at it; its log says where"):
                await ask(settings, "broken", OPERATIONS, text="words")
        assert not (data / SOCKET).exists()
        with pytest.raises(Refused, match=r"a node holds .*, but does not answer"):
            await ask(settings, "double", OPERATIONS, text="x")
    finally:
        lock.release()


async def test_a_socket_that_a_killed_node_left_is_replaced(tmp_path: Path) -> None:
    settings = config.load(None, {}, data=tmp_path)
    lock = NodeLock.acquire(tmp_path, 8008)
    (tmp_path / SOCKET).write_bytes(b"")
    try:
        async with control(NODE, settings, OPERATIONS):
            assert await ask(settings, "double", OPERATIONS, text="ab") == "abab"
    finally:
        lock.release()


async def test_nonsense_gets_no_answer(tmp_path: Path) -> None:
    settings = config.load(None, {}, data=tmp_path)
    async with control(NODE, settings, OPERATIONS):
        for said in (b"\n", b"not json\n", b""):
            reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
            writer.write(said)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
