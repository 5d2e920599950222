"""`PUT /rooms/{roomId}/typing/{userId}`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from falcon.asgi import Request, Response
from msgspec import Meta, Struct
from msgspec.json import Decoder

from hutong.errors import Forbidden
from hutong.http.request import EMPTY, Caller, body, caller
from hutong.ids import CellNo
from hutong.typing_notices.service import TIMEOUT_MS_DEFAULT, TypingNotices

PATH = "/_matrix/client/v3/rooms/{room_id}/typing/{user_id}"

UserIdOf = Callable[[Caller], Awaitable[str]]


class TypingBody(Struct, frozen=True):
    typing: bool
    timeout: Annotated[int, Meta(ge=0)] = TIMEOUT_MS_DEFAULT


BODY = Decoder(TypingBody)


@dataclass(frozen=True)
class TypingEndpoint:
    notices: Mapping[CellNo, TypingNotices]
    user_id: UserIdOf

    async def on_put(self, req: Request, resp: Response, room_id: str, user_id: str) -> None:
        asked = await body(req, BODY)
        who = caller(req)
        if user_id != await self.user_id(who):
            raise Forbidden("userId: you can only say so of yourself")
        await self.notices[who.cell].say(who.account, room_id, asked.timeout if asked.typing else 0)
        resp.data = EMPTY


def routes(notices: Mapping[CellNo, TypingNotices], user_id: UserIdOf) -> list[tuple[str, object]]:
    return [(PATH, TypingEndpoint(notices, user_id))]
