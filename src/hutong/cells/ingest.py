"""What arrives from another cell's outbox becomes rows, positions and wake-ups of this cell, in the order it came."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import structs

from hutong.cells import markers
from hutong.cells.batch import Batch
from hutong.cells.codes import OutKind
from hutong.cells.drafts import Home
from hutong.cells.memory import Memory, NotLoaded, ReceiptKey, RoomState
from hutong.cells.messages import OutRow, RoomFacts, SnapshotReply
from hutong.cells.records import Envelope, Event, Leaving, Member, Words
from hutong.ids import AccountNo, CellNo, MemberRef, Minute, RoomNo, Seq
from hutong.rooms.event_types import MEMBER, Membership
from hutong.rooms.projection import decode

NOT_FOLLOWED = Seq(-1)
"""`from_seq` of a room of which this cell only knows that somebody is invited, or was."""
Snapshots = Mapping[tuple[RoomNo, Seq], SnapshotReply]


@dataclass(kw_only=True)
class Ingest:
    """Rows of one source, in order, with what had to be fetched before. Rows that were ingested already are skipped."""

    home: Home
    src: CellNo
    after: int
    """The number up to which rows had come when these were fetched."""
    rows: list[OutRow]
    snapshots: Snapshots
    """By (room, seq): the room as it was before the join at seq, with which this cell begins to follow."""
    words: Mapping[bytes, Words]
    mentioned: Mapping[bytes, list[AccountNo]]
    _states: dict[RoomNo, RoomState | None] = field(default_factory=dict, init=False)
    _members: dict[RoomNo, dict[MemberRef, Member]] = field(default_factory=dict, init=False)

    async def prepare(self, memory: Memory) -> None:
        self._states = {}
        for row in self.rows:
            state = await memory.load(row.room)
            self._states[row.room] = state
            if state is not None:
                await memory.load_members(state, self._named(row) or self._reader(row))
                await memory.load_receipts(state, self._marked(row))
        self._members = {
            room: await self.home.reads.members_by_ref(room, refs) for room, refs in self._strangers().items()
        }

    def _strangers(self) -> dict[RoomNo, list[MemberRef]]:
        """Whom to look up in rooms that are not here yet: a ref that was given out has a row with its account."""
        refs: dict[RoomNo, list[MemberRef]] = {}
        for row in self.rows:
            if self._states[row.room] is None:
                refs.setdefault(row.room, []).extend(self._named(row))
        return {room: named for room, named in refs.items() if named}

    def _named(self, row: OutRow) -> list[MemberRef]:
        """Whose membership a row tells of, by itself or by the state that comes with it."""
        snapshot = self.snapshots.get((row.room, row.seq))
        events = [row.envelope, *(snapshot.state if snapshot is not None else ())]
        return [_target(env) for env in events if env is not None and env.type == MEMBER]

    def _reader(self, row: OutRow) -> list[MemberRef]:
        """Whose receipt a row brings."""
        return [MemberRef(row.a)] if row.kind == OutKind.RECEIPT else []

    def _marked(self, row: OutRow) -> list[ReceiptKey]:
        """Whose markers a row moves, by itself or by those that come with it."""
        if row.kind == OutKind.RECEIPT:
            return [markers.marker(row)[0]]
        snapshot = self.snapshots.get((row.room, row.seq))
        return [] if snapshot is None else [(ref, rtype, thread) for ref, rtype, thread, _, _ in snapshot.receipts]

    def form(self, batch: Batch, memory: Memory) -> int:
        if any(memory.get(room) is not state for room, state in self._states.items()):
            raise NotLoaded
        last = memory.cursors.get(self.src, 0)
        if last < self.after:
            return last  # what came before these rows was taken back when its batch failed: it must come again first
        for row in self.rows:
            if 0 < row.n <= last:
                continue
            last = max(last, row.n)  # a row without number was missed, and moves nothing
            self._row(batch, memory, row)
        memory.cursors[self.src] = last
        batch.cursor(self.src, last)
        return last

    async def found(self) -> None:
        """The cursor moves in the same commit, so no row is met twice."""

    def _row(self, batch: Batch, memory: Memory, row: OutRow) -> None:
        if row.kind == OutKind.GONE and row.envelope is not None:
            batch.content_gone(row.envelope.event_id)
            if row.envelope.redacted_by is not None:
                batch.redacted(row.room, row.envelope.seq, row.envelope.redacted_by, row.envelope.event_id)
        elif row.kind == OutKind.ERASED:
            batch.erased.append((row.room, MemberRef(row.a)))
        elif row.kind == OutKind.RECEIPT:
            state = memory.get(row.room)
            if state is not None and markers.credible(self.home, state, row, self.src):
                markers.move(self.home, batch, state, *_moved(row), self.src)
        elif row.kind == OutKind.EVENT and row.envelope is not None:
            self._event(batch, memory, row, row.envelope)

    def _event(self, batch: Batch, memory: Memory, row: OutRow, env: Envelope) -> None:
        batch.touched.add(row.room)
        state = memory.get(row.room)
        snapshot = self.snapshots.get((row.room, row.seq))
        if snapshot is not None:
            state = self._begin(batch, memory, state, snapshot, env)
        if self.home.directory.cell_of(env.home) == self.home.cell:
            batch.content_live(env.event_id)
        if state is None:
            return
        pos = batch.next_pos()
        state.head, state.notes, state.shouts = max(state.head, env.seq), env.notes, env.shouts
        batch.event(Event(pos=pos, env=env), self.words.get(env.event_id))
        if env.proj is not None:
            state.projection = decode(env.proj)
            batch.room(state.room, state.room_id, state.home, state.version, state.from_seq, env.proj)
        if env.type == MEMBER:
            self._member(batch, state, env)
        elif env.skey is not None:
            state.state[env.type, env.skey] = env.seq
            batch.state(state.room, env.type, env.skey, env.seq)
        for account in self.mentioned.get(env.event_id, ()):
            batch.highlight(account, state.room, env.seq)
        if env.rel_seq is not None and row.redacts is not None:
            batch.redacted(state.room, env.rel_seq, env.seq, row.redacts.event_id)
            if self.home.directory.cell_of(row.redacts.home) == self.home.cell:
                batch.content_gone(row.redacts.event_id)

    def _begin(
        self, batch: Batch, memory: Memory, state: RoomState | None, snapshot: SnapshotReply, env: Envelope
    ) -> RoomState:
        """Begin to keep a copy (or, `facts_only`, to know of an invitation): the room and its state so far."""
        joins = env.type == MEMBER and env.value == Membership.JOIN
        facts = snapshot.facts
        if state is None:
            state = self._new(facts)
            memory.add(state)
        if joins:  # the snapshot says who is in; an earlier copy may have missed who left
            state.joined.clear()
            state.members = {ref: structs.replace(member, membership=0) for ref, member in state.members.items()}
        state.from_seq = env.seq if joins else NOT_FOLLOWED
        state.projection = decode(facts.proj)
        batch.room(state.room, state.room_id, state.home, state.version, state.from_seq, facts.proj)
        for old in snapshot.state:
            batch.snapshot_event(old)
            if old.type == MEMBER:
                self._member(batch, state, old, news=old.target != env.target)
            elif old.skey is not None:
                state.state[old.type, old.skey] = old.seq
                batch.state(state.room, old.type, old.skey, old.seq)
        for ref, rtype, thread, seq, minute in snapshot.receipts:
            markers.move(self.home, batch, state, (ref, rtype, thread), seq, minute, self.src)
        return state

    def _new(self, facts: RoomFacts) -> RoomState:
        state = RoomState(
            room=facts.room, room_id=facts.room_id, home=facts.home, version=facts.version, from_seq=NOT_FOLLOWED
        )
        state.members = dict(self._members.get(facts.room, {}))
        return state

    def _member(self, batch: Batch, state: RoomState, env: Envelope, *, news: bool = True) -> None:
        ref = _target(env)
        before = state.members.get(ref)
        home = before.home if before is not None else env.target_home
        if home is None or env.value is None:
            return
        leaving = state.leaving.get(ref)
        stays_left = leaving is not None and _is_before_leaving(env, leaving)
        member = Member(
            room=state.room,
            ref=ref,
            account=None if before is None else before.account,
            home=home,
            membership=Membership.LEAVE if stays_left else env.value,
            seq=env.seq,
        )
        state.members[ref] = member
        batch.member(member)
        was_in = before is not None and before.membership == Membership.JOIN
        state.joined[home] = state.joined.get(home, 0) + (member.membership == Membership.JOIN) - was_in
        if leaving is not None and stays_left:
            state.leaving[ref] = structs.replace(leaving, ends=env.seq)
            batch.leaving(state.leaving[ref])
        elif self.home.directory.cell_of(home) == self.home.cell:
            if state.leaving.pop(ref, None) is not None:
                batch.left(state.room, ref)
            if news:
                batch.membership(state.room, ref, member.account)


def _is_before_leaving(env: Envelope, leaving: Leaving) -> bool:
    """Whether this is what somebody left from, or what they said of themselves before they left and comes only now,
    such as a new name.
    """
    own = env.sender == leaving.ref and env.value == Membership.JOIN
    return env.seq == leaving.ends or (own and env.prev_seq == leaving.ends)


def _target(env: Envelope) -> MemberRef:
    assert env.skey is not None
    return MemberRef(env.skey)


def _moved(row: OutRow) -> tuple[ReceiptKey, Seq, Minute]:
    key, minute = markers.marker(row)
    return key, row.seq, minute
