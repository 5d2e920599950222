"""Inviting, joining, leaving and the rest: each is one m.room.member event, or the forgetting of one.

Source: Client-Server API v1.19, "Room membership".
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from hutong.cells.cell import Cell
from hutong.cells.link import LinkDown
from hutong.cells.messages import Authority, RefReply
from hutong.cells.ops import Forget
from hutong.cells.records import Member
from hutong.directory.aliases import Aliases
from hutong.errors import BadParam, Forbidden, NotFound, RegionAway
from hutong.http.request import Caller
from hutong.ids import AccountNo, DeviceNo, HomeNo, RoomNo
from hutong.membership.restricted import RestrictedJoins
from hutong.rooms.access import Access, Seat
from hutong.rooms.event_types import Membership
from hutong.rooms.posting import Author, Posting, Said
from hutong.rooms.structural import is_user_id, parse_member

REASON_CHARS_MAX = 2_000
AUTHORISED_VIA = "join_authorised_via_users_server"
_encode = msgspec.json.Encoder().encode
Content = dict[str, Any]
_KICKED_FROM = (Membership.JOIN, Membership.INVITE, Membership.KNOCK)
Profile = Callable[[AccountNo], Awaitable[Content]]


class Memberships:
    """`profile`: an account's public profile, which goes into its own m.room.member; `user_id`: its user id."""

    def __init__(
        self,
        cell: Cell,
        access: Access,
        posting: Posting,
        restricted: RestrictedJoins,
        aliases: Aliases,
        profile: Profile,
        user_id: Callable[[AccountNo], Awaitable[str]],
    ) -> None:
        self._cell = cell
        self._access = access
        self._posting = posting
        self._restricted = restricted
        self._aliases = aliases
        self._profile = profile
        self._user_id = user_id

    async def join(self, caller: Caller, room_id: str, via: Iterable[str] = (), reason: str | None = None) -> str:
        """Join a room by id or alias, wherever its home is; the room's id. To be in it already is no error.

        Raises: BadParam, NotFound, Forbidden as the room's rules say, RegionAway.
        Cost from abroad: as a message from abroad, and the room's state once for the whole cell.
        """
        room_id, via = await self._named(room_id, via)
        facts = await self._access.locate(room_id, via)
        user_id = await self._user_id(caller.account)
        own = await self._cell.own_member(caller.account, _localpart(user_id), facts.room)
        if own.membership == Membership.JOIN and reason is None:
            return room_id
        self._cell.names.keep(facts.room, own.ref, user_id)
        said = {"membership": "join", **await self._shown(caller.account), **_reason(reason)}
        authority = await self._restricted.authority(caller.account, own, facts)
        await self._post(caller.account, caller.device, facts.room, facts.home, own, user_id, said, authority)
        return room_id

    async def knock(self, caller: Caller, room_id: str, via: Iterable[str], reason: str | None) -> str:
        """Ask to be let in. Raises as `join`."""
        room_id, via = await self._named(room_id, via)
        facts = await self._access.locate(room_id, via)
        user_id = await self._user_id(caller.account)
        own = await self._cell.own_member(caller.account, _localpart(user_id), facts.room)
        self._cell.names.keep(facts.room, own.ref, user_id)
        said = {"membership": "knock", **await self._shown(caller.account), **_reason(reason)}
        await self._post(caller.account, caller.device, facts.room, facts.home, own, user_id, said)
        return room_id

    async def leave(self, caller: Caller, room_id: str, reason: str | None = None) -> None:
        """Leave a room or decline an invitation. To be out already is no error."""
        seat = await self._access.involved(caller.account, room_id)
        if seat.member.membership == Membership.LEAVE:
            return
        await self._own(caller, seat, {"membership": "leave", **_reason(reason)})

    async def invite(self, caller: Caller, room_id: str, user_id: str, reason: str | None) -> None:
        """Raises: Forbidden, NotFound when there is no such person, RegionAway."""
        # No name and no picture of theirs: those are the invited person's words, and stay in their home.
        await self._change(caller, room_id, user_id, {"membership": "invite", **_reason(reason)})

    async def kick(self, caller: Caller, room_id: str, user_id: str, reason: str | None) -> None:
        seat, target, member = await self._target(caller, room_id, user_id)
        if member is None or member.membership not in _KICKED_FROM:
            raise Forbidden("user_id: is not in this room")
        said = {"membership": "leave", **_reason(reason)}
        await self._about(caller, seat, target, user_id, said, _KICKED_FROM)

    async def ban(self, caller: Caller, room_id: str, user_id: str, reason: str | None) -> None:
        await self._change(caller, room_id, user_id, {"membership": "ban", **_reason(reason)})

    async def unban(self, caller: Caller, room_id: str, user_id: str, reason: str | None) -> None:
        seat, target, member = await self._target(caller, room_id, user_id)
        if member is None or member.membership != Membership.BAN:
            raise Forbidden("user_id: is not banned from this room")
        said = {"membership": "leave", **_reason(reason)}
        await self._about(caller, seat, target, user_id, said, (Membership.BAN,))

    async def set(self, caller: Caller, room_id: str, user_id: str, content: Content) -> str:
        """PUT of an m.room.member state event: the same, by its content. Returns the event's id."""
        change = parse_member(content)
        content = {key: value for key, value in content.items() if key != AUTHORISED_VIA}  # the room's home says whose
        if user_id == await self._user_id(caller.account):
            seat = await self._access.involved(caller.account, room_id)
            return await self._own(caller, seat, content, joins=change.membership == Membership.JOIN)
        if change.membership in (Membership.INVITE, Membership.BAN, Membership.LEAVE):
            seat, target, _ = await self._target(caller, room_id, user_id)
            return await self._about(caller, seat, target, user_id, content)
        raise Forbidden(f"membership: nobody can {change.membership.text} for somebody else")

    async def forget(self, caller: Caller, room_id: str) -> None:
        """Take a room that one is not in out of one's lists, with its history.

        Raises: BadParam while still in it; Forbidden.
        """
        seat = await self._access.involved(caller.account, room_id)
        if not seat.member.forgotten:
            await self._cell.writer.submit(Forget(account=caller.account, room=seat.room.room, ref=seat.member.ref))

    # What other slices ask.

    async def show_profile(self, account: AccountNo) -> None:
        """Say the account's changed profile in every room that it is in; one that is away now keeps the old one."""
        user_id = await self._user_id(account)
        shown = {"membership": "join", **await self._shown(account)}
        for member in await self._cell.reads.rooms_of(account, [Membership.JOIN]):
            info = await self._cell.view.room(member.room)
            if info is None:
                continue
            try:
                await self._post(account, DeviceNo(0), info.room, info.home, member, user_id, shown)
            except (Forbidden, RegionAway):
                continue

    async def leave_all(self, account: AccountNo) -> None:
        """Leave every room and decline every invitation. Raises: RegionAway when one cannot be told so now."""
        user_id = await self._user_id(account)
        wanted = [Membership.JOIN, Membership.INVITE, Membership.KNOCK]
        for member in await self._cell.reads.rooms_of(account, wanted):
            info = await self._cell.view.room(member.room)
            if info is not None:
                said: Content = {"membership": "leave"}
                await self._post(account, DeviceNo(0), info.room, info.home, member, user_id, said)
        # The words of a leaving go with the account: its room's home must have heard of it before.
        for room in await self._cell.reads.leaving(account):
            info = await self._cell.view.room(room)
            if info is not None:
                try:
                    await self._cell.settling.say_leaving(account, room, info.home)
                except LinkDown as down:
                    raise self._cell.away(down.dest) from None

    # How.

    async def _named(self, room: str, via: Iterable[str]) -> tuple[str, Iterable[str]]:
        """The id of a room that is meant by id or alias, and the servers to ask about it."""
        if not room.startswith("#"):
            return room, via
        room_id, servers = await self._aliases.resolve(room, "roomIdOrAlias")
        return room_id, [*servers, *via]

    async def _shown(self, account: AccountNo) -> Content:
        profile = await self._profile(account)
        return {key: profile[key] for key in ("displayname", "avatar_url") if profile.get(key)}

    async def _own(self, caller: Caller, seat: Seat, content: Content, *, joins: bool = False) -> str:
        user_id = await self._user_id(caller.account)
        room, own, authority = seat.room, seat.member, None
        facts = await self._cell.replication.facts(room.room) if joins else None
        if facts is not None:
            authority = await self._restricted.authority(caller.account, own, facts)
        return await self._post(caller.account, caller.device, room.room, room.home, own, user_id, content, authority)

    async def _change(self, caller: Caller, room_id: str, user_id: str, content: Content) -> None:
        seat, target, _ = await self._target(caller, room_id, user_id)
        await self._about(caller, seat, target, user_id, content)

    async def _target(self, caller: Caller, room_id: str, user_id: str) -> tuple[Seat, RefReply, Member | None]:
        if not is_user_id(user_id):
            raise BadParam("user_id", "is not a user id")
        seat = await self._access.joined(caller.account, room_id)
        if self._cell.directory.region_of_user(user_id) is None:
            server = user_id.partition(":")[2]
            raise Forbidden(f"user_id: {server} is another server; people of other servers cannot be here")
        target = await self._cell.ref(user_id, seat.room.room)
        if target is None:
            raise NotFound("user_id: there is no such person")
        members = await self._cell.reads.members_by_ref(seat.room.room, [target.ref])
        return seat, target, members.get(target.ref)

    async def _about(
        self, caller: Caller, seat: Seat, target: RefReply, user_id: str, content: Content,
        moves_from: tuple[Membership, ...] = (),
    ) -> str:  # fmt: skip
        said = Said(
            type="m.room.member",
            json=_encode(content),
            content=content,
            state_key=user_id,
            target=target,
            moves_from=moves_from,
        )
        author = Author(account=caller.account, device=caller.device, member=seat.member)
        return await self._posting.post(author, seat.room.room, seat.room.home, said)

    async def _post(
        self, account: AccountNo, device: DeviceNo, room: RoomNo, home: HomeNo, own: Member,
        user_id: str, content: Content, authority: Authority | None = None,
    ) -> str:  # fmt: skip
        """An event of somebody about themselves; a join may rest on somebody's authority."""
        if authority is not None:
            content = {**content, AUTHORISED_VIA: authority.user_id}
        said = Said(
            type="m.room.member",
            json=_encode(content),
            content=content,
            state_key=user_id,
            target=RefReply(own.ref, own.home),
            authoriser=None if authority is None else authority.ref,
        )
        author = Author(account=account, device=device, member=own)
        if content.get("membership") == "leave":
            return await self._posting.leave(author, room, home, said)
        try:
            await self._cell.settling.say_leaving(account, room, home)
        except LinkDown as down:
            raise self._cell.away(down.dest) from None
        return await self._posting.post(author, room, home, said)


def _reason(reason: str | None) -> Content:
    if reason is not None and len(reason) > REASON_CHARS_MAX:
        raise BadParam("reason", f"has more than {REASON_CHARS_MAX:,} characters")
    return {} if reason is None else {"reason": reason}


def _localpart(user_id: str) -> str:
    return user_id[1:].partition(":")[0]
