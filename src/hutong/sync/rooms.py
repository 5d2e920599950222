"""Which rooms have something to tell, from what the reader's memberships were and are. No I/O."""

from collections.abc import Callable, Iterable

from hutong.cells.sync_reads import Moment
from hutong.ids import Pos
from hutong.rooms.event_types import Membership
from hutong.sync.model import SECTIONS, START, Ask, Before, News, Own, Section


def initial(own: Own, ask: Ask, upto: Pos) -> News | None:
    """What a client without a token is told of a room."""
    moment = own.at(upto)
    if moment is None:
        return None
    section = SECTIONS[Membership(moment.membership)]
    if section is Section.LEAVE and (own.forgotten or not ask.filter.include_leave):
        return None
    return News(
        own=own,
        section=section,
        moment=moment,
        after=START,
        upto=_end(section, moment, upto),
        own_only=not own.followed,
    )


def incremental(own: Own, before: Before, ask: Ask, since: Pos, upto: Pos) -> News | None:
    """What a client with a token for `since` may be told of a room; whether anything happened there is still open."""
    moment = own.at(upto)
    if moment is None:
        return None
    section = SECTIONS[Membership(moment.membership)]
    healed = since < own.healed <= upto
    if section is not Section.JOIN and moment.pos <= since and not (healed and section is not Section.LEAVE):
        return None
    was_in = before.membership == Membership.JOIN
    own_only = section is not Section.JOIN and not (was_in and own.followed)
    # Newly joined, or left and joined in between, or not told in full during a cut: the whole state, and the last
    # events that may be seen.
    after = START if (before.broken or healed) and not own_only else since
    return News(
        own=own,
        section=section,
        moment=moment,
        after=after,
        upto=_end(section, moment, upto),
        since=min(pos for pos in (own.healed, moment.pos) if since < pos <= upto) if after == START else START,
        own_only=own_only,
        full_state=ask.full_state,
        was_in=was_in,
    )


def _end(section: Section, moment: Moment, upto: Pos) -> Pos:
    return upto if section is Section.JOIN else moment.pos


def admitted(rooms: Iterable[Own], ask: Ask) -> Iterable[Own]:
    """The rooms that the filter lets pass."""
    admits: Callable[[str], bool] = ask.filter.admits_room
    return (own for own in rooms if admits(own.room_id))
