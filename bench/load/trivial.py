"""`python -m bench.load.trivial PORT`: a server that only pretends, so that the load generator meets its own ceiling.

It speaks the handful of requests that the generator makes, keeps everything in memory, checks nobody, and does the
least that lets a send be answered and a waiting sync be woken. Its figures are what the generator can ask for, not what
a server can do. The tests of the generator make it lose and double deliveries.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import cast

import uvloop
from httptools import HttpRequestParser

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
SYNCED = b'{"next_batch":"%d","rooms":{"join":{%b}}}'
IN_ROOM = b'"%b":{"timeline":{"events":[%b],"limited":false},"ephemeral":{"events":[%b]}}'
TYPING = b'{"type":"m.typing","content":{"user_ids":["@t"]}}'
RECEIPT = b'{"type":"m.receipt","content":{"%b":{"m.read":{"@t":{"ts":0}}}}}'
SHOWN = 20
"""Events of each room in a first sync."""
PAGE = b'{"chunk":[%b],"start":"%d","end":"%d"}'
MESSAGE = b'{"type":"m.room.message"'
EVENT = MESSAGE + b',"event_id":"$%d","sender":"@t","origin_server_ts":0,"content":%b}'

Faults = Callable[[int, bytes], bytes]
"""Given how many answers have carried events, and the events of this one, what is answered in their stead."""


class Trivial:
    """The state of the pretended server: rooms, and who waits in which."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.numbers: Iterator[int] = count(1)
        self.rooms_of: dict[bytes, list[bytes]] = {}  # by token; a sync waits for the last of them
        self.token_of: dict[bytes, bytes] = {}  # by account
        self.members: dict[bytes, list[bytes]] = {}
        self.events: dict[bytes, list[bytes]] = {}
        self.waiting: dict[bytes, list[tuple[asyncio.Transport, int]]] = {}
        self.faults = faults
        self._wakes = count(1)

    def answer(self, transport: asyncio.Transport, method: bytes, url: bytes, token: bytes, body: bytes) -> None:
        path, _, query = url.removeprefix(b"/_matrix/client/v3/").partition(b"?")
        if path == b"sync":
            self._sync(transport, token, query)
        elif b"/typing/" in path:
            self._tell(transport, _room(path), TYPING, b"{}")
        elif b"/receipt/" in path:
            self._tell(transport, _room(path), RECEIPT % path.rpartition(b"/")[2], b"{}")
        elif method == b"PUT":
            self._send(transport, _room(path), body)
        elif path == b"register":
            number = next(self.numbers)
            self._log_in(transport, b"@%d" % number, [])
        elif path == b"login":
            user = body.partition(b'"user":"')[2].partition(b'"')[0]
            self._log_in(transport, user, self.rooms_of[self.token_of[user]])
        elif path.endswith(b"/messages"):
            self._page(transport, _room(path), query)
        elif path.endswith(b"/joined_members"):
            there = (b'"%b":{}' % member for member in self.members[_room(path)])
            reply(transport, b'{"joined":{%b}}' % b",".join(there))
        elif path == b"createRoom":
            self._enter(transport, token, b"!%d" % next(self.numbers))
        elif path.startswith(b"join/"):
            self._enter(transport, token, path[5:].replace(b"%21", b"!"))
        else:
            reply(transport, b'{"filter_id":"0"}')

    def _log_in(self, transport: asyncio.Transport, user: bytes, rooms: list[bytes]) -> None:
        token = self.token_of[user] = b"%b-%d" % (user, next(self.numbers))
        self.rooms_of[token] = rooms
        reply(transport, b'{"user_id":"%b","access_token":"%b"}' % (user, token))

    def _enter(self, transport: asyncio.Transport, token: bytes, room: bytes) -> None:
        self.rooms_of[token].append(room)
        self.members.setdefault(room, []).append(token.partition(b"-")[0])
        self.events.setdefault(room, [])
        self.waiting.setdefault(room, [])
        reply(transport, b'{"room_id":"%b"}' % room)

    def _send(self, transport: asyncio.Transport, room: bytes, body: bytes) -> None:
        number = next(self.numbers)
        self._tell(transport, room, EVENT % (number, body), b'{"event_id":"$%d"}' % number)

    def _tell(self, transport: asyncio.Transport, room: bytes, event: bytes, answer: bytes) -> None:
        self.events[room].append(event)
        reply(transport, answer)
        waiting, self.waiting[room] = self.waiting[room], []
        for waiter, since in waiting:
            self._deliver(waiter, room, since)

    def _sync(self, transport: asyncio.Transport, token: bytes, query: bytes) -> None:
        room = self.rooms_of[token][-1]
        head = len(self.events[room])
        if b"since=" not in query:
            newest = (IN_ROOM % (each, self._newest(each), b"") for each in self.rooms_of[token])
            reply(transport, SYNCED % (head, b",".join(newest)))
        elif (since := int(query.rpartition(b"since=")[2])) < head:
            self._deliver(transport, room, since)
        elif b"timeout=0&" in query:
            reply(transport, SYNCED % (head, b""))
        else:
            self.waiting[room].append((transport, head))

    def _newest(self, room: bytes) -> bytes:
        events = b",".join(self.events[room][-SHOWN:])
        return self.faults(next(self._wakes), events) if events and self.faults is not None else events

    def _page(self, transport: asyncio.Transport, room: bytes, query: bytes) -> None:
        events = self.events[room]
        end = int(query.rpartition(b"from=")[2]) if b"from=" in query else len(events)
        start = max(0, end - 100)
        chunk = b",".join(reversed(events[start:end]))
        if self.faults is not None:
            chunk = self.faults(next(self._wakes), chunk)
        reply(transport, PAGE % (chunk, end, start))

    def _deliver(self, transport: asyncio.Transport, room: bytes, since: int) -> None:
        news = self.events[room][since:]
        events = b",".join(event for event in news if event.startswith(MESSAGE))
        ephemeral = b",".join(event for event in news if not event.startswith(MESSAGE))
        if events and self.faults is not None:
            events = self.faults(next(self._wakes), events)
        reply(transport, SYNCED % (len(self.events[room]), IN_ROOM % (room, events, ephemeral)))


def _room(path: bytes) -> bytes:
    return path.split(b"/", 2)[1].replace(b"%21", b"!")


def reply(transport: asyncio.Transport, body: bytes) -> None:
    if not transport.is_closing():  # who waited may have left
        transport.write(OK % (len(body), body))


class Edge(asyncio.Protocol):
    """One connection to the pretended server."""

    def __init__(self, trivial: Trivial) -> None:
        self._trivial = trivial
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = self._token = self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = self._token = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name == b"Authorization":
            self._token = value[7:]

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        assert self._transport is not None
        self._trivial.answer(self._transport, self._parser.get_method(), self._url, self._token, self._body)


async def listen(port: int, trivial: Trivial) -> asyncio.Server:
    """The pretended server on 127.0.0.1; port 0 takes a free one."""
    return await asyncio.get_running_loop().create_server(lambda: Edge(trivial), "127.0.0.1", port, backlog=1024)


async def _serve(port: int) -> None:
    server = await listen(port, Trivial())
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        uvloop.run(_serve(int(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(0)
