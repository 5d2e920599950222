"""The endpoints of membership: decode, call, encode. Client-Server API v1.19, "Room membership"."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from falcon.asgi import Request, Response
from msgspec import Struct
from msgspec.json import Decoder

from hutong.errors import BadParam, MatrixError
from hutong.http.request import EMPTY, Caller, body, caller, query_texts
from hutong.ids import CellNo
from hutong.membership.service import Memberships

PREFIX = "/_matrix/client/v3"
ROOM = PREFIX + "/rooms/{room_id}"
_encode = msgspec.json.Encoder().encode


class Reason(Struct, frozen=True):
    reason: str | None = None


class JoinBody(Struct, frozen=True):
    reason: str | None = None
    third_party_signed: dict[str, Any] | None = None


class UserReason(Struct, frozen=True):
    user_id: str
    reason: str | None = None


class Invitation(Struct, frozen=True):
    user_id: str | None = None
    reason: str | None = None
    id_server: str | None = None


REASON, JOIN, USER, INVITATION = Decoder(Reason), Decoder(JoinBody), Decoder(UserReason), Decoder(Invitation)
Cells = Mapping[CellNo, Memberships]


@dataclass(frozen=True)
class JoinEndpoint:
    """`/join/{roomIdOrAlias}` and `/rooms/{roomId}/join`, which takes no alias."""

    cells: Cells
    aliases: bool

    async def on_post(self, req: Request, resp: Response, room_id: str) -> None:
        who = caller(req)
        if not self.aliases and room_id.startswith("#"):
            raise BadParam("roomId", "is an alias, not a room id; use POST /join/{roomIdOrAlias}")
        wanted = await body(req, JOIN)
        via = [*query_texts(req, "via"), *query_texts(req, "server_name")]
        joined = await self.cells[who.cell].join(who, room_id, via, wanted.reason)
        resp.data = _encode({"room_id": joined})


@dataclass(frozen=True)
class KnockEndpoint:
    cells: Cells

    async def on_post(self, req: Request, resp: Response, room_id: str) -> None:
        who = caller(req)
        reason = (await body(req, REASON)).reason
        via = [*query_texts(req, "via"), *query_texts(req, "server_name")]
        resp.data = _encode({"room_id": await self.cells[who.cell].knock(who, room_id, via, reason)})


@dataclass(frozen=True)
class LeaveEndpoint:
    cells: Cells

    async def on_post(self, req: Request, resp: Response, room_id: str) -> None:
        who = caller(req)
        await self.cells[who.cell].leave(who, room_id, (await body(req, REASON)).reason)
        resp.data = EMPTY


@dataclass(frozen=True)
class ForgetEndpoint:
    cells: Cells

    async def on_post(self, req: Request, resp: Response, room_id: str) -> None:
        who = caller(req)
        await body(req, REASON)
        await self.cells[who.cell].forget(who, room_id)
        resp.data = EMPTY


@dataclass(frozen=True)
class InviteEndpoint:
    cells: Cells

    async def on_post(self, req: Request, resp: Response, room_id: str) -> None:
        who = caller(req)
        wanted = await body(req, INVITATION)
        if wanted.user_id is None:
            if wanted.id_server is not None:
                raise MatrixError(
                    "id_server: this server has no identity server; invite by user id", status=403,
                    errcode="M_THREEPID_DENIED",
                )  # fmt: skip
            raise MatrixError("user_id: is missing", errcode="M_MISSING_PARAM")
        await self.cells[who.cell].invite(who, room_id, wanted.user_id, wanted.reason)
        resp.data = EMPTY


@dataclass(frozen=True)
class ModerationEndpoint:
    """`/kick`, `/ban` and `/unban`, which take the same body: `act` is what is done."""

    cells: Cells
    act: Callable[[Memberships, Caller, str, str, str | None], Awaitable[None]]

    async def on_post(self, req: Request, resp: Response, room_id: str) -> None:
        who = caller(req)
        wanted = await body(req, USER)
        await self.act(self.cells[who.cell], who, room_id, wanted.user_id, wanted.reason)
        resp.data = EMPTY


def routes(cells: Cells) -> list[tuple[str, object]]:
    return [
        (PREFIX + "/join/{room_id}", JoinEndpoint(cells, aliases=True)),
        (PREFIX + "/knock/{room_id}", KnockEndpoint(cells)),
        (ROOM + "/join", JoinEndpoint(cells, aliases=False)),
        (ROOM + "/leave", LeaveEndpoint(cells)),
        (ROOM + "/forget", ForgetEndpoint(cells)),
        (ROOM + "/invite", InviteEndpoint(cells)),
        (ROOM + "/kick", ModerationEndpoint(cells, Memberships.kick)),
        (ROOM + "/ban", ModerationEndpoint(cells, Memberships.ban)),
        (ROOM + "/unban", ModerationEndpoint(cells, Memberships.unban)),
    ]
