"""What a client keeps for its person: account data, tags and filters."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from msgspec import UNSET, Struct, UnsetType, json
from msgspec.json import Decoder

from hutong.accounts.account_data import GLOBAL
from hutong.accounts.api_profile import own
from hutong.accounts.homes import CellAccounts, Homes
from hutong.errors import BadParam, Forbidden, MatrixError, NotFound
from hutong.http.request import EMPTY, Caller, Request, Response, caller, decode, raw_object
from hutong.ids import AccountNo, CellNo, RoomNo

TAG_BYTES_MAX = 255
TAGS_MAX = 1_000
TAG_CONTENT_BYTES_MAX = 4_096
TAGS = "m.tag"


class TagBody(Struct, frozen=True):
    """What is checked of a tag; whatever else a client says of it is kept."""

    order: float | UnsetType = UNSET


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
        try:
            room = await home.account_data.room_of(who.account, room_id)
        except Forbidden:
            raise NotFound("roomId: there is no account data of yours for this room") from None
        resp.data = await home.account_data.get(who.account, room, type)

    async def on_put(self, req: Request, resp: Response, user_id: str, room_id: str, type: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        room = await home.account_data.room_of(who.account, room_id)
        await home.account_data.put(who.account, room, type, await raw_object(req))
        resp.data = EMPTY


@dataclass(frozen=True)
class TagsEndpoint:
    """GET /user/{userId}/rooms/{roomId}/tags."""

    homes: Homes

    async def on_get(self, req: Request, resp: Response, user_id: str, room_id: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        room = await home.account_data.room_of(who.account, room_id)
        resp.data = json.encode({"tags": await _tags(home, who, room)})


@dataclass(frozen=True)
class TagEndpoint:
    """PUT and DELETE /user/{userId}/rooms/{roomId}/tags/{tag}."""

    homes: Homes
    at_work: WeakValueDictionary[tuple[CellNo, AccountNo], asyncio.Lock] = field(default_factory=WeakValueDictionary)
    """All tags of a room are one piece of data: its owner changes one of them at a time."""

    async def on_put(self, req: Request, resp: Response, user_id: str, room_id: str, tag: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        if not tag or len(tag.encode()) > TAG_BYTES_MAX:
            raise BadParam("tag", f"is empty, or longer than {TAG_BYTES_MAX} bytes")
        sent = await raw_object(req, TAG_CONTENT_BYTES_MAX)
        order = decode(sent, TAG).order
        if order is not UNSET and not 0 <= order <= 1:
            raise BadParam("order", "is not between 0 and 1")
        room = await home.account_data.room_of(who.account, room_id)
        async with self._alone(who):
            tags = await _tags(home, who, room)
            tags[tag] = json.decode(sent)
            if len(tags) > TAGS_MAX:
                raise BadParam("tag", f"is one more than the {TAGS_MAX:,} that a room may have")
            await _keep(home, who, room, tags)
        resp.data = EMPTY

    async def on_delete(self, req: Request, resp: Response, user_id: str, room_id: str, tag: str) -> None:
        who, home = await _mine(self.homes, req, user_id)
        room = await home.account_data.room_of(who.account, room_id)
        async with self._alone(who):
            tags = await _tags(home, who, room)
            if tags.pop(tag, None) is not None:
                await _keep(home, who, room, tags)
        resp.data = EMPTY

    def _alone(self, who: Caller) -> asyncio.Lock:
        lock = self.at_work.get((who.cell, who.account))
        if lock is None:
            lock = self.at_work[who.cell, who.account] = asyncio.Lock()
        return lock


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
