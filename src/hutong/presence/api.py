"""`/presence/{userId}/status`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from falcon.asgi import Request, Response
from msgspec import Struct, json
from msgspec.json import Decoder

from hutong.http.request import EMPTY, body, caller
from hutong.ids import CellNo
from hutong.presence.board import State
from hutong.presence.service import PresenceOfPeople

PATH = "/_matrix/client/v3/presence/{user_id}/status"


class StatusBody(Struct, frozen=True):
    presence: State
    status_msg: str | None = None


BODY = Decoder(StatusBody)


@dataclass(frozen=True)
class PresenceEndpoint:
    cells: Mapping[CellNo, PresenceOfPeople]

    async def on_get(self, req: Request, resp: Response, user_id: str) -> None:
        who = caller(req)
        seen = await self.cells[who.cell].of(who.account, user_id)
        shown: dict[str, Any] = {"presence": seen.state, "currently_active": seen.state is State.ONLINE}
        if seen.active_ago_ms is not None:
            shown["last_active_ago"] = seen.active_ago_ms
        if seen.status is not None:
            shown["status_msg"] = seen.status
        resp.data = json.encode(shown)

    async def on_put(self, req: Request, resp: Response, user_id: str) -> None:
        who = caller(req)
        asked = await body(req, BODY)
        await self.cells[who.cell].say(who.account, user_id, asked.presence, asked.status_msg)
        resp.data = EMPTY


def routes(cells: Mapping[CellNo, PresenceOfPeople]) -> list[tuple[str, object]]:
    return [(PATH, PresenceEndpoint(cells))]
