"""A whole event as one reader gets it: the bytes that all readers share, and around them what is this reader's own.

The one place where `unsigned` is made, for `/sync` and for every other endpoint. No I/O, no clock.

Source: Client-Server API v1.19, the schema UnsignedData; "Aggregations of child events" and, beside each relation type,
"Server-side aggregation".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from hutong.cells.records import Envelope
from hutong.cells.relations import Bundle, Place, Thread
from hutong.ids import DeviceNo, MemberRef, Seq, event_id_text
from hutong.rooms import render
from hutong.rooms.event_types import Membership
from hutong.rooms.pieces import Piece

_MEMBERSHIPS: Final = {int(membership): membership.text for membership in Membership}
_MEMBERSHIP_MEMBERS: Final = {number: render.membership_member(text) for number, text in _MEMBERSHIPS.items()}

TxnText = Callable[[DeviceNo, bytes], str | None]
"""What a device called an event that it sent lately."""


@dataclass(frozen=True, kw_only=True)
class Eye:
    """For whom an event is made. `membership_at` is None where a list of state is told, not a timeline, and `sees` is
    where that is the current state, to somebody who is in the room."""

    ref: MemberRef
    device: DeviceNo
    sees: Callable[[Envelope], bool] | None = None
    membership_at: Callable[[Seq], int] | None = None


@dataclass(kw_only=True)
class Around:
    """What was fetched for the events of an answer, and for what stands around them."""

    pieces: Mapping[bytes, Piece]
    before: Mapping[Place, Envelope] = field(default_factory=dict)
    """The redactions of what is redacted, and what state events replaced."""
    bundles: Mapping[Place, Bundle] = field(default_factory=dict)


def before(envelopes: Iterable[Envelope]) -> set[Place]:
    """Where the events stand that `Around.before` has to hold for `envelopes`."""
    either = ((env.room, env.prev_seq if env.redacted_by is None else env.redacted_by) for env in envelopes)
    return {(room, seq) for room, seq in either if seq is not None}


def within(bundles: Mapping[Place, Bundle]) -> list[Envelope]:
    """The events that are shown within others."""
    return [env for bundle in bundles.values() for env in bundle.shown]


class Writer:
    """Writes events for one reader. `room_id` is written into each; not for `/sync`, which says it elsewhere."""

    def __init__(self, eye: Eye, around: Around, now_ms: int, transaction: TxnText, room_id: str | None = None) -> None:
        self._eye = eye
        self._around = around
        self._now_ms = now_ms
        self._transaction = transaction
        self._room = render.room_member(room_id)

    def event(self, env: Envelope, *, bundle: bool = True, threads: bool = True) -> bytes | None:
        """The event as JSON; None for one that cannot be read now. Without `threads`, its bundle holds none."""
        piece = self._around.pieces.get(env.event_id)
        if piece is None:
            return None
        if self._is_plain(env):
            at = self._eye.membership_at
            membership = b"" if at is None else _MEMBERSHIP_MEMBERS[at(env.seq)]
            return render.aged(piece.fragment, self._now_ms - piece.ts_ms, membership, self._room)
        return render.closed(piece.fragment, self._unsigned(env, piece, bundle, threads), self._room)

    def _is_plain(self, env: Envelope) -> bool:
        """Whether nothing stood before the event, nothing relates to it, and it is no echo of what the reader sent."""
        eye, bundles = self._eye, self._around.bundles
        return (
            env.prev_seq is None
            and env.redacted_by is None
            and (not bundles or (env.room, env.seq) not in bundles)
            and (env.sender != eye.ref or self._transaction(eye.device, env.event_id) is None)
        )

    def _unsigned(self, env: Envelope, piece: Piece, bundle: bool, threads: bool) -> bytes | None:
        eye = self._eye
        prev_content = replaces = because = None
        if env.redacted_by is not None:
            redaction = self._around.before.get((env.room, env.redacted_by))
            may_see = redaction is not None and (eye.sees is None or eye.sees(redaction))
            said = self._around.pieces.get(redaction.event_id) if redaction is not None and may_see else None
            because = None if said is None else render.closed(said.fragment, None, self._room)
        elif env.prev_seq is not None:
            replaced = self._around.before.get((env.room, env.prev_seq))
            if replaced is not None:
                replaces = event_id_text(replaced.event_id)
                said = self._around.pieces.get(replaced.event_id)
                prev_content = said.content if said is not None and self._may_see(replaced, env) else None
        return render.unsigned(
            age_ms=self._now_ms - piece.ts_ms,
            transaction_id=self._transaction(eye.device, env.event_id) if env.sender == eye.ref else None,
            membership=None if eye.membership_at is None else _MEMBERSHIPS[eye.membership_at(env.seq)],
            prev_content=prev_content,
            replaces_state=replaces,
            redacted_because=because,
            relations=self._relations(env, threads=threads) if bundle else None,
        )

    def _may_see(self, replaced: Envelope, by: Envelope) -> bool:
        """Whether the reader may know what stood before: as an event, or as the state of a room that they were in."""
        eye = self._eye
        if eye.sees is None:
            return False
        if eye.sees(replaced):
            return True
        return eye.membership_at is not None and eye.membership_at(Seq(by.seq - 1)) == Membership.JOIN

    def _relations(self, env: Envelope, *, threads: bool) -> bytes | None:
        bundle = self._around.bundles.get((env.room, env.seq))
        if bundle is None or env.is_state:
            return None
        parts: list[bytes] = []
        edit = None if env.redacted_by is not None else self._newest(bundle.edits)
        if edit is not None:
            parts.append(b'"m.replace":' + edit)
        if bundle.references:
            ids = (b'{"event_id":"%b"}' % event_id_text(id).encode() for id in reversed(bundle.references))
            parts.append(b'"m.reference":{"chunk":[' + b",".join(ids) + b"]}")
        thread = self._thread(env, bundle.thread) if threads and bundle.thread is not None else None
        if thread is not None:
            parts.append(b'"m.thread":' + thread)
        return b"{" + b",".join(parts) + b"}" if parts else None

    def _newest(self, edits: Iterable[Envelope]) -> bytes | None:
        """The edit that counts: the youngest by its own time, of equals the one with the larger id."""
        pieces = self._around.pieces
        known = [
            (pieces[env.event_id].ts_ms, event_id_text(env.event_id), env) for env in edits if env.event_id in pieces
        ]
        return self.event(max(known)[2], bundle=False) if known else None

    def _thread(self, root: Envelope, thread: Thread) -> bytes | None:
        last = self.event(thread.last, threads=False)
        if last is None:
            return None
        mine = thread.mine or root.sender == self._eye.ref
        return b'{"latest_event":%b,"count":%d,"current_user_participated":%b}' % (
            last, thread.count, b"true" if mine else b"false",
        )  # fmt: skip
