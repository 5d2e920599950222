"""Finding people. Client-Server API v1.19, "User Directory".

Found are those who share a room with the searcher, by any part of their name, and anybody here by their whole name.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from msgspec import json

from hutong.accounts.names import fold
from hutong.errors import BadParam, RegionAway
from hutong.http.request import Caller
from hutong.ids import CellNo
from hutong.rooms.event_types import Membership
from hutong.rooms.service import Rooms

TERM_CHARS_MAX: Final = 255
PEOPLE_MAX: Final = 5_000
"""So many members are looked at, of the smallest rooms first: in those people know one another."""

Profile = dict[str, str]
ProfileOfAnybody = Callable[[CellNo, str], Awaitable[bytes | None]]
"""Asks, for a cell, for the profile of a user id; None: nobody. Raises: RegionAway."""


@dataclass(frozen=True)
class PeopleSearch:
    rooms: Rooms
    profile: ProfileOfAnybody

    async def find(self, caller: Caller, term: str, limit: int) -> tuple[list[Profile], bool]:
        """Up to `limit` people whose user id or display name holds `term`, best first; whether there were more.

        Raises: BadParam.
        Cost: one statement, three for each room that is looked into, and one question for whoever is named in full.
        """
        if len(term) > TERM_CHARS_MAX:
            raise BadParam("search_term", f"has more than {TERM_CHARS_MAX} characters")
        wanted = term.strip().casefold()
        if not wanted:
            return [], False
        ranked: dict[str, tuple[int, Profile]] = {}
        for user_id, fields in (await self._around(caller)).items():
            rank = _rank(user_id, fields.get("display_name", ""), wanted)
            if rank is not None:
                ranked[user_id] = (rank, {"user_id": user_id, **fields})
        named = await self._named(caller.cell, term.strip())
        if named is not None:
            ranked.setdefault(named["user_id"], (0, named))
        found = [profile for _, profile in sorted(ranked.values(), key=lambda each: (each[0], each[1]["user_id"]))]
        return found[:limit], len(found) > limit

    async def _around(self, caller: Caller) -> dict[str, Profile]:
        """Everybody in the searcher's rooms, with the searcher."""
        cell = self.rooms.cell
        own = await cell.reads.rooms_of(caller.account, [Membership.JOIN])
        sizes = await cell.reads.sizes([member.room for member in own])
        found: dict[str, Profile] = {}
        looked_at = 0
        for room, size in sorted(sizes.items(), key=lambda each: each[1]):
            info = await cell.view.room(room)
            looked_at += size
            if info is None or looked_at > PEOPLE_MAX:
                break
            for user_id, fields in (await self.rooms.joined_members(caller, info.room_id)).items():
                found[user_id] = found.get(user_id, {}) | fields
        return found

    async def _named(self, asking: CellNo, name: str) -> Profile | None:
        """Whoever bears this user id, or this name in the searcher's own region."""
        cell = self.rooms.cell
        user_id = fold(name) if name.startswith("@") else f"@{fold(name)}:{cell.region.server_name}"
        try:
            raw = await self.profile(asking, user_id)
        except RegionAway:
            return None
        if raw is None:
            return None
        fields = json.decode(raw)
        shown = {"display_name": fields.get("displayname"), "avatar_url": fields.get("avatar_url")}
        return {"user_id": user_id, **{key: value for key, value in shown.items() if isinstance(value, str)}}


def _rank(user_id: str, name: str, wanted: str) -> int | None:
    """0 for the very name, 1 for a beginning, 2 for a part of it; None: neither."""
    texts = (user_id.casefold(), user_id[1:].partition(":")[0].casefold(), name.casefold())
    if wanted in texts:
        return 0
    if any(text.startswith(wanted) for text in texts):
        return 1
    return 2 if any(wanted in text for text in texts) else None
