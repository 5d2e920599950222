"""What a room alias is. Matrix appendices, "Room Aliases"."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.directory.alias import Alias, canonical_aliases, local_alias, parse_alias
from hutong.errors import BadJson, BadParam

localparts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=":\0"), min_size=1, max_size=40)


@given(localparts, st.sampled_from(["cn.localhost", "cn.localhost:8448", "[::1]:8448"]))
def test_an_alias_is_what_its_parts_are(localpart: str, server: str) -> None:
    alias = parse_alias(f"#{localpart}:{server}")
    assert alias == Alias(localpart, server) == local_alias(localpart, server, "room_alias_name")
    assert parse_alias(str(alias)) == alias


@given(st.text(max_size=300))
def test_any_text_is_an_alias_or_refused(text: str) -> None:
    try:
        alias = parse_alias(text, "here")
    except BadParam:
        with pytest.raises(BadParam, match=r"^here: "):
            parse_alias(text, "here")
    else:
        assert str(alias) == text
        assert len(text.encode()) <= 255


def test_255_bytes_are_enough() -> None:
    assert len(str(parse_alias("#" + "a" * 241 + ":cn.localhost"))) == 255
    for text in ("a" * 242, "花" * 81):
        with pytest.raises(BadParam, match="255 bytes"):
            parse_alias(f"#{text}:cn.localhost")


@pytest.mark.parametrize("localpart", ["", "a:b", "a\0", "\ud800", "a" * 300])
def test_what_is_no_local_part(localpart: str) -> None:
    with pytest.raises(BadParam, match="room_alias_name"):
        local_alias(localpart, "cn.localhost", "room_alias_name")


def test_the_aliases_that_an_event_names() -> None:
    lane, home = Alias("lane", "cn.localhost"), Alias("home", "ru.localhost")
    assert canonical_aliases({}) == {}
    assert canonical_aliases({"alias": None, "alt_aliases": None}) == {}
    assert canonical_aliases({"alias": ""}) == {}
    assert canonical_aliases({"alias": str(lane), "alt_aliases": [str(home), str(lane)]}) == {
        "alias": lane, "alt_aliases[0]": home, "alt_aliases[1]": lane,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "error", "field"),
    [
        ({"alias": 7}, BadJson, "alias"),
        ({"alias": "lane"}, BadParam, "alias"),
        ({"alt_aliases": "#lane:cn.localhost"}, BadJson, "alt_aliases"),
        ({"alt_aliases": [None]}, BadJson, r"alt_aliases\[0\]"),
        ({"alt_aliases": [""]}, BadParam, r"alt_aliases\[0\]"),
        ({"alt_aliases": ["#a:b"] * 101}, BadParam, "alt_aliases"),
    ],
)
def test_an_event_that_names_something_else(content: dict[str, object], error: type[Exception], field: str) -> None:
    with pytest.raises(error, match=field):
        canonical_aliases(content)
