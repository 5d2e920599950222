"""What a waiting `/sync` returns for, and what it does not: one row for each kind of change."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from hutong.node import Node
from tests.api.test_sync import token
from tests.api.test_sync_sources import caller_of
from tests.conftest import Newcomer
from tests.support.client import Client, Json, path

WAIT_MS = 30_000


@dataclass
class Yard:
    """alice of cn waits, on one of two devices; bob of eu and carol of ru are in the room, dave of cn is not."""

    alice: Client
    tablet: Client
    bob: Client
    carol: Client
    dave: Client
    room: str
    said: str
    other: str
    """A room of dave's that nobody else is in."""

    async def store(self, type: str, room: bool = False, of: Client | None = None) -> None:
        whose = of or self.alice
        at = ("rooms", self.room) if room else ()
        await whose.ok("PUT", path("user", whose.user_id, *at, "account_data", type), {"a": 1})

    async def tag(self) -> None:
        await self.alice.ok("PUT", path("user", self.alice.user_id, "rooms", self.room, "tags", "u.work"), {})

    async def invite_from(self, who: Client) -> None:
        await who.invite(await who.create_room(), self.alice)

    async def come(self) -> None:
        await self.tablet.join(self.other)


async def made(newcomer: Newcomer) -> Yard:
    regions = (("alice", "cn"), ("bob", "eu"), ("carol", "ru"), ("dave", "cn"))
    alice, bob, carol, dave = [await newcomer(name, region) for name, region in regions]
    room = await alice.create_room(preset="public_chat")
    for person in (bob, carol):
        await person.join(room)
    said = await alice.send(room, "hello")
    for person in (bob, carol):
        await person.sees(room, said)
    other = await dave.create_room(preset="public_chat")
    return Yard(alice, await alice.another_device(), bob, carol, dave, room, said, other)


@pytest.fixture
async def yard(newcomer: Newcomer) -> Yard:
    return await made(newcomer)


@pytest.fixture(scope="module")
async def quiet(newcomer: Newcomer) -> Yard:
    """A yard in which nothing happens that alice is told of."""
    return await made(newcomer)


@asynccontextmanager
async def waiting(node: Node, client: Client, filter: Json | None = None) -> AsyncIterator["asyncio.Task[Json]"]:
    """A poll of the client that has seen everything and waits."""
    slices, who = await caller_of(node, client)
    since = await token(client)
    async with asyncio.timeout(20):
        while "rooms" in (body := await client.sync(since, timeout=50)):  # what is still on its way
            since = body["next_batch"]
    poll = asyncio.create_task(client.sync(since, WAIT_MS, filter=filter))
    session = slices.sync.sessions.open(who.account, who.device)
    slices.sync.sessions.close(session)
    async with asyncio.timeout(10):
        while not session._waiting:
            await asyncio.sleep(0)
    try:
        yield poll
    finally:
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)


Act = Callable[[Yard], Awaitable[object]]
Look = Callable[[Json, Yard], object]


def line(body: Json, yard: Yard) -> str:
    """The type of the one event told of the room."""
    [event] = body["rooms"]["join"][yard.room]["timeline"]["events"]
    return str(event["type"])


def ephemeral(body: Json, yard: Yard) -> list[str]:
    there = body["rooms"]["join"][yard.room]
    assert "timeline" not in there
    return [event["type"] for event in there["ephemeral"]["events"]]


def stored(body: Json, yard: Yard) -> list[str]:
    there = body["rooms"]["join"][yard.room] if "rooms" in body else body
    return [event["type"] for event in there["account_data"]["events"]]


def section(body: Json, yard: Yard) -> list[str]:
    return list(body["rooms"])


def counts(body: Json, yard: Yard) -> object:
    return body["rooms"]["join"][yard.room]["unread_notifications"]["notification_count"]


WAKES: dict[str, tuple[Act, Look, object]] = {
    "a message": (lambda y: y.alice.send(y.room, "x"), line, "m.room.message"),
    "a message from abroad": (lambda y: y.bob.send(y.room, "x"), line, "m.room.message"),
    "a message of one's other device": (lambda y: y.tablet.send(y.room, "x"), line, "m.room.message"),
    "an event of one's own type": (lambda y: y.carol.send_event(y.room, "cn.hutong.x", {}), line, "cn.hutong.x"),
    "state": (lambda y: y.alice.set_state(y.room, "m.room.topic", {"topic": "x"}), line, "m.room.topic"),
    "a redaction": (lambda y: y.alice.redact(y.room, y.said), line, "m.room.redaction"),
    "somebody joining": (lambda y: y.dave.join(y.room), line, "m.room.member"),
    "somebody leaving": (lambda y: y.bob.leave(y.room), line, "m.room.member"),
    "somebody's new name": (
        lambda y: y.carol.put(f"/profile/{y.carol.user_id}/displayname", {"displayname": "C"}), line, "m.room.member"),
    "typing": (lambda y: y.alice.type_in(y.room), ephemeral, ["m.typing"]),
    "typing abroad": (lambda y: y.carol.type_in(y.room), ephemeral, ["m.typing"]),
    "a receipt": (lambda y: y.bob.mark_read(y.room, y.said), ephemeral, ["m.receipt"]),
    "one's own receipt": (lambda y: y.tablet.mark_read(y.room, y.said), ephemeral, ["m.receipt"]),
    "one's own private receipt": (lambda y: y.tablet.mark_read(y.room, y.said, "m.read.private"), counts, 0),
    "one's own read marker": (lambda y: y.tablet.mark_read(y.room, y.said, "m.fully_read"), stored, ["m.fully_read"]),
    "account data": (lambda y: y.store("cn.hutong.x"), stored, ["cn.hutong.x"]),
    "account data of the room": (lambda y: y.store("cn.hutong.x", room=True), stored, ["cn.hutong.x"]),
    "a tag": (lambda y: y.tag(), stored, ["m.tag"]),
    "an invitation": (lambda y: y.invite_from(y.dave), section, ["invite"]),
    "an invitation from abroad": (lambda y: y.invite_from(y.bob), section, ["invite"]),
    "joining by one's other device": (lambda y: y.come(), section, ["join"]),
    "leaving by one's other device": (lambda y: y.tablet.leave(y.room), section, ["leave"]),
}  # fmt: skip

SLEEPS: dict[str, Act] = {
    "a message in a room of others": lambda y: y.dave.send(y.other, "x"),
    "typing in a room of others": lambda y: y.dave.type_in(y.other),
    "account data of somebody else": lambda y: y.store("cn.hutong.x", of=y.dave),
    "somebody else's account data of the room": lambda y: y.store("cn.hutong.x", room=True, of=y.carol),
    "somebody else's private receipt": lambda y: y.bob.mark_read(y.room, y.said, "m.read.private"),
    "somebody else's read marker": lambda y: y.bob.mark_read(y.room, y.said, "m.fully_read"),
    "an invitation of somebody else": lambda y: y.dave.invite(y.other, y.bob),
}

NARROW: dict[str, tuple[Json, Act]] = {
    "a message that the filter leaves out": (
        {"room": {"timeline": {"not_types": ["m.room.message"]}}}, lambda y: y.alice.send(y.room, "x")),
    "a room that the filter leaves out": ({"room": {"rooms": []}}, lambda y: y.alice.send(y.room, "x")),
    "typing that the filter leaves out": ({"room": {"ephemeral": {"types": []}}}, lambda y: y.alice.type_in(y.room)),
    "a receipt that the filter leaves out": (
        {"room": {"ephemeral": {"not_types": ["m.receipt"]}}}, lambda y: y.bob.mark_read(y.room, y.said)),
    "room data that the filter leaves out": (
        {"room": {"account_data": {"types": []}}}, lambda y: y.store("cn.hutong.y", room=True)),
}  # fmt: skip


@pytest.mark.parametrize("kind", WAKES)
async def test_a_waiting_sync_wakes_for(node: Node, yard: Yard, kind: str) -> None:
    act, look, expected = WAKES[kind]
    async with waiting(node, yard.alice) as poll, asyncio.timeout(15):
        await act(yard)
        assert look(await poll, yard) == expected


async def test_a_waiting_sync_wakes_for_what_ends_its_own_stay(node: Node, yard: Yard) -> None:
    for shut in (yard.alice.kick, yard.alice.ban):
        async with waiting(node, yard.carol) as poll, asyncio.timeout(15):
            await shut(yard.room, yard.carol)
            assert list((await poll)["rooms"]) == ["leave"]


@pytest.mark.parametrize("kind", [*SLEEPS, *NARROW])
async def test_a_waiting_sync_sleeps_through(node: Node, quiet: Yard, kind: str) -> None:
    """Another change wakes it, and its answer tells of that one alone."""
    filter, act = NARROW[kind] if kind in NARROW else (None, SLEEPS[kind])
    async with waiting(node, quiet.alice, filter) as poll, asyncio.timeout(15):
        await act(quiet)
        await quiet.bob.sync()  # a round trip, in which it could have been woken
        assert not poll.done(), await poll
        await quiet.store("cn.hutong.x")
        body = await poll
        assert "rooms" not in body
        assert stored(body, quiet) == ["cn.hutong.x"]
        assert "rooms" not in await quiet.alice.sync(body["next_batch"], filter=filter)
