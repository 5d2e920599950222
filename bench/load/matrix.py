"""The requests of the Matrix Client-Server API that a benchmark makes, as bytes, and what it reads of the answers."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from bench.load import wire

PASSWORD = "a long enough bench password"
CLIENT = "/_matrix/client/v3"
TIMELINE_LIMIT = 500
"""Events that one sync may carry: more than a step has in flight, so that no timeline is ever cut short."""
POLL_MS = 30_000
TEXT = "The quick brown fox jumps over the lazy dog, and then the dog has something to say about it."


@dataclass(frozen=True)
class Target:
    """Where a server listens. Always 127.0.0.1."""

    host: str
    port: int


class Account(msgspec.Struct, frozen=True):
    """What a registration answers."""

    user_id: str
    access_token: str


class Room(msgspec.Struct, frozen=True):
    room_id: str


class Sent(msgspec.Struct, frozen=True):
    event_id: str


class Members(msgspec.Struct, frozen=True):
    joined: dict[str, msgspec.Raw]


class Filter(msgspec.Struct, frozen=True):
    filter_id: str


class Content(msgspec.Struct, frozen=True):
    body: str = ""


class Event(msgspec.Struct, frozen=True):
    type: str
    content: Content
    event_id: str = ""


class Timeline(msgspec.Struct, frozen=True):
    events: list[Event] = []
    limited: bool = False


class Joined(msgspec.Struct, frozen=True):
    timeline: Timeline = Timeline()


class Rooms(msgspec.Struct, frozen=True):
    join: dict[str, Joined] = {}


class Synced(msgspec.Struct, frozen=True):
    """What a waiting member reads of a sync; the rest is skipped by the decoder."""

    next_batch: str
    rooms: Rooms = Rooms()


SYNCED = msgspec.json.Decoder(Synced)
SENT = msgspec.json.Decoder(Sent)

Progress = Callable[[str, int, int], None]
"""Told what is being set up, how much of it is there, and how much there will be."""


def request(method: str, path: str, token: str | None, body: object = None) -> bytes:
    """The bytes of a request; `body` is sent as JSON."""
    content = b"" if body is None else msgspec.json.encode(body)
    authorization = "" if token is None else f"Authorization: Bearer {token}\r\n"
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def register(name: str) -> bytes:
    body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    return request("POST", f"{CLIENT}/register", None, body)


def create_room(token: str) -> bytes:
    return request("POST", f"{CLIENT}/createRoom", token, {"preset": "public_chat"})


def join(room: str, token: str) -> bytes:
    return request("POST", f"{CLIENT}/join/{quote(room, safe='')}", token, {})


def login(user_id: str) -> bytes:
    """With the password, on a new device."""
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user_id}, "password": PASSWORD}
    return request("POST", f"{CLIENT}/login", None, body)


def page(room: str, token: str, before: str, limit: int) -> bytes:
    """A page of a room's history, backwards from `before`, or from its end when that is empty."""
    start = f"&from={quote(before, safe='')}" if before else ""
    return request("GET", f"{CLIENT}/rooms/{quote(room, safe='')}/messages?dir=b&limit={limit}{start}", token)


def joined_members(room: str, token: str) -> bytes:
    return request("GET", f"{CLIENT}/rooms/{quote(room, safe='')}/joined_members", token)


def make_filter(account: Account, limit: int = TIMELINE_LIMIT) -> bytes:
    """The filter of a client that shows rooms, as the common ones upload it: lazily loaded members, a timeline."""
    body = {"room": {"timeline": {"limit": limit}, "state": {"lazy_load_members": True}}}
    return request("POST", f"{CLIENT}/user/{quote(account.user_id, safe='')}/filter", account.access_token, body)


@dataclass(frozen=True)
class SendRequest:
    """A message request around its transaction id; the body has a fixed length, so its head is made once."""

    head: bytes
    tail: bytes

    def with_transaction(self, transaction: bytes) -> bytes:
        return self.head + transaction + self.tail

    @classmethod
    def to(cls, room: str, token: str, text: str) -> "SendRequest":
        """A message whose text is `text` for every transaction."""
        path = f"{CLIENT}/rooms/{quote(room, safe='')}/send/m.room.message/TRANSACTION"
        head, tail = request("PUT", path, token, {"msgtype": "m.text", "body": text}).split(b"TRANSACTION", 1)
        return cls(head, tail)


@dataclass(frozen=True)
class SyncRequest:
    """A sync request around its `since`."""

    head: bytes
    tail: bytes

    def since(self, token: str) -> bytes:
        return self.head + quote(token, safe="").encode() + self.tail

    @classmethod
    def of(cls, token: str, filter_id: str, timeout_ms: int = POLL_MS) -> "SyncRequest":
        path = f"{CLIENT}/sync?timeout={timeout_ms}&filter={quote(filter_id, safe='')}&since=SINCE"
        head, tail = request("GET", path, token).split(b"SINCE", 1)
        return cls(head, tail)


def initial_sync(token: str, filter_id: str) -> bytes:
    return request("GET", f"{CLIENT}/sync?timeout=0&filter={quote(filter_id, safe='')}", token)


async def accounts(target: Target, names: list[str], progress: Progress, *, at_once: int = 8) -> list[Account]:
    """Register `names`, each with a device."""
    answers = await _ask(target, [register(name) for name in names], "accounts", progress, at_once)
    return [msgspec.json.decode(answer, type=Account) for answer in answers]


async def rooms(target: Target, creators: list[Account], progress: Progress, *, at_once: int = 8) -> list[str]:
    """One public room by each of `creators`."""
    requests = [create_room(creator.access_token) for creator in creators]
    answers = await _ask(target, requests, "rooms", progress, at_once)
    return [msgspec.json.decode(answer, type=Room).room_id for answer in answers]


async def joins(target: Target, who: list[tuple[Account, str]], progress: Progress, *, at_once: int = 8) -> None:
    """Each account of `who` joins its room."""
    await _ask(target, [join(room, account.access_token) for account, room in who], "joins", progress, at_once)


async def sends(target: Target, who: list[tuple[Account, str]], progress: Progress, *, at_once: int = 32) -> list[str]:
    """Each account of `who` says something in its room; returns the ids of the events.

    No two say the same: where an event's id is its hash, the same words in the same millisecond are the same event.
    """
    requests = [
        SendRequest.to(room, account.access_token, f"{number}: {TEXT}").with_transaction(b"s%d" % number)
        for number, (account, room) in enumerate(who)
    ]
    answers = await _ask(target, requests, "messages", progress, at_once)
    return [SENT.decode(answer).event_id for answer in answers]


async def logins(target: Target, who: list[Account], progress: Progress, *, at_once: int = 8) -> list[Account]:
    """A new device for each of `who`."""
    requests = [login(account.user_id) for account in who]
    answers = await _ask(target, requests, "devices", progress, at_once)
    return [msgspec.json.decode(answer, type=Account) for answer in answers]


async def members(target: Target, asking: Account, rooms: list[str], *, at_once: int = 8) -> dict[str, set[str]]:
    """Who is in each of `rooms`, as one of them is told."""
    requests = [joined_members(room, asking.access_token) for room in rooms]
    answers = await wire.ask_all(target.host, target.port, requests, at_once=at_once, progress=lambda _: None)
    return {
        room: set(msgspec.json.decode(answer, type=Members).joined) for room, answer in zip(rooms, answers, strict=True)
    }


async def filters(
    target: Target, who: list[Account], progress: Progress, *, limit: int = TIMELINE_LIMIT, at_once: int = 8
) -> list[str]:
    answers = await _ask(target, [make_filter(account, limit) for account in who], "filters", progress, at_once)
    return [msgspec.json.decode(answer, type=Filter).filter_id for answer in answers]


async def initial_syncs(
    target: Target, who: list[tuple[Account, str]], progress: Progress, *, at_once: int = 8
) -> list[str]:
    """The first sync of each account with its filter; returns where each stands."""
    requests = [initial_sync(account.access_token, filter_id) for account, filter_id in who]
    answers = await _ask(target, requests, "initial syncs", progress, at_once)
    return [SYNCED.decode(answer).next_batch for answer in answers]


async def _ask(target: Target, requests: list[bytes], what: str, progress: Progress, at_once: int) -> list[bytes]:
    def answered(count: int) -> None:
        progress(what, count, len(requests))

    return await wire.ask_all(target.host, target.port, requests, at_once=at_once, progress=answered)
