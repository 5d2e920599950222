"""How a prepared event is let pass and numbered, and all that follows from it. No I/O: a batch is being formed."""

from collections.abc import Iterable

from hutong.cells.batch import Batch, Bell
from hutong.cells.codes import CellRole, ContentState, Loud, OutKind
from hutong.cells.drafts import Home, Prepared
from hutong.cells.memory import RoomState
from hutong.cells.messages import Draft
from hutong.cells.records import Envelope, Event, Member
from hutong.errors import Forbidden
from hutong.ids import (
    CellNo,
    HomeNo,
    MemberRef,
    Seq,
    StateKeyCode,
    region_of,
)
from hutong.rooms import authorisation, event_types
from hutong.rooms.event_types import Membership
from hutong.rooms.projection import (
    Change,
    Create,
    GuestRule,
    HistoryRule,
    JoinRules,
    MemberChange,
    PowerLevels,
    Projection,
    encode,
)


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
    if prepared.ends is not None and state.members[draft.sender].seq != prepared.ends:
        raise Forbidden("sender: is in this room anew, or out of it, since this was said")
    target = None
    if draft.target is not None:
        target = _known(state, draft.target, draft.target_home or draft.home)
        if draft.moves_from and target.membership not in draft.moves_from:
            raise Forbidden(f"user_id: their membership is {target.membership.text} by now")
    authoriser = None if draft.authoriser is None else _known(state, draft.authoriser, state.home)
    authorisation.authorise(
        state.projection, sender, event, target, authoriser=authoriser, third_party=prepared.third_party
    )
    if prepared.redacts is not None and state.projection is not None:
        authorisation.check_redaction(state.projection, draft.sender, prepared.redacts.type, prepared.redacts.sender)


def precheck(state: RoomState, draft: Draft) -> None:
    """Refuse whoever may not set power levels at all, before everybody whom they name is looked up."""
    if event_types.code_of(draft.words.type) == event_types.POWER_LEVELS and state.projection is not None:
        unchanged = authorisation.Proposed(
            type=event_types.POWER_LEVELS, state_key=StateKeyCode(0), change=state.projection.power or PowerLevels()
        )
        authorisation.authorise(state.projection, _known(state, draft.sender, draft.home), unchanged)


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
    loud = _loud(state, prepared)
    in_main = prepared.thread is None
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
        rel_type=prepared.rel_type,
        minute=draft.minute,
        thread=prepared.thread,
        loud=loud,
        notes=state.notes + (in_main and bool(loud & Loud.NOTIFIES)),
        shouts=state.shouts + (in_main and bool(loud & Loud.SHOUTS)),
        prev_seq=None if prepared.skey is None else _replaced(state, prepared),
        redacted_by=None,
        target_home=draft.target_home,
        proj=_project(state, prepared),
    )
    state.head, state.notes, state.shouts = seq, env.notes, env.shouts
    batch.event(Event(pos=pos, env=env), draft.words)
    if prepared.content is not None:
        batch.content(
            draft.event_id, prepared.content.account, ContentState.LIVE, state.room, state.home, prepared.content.body
        )
    if env.proj is not None:
        batch.room(state.room, state.room_id, state.home, state.version, state.from_seq, env.proj)
    if loud & Loud.NAMES:
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


def _loud(state: RoomState, prepared: Prepared) -> int:
    """What the event is to the members. A shout is to everybody what a mention is to those who are named."""
    draft = prepared.draft
    before = state.projection
    shouts = draft.mentions_room and before is not None and authorisation.may_notify_room(before, draft.sender)
    if shouts or draft.loud & Loud.SHOUTS:
        return int(Loud.NOTIFIES | Loud.SHOUTS)
    return draft.loud


def _value(change: Change | None) -> int | None:
    """The typed value that an envelope carries: what must be known of old state without its words."""
    match change:
        case MemberChange(membership=value):
            return int(value)
        case HistoryRule(visibility=visibility):
            return int(visibility)
        case JoinRules(rule=rule):
            return int(rule)
        case GuestRule(access=access):
            return int(access)
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
