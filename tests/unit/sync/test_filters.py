import time

import msgspec
import pytest

from hutong.errors import BadParam, MatrixError, NotJson
from hutong.rooms.event_types import MEMBER, MESSAGE, NAME
from hutong.sync.filters import Filter, FilterCache, parse

HASHED = -12345


def filter_of(**body: object) -> Filter:
    return parse(msgspec.json.encode(body))


def test_without_types_every_code_passes() -> None:
    rule = filter_of().timeline.types
    assert rule.all
    assert rule.codes is None
    assert rule.admits_code(MESSAGE)


def test_a_wildcard_selects_codes_and_texts() -> None:
    rule = filter_of(room={"timeline": {"types": ["m.room.*"], "not_types": ["m.room.mem*r"]}}).timeline.types
    assert rule.admits_code(MESSAGE) is True
    assert rule.admits_code(MEMBER) is False
    assert rule.admits_code(HASHED) is None  # type: ignore[arg-type]
    assert rule.admits("m.room.custom")
    assert not rule.admits("m.reaction")
    assert NAME in (rule.codes or [])
    assert MEMBER not in (rule.codes or [])


def test_an_asterisk_is_the_only_special_character() -> None:
    rule = filter_of(room={"state": {"types": ["a.b[c]+*"]}}).state.types
    assert rule.admits("a.b[c]+ and more")
    assert not rule.admits("aXb[c]+")


def test_an_empty_list_of_types_lets_nothing_pass() -> None:
    matcher = filter_of(room={"timeline": {"types": []}}).timeline
    assert matcher.nothing
    assert not matcher.admits("m.room.message", "@a:x", b"{}")


def test_exclusion_wins_over_inclusion() -> None:
    matcher = filter_of(room={"timeline": {"senders": ["@a:x", "@b:x"], "not_senders": ["@a:x"]}}).timeline
    assert not matcher.admits("m.room.message", "@a:x", b"{}")
    assert matcher.admits("m.room.message", "@b:x", b"{}")
    assert not matcher.admits("m.room.message", "@c:x", b"{}")


@pytest.mark.parametrize(
    ("contains", "content", "passes"),
    [
        (True, b'{"url":"mxc://x/y"}', True),
        (True, b'{"url":1}', True),
        (True, b'{"\\u0075rl":"mxc://x/y"}', True),
        (True, b'{"body":"\\"url\\""}', False),
        (True, b'{"a":{"url":"mxc://x/y"}}', False),
        (False, b'{"url":"mxc://x/y"}', False),
        (False, b"{}", True),
    ],
)
def test_contains_url_looks_at_the_top_of_the_content(contains: bool, content: bytes, passes: bool) -> None:
    matcher = filter_of(room={"timeline": {"contains_url": contains}}).timeline
    assert matcher.admits("m.room.message", "@a:x", content) is passes


def test_rooms_can_be_chosen_and_left_out() -> None:
    chosen = filter_of(room={"rooms": ["!a:x", "!b:x"], "not_rooms": ["!a:x"]})
    assert [chosen.admits_room(room) for room in ("!a:x", "!b:x", "!c:x")] == [False, True, False]


def test_the_limit_has_a_default_and_a_maximum() -> None:
    assert filter_of().limit == 10
    assert filter_of(room={"timeline": {"limit": 3}}).limit == 3
    assert filter_of(room={"timeline": {"limit": 10**6}}).limit == 100


def test_event_fields_keep_what_they_name() -> None:
    cut = filter_of(event_fields=["content.body", "content.m\\.relates_to.rel_type", "nothing.here"]).cut
    event = b'{"type":"t","content":{"body":"b","more":1,"m.relates_to":{"rel_type":"r","x":2}},"unsigned":{"age":1}}'
    kept = {"type": "t", "content": {"body": "b", "m.relates_to": {"rel_type": "r"}}}
    assert msgspec.json.decode(cut(event)) == kept


def test_an_event_stays_as_it_is_without_event_fields() -> None:
    event = b'{"type":"t"}'
    assert filter_of().cut(event) is event


@pytest.mark.parametrize(
    ("text", "errcode", "field"),
    [
        ('{"room":', "M_NOT_JSON", "filter"),
        ("[]", "M_BAD_JSON", "filter"),
        ('{"room":{"timeline":{"limit":-1}}}', "M_BAD_JSON", "limit"),
        ('{"room":{"timeline":{"types":"m.room.message"}}}', "M_BAD_JSON", "types"),
        ('{"room":{"timeline":{"senders":["alice"]}}}', "M_BAD_JSON", "senders"),
        ('{"room":{"rooms":["#a:x"]}}', "M_BAD_JSON", "rooms"),
        ('{"event_format":"xml"}', "M_BAD_JSON", "event_format"),
        ("[" * 100_000, "M_BAD_JSON", "filter"),
    ],
)
def test_a_bad_filter_is_refused_by_the_name_of_its_field(text: str, errcode: str, field: str) -> None:
    with pytest.raises(MatrixError, match=field) as refused:
        parse(text)
    assert refused.value.errcode == errcode


def test_a_filter_is_read_once() -> None:
    cache = FilterCache(filters_max=2)
    first = cache.get("{}")
    assert cache.get("{}") is first
    cache.get('{"room":{}}')
    cache.get('{"room":{"state":{}}}')
    assert cache.get("{}") is not first


def test_an_endless_filter_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadParam, match="filter: is longer"):
        FilterCache().get(" " * 70_000)
    with pytest.raises(NotJson):
        FilterCache().get("x")


def test_a_pattern_that_fits_nearly_everywhere_is_answered_at_once() -> None:
    types = ["*a" * 60 + "*b"]
    matcher = filter_of(room={"timeline": {"types": types}}).timeline
    begun = time.perf_counter()
    assert not matcher.admits("a" * 255, "@a:x", b"{}")
    assert time.perf_counter() - begun < 1
