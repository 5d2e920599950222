"""Profiles: anybody may read them, their owners change them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from msgspec import json

from hutong.accounts.homes import CellAccounts, Homes
from hutong.accounts.names import parse_user_id
from hutong.accounts.profiles import PROFILE_BYTES_MAX, check_key
from hutong.errors import Forbidden, MissingParam, NotFound
from hutong.http.jsonscan import checked_object
from hutong.http.request import EMPTY, Caller, Request, Response, caller, caller_or_none, raw_body, request_region
from hutong.ids import CellNo

RemoteProfile = Callable[[CellNo, str], Awaitable[bytes | None]]
"""Asks another cell, on behalf of the first one, for the profile of a user id: JSON, or None when there is nobody.
Raises RegionAway."""

READ_BY_ALL = {"GET": "optional"}


@dataclass(frozen=True)
class ProfileEndpoint:
    """GET /profile/{userId}."""

    homes: Homes
    remote_profile: RemoteProfile
    auth = READ_BY_ALL

    async def on_get(self, req: Request, resp: Response, user_id: str) -> None:
        resp.data = json.encode(await read(self.homes, self.remote_profile, req, user_id))


@dataclass(frozen=True)
class ProfileFieldEndpoint:
    """GET, PUT and DELETE /profile/{userId}/{keyName}."""

    homes: Homes
    remote_profile: RemoteProfile
    auth = READ_BY_ALL

    async def on_get(self, req: Request, resp: Response, user_id: str, key: str) -> None:
        check_key(key)
        fields = await read(self.homes, self.remote_profile, req, user_id)
        if key not in fields:
            raise NotFound(f"keyName: {key} is not set")
        resp.data = json.encode({key: fields[key]})

    async def on_put(self, req: Request, resp: Response, user_id: str, key: str) -> None:
        who = caller(req)
        home = self.homes.of(who)
        check_key(key)
        asked = checked_object(await raw_body(req, PROFILE_BYTES_MAX + 1_024))
        await own(home, who, user_id)
        if key not in asked:
            raise MissingParam(key)
        await home.profiles.set(who.account, key, asked[key])
        resp.data = EMPTY

    async def on_delete(self, req: Request, resp: Response, user_id: str, key: str) -> None:
        who = caller(req)
        home = self.homes.of(who)
        await own(home, who, user_id)
        await home.profiles.delete(who.account, key)
        resp.data = EMPTY


async def read(homes: Homes, remote_profile: RemoteProfile, req: Request, text: str) -> dict[str, Any]:
    """The profile of any person here. Raises: NotFound, BadParam, RegionAway."""
    user_id = parse_user_id(text, "userId")
    who = caller_or_none(req)
    asking = homes.of(who) if who is not None else homes.asking(request_region(req))
    fields: dict[str, Any] | None
    if homes.find(user_id) is asking:
        fields = await asking.accounts.profile(user_id.localpart)
    else:
        # Words of somebody at home elsewhere come over the link, also when that region is in this very process.
        raw = await remote_profile(asking.number, text)
        fields = json.decode(raw) if raw is not None else None
    if fields is None:
        raise NotFound("userId: there is no such person here")
    return fields


async def own(home: CellAccounts, who: Caller, user_id: str) -> None:
    """Raises: Forbidden unless `user_id` is the caller's own; BadParam."""
    parse_user_id(user_id, "userId")
    if user_id != await home.accounts.user_id(who.account):
        raise Forbidden("userId: is not yours")


def routes(homes: Homes, remote_profile: RemoteProfile) -> list[tuple[str, object]]:
    v3 = "/_matrix/client/v3"
    return [
        (f"{v3}/profile/{{user_id}}", ProfileEndpoint(homes, remote_profile)),
        (f"{v3}/profile/{{user_id}}/{{key}}", ProfileFieldEndpoint(homes, remote_profile)),
    ]
