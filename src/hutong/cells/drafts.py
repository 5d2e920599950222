"""What a draft needs before it can be numbered: the codes, refs and related events behind its words. With I/O.

The same for an event of this cell and for one that another cell sends.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from hutong.cells.batch import Batch, Bell
from hutong.cells.directory import Directory
from hutong.cells.messages import Draft, RefReply
from hutong.cells.names import erased_ref
from hutong.cells.reads import Reads
from hutong.cells.records import Envelope, Words
from hutong.cells.words import Lost
from hutong.errors import NotFound
from hutong.ids import (
    AccountNo,
    CellNo,
    MemberRef,
    Minute,
    RoomNo,
    Seq,
    StateKeyCode,
    TypeCode,
    id_bytes,
)
from hutong.rooms import event_types, relating, structural, third_party
from hutong.rooms.authorisation import ThirdParty
from hutong.rooms.event_types import Relation
from hutong.rooms.projection import Change, MemberChange, Version

_JSON = msgspec.json.Decoder()
LATEST = Seq(2**62)


@dataclass(frozen=True)
class SealedContent:
    """The content row that is written together with the event, when its author is at home in this cell."""

    account: AccountNo
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Home:
    """What a room's home needs to number events."""

    cell: CellNo
    directory: Directory
    reads: Reads
    room_code: Callable[[bytes, str], int]
    """(room id, text) -> the keyed hash, negative, by which the room writes a text that is no code."""
    refs: Callable[[Iterable[str], RoomNo], Awaitable[dict[str, RefReply]]]
    """The refs of user ids in a room, wherever their homes are; those that are nobody's are absent."""
    words: Callable[[Iterable[Envelope]], Awaitable[dict[bytes, Words | Lost]]]
    """What was said in these events, wherever it lies."""
    accounts_of: Callable[[Iterable[str]], Awaitable[list[AccountNo]]]
    """Those of these user ids that are accounts of this cell."""
    out_numbers: dict[CellNo, int]
    """The last number of `out` by destination."""
    now: Callable[[], Minute]
    out_floor: int = 0
    """No number at or below it is given out: those may have been, before the database was restored."""

    def post(self, batch: Batch, bell: Bell) -> None:
        """Put a row into the outbox of `bell.dest`, with the next number."""
        bell.before = self.out_numbers.get(bell.dest, 0)
        bell.n = self.out_numbers[bell.dest] = max(bell.before, self.out_floor) + 1
        bell.minute = self.now()
        batch.out(bell)


@dataclass(kw_only=True)
class Prepared:
    """A draft with everything that had to be looked up."""

    draft: Draft
    content: SealedContent | None
    type: TypeCode
    skey: StateKeyCode | None
    change: Change | None = None
    third_party: ThirdParty | None = None
    rel_seq: Seq | None = None
    rel_type: int | None = None
    thread: Seq | None = None
    redacts: Envelope | None = None
    ends: Seq | None = None
    """Of a leaving that comes late: the sender's m.room.member that it ends now, after what they said in between."""
    mentioned: list[AccountNo] = field(default_factory=list)


async def prepare(
    home: Home, room: RoomNo, room_id: bytes, version: int, draft: Draft, content: SealedContent | None
) -> Prepared:
    """Look up what `draft` needs, apart from members and state. Raises BadJson, NotFound, NoThreadRoot."""
    words = draft.words
    code = event_types.code_of(words.type) or TypeCode(home.room_code(room_id, words.type))
    prepared = Prepared(draft=draft, content=content, type=code, skey=_state_key(home, room_id, code, draft))
    if (
        code in event_types.STRUCTURAL
        and prepared.skey is not None
        and (prepared.skey == 0 or draft.target is not None)
    ):
        prepared.change = await _change(home, room, room_id, version, code, words.json)
        if isinstance(prepared.change, MemberChange) and prepared.change.third_party:
            prepared.third_party = await _third_party(home, room, room_id, draft)
    if draft.leaves is not None:
        prepared.ends = await home.reads.stayed_until(room, draft.sender, draft.leaves)
    if draft.relates_to is not None and draft.relation is not None:
        related = await home.reads.event_by_id(draft.relates_to)
        parent = related.env if related is not None and related.env.room == room else None
        relation = Relation.of(draft.relation)
        if relation is None:
            prepared.rel_type = home.room_code(room_id, draft.relation)
        else:
            child = relating.Child(draft.sender, code, is_state=prepared.skey is not None, edits=draft.edits)
            prepared.rel_type = relating.counts_as(relation, child, parent)
        if parent is not None:
            prepared.rel_seq, prepared.thread = parent.seq, await _thread(home.reads, prepared.rel_type, parent)
    if draft.redacts is not None:
        target = await home.reads.event_by_id(draft.redacts)
        if target is None or target.env.room != room:
            raise NotFound("event_id: no such event in this room")
        prepared.redacts, prepared.rel_seq, prepared.rel_type = target.env, target.env.seq, Relation.REDACTION
    if draft.mentions:
        prepared.mentioned = await home.accounts_of(draft.mentions)
    return prepared


async def _thread(reads: Reads, rel_type: int | None, related: Envelope) -> Seq | None:
    """The root of the thread of an event that relates to `related`. Three steps at most, as is recommended, lead to it.

    Source: "Threaded read receipts". Cost: a statement for what relates to a relation of something in a thread.
    """
    if rel_type == Relation.THREAD:
        return related.seq
    if related.thread is None or related.rel_type == Relation.THREAD or related.rel_seq is None:
        return related.thread
    above = (await reads.events(related.room, [related.rel_seq])).get(related.rel_seq)
    return related.thread if above is not None and above.env.rel_type == Relation.THREAD else None


def _state_key(home: Home, room_id: bytes, type: TypeCode, draft: Draft) -> StateKeyCode | None:
    text = draft.words.state_key
    if text is None:
        return None
    if type == event_types.MEMBER and draft.target is not None:
        return StateKeyCode(draft.target)
    if draft.own_state_key:
        return StateKeyCode(draft.sender)
    return StateKeyCode(home.room_code(room_id, text) if text else 0)


async def _third_party(home: Home, room: RoomNo, room_id: bytes, draft: Draft) -> ThirdParty:
    """What there is to say about the `third_party_invite` of an invitation, whose form is right."""
    content: dict[str, Any] = _JSON.decode(draft.words.json)
    mxid, token = structural.third_party_signed(content)
    skey = StateKeyCode(home.room_code(room_id, token) if token else 0)
    event = await home.reads.state_event(room, event_types.THIRD_PARTY_INVITE, skey, LATEST)
    said = None if event is None else (await home.words([event.env])).get(event.env.event_id)
    signed = content["third_party_invite"]["signed"]
    return ThirdParty(
        names_target=mxid == draft.words.state_key,
        issuer=None if event is None else event.env.sender,
        signed=isinstance(said, Words) and third_party.is_signed(signed, _JSON.decode(said.json)),
    )


async def _change(home: Home, room: RoomNo, room_id: bytes, version: int, type: TypeCode, json: bytes) -> Change | None:
    served = cast("Version", version)
    content: dict[str, Any] = _JSON.decode(json)
    named = structural.user_ids_in(type, content)
    found: dict[str, RefReply] = {}
    if named:
        structural.check(served, type, content)  # nobody is looked up, or given a ref, for what is refused anyway
        found = await home.refs(named, room)
    refs = {user_id: found[user_id].ref if user_id in found else _nobodys(home, room_id, user_id) for user_id in named}
    resolver = structural.Resolver(
        ref=refs.__getitem__,
        hashed=lambda text: home.room_code(room_id, text),
        room=lambda text: id_bytes(text[1:].partition(":")[0]) if text.startswith("!") else None,
    )
    return structural.parse(served, type, content, resolver)


def _nobodys(home: Home, room_id: bytes, user_id: str) -> MemberRef:
    """What stands for a name that nobody has: the entry must not be anybody's, now or later.

    What an erased person is called stands for them as before: else who writes power levels as they are shown would
    take that entry away, and nobody but its superior may.
    """
    return erased_ref(user_id) or MemberRef(home.room_code(room_id, user_id))
