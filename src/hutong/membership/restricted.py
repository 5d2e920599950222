"""How somebody gets into a room because they are in another one, which its join rule names.

The joiner's home knows which rooms the joiner is in, so it looks there for one that is named; that is all another cell
learns of it. The room's home names a member who may invite: the join rests on that member's authority, says so in its
content, and is let pass only while that member is in the room with the level to invite.

Source: Client-Server API v1.19, "Restricted rooms"; room versions 10 to 12, rule 4.3.5 (5.3.5).
"""

from collections.abc import Iterable

from hutong.cells.cell import Cell
from hutong.cells.messages import Authority, AuthorityFor, Locate, RoomFacts
from hutong.cells.records import Member
from hutong.errors import Forbidden, NotFound
from hutong.ids import AccountNo, CellNo, RegionNo, region_of, room_no
from hutong.rooms.authorisation import anybody_invites, inviters
from hutong.rooms.event_types import JoinRule, Membership
from hutong.rooms.projection import JoinRules, decode

RESTRICTED = (JoinRule.RESTRICTED, JoinRule.KNOCK_RESTRICTED)
ASKED_MAX = 20
"""How many members are considered whose level is nobody's but everybody's."""


class RestrictedJoins:
    """One cell's people who join by being elsewhere, and its rooms that are joined so."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    async def authority(self, account: AccountNo, own: Member, facts: RoomFacts) -> Authority | None:
        """On whose authority `account` joins; None when the room's join rule asks for none, or they are invited.

        Raises: Forbidden when they are in no room that the rule names (`M_FORBIDDEN`), when it names none that this
            server could ask about (`M_UNABLE_TO_AUTHORISE_JOIN`), when no member may invite (`M_UNABLE_TO_GRANT_JOIN`);
            RegionAway.
        Cost: one statement here; from abroad one call, or two when this cell has a copy of the room.
        """
        if own.membership in (Membership.INVITE, Membership.JOIN, Membership.BAN):
            return None  # a ban is refused by the rules themselves
        rules = await self._rules(facts)
        if rules is None or rules.rule not in RESTRICTED:
            return None
        if not rules.allowed:
            raise Forbidden(
                "you need an invitation: the join rule names no room that this server knows",
                errcode="M_UNABLE_TO_AUTHORISE_JOIN",
            )
        via = await self._in_one_of(account, rules.allowed)
        if via is None:
            raise Forbidden("you need an invitation, or to be in a room whose members may join this one")
        authority = await self._ask(facts, AuthorityFor(room=facts.room, via=via))
        if authority is None:
            raise Forbidden("nobody in this room may invite, so nobody can be let in", errcode="M_UNABLE_TO_GRANT_JOIN")
        return authority

    async def _rules(self, facts: RoomFacts) -> JoinRules | None:
        """The join rule as it is now: this cell's own copy is not kept up when nobody of it is in the room."""
        home = self._cell.cell_of(facts.home)
        info = await self._cell.view.room(facts.room)
        if home == self._cell.number and info is not None:
            return info.projection.join_rules
        if info is not None:
            fresh = await self._cell.ask(home, Locate(room_id=facts.room_id))
            facts = fresh or facts
        return decode(facts.proj).join_rules

    async def _in_one_of(self, account: AccountNo, allowed: tuple[bytes, ...]) -> bytes | None:
        """The first of the rooms `allowed` that `account` is in."""
        joined = {member.room for member in await self._cell.reads.rooms_of(account, [Membership.JOIN])}
        for raw in allowed:
            if room_no(raw) in joined:
                info = await self._cell.view.room(room_no(raw))
                if info is not None and info.raw_id == raw:
                    return raw
        return None

    async def _ask(self, facts: RoomFacts, request: AuthorityFor) -> Authority | None:
        home = self._cell.cell_of(facts.home)
        if home == self._cell.number:
            return await self.answer(home, request)
        return await self._cell.ask(home, request)

    async def answer(self, _: CellNo, request: AuthorityFor) -> Authority | None:
        """At the room's home, for whoever is in `request.via`: the same member each time, as long as nothing changes.

        A member of this region goes before one of another, who may be out of reach; then the highest level decides,
        and among those without one of their own how long they are in.
        """
        info = await self._cell.view.room(request.room)
        if info is None:
            raise NotFound("room_id: no such room")
        room = info.projection
        if room.join_rule not in RESTRICTED or room.join_rules is None or request.via not in room.join_rules.allowed:
            raise Forbidden("you need an invitation, or to be in a room whose members may join this one")
        able = inviters(room)
        known = await self._cell.reads.members_by_ref(room=request.room, refs=able)
        members = [
            member for ref in able if (member := known.get(ref)) is not None and member.membership == Membership.JOIN
        ]
        if anybody_invites(room):
            named = room.creators if room.power is None else (*room.creators, *room.power.users)
            members += await self._cell.reads.joined_first(request.room, named, ASKED_MAX)
        members = near_first(members, self._cell.region.number)
        names = await self._cell.names.fetch((request.room, member.ref) for member in members[:ASKED_MAX])
        for member in members:
            user_id = names.get((request.room, member.ref))
            if user_id is not None:
                return Authority(member.ref, user_id)
        return None


def near_first(members: Iterable[Member], region: RegionNo) -> list[Member]:
    """Those at home in `region`, in whichever of its cells, then the others; each in the order given."""
    return sorted(members, key=lambda member: region_of(member.home) != region)
