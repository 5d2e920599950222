"""How an event gets its place in a room, at the room's home: prepared with I/O, then authorised and numbered without.

The same way for an event of this cell and for one that another cell sends; only the sender's home writes the content.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hutong.cells.batch import Batch, Bell
from hutong.cells.codes import CellRole, ContentState, OutKind
from hutong.cells.directory import Directory
from hutong.cells.memory import Memory, NotLoaded, RoomState
from hutong.cells.messages import Draft, RefReply
from hutong.cells.reads import Reads
from hutong.cells.records import Envelope, Event, Member, Txn
from hutong.errors import Forbidden, GivenUp, NotFound, Unavailable
from hutong.ids import (
    AccountNo,
    CellNo,
    HomeNo,
    MemberRef,
    Pos,
    RoomNo,
    Seq,
    StateKeyCode,
    TypeCode,
    id_bytes,
    region_of,
)
from hutong.rooms import authorisation, event_types, structural
from hutong.rooms.event_types import Membership, Relation
from hutong.rooms.projection import Change, Create, Projection, encode

_JSON = msgspec.json.Decoder()


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
    ref: Callable[[str, RoomNo], Awaitable[RefReply | None]]
    """The ref of a user id in a room, wherever its home is."""
    accounts_of: Callable[[Iterable[str]], Awaitable[list[AccountNo]]]
    """Those of these user ids that are accounts of this cell."""
    out_numbers: dict[CellNo, int]
    """The last number of `out` by destination."""
    out_floor: int = 0
    """No number at or below it is given out: those may have been, before the database was restored."""

    def post(self, batch: Batch, bell: Bell) -> None:
        """Put a row into the outbox of `bell.dest`, with the next number."""
        bell.before = self.out_numbers.get(bell.dest, 0)
        bell.n = self.out_numbers[bell.dest] = max(bell.before, self.out_floor) + 1
        batch.out(bell)


@dataclass(kw_only=True)
class Prepared:
    """A draft with everything that had to be looked up."""

    draft: Draft
    content: SealedContent | None
    type: TypeCode
    skey: StateKeyCode | None
    change: Change | None = None
    rel_seq: Seq | None = None
    redacts: Envelope | None = None
    mentioned: list[AccountNo] = field(default_factory=list)


async def prepare(
    home: Home, room: RoomNo, room_id: bytes, version: int, draft: Draft, content: SealedContent | None
) -> Prepared:
    """Look up what `draft` needs, apart from members and state. Raises BadJson, NotFound."""
    words = draft.words
    code = event_types.code_of(words.type) or TypeCode(home.room_code(room_id, words.type))
    prepared = Prepared(draft=draft, content=content, type=code, skey=_state_key(home, room_id, code, draft))
    if (
        code in event_types.STRUCTURAL
        and prepared.skey is not None
        and (prepared.skey == 0 or draft.target is not None)
    ):
        prepared.change = await _change(home, room, room_id, version, code, words.json)
    if draft.relates_to is not None:
        related = await home.reads.event_by_id(draft.relates_to)
        if related is not None and related.env.room == room:
            prepared.rel_seq = related.env.seq
    if draft.redacts is not None:
        target = await home.reads.event_by_id(draft.redacts)
        if target is None or target.env.room != room:
            raise NotFound("event_id: no such event in this room")
        prepared.redacts, prepared.rel_seq = target.env, target.env.seq
    if draft.mentions:
        prepared.mentioned = await home.accounts_of(draft.mentions)
    return prepared


def _state_key(home: Home, room_id: bytes, type: TypeCode, draft: Draft) -> StateKeyCode | None:
    text = draft.words.state_key
    if text is None:
        return None
    if type == event_types.MEMBER and draft.target is not None:
        return StateKeyCode(draft.target)
    if draft.own_state_key:
        return StateKeyCode(draft.sender)
    return StateKeyCode(home.room_code(room_id, text) if text else 0)


async def _change(home: Home, room: RoomNo, room_id: bytes, version: int, type: TypeCode, json: bytes) -> Change | None:
    content: dict[str, Any] = _JSON.decode(json)
    refs: dict[str, MemberRef] = {}
    for user_id in structural.user_ids_in(type, content):
        found = await home.ref(user_id, room)
        # Nobody has this name: the entry must not be anybody's, now or later.
        refs[user_id] = found.ref if found else MemberRef(home.room_code(room_id, user_id))
    resolver = structural.Resolver(
        ref=refs.__getitem__,
        hashed=lambda text: home.room_code(room_id, text),
        room=lambda text: id_bytes(text[1:].partition(":")[0]) if text.startswith("!") else None,
    )
    if type == event_types.CREATE:
        return structural.parse_create(content, resolver)
    return structural.parse(version, type, content, resolver)  # type: ignore[arg-type]


class AppendOp:
    """One event at the end of a room that is at home in this cell. Its result is the event's seq."""

    def __init__(
        self, home: Home, room: RoomNo, draft: Draft, content: SealedContent | None = None, txn: Txn | None = None
    ) -> None:
        self._home, self._room, self._draft, self._content, self._txn = home, room, draft, content, txn
        self._state: RoomState | None = None
        self._prepared: Prepared | None = None

    async def prepare(self, memory: Memory) -> None:
        state = await memory.load(self._room)
        if state is None:
            raise NotFound("room_id: no such room")
        draft = self._draft
        if self._prepared is None:
            self._prepared = await prepare(self._home, self._room, state.room_id, state.version, draft, self._content)
        await memory.load_members(state, [draft.sender] if draft.target is None else [draft.sender, draft.target])
        if self._prepared.skey is not None:
            await memory.load_state(state, [(self._prepared.type, self._prepared.skey)])
        self._state = state

    def form(self, batch: Batch, memory: Memory) -> Seq:
        if memory.room(self._room) is not self._state or self._prepared is None:
            raise NotLoaded
        if self._draft.event_id in memory.voided:
            raise GivenUp("this event was given up before it arrived")
        check(self._state, self._prepared)
        if self._txn is not None:
            batch.txn(self._txn.account, self._txn.device, self._txn.key, self._draft.event_id, self._draft.minute)
        return apply(self._home, batch, self._state, self._prepared)

    async def found(self) -> Seq | None:
        event = await self._home.reads.event_by_id(self._draft.event_id)
        return event.env.seq if event is not None and event.env.room == self._room else None


@dataclass(kw_only=True)
class CreateOp:
    """A whole room: its first events as one chain, all of it or nothing. Its result is the seq of the last one."""

    home: Home
    room: RoomNo
    room_id: bytes
    room_home: HomeNo
    version: int
    drafts: list[tuple[Draft, SealedContent | None]]
    _prepared: list[Prepared] = field(default_factory=list, init=False)
    _members: dict[MemberRef, Member] = field(default_factory=dict, init=False)

    async def prepare(self, memory: Memory) -> None:
        if not self._prepared:
            targets = [draft.target for draft, _ in self.drafts if draft.target is not None]
            self._members = await self.home.reads.members_by_ref(self.room, targets)
            self._prepared = [
                await prepare(self.home, self.room, self.room_id, self.version, draft, content)
                for draft, content in self.drafts
            ]
        self._rehearse()

    def form(self, batch: Batch, memory: Memory) -> Seq:
        if memory.get(self.room) is not None:
            raise Unavailable("this room id is taken; try again", retry_after_ms=0)
        state = self._blank()
        memory.add(state)
        for prepared in self._prepared:
            apply(self.home, batch, state, prepared)
        return state.head

    async def found(self) -> Seq | None:
        event = await self.home.reads.event_by_id(self.drafts[-1][0].event_id)
        return None if event is None else event.env.seq

    def _blank(self) -> RoomState:
        state = RoomState(
            room=self.room, room_id=self.room_id, home=self.room_home, version=self.version, from_seq=Seq(0)
        )
        state.members = dict(self._members)
        for prepared in self._prepared:
            if prepared.skey is not None:
                state.state.setdefault((prepared.type, prepared.skey), None)
        return state

    def _rehearse(self) -> None:
        """Authorise the chain on a room that nobody sees, so that forming it cannot fail half way."""
        state, batch = self._blank(), Batch(Pos(0))
        numbers = dict(self.home.out_numbers)
        try:
            for prepared in self._prepared:
                check(state, prepared)
                apply(self.home, batch, state, prepared)
        finally:
            self.home.out_numbers.clear()
            self.home.out_numbers.update(numbers)


def check(state: RoomState, prepared: Prepared) -> None:
    """Let the rules of the room pass the event, or raise Refused."""
    draft = prepared.draft
    event = authorisation.Proposed(
        type=prepared.type,
        state_key=prepared.skey,
        names_user=(draft.words.state_key or "").startswith("@"),
        change=prepared.change,
        follows_create=state.head == 1,
    )
    sender = _known(state, draft.sender, draft.home)
    if draft.sender in state.members and state.members[draft.sender].home != draft.home:
        raise Forbidden("sender: is at home elsewhere")
    target = None
    if draft.target is not None:
        target = _known(state, draft.target, draft.target_home or draft.home)
    authorisation.authorise(state.projection, sender, event, target)
    if prepared.redacts is not None and state.projection is not None:
        authorisation.check_redaction(state.projection, draft.sender, prepared.redacts.type, prepared.redacts.sender)


def _known(state: RoomState, ref: MemberRef, home: HomeNo) -> authorisation.Member:
    member = state.members.get(ref)
    if member is None or member.membership == 0:
        return authorisation.Member(ref, region_of(home), Membership.LEAVE)
    return authorisation.Member(ref, region_of(member.home), Membership(member.membership))


def apply(home: Home, batch: Batch, state: RoomState, prepared: Prepared) -> Seq:
    """Number an event that was let pass, and write down all that follows from it. Must not fail."""
    draft, change = prepared.draft, prepared.change
    seq, pos = Seq(state.head + 1), batch.next_pos()
    batch.touched.add(state.room)
    env = Envelope(
        room=state.room,
        seq=seq,
        event_id=draft.event_id,
        home=draft.home,
        sender=draft.sender,
        type=prepared.type,
        skey=prepared.skey,
        value=_value(change),
        rel_seq=prepared.rel_seq,
        rel_type=Relation.REDACTION if prepared.redacts is not None else draft.rel_type,
        minute=draft.minute,
        notes=state.notes + (1 if draft.notify else 0),
        prev_seq=None if prepared.skey is None else _replaced(state, prepared),
        redacted_by=None,
        target_home=draft.target_home,
        proj=_project(state, prepared),
    )
    state.head, state.notes = seq, env.notes
    batch.event(Event(pos=pos, env=env), draft.words)
    if prepared.content is not None:
        batch.content(
            draft.event_id, prepared.content.account, ContentState.LIVE, state.room, state.home, prepared.content.body
        )
    if env.proj is not None:
        batch.room(state.room, state.room_id, state.home, state.version, state.from_seq, env.proj)
    for account in prepared.mentioned:
        batch.highlight(account, state.room, seq)
    cells = set(state.cells) if prepared.type != event_types.MEMBER else _moved(home, batch, state, prepared, env)
    if prepared.type != event_types.MEMBER and prepared.skey is not None:
        state.state[prepared.type, prepared.skey] = seq
        batch.state(state.room, prepared.type, prepared.skey, seq)
    tell(home, batch, state, Event(pos=pos, env=env), prepared, cells)
    if prepared.redacts is not None:
        _redact(home, batch, state, prepared.redacts, seq)
    return seq


def _value(change: Change | None) -> int | None:
    """The typed value that an envelope carries: what must be known of old state without its words."""
    match change:
        case None:
            return None
        case _ if hasattr(change, "membership"):
            return int(change.membership)
        case _ if hasattr(change, "visibility"):
            return int(change.visibility)
        case _ if hasattr(change, "rule"):
            return int(change.rule)
        case _ if hasattr(change, "access"):
            return int(change.access)
    return None


def _replaced(state: RoomState, prepared: Prepared) -> Seq | None:
    if prepared.type == event_types.MEMBER and prepared.draft.target is not None:
        member = state.members.get(prepared.draft.target)
        return member.seq if member is not None and member.seq else None
    assert prepared.skey is not None
    return state.state.get((prepared.type, prepared.skey))


def _project(state: RoomState, prepared: Prepared) -> bytes | None:
    """Move the room's projection on; its bytes when it changed."""
    before = state.projection
    if isinstance(prepared.change, Create) and before is None:
        state.projection = Projection.created(prepared.change, prepared.draft.sender, region_of(state.home))
    elif before is not None and prepared.change is not None:
        state.projection = before.apply(prepared.change)
    elif before is not None and prepared.redacts is not None and _is_current(state, prepared.redacts):
        state.projection = before.redacted(prepared.redacts.type)
    if state.projection is None or state.projection is before:
        return None
    return encode(state.projection)


def _is_current(state: RoomState, env: Envelope) -> bool:
    """Whether a state event with an empty state key is still in force."""
    return env.skey == 0 and state.state.get((env.type, env.skey)) == env.seq


def _moved(home: Home, batch: Batch, state: RoomState, prepared: Prepared, env: Envelope) -> set[CellNo]:
    """Somebody's membership changed: keep the members and who hears of the room. Returns who hears of this."""
    ref, draft = prepared.draft.target, prepared.draft
    assert ref is not None, "m.room.member was let pass with a target"
    assert env.value is not None
    before = state.members.get(ref)
    at_home = before.home if before is not None else draft.target_home or draft.home
    member = Member(
        room=state.room,
        ref=ref,
        account=None if before is None else before.account,
        home=at_home,
        membership=env.value,
        seq=env.seq,
    )
    state.members[ref] = member
    batch.member(member)
    was_in = before is not None and before.membership == Membership.JOIN
    is_in = env.value == Membership.JOIN
    state.joined[at_home] = state.joined.get(at_home, 0) + is_in - was_in
    hears = set(state.cells)
    cell = home.directory.cell_of(at_home)
    if cell == home.cell:
        batch.membership(state.room, ref, member.account)
        return hears
    hears.add(cell)
    role = CellRole.MEMBER if _joined_in(home, state, cell) else CellRole.INVITE
    if state.cells.get(cell) != role:
        state.cells[cell] = role
        batch.room_cell(state.room, cell, role, env.seq)
    return hears


def _joined_in(home: Home, state: RoomState, cell: CellNo) -> bool:
    return any(n > 0 and home.directory.cell_of(where) == cell for where, n in state.joined.items())


def tell(home: Home, batch: Batch, state: RoomState, event: Event, prepared: Prepared, cells: Iterable[CellNo]) -> None:
    """Put the event into the outbox of every cell that must hear of it."""
    draft, env = prepared.draft, event.env
    for cell in cells:
        about = draft.target is not None and home.directory.cell_of(draft.target_home or draft.home) == cell
        if state.cells.get(cell) == CellRole.MEMBER or about:
            bell = Bell(dest=cell, room=state.room, seq=env.seq, kind=OutKind.EVENT, event=event)
            bell.words, bell.redacts = draft.words, prepared.redacts
            home.post(batch, bell)


def _redact(home: Home, batch: Batch, state: RoomState, target: Envelope, by: Seq) -> None:
    """The words go: here at once when they are here, elsewhere when it hears of it.

    A cell with members hears of it by the redaction itself. Told besides: the home of the words, and whoever had
    members once, since its copy of what was said then is shown again when somebody comes back.
    """
    batch.redacted(state.room, target.seq, by, target.event_id)
    cell = home.directory.cell_of(target.home)
    if cell == home.cell:
        batch.content_gone(target.event_id)
    for other in sorted({cell, *state.cells} - {home.cell}):
        if state.cells.get(other) != CellRole.MEMBER:
            home.post(batch, Bell(dest=other, room=state.room, seq=target.seq, kind=OutKind.GONE))
