"""Profiles: display name, avatar, time zone, and whatever else a client keeps there for others to see.

Client-Server API v1.19, "Profiles".
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any
from zoneinfo import available_timezones

from msgspec import json

from hutong.accounts.service import Accounts
from hutong.errors import BadParam, MatrixError
from hutong.ids import AccountNo

PROFILE_BYTES_MAX = 65_536
KEY_BYTES_MAX = 255
DISPLAYNAME_CHARS_MAX = 256
AVATAR_URL_CHARS_MAX = 1_000
SHOWN_IN_ROOMS = ("displayname", "avatar_url")
_KEY = re.compile(r"avatar_url|displayname|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_AVATAR = re.compile(r"mxc://[^/\s]+/[A-Za-z0-9_-]+")


class Profiles:
    """Changes to the profiles of one cell's accounts.

    `changed`: called after a change of what rooms show of a person, to tell the rooms.
    """

    def __init__(self, accounts: Accounts, changed: Callable[[AccountNo], Awaitable[None]]) -> None:
        self._accounts = accounts
        self._changed = changed

    async def set(self, account: AccountNo, key: str, value: Any) -> None:
        """Set one field; an empty display name or avatar is none.

        Raises: BadParam, MatrixError M_KEY_TOO_LARGE, M_PROFILE_TOO_LARGE.
        """
        check_key(key)
        _check_value(key, value)
        if value == "" and key in SHOWN_IN_ROOMS:
            await self.delete(account, key)
            return

        def put(fields: dict[str, Any]) -> dict[str, Any]:
            changed = fields | {key: value}
            if len(json.encode(changed)) >= PROFILE_BYTES_MAX:
                raise MatrixError(
                    f"{key}: the whole profile would have {PROFILE_BYTES_MAX:,} bytes or more",
                    errcode="M_PROFILE_TOO_LARGE",
                )
            return changed

        await self._change(account, key, put)

    async def delete(self, account: AccountNo, key: str) -> None:
        """Remove one field; nothing happens when it is not there. Raises: BadParam, M_KEY_TOO_LARGE."""
        check_key(key)
        await self._change(account, key, lambda fields: {name: fields[name] for name in fields if name != key})

    async def _change(self, account: AccountNo, key: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        if await self._accounts.change_person(account, change) and key in SHOWN_IN_ROOMS:
            await self._changed(account)


def check_key(key: str) -> None:
    """Raises: BadParam, MatrixError M_KEY_TOO_LARGE."""
    if len(key.encode()) > KEY_BYTES_MAX:
        raise MatrixError(f"keyName: is longer than {KEY_BYTES_MAX} bytes", errcode="M_KEY_TOO_LARGE")
    if not _KEY.fullmatch(key):
        raise BadParam("keyName", "is neither displayname, avatar_url nor a namespaced name such as org.example.field")


def _check_value(key: str, value: Any) -> None:
    if key in {*SHOWN_IN_ROOMS, "m.tz"} and not isinstance(value, str):
        raise BadParam(key, "is not a string")
    if key == "displayname" and len(value) > DISPLAYNAME_CHARS_MAX:
        raise BadParam(key, f"has more than {DISPLAYNAME_CHARS_MAX} characters")
    if key == "avatar_url" and value and (len(value) > AVATAR_URL_CHARS_MAX or not _AVATAR.fullmatch(value)):
        raise BadParam(key, "is not an mxc:// address")
    if key == "m.tz" and value not in available_timezones():
        raise BadParam(key, "is not a time zone of the IANA database")
