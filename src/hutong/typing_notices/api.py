"""`PUT /rooms/{roomId}/typing/{userId}`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.json import Decoder

from hutong.errors import Forbidden
from hutong.http.call import Call, HotResource, Outcome
from hutong.http.request import EMPTY, Caller, decode
from hutong.ids import CellNo
from hutong.typing_notices.service import TIMEOUT_MS_DEFAULT, TypingNotices

PATH = "/_matrix/client/v3/rooms/{room_id}/typing/{user_id}"

UserIdOf = Callable[[Caller], Awaitable[str]]


class TypingBody(Struct, frozen=True):
    typing: bool
    timeout: Annotated[int, Meta(ge=0)] = TIMEOUT_MS_DEFAULT


BODY = Decoder(TypingBody)


@dataclass(frozen=True)
class TypingEndpoint(HotResource):
    notices: Mapping[CellNo, TypingNotices]
    user_id: UserIdOf

    def hot_put(self, call: Call) -> Outcome:
        asked = decode(call.body, BODY)
        return self._say(call.caller, asked.timeout if asked.typing else 0, **call.path)

    async def _say(self, who: Caller, ms: int, room_id: str, user_id: str) -> bytes:
        if user_id != await self.user_id(who):
            raise Forbidden("userId: you can only say so of yourself")
        await self.notices[who.cell].say(who.account, room_id, ms)
        return EMPTY


def routes(notices: Mapping[CellNo, TypingNotices], user_id: UserIdOf) -> list[tuple[str, object]]:
    return [(PATH, TypingEndpoint(notices, user_id))]
