"""From envelopes to client events: words and names are fetched for all of them at once, then put together.

Cost: one statement or call per cell for words, one for names; one more of each when something was replaced or redacted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hutong.cells.cell import Cell
from hutong.cells.names import erased_id
from hutong.cells.records import Envelope, Member, Words
from hutong.cells.view import RoomInfo, room_id_text
from hutong.cells.words import Lost
from hutong.ids import DeviceNo, MemberRef, Seq, event_id_text
from hutong.rooms import redaction, render
from hutong.rooms.event_types import STRUCTURAL, Membership

_OBJECT = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True)
class Reader:
    """Who is shown something: their own member record, and the device that asks."""

    member: Member
    device: DeviceNo


class Show:
    """The events of one cell's rooms as its people see them."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    async def events(
        self, room: RoomInfo, envelopes: Sequence[Envelope], reader: Reader | None = None, *, room_id: bool = True
    ) -> list[bytes | None]:
        """Each event as JSON; None for one whose author's home cannot be asked now."""
        related = await self._related(room, envelopes)
        needed = [*envelopes, *related.values()]
        words = await self._words(room, needed)
        names = await self._names(room, needed)
        shown: list[bytes | None] = []
        for env in envelopes:
            base = self._fragment(room, env, words, names, room_id=room_id)
            if base is None:
                shown.append(None)
                continue
            shown.append(render.closed(base, self._unsigned(room, env, words, names, related, reader)))
        return shown

    async def state(self, room: RoomInfo, envelopes: Sequence[Envelope], reader: Reader) -> list[bytes]:
        """A list of state as JSON, without what cannot be read now, and without events that are no state to a client.

        Those are what is left of one whose state key was its author's word, and went with the others.
        """
        shown = await self.events(room, envelopes, reader)
        return [
            json for env, json in zip(envelopes, shown, strict=True) if json is not None and _has_state_key(env, json)
        ]

    def _fragment(
        self,
        room: RoomInfo,
        env: Envelope,
        words: dict[bytes, Words | Lost],
        names: dict[MemberRef, str],
        *,
        room_id: bool,
    ) -> bytes | None:
        said, sender = words.get(env.event_id), names.get(env.sender)
        if not isinstance(said, Words) or sender is None:
            return None
        state_key = said.state_key
        if env.target is not None:
            state_key = names.get(env.target)
            if state_key is None:
                return None
        return render.fragment(env, said, sender, state_key, room.room_id if room_id else None)

    def _unsigned(
        self,
        room: RoomInfo,
        env: Envelope,
        words: dict[bytes, Words | Lost],
        names: dict[MemberRef, str],
        related: dict[Seq, Envelope],
        reader: Reader | None,
    ) -> bytes | None:
        said = words[env.event_id]
        assert isinstance(said, Words)
        before = related.get(env.prev_seq) if env.prev_seq is not None and env.redacted_by is None else None
        said_before = words.get(before.event_id) if before is not None else None
        redaction_event = related.get(env.redacted_by) if env.redacted_by is not None else None
        because = None
        if redaction_event is not None:
            base = self._fragment(room, redaction_event, words, names, room_id=True)
            because = None if base is None else render.closed(base, None)
        txn_id = None
        if reader is not None and reader.member.ref == env.sender:
            txn_id = self._cell.transactions.text(reader.device, env.event_id)
        return render.unsigned(
            age_ms=int(self._cell.now() * 1000) - said.ts_ms,
            transaction_id=txn_id,
            prev_content=said_before.json if isinstance(said_before, Words) else None,
            replaces_state=event_id_text(before.event_id) if before is not None else None,
            redacted_because=because,
        )

    async def _related(self, room: RoomInfo, envelopes: Iterable[Envelope]) -> dict[Seq, Envelope]:
        """The redactions of those that are redacted, and what those of state replaced."""
        either = (env.redacted_by if env.redacted_by is not None else env.prev_seq for env in envelopes)
        seqs = {seq for seq in either if seq is not None}
        if not seqs:
            return {}
        events = await self._cell.reads.events(room.room, seqs)
        return {seq: event.env for seq, event in events.items()}

    async def _words(self, room: RoomInfo, envelopes: Sequence[Envelope]) -> dict[bytes, Words | Lost]:
        words = await self._cell.words.fetch(envelopes)
        for env in envelopes:
            if words[env.event_id] is Lost.GONE:
                words[env.event_id] = render.without_words(env, await self.governing(room, env))
        return words

    async def governing(self, room: RoomInfo, env: Envelope) -> dict[str, Any] | None:
        """What a state event whose words are gone still says, since the room goes on by it."""
        if env.skey != 0 or env.type not in STRUCTURAL:
            return None
        current = await self._cell.reads.state_event(room.room, env.type, env.skey, Seq(2**62))
        if current is None or current.env.seq != env.seq:
            return None
        refs = redaction.refs_in(env.type, room.projection)
        users = await self._cell.names.fetch((room.room, ref) for ref in refs)
        server = self._cell.directory.server_name(room.home)
        return redaction.content_from_projection(
            env.type,
            room.projection,
            redaction.Names(
                user_id=lambda ref: users.get((room.room, ref)) or erased_id(ref, server),
                room_id=lambda raw: room_id_text(raw, room.version, server),
            ),
            Membership.LEAVE,
        )

    async def _names(self, room: RoomInfo, envelopes: Iterable[Envelope]) -> dict[MemberRef, str]:
        names = await self._cell.names.fetch((room.room, ref) for env in envelopes for ref in env.people)
        return {ref: name for (_, ref), name in names.items()}


def _has_state_key(env: Envelope, json: bytes) -> bool:
    """Cost: nothing where the state key is empty or a member's; else one decoding."""
    return env.skey == 0 or env.target is not None or "state_key" in _OBJECT.decode(json)
