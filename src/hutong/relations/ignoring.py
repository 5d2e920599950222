"""Whom somebody ignores, as members of a room: what they say is in nothing that is counted or listed for this reader.

Client-Server API v1.19, "Aggregations of child events".
"""

from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Final

from hutong.cells.cell import Cell
from hutong.cells.link import LinkDown
from hutong.cells.view import Lru
from hutong.ids import AccountNo, MemberRef, RoomNo

IGNORED_MAX: Final = 1_000
REFS_KEPT_MAX: Final = 50_000


class IgnoredMembers:
    """`by`: the user ids that an account ignores."""

    def __init__(self, cell: Cell, by: Callable[[AccountNo], Awaitable[frozenset[str]]]) -> None:
        self._cell = cell
        self._by = by
        self._refs: Lru[tuple[RoomNo, str], MemberRef] = Lru(REFS_KEPT_MAX)

    async def of(self, room: RoomNo, account: AccountNo | None) -> tuple[MemberRef, ...]:
        """The refs of those in `room` whom `account` ignores; without people whose home is away and not known here.

        Cost: a dictionary look-up for who ignores nobody; else what `Names.refs` costs for those not met here yet.
        """
        user_ids = frozenset[str]() if account is None else await self._by(account)
        found = {user_id: self._refs.get((room, user_id)) for user_id in islice(user_ids, IGNORED_MAX)}
        unknown = [user_id for user_id, ref in found.items() if ref is None]
        if unknown:
            found |= await self._look_up(room, unknown)
        return tuple(ref for ref in found.values() if ref is not None)

    async def _look_up(self, room: RoomNo, user_ids: list[str]) -> dict[str, MemberRef]:
        try:
            replies = await self._cell.names.refs(user_ids, room, make=False)
        except LinkDown:
            return {}
        for user_id, reply in replies.items():
            self._refs.put((room, user_id), reply.ref)
        return {user_id: reply.ref for user_id, reply in replies.items()}
