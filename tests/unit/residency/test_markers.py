"""What is searched for: which strings, and in which forms."""

import base64
import hashlib
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from hutong.residency.markers import (
    MARKER_BYTES_MIN,
    PART_BYTES,
    Control,
    Kind,
    Marker,
    base64_phases,
    choose,
    needles,
    parts,
    provable,
)


@given(st.binary(min_size=MARKER_BYTES_MIN, max_size=100), st.binary(max_size=20), st.binary(max_size=20))
def test_one_of_the_phases_is_in_every_base64(text: bytes, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + text + after)
    assert any(phase in encoded for phase in base64_phases(text))
    assert all(len(phase) >= len(text) for phase in base64_phases(text))


@given(st.text(max_size=400))
def test_parts_cover_the_text_and_begin_with_its_ends(text: str) -> None:
    whole = text.encode("utf-8", "surrogatepass")
    pieces = parts(text)
    assert whole.startswith(pieces[0])
    assert whole.endswith(pieces[min(1, len(pieces) - 1)])
    assert all(piece in whole and len(piece) <= PART_BYTES for piece in pieces)
    assert len(pieces) == max(1, -(-len(whole) // PART_BYTES))


@given(st.integers(0, 1_000), st.integers(0, 2_000))
def test_an_excerpt_of_twice_the_size_holds_a_part(start: int, seed: int) -> None:
    text = Random(seed).randbytes(1_000).hex()
    excerpt = text[start : start + 2 * PART_BYTES - 1].encode()
    assert any(part in excerpt for part in parts(text))


def test_when_there_are_too_many_people_come_first_and_every_text_keeps_its_beginning() -> None:
    content = [
        Marker(Kind.CONTENT, "cn", part, rank=rank)
        for number in range(10)
        for rank, part in enumerate(parts(f"{number} " + "a long letter to the family, " * 20))
    ]
    people = [Marker(Kind.USER_ID, "cn", b"@li:cn.localhost"), Marker(Kind.NAME, "cn", b"Li of the old plum tree")]
    chosen = choose([*content, *people], 12)
    assert chosen[:2] == people
    assert {marker.text[:1] for marker in chosen[2:]} == {b"%d" % number for number in range(10)}


def test_a_record_proves_all_that_it_opens_to() -> None:
    first, second = (Control(bytes((number,)) * 16, "content", "body", bytes(16)) for number in (1, 2))
    markers = [
        Marker(Kind.CONTENT, "cn", b"said once, and said", (first,)),
        Marker(Kind.CONTENT, "cn", b"said twice, by both", (second, first)),
        Marker(Kind.CONTENT, "cn", b"said by the second.", (second,)),
        Marker(Kind.GIVEN, "", b"said by nobody at all"),
    ]
    assert provable(markers, 9) == (markers, {("cn", first.piece), ("cn", second.piece)})
    assert provable(markers, 1) == ([markers[0], markers[1], markers[3]], {("cn", first.piece)})


def test_a_short_name_is_not_searched_and_a_short_user_id_is() -> None:
    assert needles([Marker(Kind.NAME, "cn", b"Wang Xiu Ying")]) == {}
    assert b"@li:cn.localhost" in needles([Marker(Kind.USER_ID, "cn", b"@li:cn.localhost")])
    assert b"@li:eu" in needles([Marker(Kind.USER_ID, "eu", b"@li:eu")])


def test_a_name_is_searched_folded_and_hashed() -> None:
    name = "Élodie Saint-Exupéry"
    forms = needles([Marker(Kind.NAME, "eu", name.encode())])
    assert {name.casefold().encode(), name.upper().encode()} <= forms.keys()
    assert hashlib.md5(name.encode()).hexdigest().encode() in forms
    assert hashlib.sha256(name.encode()).digest() in forms


def test_markers_with_the_same_form_are_both_found() -> None:
    forms = needles(
        [Marker(Kind.NAME, "cn", b"A name of two people"), Marker(Kind.NAME, "eu", b"A name of two people")]
    )
    assert [needle.marker for needle in forms[b"A name of two people"]] == [0, 1]
