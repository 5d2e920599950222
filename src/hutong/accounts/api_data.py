"""What a client keeps for its person: account data, tags and filters."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct, json
from msgspec.json import Decoder

from hutong.accounts.account_data import GLOBAL
from hutong.accounts.api_profile import own
from hutong.accounts.homes import CellAccounts, Homes
from hutong.cells.view import raw_room_id
from hutong.errors import BadParam, MatrixError, NotFound
from hutong.http.request import EMPTY, Caller, Request, Response, body, caller, raw_object
from hutong.ids import RoomNo, room_no

TAG_BYTES_MAX = 255
TAGS_MAX = 1_000
TAGS = "m.tag"


class TagBody(Struct, frozen=True, omit_defaults=True):
    order: float | None = None


TAG = Decoder(TagBody)


@dataclass(frozen=True)
class AccountDataEndpoint:
    """GET and PUT /user/{userId}/account_data/{type}."""

    homes: Homes

    async def on_get(self, req: Request, resp: Response, user_id: str, type: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        resp.data = await home.account_data.get(who.account, GLOBAL, type)

    async def on_put(self, req: Request, resp: Response, user_id: str, type: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        await home.account_data.put(who.account, GLOBAL, type, await raw_object(req))
        resp.data = EMPTY


@dataclass(frozen=True)
class RoomAccountDataEndpoint:
    """GET and PUT /user/{userId}/rooms/{roomId}/account_data/{type}."""

    homes: Homes

    async def on_get(self, req: Request, resp: Response, user_id: str, room_id: str, type: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        resp.data = await home.account_data.get(who.account, _room(room_id), type)

    async def on_put(self, req: Request, resp: Response, user_id: str, room_id: str, type: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        await home.account_data.put(who.account, _room(room_id), type, await raw_object(req))
        resp.data = EMPTY


@dataclass(frozen=True)
class TagsEndpoint:
    """GET /user/{userId}/rooms/{roomId}/tags."""

    homes: Homes

    async def on_get(self, req: Request, resp: Response, user_id: str, room_id: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        resp.data = json.encode({"tags": await _tags(home, who, _room(room_id))})


@dataclass(frozen=True)
class TagEndpoint:
    """PUT and DELETE /user/{userId}/rooms/{roomId}/tags/{tag}."""

    homes: Homes
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)  # all tags of a room are one piece of data

    async def on_put(self, req: Request, resp: Response, user_id: str, room_id: str, tag: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        if not tag or len(tag.encode()) > TAG_BYTES_MAX:
            raise BadParam("tag", f"is empty, or longer than {TAG_BYTES_MAX} bytes")
        order = (await body(req, TAG)).order
        if order is not None and not 0 <= order <= 1:
            raise BadParam("order", "is not between 0 and 1")
        async with self.one_at_a_time:
            tags = await _tags(home, who, _room(room_id))
            tags[tag] = {} if order is None else {"order": order}
            if len(tags) > TAGS_MAX:
                raise BadParam("tag", f"is one more than the {TAGS_MAX:,} that a room may have")
            await _keep(home, who, _room(room_id), tags)
        resp.data = EMPTY

    async def on_delete(self, req: Request, resp: Response, user_id: str, room_id: str, tag: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        async with self.one_at_a_time:
            tags = await _tags(home, who, _room(room_id))
            if tags.pop(tag, None) is not None:
                await _keep(home, who, _room(room_id), tags)
        resp.data = EMPTY


@dataclass(frozen=True)
class FiltersEndpoint:
    """POST /user/{userId}/filter."""

    homes: Homes

    async def on_post(self, req: Request, resp: Response, user_id: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        resp.data = json.encode({"filter_id": await home.filters.put(who.account, await raw_object(req))})


@dataclass(frozen=True)
class FilterEndpoint:
    """GET /user/{userId}/filter/{filterId}."""

    homes: Homes

    async def on_get(self, req: Request, resp: Response, user_id: str, filter_id: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        resp.data = await home.filters.get(who.account, filter_id)


def routes(homes: Homes) -> list[tuple[str, object]]:
    user = "/_matrix/client/v3/user/{user_id}"
    return [
        (f"{user}/account_data/{{type}}", AccountDataEndpoint(homes)),
        (f"{user}/rooms/{{room_id}}/account_data/{{type}}", RoomAccountDataEndpoint(homes)),
        (f"{user}/rooms/{{room_id}}/tags", TagsEndpoint(homes)),
        (f"{user}/rooms/{{room_id}}/tags/{{tag}}", TagEndpoint(homes)),
        (f"{user}/filter", FiltersEndpoint(homes)),
        (f"{user}/filter/{{filter_id}}", FilterEndpoint(homes)),
    ]


async def _mine(homes: Homes, req: Request, user_id: str) -> tuple[Caller, CellAccounts]:
    """The caller, who must be the person that the path names."""
    who = caller(req)
    home = homes.of(who)
    await own(home, who, user_id)
    return who, home


def _room(room_id: str) -> RoomNo:
    raw = raw_room_id(room_id)
    if raw is None or room_no(raw) == GLOBAL:
        raise BadParam("roomId", "is not the id of a room of this server, which looks like !... with 22 characters")
    return room_no(raw)


async def _tags(home: CellAccounts, who: Caller, room: RoomNo) -> dict[str, Any]:
    try:
        tags = json.decode(await home.account_data.get(who.account, room, TAGS)).get("tags", {})
    except NotFound:
        return {}
    return tags if isinstance(tags, dict) else {}  # a client may also have put anything there as account data


async def _keep(home: CellAccounts, who: Caller, room: RoomNo, tags: dict[str, Any]) -> None:
    content = json.encode({"tags": tags})
    if len(content) > TAGS_MAX * TAG_BYTES_MAX:
        raise MatrixError("tag: all tags together are too long", errcode="M_TOO_LARGE", status=413)
    await home.account_data.put(who.account, room, TAGS, content)
