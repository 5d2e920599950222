"""How something that a person says becomes an event: sealed at their home, then put in its place by the room's home.

At home it is one commit. Abroad it is three: the content is staged here, the room's home numbers the envelope, and this
cell's copy of the room takes it up. Whatever is lost on the way is settled later; nothing is there twice.
"""

from dataclasses import dataclass
from typing import Any

from hutong.cells.append import AppendOp
from hutong.cells.cell import Cell
from hutong.cells.codes import ContentState
from hutong.cells.drafts import SealedContent
from hutong.cells.leaving import LeaveHere
from hutong.cells.link import LinkDown
from hutong.cells.messages import Append, Draft, RefReply
from hutong.cells.ops import ContentLive, StageContent
from hutong.cells.records import Member, Txn, Words, pack, unpack
from hutong.errors import BadParam, GivenUp, MatrixError, TooLarge
from hutong.ids import AccountNo, DeviceNo, HomeNo, MemberRef, RoomNo, Seq, event_id_text, new_id
from hutong.push.defaults import effect_of
from hutong.rooms import event_types, relating
from hutong.rooms.annotations import Annotations
from hutong.rooms.event_types import Membership

EVENT_BYTES_MAX = 65_536
ENVELOPE_BYTES = 700
"""What an event has beside content, type and state key: ids, sender, time, and room for `unsigned`."""
TYPE_BYTES_MAX = 255
ARRIVAL_WAIT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who says it, with which device, as which member of which room."""

    account: AccountNo
    device: DeviceNo
    member: Member


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a person wants to have in the timeline. `json`: the content as it was sent; `content`: the same, decoded."""

    type: str
    json: bytes
    content: dict[str, Any]
    state_key: str | None = None
    own_state_key: bool = False
    target: RefReply | None = None
    redacts: bytes | None = None
    authoriser: MemberRef | None = None
    moves_from: tuple[Membership, ...] = ()


@dataclass(frozen=True)
class Transaction:
    """`path` says what the client repeats (room and type), `id` is its own word for it."""

    path: str
    id: str


class Posting:
    def __init__(self, cell: Cell, annotations: Annotations) -> None:
        self._cell = cell
        self._annotations = annotations

    async def post(
        self, author: Author, room: RoomNo, room_home: HomeNo, said: Said, transaction: Transaction | None = None
    ) -> str:
        """Put an event at the end of a room; its id. Said again with the same transaction, the same id.

        Raises: what the room's rules say (403), TooLarge, BadParam; RegionAway (503) when the room's home cannot be
        asked: then it may have happened, and the same transaction finds out.
        Cost: at home one seal and a share of one statement; abroad two shares here, one there, one round trip.
        """
        check_size(said)
        if transaction is None:
            try:
                return event_id_text(await self._new(author, room, room_home, said, None))
            except _Unsettled as unsettled:
                raise unsettled.error from None
        cell, device = self._cell, (author.account, author.device)
        key = cell.blind.transaction(transaction.path, transaction.id)
        while (event_id := await cell.transactions.begin(device, key)) is not None:
            at_home = cell.cell_of(room_home) == cell.number
            if at_home or await self._resume(author, room, room_home, said, event_id):
                return event_id_text(event_id)
            cell.transactions.forget(device, key)
        made: bytes | None = None
        try:
            made = await self._new(author, room, room_home, said, Txn(author.account, author.device, key))
        except _Unsettled as unsettled:
            made = unsettled.event_id
            raise unsettled.error from None
        finally:
            cell.transactions.end(device, key, made)
        cell.transactions.remember_text(author.device, made, transaction.id)
        return event_id_text(made)

    async def _new(self, author: Author, room: RoomNo, room_home: HomeNo, said: Said, txn: Txn | None) -> bytes:
        async with self._annotations.once(room, author.member.ref, said.type, said.content):
            return await self._make(author, room, room_home, said, txn)

    async def _make(self, author: Author, room: RoomNo, room_home: HomeNo, said: Said, txn: Txn | None) -> bytes:
        cell = self._cell
        event_id = new_id(cell.minute, cell.random)
        draft, sealed = self._draft(event_id, author, said)
        if cell.cell_of(room_home) == cell.number:
            op = AppendOp(cell.home, room, draft, SealedContent(author.account, sealed), txn)
            await cell.writer.submit(op)
            return event_id
        if cell.link.is_cut(cell.cell_of(room_home)):
            raise cell.away(cell.cell_of(room_home))
        stage = _staged(author, room, room_home, draft, sealed, ContentState.PENDING, txn)
        async with cell.settling.deciding.about(event_id):
            await cell.writer.submit(stage)
            try:
                await self._send(author, room, room_home, draft)
            except MatrixError:
                await cell.settling.settled(event_id, author.account, None)
                raise
        return event_id

    async def leave(self, author: Author, room: RoomNo, room_home: HomeNo, said: Said) -> str:
        """Put somebody's own leaving at the end of a room; its id.

        It always succeeds: when the room's home cannot be asked, it holds here, and the home hears of it later.
        """
        cell = self._cell
        if cell.cell_of(room_home) == cell.number:
            return await self.post(author, room, room_home, said)
        event_id, member = new_id(cell.minute, cell.random), author.member
        draft, sealed = self._draft(event_id, author, said)
        stage = _staged(author, room, room_home, draft, sealed, ContentState.OWED)
        async with cell.settling.deciding.about(event_id):
            await cell.writer.submit(stage)
            try:
                await self._send(author, room, room_home, draft)
            except _Unsettled:
                await cell.writer.submit(
                    LeaveHere(
                        room=room, ref=member.ref, account=author.account, event_id=event_id, minute=draft.minute
                    )
                )  # fmt: skip
            except MatrixError:
                await cell.settling.settled(event_id, author.account, None)
                raise
        return event_id_text(event_id)

    def _draft(self, event_id: bytes, author: Author, said: Said) -> tuple[Draft, bytes]:
        """The event as the room's home gets it, and its words sealed."""
        cell = self._cell
        words = Words(int(cell.now() * 1000), said.type, said.state_key, said.json)
        return draft_of(event_id, author.member, said, words, cell), cell.vault.seal(
            author.account, event_id, pack(words)
        )

    async def _send(self, author: Author, room: RoomNo, room_home: HomeNo, draft: Draft) -> None:
        """The second and the third commit of an event that goes abroad.

        Raises: MatrixError when the room's home refuses it for good, _Unsettled when nobody knows.
        """
        cell = self._cell
        dest = cell.cell_of(room_home)
        try:
            seq = await cell.link.call(dest, Append(room=room, draft=draft))
        except LinkDown:
            raise _Unsettled(draft.event_id, cell.away(dest)) from None
        except MatrixError as error:
            if error.status >= 500:  # its database was lost half way: the event may be there
                raise _Unsettled(draft.event_id, error) from None
            raise
        await self._arrived(room, seq, draft.event_id)

    async def _arrived(self, room: RoomNo, seq: Seq, event_id: bytes) -> None:
        """Answer when this cell's own copy shows it; if that takes long, at least never give the content up."""
        if not await self._cell.replication.wait_for(room, seq, ARRIVAL_WAIT_S):
            await self._cell.writer.submit(ContentLive(event_id=event_id))

    async def _resume(self, author: Author, room: RoomNo, room_home: HomeNo, said: Said, event_id: bytes) -> bool:
        """The same transaction again: if nobody knows what became of the first one, send that very event again.

        Returns whether it came to be; otherwise it was given up, and the transaction may make a new one.
        """
        cell = self._cell
        async with cell.settling.deciding.about(event_id):
            row = (await cell.reads.contents([event_id])).get(event_id)
            if row is None:  # given up, which takes the transaction away; or redacted, which leaves it
                return await cell.reads.txn_of(author.account, event_id) is not None
            if row[1] != ContentState.PENDING:
                return True
            words = unpack(cell.vault.open(author.account, event_id, row[2]))
            try:
                await self._send(author, room, room_home, draft_of(event_id, author.member, said, words, cell))
            except _Unsettled as unsettled:
                raise unsettled.error from None
            except MatrixError as error:
                await cell.settling.settled(event_id, author.account, None)
                if error.errcode != GivenUp.errcode:
                    raise
                return False
        return True


def _staged(
    author: Author,
    room: RoomNo,
    room_home: HomeNo,
    draft: Draft,
    sealed: bytes,
    state: ContentState,
    txn: Txn | None = None,
) -> StageContent:
    return StageContent(
        event_id=draft.event_id, account=author.account, room=room, room_home=room_home, body=sealed,
        minute=draft.minute, txn=txn, state=state,
    )  # fmt: skip


class _Unsettled(Exception):
    """The room's home did not answer: the event may be there or not, and is not given up."""

    def __init__(self, event_id: bytes, error: MatrixError) -> None:
        super().__init__(error.message)
        self.event_id = event_id
        self.error = error


def draft_of(event_id: bytes, member: Member, said: Said, words: Words, cell: Cell) -> Draft:
    """The event as the room's home gets it: what it must know beside the words is read out of them here."""
    relates_to, relation = relating.relation_of(said.content)
    code = event_types.code_of(said.type)
    effect = effect_of(said.type, said.state_key, said.content)
    return Draft(
        event_id=event_id,
        home=member.home,
        sender=member.ref,
        minute=cell.minute,
        words=words,
        target=None if said.target is None else said.target.ref,
        target_home=None if said.target is None else said.target.home,
        own_state_key=said.own_state_key,
        loud=int(effect.loud),  # the driver takes a flag for a list
        mentions_room=effect.mentions_room,
        relates_to=relates_to,
        relation=relation,
        edits=isinstance(said.content.get("m.new_content"), dict) or code == event_types.ENCRYPTED,
        redacts=said.redacts,
        mentions=effect.named,
        authoriser=said.authoriser,
        moves_from=tuple(map(int, said.moves_from)),
    )


def check_size(said: Said) -> None:
    """Raises: TooLarge (413) beyond 64 KiB for the whole event, BadParam for a type or state key of over 255 bytes."""
    type_bytes = len(said.type.encode())
    if not 0 < type_bytes <= TYPE_BYTES_MAX:
        raise BadParam("eventType", f"must have 1 to {TYPE_BYTES_MAX} bytes")
    key_bytes = len((said.state_key or "").encode())
    if key_bytes > TYPE_BYTES_MAX:
        raise BadParam("stateKey", f"must have at most {TYPE_BYTES_MAX} bytes")
    if len(said.json) + type_bytes + key_bytes + ENVELOPE_BYTES > EVENT_BYTES_MAX:
        raise TooLarge(f"content: the whole {said.type} event would be larger than {EVENT_BYTES_MAX:,} bytes")
