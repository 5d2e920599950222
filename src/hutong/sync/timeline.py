"""Which events of a room's window are shown: what the filter admits, what the reader may see, the last few. No I/O."""

from collections.abc import Mapping

from hutong.cells.records import Envelope, Event
from hutong.cells.relations import EVERYTHING, Eyes
from hutong.ids import Seq
from hutong.rooms.event_types import HISTORY_VISIBILITY, HistoryVisibility, Membership
from hutong.rooms.pieces import Piece
from hutong.rooms.visibility import seen_ranges, value_at, visible
from hutong.sync.filters import Filter
from hutong.sync.model import END_OF_TIME, News, Section, is_about


def choose(
    news: News,
    filter: Filter,
    pieces: Mapping[bytes, Piece],
    *,
    joined_since: bool,
    ignored: frozenset[str] = frozenset(),
) -> None:
    """Set the events that `news` shows, whether they are all, and where the state takes over.

    `joined_since`: to a client that goes on from a token, a room that begins anew is a gap. `ignored`: the user ids of
    those of whom only state is told.

    A timeline that begins anew ends where an event may not be seen: what is older can be paged for. An event of a cell
    that is cut off is left out, and the room limited; it is told when that cell answers again.
    """
    if not filter.shows_timeline(news.own.room_id):
        return  # nothing is missing of what was asked for
    shown: list[Event] = []
    cut = news.more or (news.fresh and (joined_since or news.own.from_seq > 1))
    sees_all = not news.own_only and news.histories is None and news.section is not Section.LEAVE
    for event in reversed(news.scanned):
        if not sees_all and not sees(news, event.env):
            if news.own_only:
                continue
            cut = True
            break
        passes = admits(filter, event, pieces)
        if passes and ignored and _is_ignored(news, event.env, pieces[event.env.event_id], ignored):
            passes = False
        if passes is None:
            cut = True
            continue
        if passes is False:
            continue
        if len(shown) >= filter.limit:
            cut = True
            break
        shown.append(event)
    shown.reverse()
    news.events, news.limited = shown, cut
    if shown:
        news.start = shown[0].env.seq
    else:
        news.start = END_OF_TIME


def _is_ignored(news: News, env: Envelope, piece: Piece, ignored: frozenset[str]) -> bool:
    return piece.sender in ignored and not env.is_state and env.sender != news.own.ref


def reaches_back(news: News) -> bool:
    """Whether what was read goes back to before the reader's last move."""
    return bool(news.scanned) and news.scanned[0].env.seq < news.moment.seq


def end_at_leaving(news: News) -> None:
    """Let a reader who is out be told of the state at their leaving, whatever became of their membership since.

    Who never was in is told of their own membership only.
    """
    moves = [] if news.histories is None else news.histories.membership
    joins = [at for at, (_, value) in enumerate(moves) if value == Membership.JOIN]
    out = [seq for seq, _ in moves[joins[-1] + 1 :] if seq <= news.moment.seq] if joins else []
    if out:
        news.horizon = Seq(out[0] + 1)
    else:
        news.own_only = True


def admits(filter: Filter, event: Event, pieces: Mapping[bytes, Piece]) -> bool | None:
    """Whether the timeline's filter lets the event pass; None when it is left out."""
    matcher = filter.timeline
    if matcher.all:
        return True if event.env.event_id in pieces else None
    by_code = matcher.types.admits_code(event.env.type)
    if by_code is False:
        return False
    piece = pieces.get(event.env.event_id)
    if piece is None:
        return None
    return matcher.admits(piece.type, piece.sender, piece.content)


def sees(news: News, env: Envelope) -> bool:
    """Whether the reader may see the event."""
    is_own = is_about(env, news.own.ref)
    if news.own_only:
        return is_own and env.seq == news.moment.seq
    if news.section is Section.LEAVE and env.seq > news.moment.seq:
        return False
    histories = news.histories
    if histories is None or (is_own and env.seq == news.moment.seq):
        return True
    moves, rules = histories.membership, histories.visibility
    return visible(
        HistoryVisibility(value_at(rules, env.seq, HistoryVisibility.SHARED)),
        Membership(value_at(moves, env.seq, Membership.LEAVE)),
        joined_later=any(seq > env.seq and value == Membership.JOIN for seq, value in moves),
        visibility_before=(
            HistoryVisibility(value_at(rules, Seq(env.seq - 1), HistoryVisibility.SHARED))
            if env.type == HISTORY_VISIBILITY
            else None
        ),
        membership_before=Membership(value_at(moves, Seq(env.seq - 1), Membership.LEAVE)) if is_own else None,
    )


def membership_at(news: News, seq: Seq) -> int:
    """The reader's membership after an event of the timeline: joined until the last move, or as histories say."""
    if news.histories is not None:
        return value_at(news.histories.membership, seq, Membership.LEAVE)
    return news.moment.membership if seq >= news.moment.seq else Membership.JOIN


def eyes(news: News) -> Eyes:
    """What of the room the reader sees, for what relates to the events that are shown."""
    histories, own = news.histories, news.own
    last = Seq(min(news.horizon - 1, news.moment.seq)) if news.section is Section.LEAVE else END_OF_TIME
    seen = EVERYTHING if histories is None else tuple(seen_ranges(histories.visibility, histories.membership, last))
    return Eyes(room=own.room, ref=own.ref, seen=seen, upto=news.upto)
