"""The endpoints of rooms: decode, call, encode. Client-Server API v1.19, "Rooms" and "Events"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from falcon.asgi import Request, Response
from msgspec.json import Decoder

from hutong.errors import BadParam
from hutong.http.call import Call, HotResource, Outcome
from hutong.http.jsonscan import event_content
from hutong.http.request import (
    EVENT_BYTES_MAX,
    caller,
    decode,
    query_choice,
    query_int,
    query_text,
    raw_body,
)
from hutong.ids import CellNo
from hutong.membership.service import Memberships
from hutong.rooms.context import Contexts
from hutong.rooms.creation import CreateRoom, Creation, Creator
from hutong.rooms.event_filter import Matcher
from hutong.rooms.service import Rooms
from hutong.rooms.structural import is_user_id

PREFIX = "/_matrix/client/v3"
ROOM = PREFIX + "/rooms/{room_id}"
PAGE_DEFAULT, PAGE_MAX = 10, 1_000
CONTEXT_MAX = 100
CREATE_BODY = Decoder(CreateRoom)
_encode = msgspec.json.Encoder().encode
_MEMBERSHIPS = ("join", "invite", "knock", "leave", "ban")


@dataclass(frozen=True)
class CellRooms:
    """What one cell does for its people's rooms."""

    rooms: Rooms
    creation: Creation
    memberships: Memberships
    contexts: Contexts


Cells = Mapping[CellNo, CellRooms]


def event_id_body(event_id: str) -> bytes:
    return _encode({"event_id": event_id})


def array(items: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


@dataclass(frozen=True)
class CreateEndpoint:
    cells: Cells

    async def on_post(self, req: Request, resp: Response) -> None:
        who = caller(req)
        cell = self.cells[who.cell]
        # What the server puts into events is checked as strictly as what a client sends as an event.
        raw = await raw_body(req)
        event_content(raw or b"{}")
        wanted = decode(raw or b"{}", CREATE_BODY)
        user_id = await cell.rooms.own_user_id(who.account)
        room_id = await cell.creation.create(Creator(who.account, who.device, user_id), wanted)
        resp.data = _encode({"room_id": room_id})


@dataclass(frozen=True)
class SendEndpoint(HotResource):
    cells: Cells

    def hot_put(self, call: Call) -> Outcome:
        return self._send(call, event_content(call.body), **call.path)

    async def _send(self, call: Call, content: dict[str, Any], room_id: str, event_type: str, txn_id: str) -> bytes:
        rooms = self.cells[call.caller.cell].rooms
        return event_id_body(await rooms.send(call.caller, room_id, event_type, txn_id, call.body.strip(), content))


@dataclass(frozen=True)
class RedactEndpoint:
    cells: Cells

    async def on_put(self, req: Request, resp: Response, room_id: str, event_id: str, txn_id: str) -> None:
        who = caller(req)
        content = event_content(await raw_body(req, EVENT_BYTES_MAX) or b"{}")
        reason = content.get("reason")
        if reason is not None and not isinstance(reason, str):
            raise BadParam("reason", "must be a string")
        resp.data = event_id_body(await self.cells[who.cell].rooms.redact(who, room_id, event_id, txn_id, content))


@dataclass(frozen=True)
class StateEndpoint:
    """One piece of state; without a state key in the path it is the empty one."""

    cells: Cells

    async def on_get(self, req: Request, resp: Response, room_id: str, event_type: str, state_key: str = "") -> None:
        who = caller(req)
        form = query_choice(req, "format", ("content", "event"), "content")
        content, event = await self.cells[who.cell].rooms.state_event(who, room_id, event_type, state_key)
        resp.data = event if form == "event" else content

    async def on_put(self, req: Request, resp: Response, room_id: str, event_type: str, state_key: str = "") -> None:
        who = caller(req)
        raw = await raw_body(req, EVENT_BYTES_MAX)
        content = event_content(raw)
        cell = self.cells[who.cell]
        if event_type == "m.room.member":
            if not is_user_id(state_key):
                raise BadParam("state_key", "of m.room.member must be a user id")
            event_id = await cell.memberships.set(who, room_id, state_key, content)
        else:
            event_id = await cell.rooms.set_state(who, room_id, event_type, state_key, raw.strip(), content)
        resp.data = event_id_body(event_id)


@dataclass(frozen=True)
class AllStateEndpoint:
    cells: Cells

    async def on_get(self, req: Request, resp: Response, room_id: str) -> None:
        who = caller(req)
        resp.data = array(await self.cells[who.cell].rooms.state(who, room_id))


@dataclass(frozen=True)
class EventEndpoint:
    cells: Cells

    async def on_get(self, req: Request, resp: Response, room_id: str, event_id: str) -> None:
        who = caller(req)
        resp.data = await self.cells[who.cell].rooms.event(who, room_id, event_id)


@dataclass(frozen=True)
class MessagesEndpoint:
    cells: Cells

    async def on_get(self, req: Request, resp: Response, room_id: str) -> None:
        who = caller(req)
        backwards = query_choice(req, "dir", ("b", "f")) == "b"
        wanted = Matcher.read(query_text(req, "filter", max=65_536))
        limit = max(query_int(req, "limit", PAGE_DEFAULT, 0, PAGE_MAX), 1)
        page = await self.cells[who.cell].rooms.messages(
            who,
            room_id,
            query_text(req, "from"),
            query_text(req, "to"),
            backwards=backwards,
            limit=limit,
            wanted=wanted,
        )
        parts = [b'{"start":' + _encode(page.start), b'"chunk":' + array(page.chunk)]
        if page.end is not None:
            parts.append(b'"end":' + _encode(page.end))
        if page.state:
            parts.append(b'"state":' + array(page.state))
        resp.data = b",".join(parts) + b"}"


@dataclass(frozen=True)
class ContextEndpoint:
    cells: Cells

    async def on_get(self, req: Request, resp: Response, room_id: str, event_id: str) -> None:
        who = caller(req)
        wanted = Matcher.read(query_text(req, "filter", max=65_536))
        limit = query_int(req, "limit", PAGE_DEFAULT, 0, CONTEXT_MAX)
        found = await self.cells[who.cell].contexts.around(who, room_id, event_id, limit, wanted)
        resp.data = b"".join(
            (
                b'{"start":', _encode(found.start), b',"end":', _encode(found.end), b',"event":', found.event,
                b',"events_before":', array(found.before), b',"events_after":', array(found.after),
                b',"state":', array(found.state), b"}",
            )
        )  # fmt: skip


@dataclass(frozen=True)
class MembersEndpoint:
    cells: Cells

    async def on_get(self, req: Request, resp: Response, room_id: str) -> None:
        who = caller(req)
        wanted, unwanted = query_text(req, "membership"), query_text(req, "not_membership")
        for name, value in (("membership", wanted), ("not_membership", unwanted)):
            if value is not None and value not in _MEMBERSHIPS:
                raise BadParam(name, f"is none of {', '.join(_MEMBERSHIPS)}")
        at = query_text(req, "at")
        chunk = await self.cells[who.cell].rooms.members(who, room_id, wanted, unwanted, at)
        resp.data = b'{"chunk":' + array(chunk) + b"}"


@dataclass(frozen=True)
class JoinedMembersEndpoint:
    cells: Cells

    async def on_get(self, req: Request, resp: Response, room_id: str) -> None:
        who = caller(req)
        resp.data = _encode({"joined": await self.cells[who.cell].rooms.joined_members(who, room_id)})


@dataclass(frozen=True)
class JoinedRoomsEndpoint:
    cells: Cells

    async def on_get(self, req: Request, resp: Response) -> None:
        who = caller(req)
        resp.data = _encode({"joined_rooms": await self.cells[who.cell].rooms.joined_rooms(who)})


def routes(cells: Cells) -> list[tuple[str, object]]:
    state = StateEndpoint(cells)
    return [
        (PREFIX + "/createRoom", CreateEndpoint(cells)),
        (PREFIX + "/joined_rooms", JoinedRoomsEndpoint(cells)),
        (ROOM + "/send/{event_type}/{txn_id}", SendEndpoint(cells)),
        (ROOM + "/redact/{event_id}/{txn_id}", RedactEndpoint(cells)),
        (ROOM + "/state", AllStateEndpoint(cells)),
        (ROOM + "/state/{event_type}", state),
        (ROOM + "/state/{event_type}/{state_key}", state),
        (ROOM + "/event/{event_id}", EventEndpoint(cells)),
        (ROOM + "/messages", MessagesEndpoint(cells)),
        (ROOM + "/context/{event_id}", ContextEndpoint(cells)),
        (ROOM + "/members", MembersEndpoint(cells)),
        (ROOM + "/joined_members", JoinedMembersEndpoint(cells)),
    ]
