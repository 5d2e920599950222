"""POST /createRoom, option by option: what each of them puts into the room, in which order, and how each is refused.

The table follows create_room.yaml from top to bottom. Client-Server API v1.19, "Creation".
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import Newcomer
from tests.support.client import Client, Json, Refused, path, refused

NUMBERS = itertools.count(1)
REGIONS = {"ALICE": "cn", "BOB": "eu", "CAROL": "ru"}
POWER = "m.room.power_levels"
LEVELS: Json = {
    "users": {},
    "users_default": 0,
    "events": {
        "m.room.name": 50,
        "m.room.avatar": 50,
        "m.room.canonical_alias": 50,
        "m.room.power_levels": 100,
        "m.room.history_visibility": 100,
        "m.room.server_acl": 100,
        "m.room.encryption": 100,
        "m.room.tombstone": 150,
    },
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "kick": 50,
    "redact": 50,
    "invite": 0,
}
GATE = {"type": "org.example.gate", "state_key": "east", "content": {"open": True}}
PLAIN_TOPIC = {"topic": "koi", "m.topic": {"m.text": [{"body": "koi", "mimetype": "text/plain"}]}}
HEAD = ["m.room.create", "m.room.member", POWER]
PRESET = ["m.room.join_rules", "m.room.history_visibility", "m.room.guest_access"]


@dataclass(frozen=True)
class Row:
    """`holds`: content by type; None: there is no such event. `order`: all types, where that is the point.

    ALICE, BOB and CAROL in a text stand for their user ids, NAME for a local part that nobody has taken.
    """

    option: str
    options: Json
    holds: Json = field(default_factory=dict)
    order: list[str] | None = None


TABLE = [
    Row("nothing at all", {}, {"m.room.create": {"room_version": "12"}, POWER: LEVELS}, [*HEAD, *PRESET]),
    Row(
        "visibility: public",
        {"visibility": "public"},
        {"m.room.join_rules": {"join_rule": "public"}, "m.room.guest_access": {"guest_access": "forbidden"}},
    ),
    Row("visibility: private", {"visibility": "private"}, {"m.room.join_rules": {"join_rule": "invite"}}),
    Row(
        "visibility beside a preset decides nothing but the list",
        {"visibility": "public", "preset": "private_chat"},
        {"m.room.join_rules": {"join_rule": "invite"}},
    ),
    Row(
        "room_alias_name",
        {"room_alias_name": "NAME"},
        {"m.room.canonical_alias": {"alias": "#NAME:cn.localhost"}},
        [*HEAD, "m.room.canonical_alias", *PRESET],
    ),
    Row("name", {"name": "Lane"}, {"m.room.name": {"name": "Lane"}}, [*HEAD, *PRESET, "m.room.name"]),
    Row("an empty name", {"name": ""}, {"m.room.name": {"name": ""}}),
    Row(
        "name stands for that of initial_state",
        {"name": "Lane", "initial_state": [{"type": "m.room.name", "content": {"name": "Street"}}, GATE]},
        {"m.room.name": {"name": "Lane"}},
        [*HEAD, *PRESET, "org.example.gate", "m.room.name"],
    ),
    Row("topic", {"topic": "koi"}, {"m.room.topic": PLAIN_TOPIC}, [*HEAD, *PRESET, "m.room.topic"]),
    Row(
        "topic stands for that of initial_state",
        {"topic": "koi", "initial_state": [{"type": "m.room.topic", "content": {"topic": "carp"}}]},
        {"m.room.topic": PLAIN_TOPIC},
        [*HEAD, *PRESET, "m.room.topic"],
    ),
    Row(
        "invite",
        {"invite": ["BOB", "CAROL", "BOB"]},
        {"m.room.member/BOB": {"membership": "invite"}, "m.room.member/CAROL": {"membership": "invite"}},
        [*HEAD, *PRESET, "m.room.member", "m.room.member"],
    ),
    Row(
        "is_direct",
        {"invite": ["BOB"], "is_direct": True},
        {"m.room.member/BOB": {"membership": "invite", "is_direct": True}},
    ),
    Row("is_direct: false", {"invite": ["BOB"], "is_direct": False}, {"m.room.member/BOB": {"membership": "invite"}}),
    Row("nobody by third party", {"invite_3pid": []}, {}, [*HEAD, *PRESET]),
    Row(
        "room_version: 10",
        {"room_version": "10"},
        {
            "m.room.create": {"room_version": "10", "creator": "ALICE"},
            POWER: {**LEVELS, "users": {"ALICE": 100}, "events": {**LEVELS["events"], "m.room.tombstone": 100}},
        },
    ),
    Row(
        "room_version: 11",
        {"room_version": "11"},
        {
            "m.room.create": {"room_version": "11"},
            POWER: {**LEVELS, "users": {"ALICE": 100}, "events": {**LEVELS["events"], "m.room.tombstone": 100}},
        },
    ),
    Row(
        "creation_content",
        {
            "creation_content": {
                "m.federate": False,
                "type": "org.example.game",
                "org.example.key": [1, {"a": None}],
                "creator": "BOB",
                "room_version": "1",
            }
        },
        {
            "m.room.create": {
                "room_version": "12",
                "m.federate": False,
                "type": "org.example.game",
                "org.example.key": [1, {"a": None}],
            }
        },
    ),
    Row(
        "creation_content: predecessor",
        {
            "creation_content": {
                "predecessor": {"room_id": "!AAAAAAAAAAAAAAAAAAAAAA", "event_id": "$AAAAAAAAAAAAAAAAAAAAAA"}
            }
        },
        {
            "m.room.create": {
                "room_version": "12",
                "predecessor": {"room_id": "!AAAAAAAAAAAAAAAAAAAAAA", "event_id": "$AAAAAAAAAAAAAAAAAAAAAA"},
            }
        },
    ),
    Row(
        "creation_content: additional_creators",
        {"creation_content": {"additional_creators": ["BOB"]}, "invite": ["BOB"]},
        {
            "m.room.create": {"room_version": "12", "additional_creators": ["BOB"]},
            POWER: LEVELS,
            "m.room.member/BOB": {"membership": "invite"},
        },
    ),
    Row(
        "creation_content: additional_creators before version 12 say nothing, and are kept",
        {"creation_content": {"additional_creators": "whatever"}, "room_version": "11"},
        {"m.room.create": {"room_version": "11", "additional_creators": "whatever"}},
    ),
    Row(
        "initial_state, each in its place, in the order listed",
        {
            "initial_state": [
                GATE,
                {"type": "m.room.avatar", "content": {"url": "mxc://cn.localhost/a"}},
                {"type": "org.example.gate", "state_key": "west", "content": {}},
                {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}},
            ]
        },
        {"m.room.avatar": {"url": "mxc://cn.localhost/a"}, "org.example.gate/east": {"open": True}},
        [*HEAD, *PRESET, "org.example.gate", "m.room.avatar", "org.example.gate", "m.room.encryption"],
    ),
    Row(
        "initial_state stands for the preset's, in the place where it is listed",
        {
            "preset": "public_chat",
            "initial_state": [GATE, {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}],
        },
        {"m.room.join_rules": {"join_rule": "knock"}, "m.room.guest_access": {"guest_access": "forbidden"}},
        [*HEAD, *PRESET[1:], "org.example.gate", "m.room.join_rules"],
    ),
    Row(
        "initial_state with the same twice: both are said, the last holds",
        {"initial_state": [GATE, {**GATE, "content": {"open": False}}]},
        {"org.example.gate/east": {"open": False}},
        [*HEAD, *PRESET, "org.example.gate", "org.example.gate"],
    ),
    Row(
        "initial_state with power levels comes after the usual ones",
        {"initial_state": [{"type": POWER, "content": {"events_default": 7}}]},
        {POWER: {"events_default": 7}},
        [*HEAD, *PRESET, POWER],
    ),
    Row(
        "initial_state under one's own user id",
        {"initial_state": [{"type": "org.example.desk", "state_key": "ALICE", "content": {"lamp": 1}}]},
        {"org.example.desk/ALICE": {"lamp": 1}},
    ),
    Row(
        "initial_state with the canonical alias of this very room",
        {
            "room_alias_name": "NAME",
            "initial_state": [
                {"type": "m.room.canonical_alias", "content": {"alt_aliases": ["#NAME:cn.localhost"]}},
            ],
        },
        {"m.room.canonical_alias": {"alt_aliases": ["#NAME:cn.localhost"]}},
        [*HEAD, "m.room.canonical_alias", *PRESET, "m.room.canonical_alias"],
    ),
    *(
        Row(
            f"preset: {preset}",
            {"preset": preset},
            {
                "m.room.join_rules": {"join_rule": rule},
                "m.room.history_visibility": {"history_visibility": "shared"},
                "m.room.guest_access": {"guest_access": guests},
                POWER: {**LEVELS, "invite": invite},
            },
        )
        for preset, rule, guests, invite in (
            ("private_chat", "invite", "can_join", 0),
            ("trusted_private_chat", "invite", "can_join", 0),
            ("public_chat", "public", "forbidden", 50),
        )
    ),
    Row(
        "preset: trusted_private_chat makes those invited creators as well",
        {
            "preset": "trusted_private_chat",
            "invite": ["BOB", "CAROL"],
            "creation_content": {"additional_creators": ["CAROL"]},
        },
        {"m.room.create": {"room_version": "12", "additional_creators": ["CAROL", "BOB"]}, POWER: LEVELS},
    ),
    Row(
        "preset: trusted_private_chat before version 12 gives them the creator's level",
        {"preset": "trusted_private_chat", "invite": ["BOB"], "room_version": "11"},
        {
            "m.room.create": {"room_version": "11"},
            POWER: {
                **LEVELS,
                "users": {"ALICE": 100, "BOB": 100},
                "events": {**LEVELS["events"], "m.room.tombstone": 100},
            },
        },
    ),
    Row(
        "power_level_content_override is put on top, key by key",
        {"power_level_content_override": {"events_default": 30, "users": {"BOB": 50}, "events": {"m.room.name": 0}}},
        {POWER: {**LEVELS, "events_default": 30, "users": {"BOB": 50}, "events": {"m.room.name": 0}}},
    ),
    Row(
        "everything at once",
        {
            "visibility": "public",
            "room_alias_name": "NAME",
            "name": "Lane",
            "topic": "koi",
            "invite": ["BOB"],
            "room_version": "12",
            "creation_content": {"type": "m.space"},
            "initial_state": [GATE],
            "preset": "public_chat",
            "is_direct": True,
            "power_level_content_override": {"invite": 0},
        },
        {"m.room.create": {"room_version": "12", "type": "m.space"}, POWER: LEVELS},
        [
            *HEAD,
            "m.room.canonical_alias",
            *PRESET,
            "org.example.gate",
            "m.room.name",
            "m.room.topic",
            "m.room.member",
        ],
    ),
]


def named(value: Any, names: dict[str, str]) -> Any:
    """`value` with what stands for a name put in its place."""
    if isinstance(value, dict):
        return {named(key, names): named(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [named(inner, names) for inner in value]
    if isinstance(value, str):
        for word, name in names.items():
            value = value.replace(word, name)
    return value


@pytest.fixture(scope="module")
async def people(newcomer: Newcomer) -> dict[str, Client]:
    """The same three for the whole table: what one row leaves behind is no concern of the next."""
    return {name: await newcomer(name.lower(), region) for name, region in REGIONS.items()}


@pytest.fixture
def alice(people: dict[str, Client]) -> Client:
    return people["ALICE"]


@pytest.fixture
def names(people: dict[str, Client]) -> dict[str, str]:
    return {**{name: person.user_id for name, person in people.items()}, "NAME": f"created-{next(NUMBERS)}"}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.option)
async def test_an_option_of_creation(alice: Client, names: dict[str, str], row: Row) -> None:
    room = await alice.create_room(**named(row.options, names))
    state = await alice.all_state(room)
    for what, content in named(row.holds, names).items():
        type, _, key = what.partition("/")
        assert state[type, key]["content"] == content, what
    if row.order is not None:
        assert [event["type"] for event in await alice.history(room, "f", page=100)] == row.order


@pytest.mark.parametrize(
    ("options", "errcode", "field"),
    [
        ({"visibility": "secret"}, "M_INVALID_PARAM", "visibility"),
        ({"visibility": None}, "M_BAD_JSON", "visibility"),
        ({"room_alias_name": ""}, "M_INVALID_PARAM", "room_alias_name"),
        ({"room_alias_name": "#NAME:cn.localhost"}, "M_INVALID_PARAM", "room_alias_name"),
        ({"room_alias_name": "a\0b"}, "M_INVALID_PARAM", "room_alias_name"),
        ({"room_alias_name": "a" * 250}, "M_INVALID_PARAM", "room_alias_name"),
        ({"room_alias_name": 7}, "M_BAD_JSON", "room_alias_name"),
        ({"name": ["Lane"]}, "M_BAD_JSON", "name"),
        ({"name": "x" * 10_001}, "M_INVALID_PARAM", "name"),
        ({"topic": "x" * 10_001}, "M_INVALID_PARAM", "topic"),
        ({"invite": "BOB"}, "M_BAD_JSON", "invite"),
        ({"invite": ["BOB", "bob"]}, "M_INVALID_PARAM", "invite[1]"),
        ({"invite": ["@bob:matrix.example"]}, "M_INVALID_PARAM", "invite[0]: matrix.example"),
        ({"invite": ["@nobody-has-this:eu.localhost"]}, "M_INVALID_PARAM", "invite[0]"),
        ({"invite": ["ALICE"]}, "M_INVALID_PARAM", "invite[0]"),
        ({"invite": ["BOB"] * 101}, "M_INVALID_PARAM", "invite"),
        (
            {
                "invite_3pid": [
                    {"id_server": "x.example", "id_access_token": "t", "medium": "email", "address": "a@b.example"}
                ]
            },
            "M_THREEPID_DENIED",
            "invite_3pid",
        ),
        ({"room_version": "1"}, "M_UNSUPPORTED_ROOM_VERSION", "room_version"),
        ({"room_version": 12}, "M_BAD_JSON", "room_version"),
        ({"creation_content": []}, "M_BAD_JSON", "creation_content"),
        ({"creation_content": {"m.federate": 1}}, "M_BAD_JSON", "creation_content.m.federate"),
        ({"creation_content": {"type": 1}}, "M_BAD_JSON", "creation_content.type"),
        ({"creation_content": {"predecessor": "!a"}}, "M_BAD_JSON", "creation_content.predecessor"),
        ({"creation_content": {"predecessor": {}}}, "M_BAD_JSON", "creation_content.predecessor"),
        (
            {"creation_content": {"additional_creators": "BOB"}},
            "M_BAD_JSON",
            "creation_content.additional_creators",
        ),
        (
            {"creation_content": {"additional_creators": ["bob"]}},
            "M_BAD_JSON",
            "creation_content.additional_creators[0]",
        ),
        ({"initial_state": {}}, "M_BAD_JSON", "initial_state"),
        ({"initial_state": [{"content": {}}]}, "M_MISSING_PARAM", "initial_state[0].type"),
        ({"initial_state": [{"type": "a"}]}, "M_MISSING_PARAM", "initial_state[0].content"),
        ({"initial_state": [GATE, {"type": "m.room.create", "content": {}}]}, "M_BAD_JSON", "initial_state[1].type"),
        (
            {"initial_state": [{"type": "m.room.member", "state_key": "BOB", "content": {"membership": "ban"}}]},
            "M_BAD_JSON",
            "initial_state[0].type",
        ),
        (
            {"initial_state": [{"type": "a", "state_key": "BOB", "content": {}}]},
            "M_INVALID_PARAM",
            "initial_state[0].state_key",
        ),
        (
            {"initial_state": [{"type": "m.room.join_rules", "state_key": "x", "content": {"join_rule": "public"}}]},
            "M_INVALID_PARAM",
            "initial_state[0].state_key",
        ),
        (
            {"initial_state": [GATE, {"type": "m.room.join_rules", "content": {"join_rule": "shut"}}]},
            "M_BAD_JSON",
            "initial_state[1].content.join_rule",
        ),
        (
            {"initial_state": [{"type": "m.room.canonical_alias", "content": {"alias": "#lane:cn.localhost"}}]},
            "M_BAD_ALIAS",
            "initial_state[0].content.alias",
        ),
        ({"initial_state": [GATE] * 51}, "M_INVALID_PARAM", "initial_state"),
        ({"preset": "secret_chat"}, "M_INVALID_PARAM", "preset"),
        ({"is_direct": "yes"}, "M_BAD_JSON", "is_direct"),
        (
            {"power_level_content_override": {"ban": "50"}},
            "M_BAD_JSON",
            "power_level_content_override.ban",
        ),
        ({"power_level_content_override": 7}, "M_BAD_JSON", "power_level_content_override"),
        # The rules of the room itself: a creator of version 12 stands in no list of levels.
        ({"power_level_content_override": {"users": {"ALICE": 100}}}, "M_INVALID_ROOM_STATE", ""),
        # Below what it takes to set what the preset sets.
        (
            {"room_version": "11", "power_level_content_override": {"users": {"ALICE": 50}, "state_default": 70}},
            "M_INVALID_ROOM_STATE",
            "m.room.join_rules",
        ),
        (
            {"room_version": "11", "invite": ["BOB"], "power_level_content_override": {"invite": 200}},
            "M_INVALID_ROOM_STATE",
            "invite",
        ),
    ],
    ids=str,
)
async def test_a_creation_that_is_refused_names_its_option_and_leaves_nothing(
    alice: Client, names: dict[str, str], options: Json, errcode: str, field: str
) -> None:
    before = await alice.joined_rooms()
    wanted = {"room_alias_name": "NAME", "visibility": "public", "name": f"Lane {names['NAME']}"} | options
    with refused(errcode, naming=field, status=403 if errcode == "M_THREEPID_DENIED" else 400):
        await alice.create_room(**named(wanted, names))
    assert await alice.joined_rooms() == before
    gone = await alice.get(path("directory", "room", f"#{names['NAME']}:cn.localhost"))
    assert gone.errcode == "M_NOT_FOUND"
    search = {"filter": {"generic_search_term": names["NAME"]}}
    assert (await alice.ok("POST", "/publicRooms", search))["chunk"] == []


async def test_an_alias_that_is_taken_is_in_use_and_leaves_no_room(alice: Client, names: dict[str, str]) -> None:
    first = await alice.create_room(room_alias_name=names["NAME"])
    before = await alice.joined_rooms()
    for _ in range(2):
        with refused("M_ROOM_IN_USE", naming="room_alias_name", status=400):
            await alice.create_room(room_alias_name=names["NAME"], visibility="public", name=names["NAME"])
    assert await alice.joined_rooms() == before
    alias = f"#{names['NAME']}:cn.localhost"
    assert (await alice.ok("GET", path("directory", "room", alias)))["room_id"] == first
    search = {"filter": {"generic_search_term": names["NAME"]}}
    assert (await alice.ok("POST", "/publicRooms", search))["chunk"] == []


async def test_the_alias_of_a_creation_that_was_refused_is_free(alice: Client, names: dict[str, str]) -> None:
    options = {"room_alias_name": names["NAME"], "room_version": "11", "name": "Lane"}
    with pytest.raises(Refused):
        await alice.create_room(**options, power_level_content_override={"users": {alice.user_id: 0}})
    room = await alice.create_room(**options)
    assert (await alice.ok("GET", path("rooms", room, "aliases"))) == {"aliases": [f"#{names['NAME']}:cn.localhost"]}


async def test_the_visibility_of_a_creation_is_that_in_the_list(alice: Client) -> None:
    for visibility in ("public", "private"):
        room = await alice.create_room(visibility=visibility, preset="private_chat")
        assert await alice.ok("GET", path("directory", "list", "room", room)) == {"visibility": visibility}
