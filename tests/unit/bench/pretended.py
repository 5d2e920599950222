"""The pretended server in this process, and the marks of a window, kept in order."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bench.load.matrix import Target
from bench.load.trivial import Trivial, listen
from bench.load.window import Result


class Kept:
    """The marks of a window, kept in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.results: list[Result] = []

    def opened(self, concurrency: int) -> None:
        self.heard.append(f"opened {concurrency}")

    def closed(self) -> None:
        self.heard.append("closed")

    def ended(self, result: Result) -> None:
        self.heard.append("ended")
        self.results.append(result)


@asynccontextmanager
async def pretended(faults: Callable[[int, bytes], bytes] | None = None) -> AsyncIterator[tuple[Target, Trivial]]:
    trivial = Trivial(faults)
    server = await listen(0, trivial)
    try:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1]), trivial
    finally:
        server.close()
        await server.wait_closed()


def silent(what: str, done: int, total: int) -> None:
    assert 0 < done <= total


class drops_are_expected:  # noqa: N801
    """The pretended server dies of a KeyError in its connection, which asyncio would print."""

    def __enter__(self) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().set_exception_handler(None)
