"""Two sizes of the same scene: what an operation costs must not tell them apart."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from hutong.node import Node
from tests.api.test_sync_wakes import waiting
from tests.support.client import Client, Http, Json

AT_ONCE, FEW = 32, 8
T = TypeVar("T")

Newcomer = Callable[..., Awaitable[Client]]


@dataclass(frozen=True, kw_only=True)
class Size:
    """`rooms`: of which the reader is a member; `members` and `events`: of the one room in which everything happens."""

    rooms: int
    members: int
    events: int


SMALL = Size(rooms=2, members=5, events=10)
LARGE = Size(rooms=50, members=50, events=2_000)
CROWD = Size(rooms=1, members=50, events=10)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A room of cn in which all members are at home in cn, and one of cn with a member of ru."""

    size: Size
    writer: Client
    reader: Client
    others: Sequence[Client]
    """Members of `room` beside writer and reader."""
    room: str
    abroad: Client
    """Of ru, in `lane`."""
    lane: str
    newcomer: Newcomer

    @property
    def members(self) -> list[Client]:
        return [self.writer, self.reader, *self.others]


async def scene(newcomer: Newcomer, size: Size) -> Scene:
    people = await few_at_once(newcomer("member", "cn") for _ in range(size.members))
    writer, reader = people[:2]
    abroad = await newcomer("abroad", "ru")
    room = await writer.create_room(preset="public_chat")
    await few_at_once(person.join(room) for person in people[1:])
    lane = await writer.create_room(preset="public_chat")
    await abroad.join(lane)
    for _ in range(size.rooms - 1):
        other = await writer.create_room(preset="public_chat")
        await reader.join(other)
    await say(writer, room, size.events)
    await say(writer, lane, min(size.events, 200))
    return Scene(
        size=size, writer=writer, reader=reader, others=people[2:], room=room, abroad=abroad, lane=lane,
        newcomer=newcomer,
    )  # fmt: skip


async def few_at_once(work: Iterable[Awaitable[T]]) -> list[T]:
    """Done in this order, a few at a time: a node refuses many at once that are costly."""
    return [done for portion in batched(work, FEW) for done in await asyncio.gather(*portion)]


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while portion := list(islice(left, size)):
        yield portion


async def say(writer: Client, room: str, count: int) -> None:
    """Send so many messages, as fast as they go; their answers are looked at no further."""
    quick = replace(writer, http=Http(writer.http.session, writer.http.base_url, None))
    for first in range(0, count, AT_ONCE):
        await asyncio.gather(*(quick.send(room, "earlier") for _ in range(min(AT_ONCE, count - first))))
    writer._transactions = quick._transactions


def end_idle_sessions(node: Node) -> None:
    """End the sessions of those who do not poll now, as a minute and a half does."""
    for slices in node.slices.values():
        sessions = slices.sync.sessions
        for session in [session for session in sessions._sessions.values() if not session.polls]:
            sessions._drop(session)


@asynccontextmanager
async def all_waiting(node: Node, people: Sequence[Client]) -> AsyncIterator["list[asyncio.Task[Json]]"]:
    """A poll of each of them, which has seen everything and waits."""
    async with AsyncExitStack() as stack:
        yield await few_at_once(stack.enter_async_context(waiting(node, person)) for person in people)
