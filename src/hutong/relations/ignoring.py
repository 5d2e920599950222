"""Whom somebody ignores, as members of rooms: what they say is in nothing that is counted or listed for this reader.

Client-Server API v1.19, "Aggregations of child events".
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from hutong.cells.cell import Cell
from hutong.cells.codes import LogKind
from hutong.cells.records import Record
from hutong.cells.view import Lru
from hutong.ids import AccountNo, MemberRef, RoomNo
from hutong.rooms.event_types import MEMBER

IGNORED_MAX: Final = 1_000
REFS_KEPT_MAX: Final = 50_000
ABSENT_KEPT_MAX: Final = 100_000
"""So many pairs of a room and a user id that is not in it are remembered."""


class IgnoredMembers:
    """`by`: the user ids that an account ignores."""

    def __init__(self, cell: Cell, by: Callable[[AccountNo], Awaitable[frozenset[str]]]) -> None:
        self._cell = cell
        self._by = by
        self._refs: Lru[tuple[RoomNo, str], MemberRef] = Lru(REFS_KEPT_MAX)
        self._absent: dict[RoomNo, set[str]] = {}
        self._absences = 0
        self._moves = 0
        self.look_ups = 0
        """Look-ups so far: tests count them."""
        cell.on_committed.append(self._committed)
        cell.on_started_over.append(self._forget_absent)

    async def of(self, rooms: Iterable[RoomNo], account: AccountNo | None) -> dict[RoomNo, tuple[MemberRef, ...]]:
        """The refs of those in each of `rooms` whom `account` ignores.

        Whoever's home is away and whose name was not heard here is not among them.
        Cost: a dictionary look-up for who ignores nobody; else one for each of those and each room, and what
        `Names.refs_in` costs, once, when a room has somebody to be asked for.
        """
        rooms = list(dict.fromkeys(rooms))
        ignored = frozenset[str]() if account is None or not rooms else await self._by(account)
        user_ids = list(islice(ignored, IGNORED_MAX))
        if not user_ids:
            return dict.fromkeys(rooms, ())
        found: dict[RoomNo, list[MemberRef]] = {room: [] for room in rooms}
        unknown: list[tuple[RoomNo, str]] = []
        for room in rooms:
            absent = self._absent.get(room, ())
            for user_id in user_ids:
                ref = self._refs.get((room, user_id))
                if ref is not None:
                    found[room].append(ref)
                elif user_id not in absent:
                    unknown.append((room, user_id))
        if unknown:
            refs = await self._look_up(unknown)
            for place in unknown:
                if place in refs:
                    found[place[0]].append(refs[place])
        return {room: tuple(refs) for room, refs in found.items()}

    async def _look_up(self, places: Sequence[tuple[RoomNo, str]]) -> dict[tuple[RoomNo, str], MemberRef]:
        self.look_ups += 1
        moves = self._moves
        refs, away = await self._cell.names.refs_in({name for _, name in places}, {room for room, _ in places})
        for place, ref in refs.items():
            self._refs.put(place, ref)
        if moves == self._moves:  # nobody came while we asked
            for room, user_id in places:
                if (room, user_id) not in refs and user_id not in away:
                    self._keep_absent(room, user_id)
        return refs

    def _keep_absent(self, room: RoomNo, user_id: str) -> None:
        if self._absences >= ABSENT_KEPT_MAX:
            self._forget_absent()
        absent = self._absent.setdefault(room, set())
        self._absences += user_id not in absent
        absent.add(user_id)

    def _committed(self, records: Sequence[Record]) -> None:
        """Whoever comes to a room may be one of those who were not in it."""
        for record in records:
            is_member = record.event is not None and record.event.env.type == MEMBER
            if is_member or record.kind is LogKind.MEMBERSHIP:
                self._moves += 1
                self._absences -= len(self._absent.pop(record.room, ()))

    def _forget_absent(self) -> None:
        self._moves += 1
        self._absent.clear()
        self._absences = 0
