"""Values of columns that travel: what is of the declared kind, and what is not. tests/residency asks real databases."""

from random import Random
from typing import Any
from uuid import UUID

import pytest

from hutong.engines.tables import Column, Placement
from hutong.ids import Minute, new_id
from hutong.residency.structure import wrong_column
from hutong.rooms import projection
from hutong.rooms.projection import Create, Projection

NOW = 29_970_000
RANDOM = Random(11)
IDS = [UUID(bytes=new_id(Minute(NOW - number), RANDOM.randbytes)) for number in range(500)]
REFS = [RANDOM.getrandbits(64) - (1 << 63) for _ in range(2_000)]
EIGHT_LETTERS = [b"a secret", b"tell him", b"at eight", b"by canal"]
HASHES = [RANDOM.randbytes(16) for _ in range(500)]


def envelope(type: str) -> Column:
    return Column("it", type, Placement.ENVELOPE)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (envelope("uuid"), IDS),
        (envelope("uuid"), []),
        (envelope("int8"), REFS),
        (envelope("int8"), list(range(1_000))),
        (envelope("int2"), [0, 1, -1]),
        (Column("it", "bytea", Placement.HASHED), HASHES),
        (Column("it", "int8", Placement.HASHED), [1, 2, *REFS]),
        (envelope("int8[]"), [[1, 2], REFS[:9]]),
        # By chance one number in a thousand is eight letters; it may stand in many rows.
        (Column("it", "int8", Placement.HASHED), [int.from_bytes(b"Wnq)4k~x")] * 50),
    ],
)
def test_what_hutong_makes_passes(column: Column, values: list[Any]) -> None:
    assert wrong_column(column, values, NOW) is None


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        (envelope("uuid"), [*IDS, UUID(bytes=b"sixteen letters!")], "do not begin with a minute"),
        (
            envelope("uuid"),
            [UUID(bytes=IDS[0].bytes[:4] + word) for word in (b"twelve words", b"twelve more.")],
            "printable text",
        ),
        (envelope("int8"), [*REFS[:50], *map(int.from_bytes, EIGHT_LETTERS)], "printable text"),
        (envelope("int8[]"), [[*map(int.from_bytes, EIGHT_LETTERS)]], "printable text"),
        (Column("it", "bytea", Placement.HASHED), [b"Li of the house.", b"Li is away today"], "printable text"),
        (Column("it", "bytea", Placement.HASHED), [*HASHES, b"short"], "one length"),
        (Column("it", "bytea", Placement.HASHED), [b"a display name of any length"], "one length"),
        (envelope("bytea"), [b"whatever"], "nothing says how to check"),
        (Column("proj", "bytea", Placement.ENVELOPE), [b'{"name":"Courtyard"}'], "no projection"),
    ],
)
def test_what_could_be_a_word_does_not(column: Column, values: list[Any], why: str) -> None:
    assert why in str(wrong_column(column, values, NOW))


def test_words_behind_a_first_byte_that_is_none_are_told_by_their_letters() -> None:
    values = [UUID(bytes=id.bytes[:4] + b"\xff" + bytes(RANDOM.choices(b"etaoin shrdlu", k=11))) for id in IDS[:40]]
    assert "not random" in str(wrong_column(envelope("uuid"), values, NOW))


def test_a_projection_passes() -> None:
    value = projection.encode(Projection.created(Create(version=12), REFS[0], 1))  # type: ignore[arg-type]
    assert wrong_column(Column("proj", "bytea", Placement.ENVELOPE), [value], NOW) is None
