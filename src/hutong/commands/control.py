"""How a command reaches the node that has the data: a socket in the data folder, which only its owner can enter.

One line of JSON asks, one line answers. While no node runs, the command is its own node for as long as it takes.
"""

import asyncio
import dataclasses
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hutong.commands.folder import regions_in
from hutong.config import Config, Metrics
from hutong.engines.node_lock import holder
from hutong.errors import MatrixError

if TYPE_CHECKING:
    from hutong.node import Node

log = logging.getLogger(__name__)

SOCKET = "control.sock"
LINE_BYTES_MAX = 64 << 20
ANSWER_SECONDS_MAX = 600.0
SOCKET_PATH_BYTES_MAX = 107

Operation = Callable[["Node", Mapping[str, Any]], Awaitable[object]]


class Refused(Exception):
    """The node did not do it; the message says why."""


@asynccontextmanager
async def control(node: "Node", config: Config, operations: Mapping[str, Operation]) -> AsyncIterator[None]:
    """Answer commands about `node` until the end of the block."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = json.loads(await reader.readline())
            writer.write(json.dumps(await _done(node, operations, asked)).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError):  # it went away, or is none of our commands
            pass
        finally:
            writer.close()

    with _short(config.data) as folder:
        path = f"{folder}/{SOCKET}"
        if os.path.lexists(path):
            os.unlink(path)  # of a node that was killed: this one holds the lock
        server = await asyncio.start_unix_server(answer, path, limit=LINE_BYTES_MAX)
        os.chmod(path, 0o600)
        try:
            yield
        finally:
            server.close()
            if os.path.lexists(path):
                os.unlink(path)


async def ask(config: Config, operation: str, operations: Mapping[str, Operation], **arguments: Any) -> Any:
    """Have `operation` done by the node that runs on `config.data`, or by one that is started for it.

    Raises: Failed when the data folder is no node's, Refused, and what starting a node raises.
    """
    asked = {"operation": operation, "arguments": arguments}
    if holder(config.data) is None:
        made = regions_in(config)
        from hutong.node import start

        # On any free ports: nobody is to find it. What has not been served here yet is not made for a command.
        quiet = tuple(
            dataclasses.replace(region, port=None, local=region.local and region in made) for region in config.regions
        )
        node = await start(dataclasses.replace(config, host="127.0.0.1", port=0, regions=quiet, metrics=Metrics()))
        try:
            reply = await _done(node, operations, asked)
        finally:
            await node.stop()
    else:
        reply = await _answer(config, asked)
    if "refused" in reply:
        raise Refused(reply["refused"])
    return reply["done"]


async def _done(node: "Node", operations: Mapping[str, Operation], asked: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"done": await operations[asked["operation"]](node, asked["arguments"])}
    except MatrixError as error:
        return {"refused": error.message}
    except Refused as error:
        return {"refused": str(error)}
    except Exception:
        log.exception("a command failed")
        return {"refused": "the node failed at it; its log says where"}


async def _answer(config: Config, asked: Mapping[str, Any]) -> dict[str, Any]:
    with _short(config.data) as folder:
        try:
            reader, writer = await asyncio.open_unix_connection(f"{folder}/{SOCKET}", limit=LINE_BYTES_MAX)
        except OSError as error:
            raise Refused(f"a node holds {config.data}, but does not answer: {error.strerror}; try again") from None
    try:
        writer.write(json.dumps(asked).encode() + b"\n")
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            line = await reader.readline()
    except TimeoutError:
        raise Refused(f"the node gave no answer within {ANSWER_SECONDS_MAX:.0f} s") from None
    finally:
        writer.close()
    if not line:
        raise Refused("the node ended before it answered")
    reply: dict[str, Any] = json.loads(line)
    return reply


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A short name for `folder`: the path of a socket has at most 107 bytes."""
    if len(os.fsencode(folder)) + len(SOCKET) < SOCKET_PATH_BYTES_MAX:
        yield str(folder)
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{opened}"
    finally:
        os.close(opened)
