"""What is searched for: which strings, and in which forms."""

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from hutong.residency.markers import (
    MARKER_BYTES_MIN,
    PART_BYTES,
    PARTS_MAX,
    Kind,
    Marker,
    base64_phases,
    needles,
    parts,
)


@given(st.binary(min_size=MARKER_BYTES_MIN, max_size=100), st.binary(max_size=20), st.binary(max_size=20))
def test_one_of_the_phases_is_in_every_base64(text: bytes, before: bytes, after: bytes) -> None:
    encoded = base64.b64encode(before + text + after)
    assert any(phase in encoded for phase in base64_phases(text))
    assert all(len(phase) >= len(text) for phase in base64_phases(text))


@given(st.text(max_size=400))
def test_parts_are_pieces_of_the_text_with_its_beginning_and_its_end(text: str) -> None:
    whole = text.encode("utf-8", "surrogatepass")
    pieces = list(parts(text))
    assert 1 <= len(pieces) <= PARTS_MAX
    assert whole.startswith(pieces[0])
    assert whole.endswith(pieces[-1])
    assert all(piece in whole and len(piece) <= PART_BYTES for piece in pieces)


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
