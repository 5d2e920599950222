"""What another cell sends becomes rows of this one: each once, in order, and told to whom it is about."""

from collections.abc import Sequence
from typing import Any

import pytest

from hutong.cells.codes import ContentState, LogKind, OutKind, ReceiptType
from hutong.cells.ingest import Ingest
from hutong.cells.messages import OutRow, RoomFacts, SnapshotReply
from hutong.cells.records import Envelope
from hutong.ids import AccountNo, HomeNo, MemberRef, Minute, RegionNo, RoomNo, Seq, StateKeyCode, room_no
from hutong.rooms.event_types import MEMBER, MESSAGE, Membership
from hutong.rooms.projection import Create, Projection, encode
from tests.unit.cells.desk import ABROAD, ALICE, ALICES, BOB, BOBS, HERE, THERE, Desk, new_id

CREATOR = MemberRef(99)
Snapshots = Sequence[tuple[Envelope, list[Envelope]]]
"""A join (or an invitation, of a room that is not known yet), and the state before it."""
PROJ = encode(Projection.created(Create(version=11), CREATOR, RegionNo(2)))


class Elsewhere:
    """A room of another cell, and what its home says of it. Alice and bob are at home here."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.raw = new_id()
        self.room: RoomNo = room_no(self.raw)
        self.n = self.seq = 0
        self.receipts: list[tuple[MemberRef, int, int, Seq, Minute]] = []
        self.facts = RoomFacts(room=self.room, room_id=self.raw, home=THERE, version=11, proj=PROJ)

    async def begin(self) -> "Elsewhere":
        for ref, account in ((ALICE, ALICES), (BOB, BOBS)):
            await self.desk.home.reads.give_ref(self.room, ref, account, HERE)
        return self

    def envelope(self, **more: Any) -> Envelope:
        self.seq += 1
        fields: dict[str, Any] = {
            "sender": CREATOR, "type": MESSAGE, "skey": None, "value": None, "home": THERE, "redacted_by": None,
            "rel_seq": None, **more,
        }  # fmt: skip
        return Envelope(
            room=self.room, seq=Seq(self.seq), event_id=new_id(), rel_type=None, minute=Minute(1), notes=0,
            prev_seq=None, **fields,
        )  # fmt: skip

    def member(self, ref: MemberRef, membership: Membership, home: HomeNo = HERE) -> Envelope:
        return self.envelope(type=MEMBER, skey=StateKeyCode(ref), value=int(membership), sender=ref, target_home=home)

    def row(self, env: Envelope, redacts: Envelope | None = None) -> OutRow:
        self.n += 1
        return OutRow(n=self.n, room=self.room, seq=env.seq, kind=OutKind.EVENT, envelope=env, redacts=redacts)

    def receipt(self, ref: MemberRef, seq: int) -> OutRow:
        self.n += 1
        return OutRow(
            n=self.n, room=self.room, seq=Seq(seq), kind=OutKind.RECEIPT, a=ref, b=ReceiptType.READ << 32 | 1
        )  # fmt: skip

    async def ingest(self, *rows: OutRow, after: int | None = None, snapshots: Snapshots = ()) -> int:
        first = rows[0].n - 1 if after is None else after
        replies = {
            (self.room, env.seq): SnapshotReply(
                facts=self.facts, state=state, receipts=self.receipts
            ) for env, state in snapshots
        }  # fmt: skip
        return await self.desk.writer.submit(
            Ingest(
                home=self.desk.home, src=ABROAD, after=first, rows=list(rows), snapshots=replies, words={}, mentioned={}
            )
        )

    async def joined_by(self, ref: MemberRef, state: list[Envelope] | None = None) -> None:
        joins = self.member(ref, Membership.JOIN)
        await self.ingest(self.row(joins), snapshots=[(joins, state or [])])

    def told(self) -> list[AccountNo]:
        """Whose memberships were told of, batch by batch."""
        return [
            record.account for batch in self.desk.committed for record in batch.records
            if record.kind is LogKind.MEMBERSHIP
        ]  # fmt: skip


@pytest.fixture
async def elsewhere(desk: Desk) -> Elsewhere:
    return await Elsewhere(desk).begin()


async def test_rows_that_came_before_are_passed_over(desk: Desk, elsewhere: Elsewhere) -> None:
    await elsewhere.joined_by(ALICE)
    rows = [elsewhere.row(elsewhere.envelope()) for _ in range(3)]
    assert await elsewhere.ingest(*rows[:2]) == 3
    assert await elsewhere.ingest(*rows) == 4
    assert [seq for seq, _ in await desk.timeline(elsewhere.room)] == [1, 2, 3, 4]


async def test_rows_whose_predecessors_were_taken_back_wait_for_them(desk: Desk, elsewhere: Elsewhere) -> None:
    """They were fetched while a batch was under way that then failed."""
    await elsewhere.joined_by(ALICE)
    early, late = (elsewhere.row(elsewhere.envelope()) for _ in range(2))
    assert await elsewhere.ingest(late, after=early.n) == 1
    assert [seq for seq, _ in await desk.timeline(elsewhere.room)] == [1]
    assert await elsewhere.ingest(early, late, after=1) == 3
    assert [seq for seq, _ in await desk.timeline(elsewhere.room)] == [1, 2, 3]


async def test_numbers_may_jump(desk: Desk, elsewhere: Elsewhere) -> None:
    await elsewhere.joined_by(ALICE)
    elsewhere.n += 1_000
    assert await elsewhere.ingest(elsewhere.row(elsewhere.envelope()), after=1) == 1_002
    assert len(await desk.timeline(elsewhere.room)) == 2


async def test_an_invitation_and_the_join_in_one_go(desk: Desk, elsewhere: Elsewhere) -> None:
    invited = elsewhere.member(ALICE, Membership.INVITE)
    joins = elsewhere.member(ALICE, Membership.JOIN)
    await elsewhere.ingest(elsewhere.row(invited), elsewhere.row(joins), snapshots=[(invited, []), (joins, [invited])])
    assert [seq for seq, _ in await desk.timeline(elsewhere.room)] == [1, 2]
    assert elsewhere.told() == [ALICES, ALICES]


async def test_whom_only_a_snapshot_names_is_told_of_what_comes_later(desk: Desk, elsewhere: Elsewhere) -> None:
    """Bob was invited before this start; alice's join brings the room's state, with his invitation in it."""
    invited = elsewhere.member(BOB, Membership.INVITE)
    await elsewhere.ingest(elsewhere.row(invited), snapshots=[(invited, [])])
    desk.memory.drop([elsewhere.room])
    await elsewhere.joined_by(ALICE, [invited])
    desk.committed.clear()
    await elsewhere.ingest(elsewhere.row(elsewhere.member(BOB, Membership.JOIN)))
    assert elsewhere.told() == [BOBS]
    member = await desk.home.reads.member(BOBS, elsewhere.room)
    assert member is not None
    assert member.membership == Membership.JOIN


async def test_content_comes_to_be_with_its_event_and_goes_with_its_redaction(desk: Desk, elsewhere: Elsewhere) -> None:
    await elsewhere.joined_by(ALICE)
    said = elsewhere.envelope(sender=ALICE, home=HERE)
    await desk.stage(said.event_id, elsewhere.room, THERE)
    await elsewhere.ingest(elsewhere.row(said))
    assert await desk.content_state(said.event_id) == ContentState.LIVE
    redaction = elsewhere.envelope(rel_seq=said.seq)
    await elsewhere.ingest(elsewhere.row(redaction, redacts=said))
    assert await desk.content_state(said.event_id) is None
    assert desk.committed[-1].gone == [said.event_id] * 2
    again = elsewhere.envelope(sender=ALICE, home=HERE)
    await desk.stage(again.event_id, elsewhere.room, THERE)
    redaction = elsewhere.envelope(rel_seq=again.seq)
    await elsewhere.ingest(elsewhere.row(again), elsewhere.row(redaction, redacts=again))
    assert await desk.content_state(again.event_id) is None


async def test_a_cell_that_comes_back_to_a_room_counts_who_is_in_anew(desk: Desk, elsewhere: Elsewhere) -> None:
    other = elsewhere.member(MemberRef(55), Membership.JOIN, THERE)
    await elsewhere.joined_by(ALICE, [other])
    await elsewhere.ingest(elsewhere.row(elsewhere.member(ALICE, Membership.LEAVE)))
    gone = elsewhere.member(MemberRef(55), Membership.LEAVE, THERE)
    await elsewhere.joined_by(BOB, [gone])
    state = await desk.memory.load(elsewhere.room)
    assert state is not None
    assert state.joined.get(THERE, 0) == 0
    assert state.joined[HERE] == 1
    desk.memory.drop([elsewhere.room])
    read = await desk.memory.load(elsewhere.room)
    assert read is not None
    assert {home: n for home, n in state.joined.items() if n} == read.joined


async def test_a_marker_never_moves_back(desk: Desk, elsewhere: Elsewhere) -> None:
    """Neither by what comes late, nor by the markers of a snapshot, whether memory knows the newer one or not."""
    await elsewhere.joined_by(ALICE)
    await elsewhere.ingest(elsewhere.receipt(ALICE, 5))
    for old in (elsewhere.receipt(ALICE, 4), elsewhere.receipt(ALICE, 5)):
        await elsewhere.ingest(old)
    elsewhere.receipts = [
        (ALICE, ReceiptType.READ, 0, Seq(3), Minute(1)),
        (BOB, ReceiptType.READ, 0, Seq(3), Minute(1)),
    ]
    await elsewhere.ingest(elsewhere.row(elsewhere.member(ALICE, Membership.LEAVE)))
    desk.memory.drop([elsewhere.room])
    await elsewhere.joined_by(BOB)
    markers = {ref: seq for ref, _, _, seq, _ in await desk.home.reads.receipts(elsewhere.room)}
    assert markers == {ALICE: 5, BOB: 3}
