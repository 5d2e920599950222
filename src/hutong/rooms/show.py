"""From envelopes to client events, for every endpoint but `/sync`: what goes with them is fetched for all at once.

Cost: one statement or call per cell for words, one for names, nothing for what was shown lately; one statement more for
what was replaced or redacted, and one for what relates to any of them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hutong.cells.cell import Cell
from hutong.cells.records import Envelope, Member
from hutong.cells.relations import Bundle, Eyes, Place
from hutong.cells.view import RoomInfo
from hutong.ids import AccountNo, CellNo, DeviceNo, MemberRef, RoomNo
from hutong.rooms import unsigned
from hutong.rooms.access import Sight
from hutong.rooms.pieces import Pieces
from hutong.rooms.unsigned import Around, Eye, Writer

_OBJECT = msgspec.json.Decoder(dict[str, Any])

BundlesOf = Callable[[RoomInfo, Eyes, Sequence[Envelope]], Awaitable[Mapping[Place, Bundle]]]
"""What relates to each of some events of a room, as far as the reader may see it."""
IgnoredOf = Callable[[Iterable[RoomNo], AccountNo | None], Awaitable[Mapping[RoomNo, tuple[MemberRef, ...]]]]
"""The members of each of some rooms whom an account ignores."""


@dataclass(frozen=True)
class Reader:
    """Who is shown something: their own member record, the device that asks, and for a timeline what they may see."""

    member: Member
    device: DeviceNo
    sight: Sight | None = None
    ignored: tuple[MemberRef, ...] = ()

    @property
    def eyes(self) -> Eyes:
        """What of the room they see. Only with a sight."""
        assert self.sight is not None
        return Eyes(room=self.member.room, ref=self.member.ref, seen=self.sight.ranges, ignored=self.ignored)


class Show:
    """The events of one cell's rooms as its people see them."""

    def __init__(self, cell: Cell, pieces: Pieces, bundles: BundlesOf, ignored: IgnoredOf) -> None:
        self._cell = cell
        self._pieces = pieces
        self._bundles = bundles
        self._ignored = ignored

    async def reader(self, member: Member, device: DeviceNo, sight: Sight) -> Reader:
        """Who is shown a timeline."""
        ignored = await self._ignored([member.room], member.account)
        return Reader(member, device, sight, ignored[member.room])

    async def events(self, room: RoomInfo, envelopes: Sequence[Envelope], reader: Reader) -> list[bytes | None]:
        """Each event as JSON; None for one whose author's home cannot be asked now."""
        shown, _ = await self._shown(room, envelopes, reader)
        return shown

    async def _shown(
        self, room: RoomInfo, envelopes: Sequence[Envelope], reader: Reader
    ) -> tuple[list[bytes | None], Mapping[bytes, CellNo]]:
        """As `events`, and by the event's id the cell that did not answer."""
        before, bundles = await asyncio.gather(
            self._before(room.room, envelopes), self._around(room, envelopes, reader)
        )
        pieces, away = await self._pieces.fetch([*envelopes, *before.values(), *unsigned.within(bundles)])
        sight = reader.sight
        eye = Eye(
            ref=reader.member.ref,
            device=reader.device,
            sees=None if sight is None else sight.sees,
            membership_at=None if sight is None else sight.membership_at,
        )
        around = Around(pieces=pieces, before=before, bundles=bundles)
        writer = Writer(eye, around, int(self._cell.now() * 1_000), self._cell.transactions.text, room.room_id)
        return [writer.event(env) for env in envelopes], away

    async def readable(self, room: RoomInfo, envelopes: Sequence[Envelope], reader: Reader) -> list[bytes]:
        """Each event as JSON, without those of a region that is cut off. Raises: RegionAway for one that is slow."""
        return [json for _, json in await self._readable(room, envelopes, reader)]

    async def state(self, room: RoomInfo, envelopes: Sequence[Envelope], reader: Reader) -> list[bytes]:
        """The same for a list of state, without events that are no state to a client.

        Those are what is left of one whose state key was its author's word, and went with the others.
        """
        return [json for env, json in await self._readable(room, envelopes, reader) if _has_state_key(env, json)]

    async def _readable(
        self, room: RoomInfo, envelopes: Sequence[Envelope], reader: Reader
    ) -> list[tuple[Envelope, bytes]]:
        found: list[tuple[Envelope, bytes]] = []
        shown, away = await self._shown(room, envelopes, reader)
        for env, json in zip(envelopes, shown, strict=True):
            if json is not None:
                found.append((env, json))
                continue
            cell = away.get(env.event_id, self._cell.cell_of(env.home))
            if not self._cell.cuts.leave_out(cell, env.room):
                raise self._cell.away(cell)
        return found

    async def _before(self, room: RoomNo, envelopes: Sequence[Envelope]) -> dict[Place, Envelope]:
        places = unsigned.before(envelopes)
        if not places:
            return {}
        events = await self._cell.reads.events(room, (seq for _, seq in places))
        return {(room, seq): event.env for seq, event in events.items()}

    async def _around(self, room: RoomInfo, envelopes: Sequence[Envelope], reader: Reader) -> Mapping[Place, Bundle]:
        parents = [env for env in envelopes if not env.is_state]
        if reader.sight is None or not parents:
            return {}
        return await self._bundles(room, reader.eyes, parents)


def _has_state_key(env: Envelope, json: bytes) -> bool:
    """Cost: nothing where the state key is empty or a member's; else one decoding."""
    return env.skey == 0 or env.target is not None or "state_key" in _OBJECT.decode(json)
