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


@dataclass(frozen=True)
class Away:
    """In place of an event that cannot be read now: the cell that did not answer.

    That is the home of its author, or of somebody whom it names.
    """

    cell: CellNo


@dataclass(frozen=True)
class Readable:
    """The events of a page with their JSON, and the one before which it ends since that cannot be read now."""

    events: list[tuple[Envelope, bytes]]
    stop: Envelope | None


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

    async def events(self, room: RoomInfo, envelopes: Sequence[Envelope], reader: Reader) -> list[bytes | Away]:
        """Each event as JSON, or who must be waited for."""
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
        shown: list[bytes | Away] = []
        for env in envelopes:
            json = writer.event(env)
            shown.append(Away(away[env.event_id]) if json is None else json)
        return shown

    async def one(self, room: RoomInfo, env: Envelope, reader: Reader) -> bytes:
        """One event as JSON. Raises: RegionAway."""
        (shown,) = await self.events(room, [env], reader)
        if isinstance(shown, Away):
            raise self._cell.away(shown.cell)
        return shown

    async def page(self, room: RoomInfo, envelopes: Sequence[Envelope], reader: Reader) -> Readable:
        """Events in the order of a page, up to the first one of a region that is slow.

        Those of a region that is cut off are left out: the room is told anew in `/sync` when it answers again.
        Raises: RegionAway when the page would end before its first event.
        """
        found: list[tuple[Envelope, bytes]] = []
        for env, shown in zip(envelopes, await self.events(room, envelopes, reader), strict=True):
            if not isinstance(shown, Away):
                found.append((env, shown))
            elif not self._cell.cuts.leave_out(shown.cell, env.room):
                if not found:
                    raise self._cell.away(shown.cell)
                return Readable(found, env)
        return Readable(found, None)

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
        for env, shown in zip(envelopes, await self.events(room, envelopes, reader), strict=True):
            if not isinstance(shown, Away):
                found.append((env, shown))
            elif not self._cell.cuts.leave_out(shown.cell, env.room):
                raise self._cell.away(shown.cell)
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
