"""Which edits are valid and where a thread may begin, as tables. Client-Server API v1.19, "Event replacements"."""

from typing import Any

import pytest
from msgspec import structs

from hutong.cells.records import Envelope
from hutong.ids import HomeNo, MemberRef, Minute, RoomNo, Seq, StateKeyCode, TypeCode
from hutong.rooms.event_types import ENCRYPTED, MESSAGE, TOPIC, Relation
from hutong.rooms.relating import Child, NoThreadRoot, counts_as

ALICE, BOB = MemberRef(11), MemberRef(12)
PARENT = Envelope(
    room=RoomNo(1), seq=Seq(5), event_id=bytes(16), home=HomeNo(4096), sender=ALICE, type=MESSAGE, skey=None,
    value=None, rel_seq=None, rel_type=None, minute=Minute(1), notes=0, prev_seq=None, redacted_by=None,
)  # fmt: skip
EDIT = Child(ALICE, MESSAGE, is_state=False, edits=True)


def parent(**fields: Any) -> Envelope:
    return structs.replace(PARENT, **fields)


def test_an_edit_of_ones_own_message_is_valid() -> None:
    assert counts_as(Relation.REPLACE, EDIT, PARENT) is Relation.REPLACE
    encrypted = Child(ALICE, ENCRYPTED, is_state=False, edits=True)
    assert counts_as(Relation.REPLACE, encrypted, parent(type=ENCRYPTED)) is Relation.REPLACE


@pytest.mark.parametrize(
    ("child", "original"),
    [
        (Child(BOB, MESSAGE, is_state=False, edits=True), PARENT),
        (Child(ALICE, TypeCode(-7), is_state=False, edits=True), PARENT),
        (Child(ALICE, MESSAGE, is_state=True, edits=True), PARENT),
        (Child(ALICE, MESSAGE, is_state=False, edits=False), PARENT),
        (Child(ALICE, TOPIC, is_state=False, edits=True), parent(type=TOPIC, skey=StateKeyCode(0))),
        (EDIT, parent(rel_type=Relation.REPLACE, rel_seq=Seq(2))),
        (EDIT, parent(rel_type=Relation.NO_EDIT, rel_seq=Seq(2))),
        (EDIT, None),
    ],
    ids=["another's", "another type", "by state", "no new content", "of state", "an edit", "no edit", "elsewhere"],
)
def test_no_other_is(child: Child, original: Envelope | None) -> None:
    assert counts_as(Relation.REPLACE, child, original) is Relation.NO_EDIT


@pytest.mark.parametrize("kind", [*(set(Relation) - {Relation.REDACTION}), -5])
def test_no_thread_begins_at_what_relates_to_another_event(kind: int) -> None:
    with pytest.raises(NoThreadRoot, match=r"m\.relates_to") as caught:
        counts_as(Relation.THREAD, EDIT, parent(rel_type=kind, rel_seq=Seq(2)))
    assert (caught.value.status, caught.value.errcode) == (400, "M_UNKNOWN")


@pytest.mark.parametrize(
    "root",
    [
        PARENT,
        None,
        parent(rel_type=Relation.REDACTION, rel_seq=Seq(2)),
        parent(rel_type=Relation.THREAD, rel_seq=Seq(2), redacted_by=Seq(9)),
    ],
    ids=["a message", "elsewhere", "a redaction", "redacted, and so nobody's child any more"],
)
def test_it_begins_at_any_other(root: Envelope | None) -> None:
    assert counts_as(Relation.THREAD, EDIT, root) is Relation.THREAD


@pytest.mark.parametrize("kind", [Relation.ANNOTATION, Relation.REFERENCE])
def test_what_asks_for_nothing_stays_as_it_is(kind: Relation) -> None:
    assert counts_as(kind, EDIT, parent(rel_type=kind, rel_seq=Seq(2), sender=BOB)) is kind
