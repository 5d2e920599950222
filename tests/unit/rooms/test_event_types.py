"""The codes lie in databases and travel between regions: none may change its meaning, and none may be missing."""

import hashlib
from pathlib import Path

import pytest

from hutong.ids import TypeCode
from hutong.rooms.event_types import (
    CREATE,
    STRUCTURAL,
    Algorithm,
    GuestAccess,
    HistoryVisibility,
    JoinRule,
    Membership,
    Relation,
    code_of,
    text_of,
)

SCHEMAS = Path(__file__).parents[4] / "shared" / "matrix-spec" / "data" / "event-schemas" / "schema"
CODES = {code: text for code in range(1, 1000) if (text := text_of(TypeCode(code))) is not None}


def test_codes_are_unique_and_go_both_ways() -> None:
    assert len(set(CODES.values())) == len(CODES)
    for code, text in CODES.items():
        assert code_of(text) == code


def test_codes_keep_their_meaning() -> None:
    """If this fails because a type was added to its range, put the new digest here; else undo the change."""
    table = "\n".join(f"{code} {text}" for code, text in sorted(CODES.items()))
    assert hashlib.sha256(table.encode()).hexdigest()[:16] == "3d373f2ce106606b"


def test_any_other_text_has_no_code() -> None:
    for text in ("", "m.room", "M.ROOM.CREATE", "m.room.create ", "org.example.type"):
        assert code_of(text) is None
    assert text_of(TypeCode(-1)) is None
    assert text_of(TypeCode(0)) is None


def test_structural_types_are_what_the_projection_holds() -> None:
    assert {CODES[type] for type in STRUCTURAL} == {
        "m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility",
        "m.room.guest_access", "m.room.encryption", "m.room.tombstone",
    }  # fmt: skip
    assert CREATE in STRUCTURAL


@pytest.mark.skipif(not SCHEMAS.exists(), reason="the specification is not beside the repository")
def test_every_event_type_of_the_specification_has_a_code() -> None:
    named = {path.name.removesuffix(".yaml").split("$")[0] for path in SCHEMAS.glob("m.*.yaml")}
    named.discard("m.key.verification.m.relates_to")  # a part of other events
    assert {name for name in named if code_of(name) is None} == set()


def test_words_are_read_exactly() -> None:
    assert Membership.of("invite") == Membership.INVITE
    assert JoinRule.of("knock_restricted") == JoinRule.KNOCK_RESTRICTED
    assert HistoryVisibility.WORLD_READABLE.text == "world_readable"
    assert GuestAccess.texts() == "can_join, forbidden"
    for text in ("INVITE", "ınvite", "", "of", "text", None, 1, ["invite"]):  # a dotless i is an I in capitals
        assert Membership.of(text) is None


def test_words_keep_their_numbers() -> None:
    assert [(m.value, m.name) for m in Membership] == [
        (1, "INVITE"), (2, "JOIN"), (3, "KNOCK"), (4, "LEAVE"), (5, "BAN"),
    ]  # fmt: skip
    assert [r.name for r in JoinRule] == ["PUBLIC", "INVITE", "KNOCK", "RESTRICTED", "KNOCK_RESTRICTED", "PRIVATE"]
    assert [v.name for v in HistoryVisibility] == ["WORLD_READABLE", "SHARED", "INVITED", "JOINED"]
    assert [g.name for g in GuestAccess] == ["CAN_JOIN", "FORBIDDEN"]
    assert [a.value for a in Algorithm] == [1, 2]
    for words in (JoinRule, HistoryVisibility, GuestAccess, Relation):
        assert [word.value for word in words] == list(range(1, len(words) + 1))


def test_relations() -> None:
    names = {"m.annotation": 1, "m.replace": 2, "m.reference": 3, "m.thread": 4, "m.other": None, "m.redaction": None}
    assert {name: Relation.of(name) for name in names} == names
