"""What was said around an event. Client-Server API v1.19, "Event Context"."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from hutong.cells.cell import Cell
from hutong.cells.records import Envelope
from hutong.http.request import Caller
from hutong.ids import Seq
from hutong.rooms.access import Access
from hutong.rooms.event_filter import NO_EVENT, Matcher
from hutong.rooms.history import History
from hutong.rooms.show import Away, Reader, Show


@dataclass(frozen=True, kw_only=True)
class ContextOf:
    """An event and its neighbours as JSON: those before it newest first. `start`, `end`: where to page on."""

    start: str
    end: str
    event: bytes
    before: list[bytes]
    after: list[bytes]
    state: list[bytes]


class Contexts:
    def __init__(self, cell: Cell, access: Access, history: History, show: Show) -> None:
        self._cell = cell
        self._access = access
        self._history = history
        self._show = show

    async def around(self, caller: Caller, room_id: str, event_id: str, limit: int, wanted: Matcher) -> ContextOf:
        """An event that the caller may see, up to `limit` around it, and the state at the last of them.

        The page ends at an event that cannot be read now. `wanted` is not asked about the event itself.
        Raises: Forbidden (403) for a room that the caller never was in, NotFound, BadParam; RegionAway.
        Cost: a statement or call for each direction, one for the state, and those of `Show.events`.
        """
        seat = await self._access.seat(caller.account, room_id)
        env, sight = await self._history.visible(seat, event_id)
        before, after = await asyncio.gather(
            self._history.page(seat, Seq(env.seq - 1), limit // 2, backwards=True),
            self._history.page(seat, env.seq, limit - limit // 2, backwards=False),
        )
        seen = [env, *(other for other in (*before, *after) if sight.sees(other))]
        reader = await self._show.reader(seat.member, caller.device, sight)
        told = await self._show.events(seat.room, seen, reader)
        shown = {other.event_id: json for other, json in zip(seen, told, strict=True)}
        event = shown[env.event_id]
        if isinstance(event, Away):
            raise self._cell.away(event.cell)
        before, after = _readable(before, shown), _readable(after, shown)
        passes = wanted if not wanted.nothing and wanted.admits_room(room_id) else NO_EVENT
        chosen = [
            (other, json)
            for other in (*before, *after)
            if isinstance(json := shown.get(other.event_id), bytes) and passes.admits_event(json)
        ]
        last = after[-1].seq if after else env.seq
        speaking = {env.sender, *(other.sender for other, _ in chosen)}
        # Of a time that the reader knows of: what was so while they were out is not for them.
        known = max((other.seq for other in after if sight.sees(other)), default=env.seq)
        state = await self._history.state_at(seat, known, speaking if wanted.lazy else None)
        state_told = await self._show.state(seat.room, state, Reader(seat.member, caller.device))
        return ContextOf(
            start=self._history.token(seat, (before[-1].seq if before else env.seq) - 1),
            end=self._history.token(seat, last),
            event=event,
            before=[json for other, json in chosen if other.seq < env.seq],
            after=[json for other, json in chosen if other.seq > env.seq],
            state=[json for json in state_told if passes.admits_event(json)],
        )


def _readable(page: Sequence[Envelope], shown: Mapping[bytes, bytes | Away]) -> list[Envelope]:
    """The page up to the first event that the reader may see and that cannot be read now."""
    return list(takewhile(lambda env: not isinstance(shown.get(env.event_id), Away), page))
