"""What the list shows of a room, whatever its members have written into it."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong.directory.entry import SHOWN, entry
from hutong.ids import MemberRef, RegionNo, TypeCode
from hutong.rooms.event_types import (
    AVATAR,
    CANONICAL_ALIAS,
    CREATE,
    NAME,
    TOPIC,
    GuestAccess,
    HistoryVisibility,
    JoinRule,
)
from hutong.rooms.projection import Create, GuestRule, HistoryRule, JoinRules, Projection

BARE = Projection.created(Create(version=12), MemberRef(1), RegionNo(1))
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["name", "topic", "m.topic", "m.text", "alias", "url", "type", "mimetype", "body"])
contents = st.dictionaries(st.sampled_from(SHOWN), st.dictionaries(keys, json | st.dictionaries(keys, json)))


@given(contents)
def test_whatever_is_written_an_entry_is_as_the_specification_says(said: dict[TypeCode, dict[str, Any]]) -> None:
    shown = entry("!room", 1, BARE, said)
    for text in (shown.name, shown.topic, shown.room_type):
        assert text != ""
    assert shown.avatar_url is None or shown.avatar_url.startswith("mxc://")
    assert shown.canonical_alias is None or re.fullmatch(r"#[^:]+:.+", shown.canonical_alias, re.DOTALL)


def test_what_governs_the_room() -> None:
    bare = entry("!room", 3, BARE, {})
    assert (bare.join_rule, bare.world_readable, bare.guest_can_join) == ("invite", False, False)
    open_room = BARE.apply(JoinRules(rule=JoinRule.KNOCK_RESTRICTED))
    open_room = open_room.apply(HistoryRule(visibility=HistoryVisibility.WORLD_READABLE))
    open_room = open_room.apply(GuestRule(access=GuestAccess.CAN_JOIN))
    shown = entry("!room", 3, open_room, {})
    assert (shown.join_rule, shown.world_readable, shown.guest_can_join) == ("knock_restricted", True, True)
    assert (shown.num_joined_members, shown.room_id) == (3, "!room")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ({"topic": "plain"}, "plain"),
        ({"topic": ""}, None),
        ({"topic": None}, None),
        ({"topic": "old", "m.topic": {"m.text": [{"body": "new"}]}}, "new"),
        ({"topic": "old", "m.topic": {"m.text": [{"body": "<i>", "mimetype": "text/html"}, {"body": "new"}]}}, "new"),
        ({"m.topic": {"m.text": [{"body": "<i>", "mimetype": "text/html"}]}}, None),
        ({"topic": "old", "m.topic": "broken"}, "old"),
        ({"topic": "x" * 3_000}, "x" * 2_000),
    ],
)
def test_the_topic_is_the_plain_one(content: dict[str, Any], shown: str | None) -> None:
    assert entry("!room", 1, BARE, {TOPIC: content}).topic == shown


def test_long_and_broken_texts_keep_a_page_small() -> None:
    said: dict[TypeCode, dict[str, Any]] = {
        NAME: {"name": "n" * 9_000},
        AVATAR: {"url": "https://example.org/picture"},
        CANONICAL_ALIAS: {"alias": "no alias"},
        CREATE: {"type": "t" * 9_000},
    }
    shown = entry("!room", 1, BARE, said)
    assert (len(shown.name or ""), len(shown.room_type or "")) == (500, 255)
    assert (shown.avatar_url, shown.canonical_alias) == (None, None)
