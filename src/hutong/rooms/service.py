"""What members do and see in their rooms: send, set state, redact, read back."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from hutong.cells.cell import Cell
from hutong.cells.messages import Codes
from hutong.cells.records import Envelope, Words
from hutong.directory.aliases import Aliases
from hutong.errors import BadParam, Forbidden, NotFound
from hutong.http.request import Caller
from hutong.ids import AccountNo, MemberRef, Seq, StateKeyCode, TypeCode, event_id_bytes
from hutong.rooms import event_types
from hutong.rooms.access import Access, Seat
from hutong.rooms.event_filter import Matcher
from hutong.rooms.event_types import Membership
from hutong.rooms.history import OUT_OF_SIGHT, History
from hutong.rooms.posting import Author, Posting, Said, Transaction
from hutong.rooms.show import Reader, Show

_encode = msgspec.json.Encoder().encode
_OBJECT = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class PageOf:
    """A page of a timeline: events as JSON, in the order asked for."""

    start: str
    end: str | None
    chunk: list[bytes]
    state: list[bytes]


class Rooms:
    """One cell's rooms, for its people."""

    def __init__(
        self,
        cell: Cell,
        access: Access,
        posting: Posting,
        show: Show,
        aliases: Aliases,
        history: History,
        own_user_id: Callable[[AccountNo], Awaitable[str]],
    ) -> None:
        self.cell = cell
        self.own_user_id = own_user_id
        self.access = access
        self.posting = posting
        self.show = show
        self.history = history
        self._aliases = aliases

    # Saying.

    async def send(
        self, caller: Caller, room_id: str, type: str, txn_id: str, json: bytes, content: dict[str, Any]
    ) -> str:
        """A message event; its id. `json` is stored as it is; `content` is the same, decoded.

        Raises: Forbidden (403), BadParam, TooLarge; RegionAway (503).
        Cost: nothing read when room and member are cached; see `Posting.post`.
        """
        seat = await self.access.joined(caller.account, room_id)
        code = event_types.code_of(type)
        if code in event_types.STRUCTURAL:
            raise BadParam("eventType", f"{type} is state; use PUT /rooms/{{roomId}}/state/{type}")
        redacts = self._redacts(content) if code == event_types.REDACTION else None
        said = Said(type=type, json=json, content=content, redacts=redacts)
        return await self._post(caller, seat, said, Transaction(f"send/{room_id}/{type}", txn_id))

    async def redact(self, caller: Caller, room_id: str, event_id: str, txn_id: str, content: dict[str, Any]) -> str:
        """Take the words of an event away; the id of the redaction.

        Raises: NotFound for no such event, Forbidden for somebody else's without the power to; RegionAway.
        """
        seat = await self.access.joined(caller.account, room_id)
        raw = event_id_bytes(event_id)
        if raw is None:
            raise NotFound("eventId: no such event in this room")
        content = {**content, "redacts": event_id}
        said = Said(type="m.room.redaction", json=_encode(content), content=content, redacts=raw)
        return await self._post(caller, seat, said, Transaction(f"redact/{room_id}/{event_id}", txn_id))

    async def set_state(
        self, caller: Caller, room_id: str, type: str, state_key: str, json: bytes, content: dict[str, Any]
    ) -> str:
        """A state event other than m.room.member; its id. Raises as `send`, and `M_BAD_ALIAS`."""
        seat = await self.access.joined(caller.account, room_id)
        if state_key and event_types.code_of(type) in event_types.STRUCTURAL:
            raise BadParam("stateKey", f"must be empty for {type}")
        if type == "m.room.canonical_alias" and not state_key:
            await self._aliases.check_canonical(room_id, content)
        own = state_key.startswith("@") and state_key == await self.own_user_id(caller.account)
        said = Said(type=type, json=json, content=content, state_key=state_key, own_state_key=own)
        return await self._post(caller, seat, said, None)

    async def _post(self, caller: Caller, seat: Seat, said: Said, transaction: Transaction | None) -> str:
        author = Author(account=caller.account, device=caller.device, member=seat.member)
        return await self.posting.post(author, seat.room.room, seat.room.home, said, transaction)

    def _redacts(self, content: dict[str, Any]) -> bytes:
        redacts = content.get("redacts")
        raw = event_id_bytes(redacts) if isinstance(redacts, str) else None
        if raw is None:
            raise BadParam("redacts", "must be the id of an event of this room")
        return raw

    # Reading.

    async def event(self, caller: Caller, room_id: str, event_id: str) -> bytes:
        """One event as JSON. Raises: NotFound, RegionAway."""
        try:
            seat = await self.access.seat(caller.account, room_id)
        except Forbidden:
            raise NotFound(OUT_OF_SIGHT) from None  # one answer for both, or it tells strangers what exists
        env, sight = await self.history.visible(seat, event_id)
        reader = await self.show.reader(seat.member, caller.device, sight)
        return await self.show.one(seat.room, env, reader)

    async def messages(
        self, caller: Caller, room_id: str, start: str | None, end: str | None, *, backwards: bool, limit: int,
        wanted: Matcher,
    ) -> PageOf:  # fmt: skip
        """A page of the timeline. It may be shorter than `limit`; without `end` there is no more.

        What is cut off is left out; the room is told anew in `/sync` when it answers again.

        Raises: Forbidden, BadParam (`from`, `to`), RegionAway when not one event can be read now, or not the member
        event of somebody who speaks.
        Cost: one statement for the page, one for what relates to its events, one for words and one for names that were
            not shown lately; one more without `start`, and what was replaced or redacted; beyond this cell's copy one
            call more.
        """
        seat = await self.access.seat(caller.account, room_id)
        first = await self._first(seat, start, backwards=backwards)
        if backwards and seat.upto is not None:
            first = min(first, seat.upto)  # a token of after their leaving
        last = await self.history.place(seat, end, "to", None)
        sight = await self.access.sight(seat)
        found = await self.history.page(seat, first, limit, backwards=backwards)
        reader = await self.show.reader(seat.member, caller.device, sight)
        seen = [env for env in found if sight.sees(env) and _within(env.seq, last, backwards=backwards)]
        if wanted.nothing or not wanted.admits_room(room_id):
            seen = []
        page = await self.show.page(seat.room, seen, reader)
        chosen = [(env, json) for env, json in page.events if wanted.admits_event(json)]
        state = await self._senders(seat, [env for env, _ in chosen], reader) if wanted.lazy else []
        return PageOf(
            start=self.history.token(seat, first),
            end=self._end(seat, found, page.stop, last, limit, backwards=backwards),
            chunk=[json for _, json in chosen],
            state=state,
        )

    async def _first(self, seat: Seat, start: str | None, *, backwards: bool) -> Seq:
        """The place from which a page goes."""
        if start is None and backwards and seat.upto is None:
            return await self.cell.reads.head(seat.room.room)
        first: Seq = await self.history.place(seat, start, "from", seat.upto if backwards else Seq(0))
        return first

    def _end(
        self, seat: Seat, found: Sequence[Envelope], stop: Envelope | None, last: Seq | None, limit: int, *,
        backwards: bool,
    ) -> str | None:  # fmt: skip
        """The token for the next page, or None at the end of what there is. `stop`: an event that could not be read."""
        if stop is not None:
            return self.history.token_at(seat, stop, backwards=backwards)
        if not found or (last is not None and not _within(found[-1].seq, last, backwards=backwards)):
            return None
        if backwards:
            return self.history.token(seat, found[-1].seq - 1) if found[-1].seq > 1 else None
        return self.history.token(seat, found[-1].seq) if len(found) >= limit else None

    async def _senders(self, seat: Seat, envelopes: Sequence[Envelope], reader: Reader) -> list[bytes]:
        """The m.room.member of those who speak on a page, for clients that load members lazily."""
        refs = {env.sender for env in envelopes}
        if seat.upto is not None:  # as they were then: what people are called since is not for who has left
            then = await self.history.state_at(seat, seat.upto, refs)
            return await self.show.readable(seat.room, [env for env in then if env.target is not None], reader)
        members = await self.cell.reads.members_by_ref(seat.room.room, refs)
        events = await self.cell.reads.events(seat.room.room, [member.seq for member in members.values() if member.seq])
        return await self.show.readable(seat.room, [event.env for event in events.values()], reader)

    async def state(self, caller: Caller, room_id: str) -> list[bytes]:
        """All current state, or that at one's leaving. Events of a region that is away are left out."""
        seat = await self.access.seat(caller.account, room_id)
        return await self.show.state(seat.room, await self._state_of(seat), await self._reader(seat, caller))

    async def _reader(self, seat: Seat, caller: Caller) -> Reader:
        """Who is shown state: to somebody who left, what they saw decides what may go with it."""
        return Reader(seat.member, caller.device, None if seat.joined else await self.access.sight(seat))

    async def _state_of(self, seat: Seat) -> list[Envelope]:
        room = seat.room.room
        if seat.joined:
            return [event.env for event in await self.cell.reads.state_now(room)]
        assert seat.upto is not None
        return [event.env for event in await self.cell.reads.state_at(room, seat.upto)]

    async def state_event(self, caller: Caller, room_id: str, type: str, state_key: str) -> tuple[bytes, bytes]:
        """One piece of state: (its content, the whole event). Raises: NotFound, Forbidden, RegionAway."""
        seat = await self.access.seat(caller.account, room_id)
        missing = NotFound(f"stateKey: no {type} with this state key")
        key = await self._key(seat, type, state_key)
        if key is None:
            raise missing
        event = await self.cell.reads.state_event(seat.room.room, *key, seat.upto or Seq(2**62))
        if event is None:
            raise missing
        shown = await self.show.one(seat.room, event.env, await self._reader(seat, caller))
        return bytes(_CONTENT.decode(shown).content), shown

    async def _key(self, seat: Seat, type: str, state_key: str) -> tuple[TypeCode, StateKeyCode] | None:
        """How the room writes a type and a state key; None when no event can have that state key."""
        room, code = seat.room, event_types.code_of(type)
        if state_key.startswith("@"):
            reply = await self.cell.ref(state_key, room.room, make=False)
            if reply is None:
                return None
            if code is not None:
                return code, StateKeyCode(reply.ref)
        home = self.cell.cell_of(room.home)
        if code is not None and not state_key:
            return code, StateKeyCode(0)
        if home == self.cell.number:
            codes = self.cell.codes_of(room.raw_id, type, state_key)
        else:
            codes = await self.cell.ask(home, Codes(room=room.room, type=type, state_key=state_key))
        skey = reply.ref if state_key.startswith("@") and reply is not None else codes.skey or 0
        return TypeCode(codes.type), StateKeyCode(skey)

    async def members(
        self, caller: Caller, room_id: str, membership: str | None, not_membership: str | None, at: str | None
    ) -> list[bytes]:
        """The m.room.member events of a room, as of `at` or, where the history of then is not for the caller, the
        next place from which it is: who came and went before is part of that history."""
        seat = await self.access.seat(caller.account, room_id)
        when: Seq | None = await self.history.place(seat, at, "at", None)
        if when is not None:
            when = (await self.access.sight(seat)).nearest(when)
        upto = min((seq for seq in (when, seat.upto) if seq is not None), default=None)
        envelopes = await self._state_of(seat) if upto is None else await self.history.state_at(seat, upto)
        wanted = [env for env in envelopes if env.type == event_types.MEMBER and env.value is not None]
        if membership is not None or not_membership is not None:
            # Both together mean: either the one, or not the other. So says the specification.
            texts = {env.event_id: Membership(env.value or 0).text for env in wanted}
            wanted = [
                env
                for env in wanted
                if texts[env.event_id] == membership
                or (not_membership is not None and texts[env.event_id] != not_membership)
            ]
        return await self.show.readable(seat.room, wanted, await self._reader(seat, caller))

    async def joined_members(self, caller: Caller, room_id: str) -> dict[str, dict[str, str]]:
        """Who is in a room that the caller is in: user id -> display_name, avatar_url. Raises: Forbidden."""
        seat = await self.access.joined(caller.account, room_id)
        members = await self.cell.reads.members(seat.room.room, [Membership.JOIN])
        names = await self.cell.names.fetch((member.room, member.ref) for member in members)
        events = await self.cell.reads.events(seat.room.room, [member.seq for member in members])
        words = await self.cell.words.fetch(event.env for event in events.values())
        joined: dict[str, dict[str, str]] = {}
        for member in members:
            name, event = names.get((member.room, MemberRef(member.ref))), events.get(member.seq)
            if name is None:
                continue
            said = None if event is None else words.get(event.env.event_id)
            content = _OBJECT.decode(said.json) if isinstance(said, Words) else {}
            fields = {"display_name": content.get("displayname"), "avatar_url": content.get("avatar_url")}
            joined[name] = {key: value for key, value in fields.items() if isinstance(value, str)}
        return joined

    async def joined_rooms(self, caller: Caller) -> list[str]:
        members = await self.cell.reads.rooms_of(caller.account, [Membership.JOIN])
        infos = [await self.cell.view.room(member.room) for member in members]
        return [info.room_id for info in infos if info is not None]


class _WithContent(msgspec.Struct):
    content: msgspec.Raw


_CONTENT = msgspec.json.Decoder(_WithContent)


def _within(seq: Seq, last: Seq | None, *, backwards: bool) -> bool:
    return last is None or (seq > last if backwards else seq <= last)
