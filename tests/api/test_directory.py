"""Aliases and the list of published rooms. Client-Server API v1.19, "Room aliases", "Published room directory"."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hutong.ids import CellNo
from tests.conftest import Newcomer
from tests.support.client import Answer, Client, Http, Json, path, refused

if TYPE_CHECKING:
    from hutong.node import Node

NUMBERS = itertools.count(1)
SOON_S = 15.0


def a_name(what: str = "lane") -> str:
    """A local part that no other test of this node has."""
    return f"{what}-{next(NUMBERS)}"


def alias_of(person: Client, name: str) -> str:
    return f"#{name}:{person.region}.localhost"


async def give(person: Client, alias: str, room: str) -> None:
    await person.ok("PUT", path("directory", "room", alias), {"room_id": room})


async def resolved(person: Client, alias: str) -> str:
    return str((await person.ok("GET", path("directory", "room", alias)))["room_id"])


async def take(person: Client, alias: str) -> None:
    await person.ok("DELETE", path("directory", "room", alias))


async def aliases(person: Client, room: str) -> list[str]:
    return list((await person.ok("GET", path("rooms", room, "aliases")))["aliases"])


async def publish(person: Client, room: str, visibility: str = "public") -> None:
    await person.ok("PUT", path("directory", "list", "room", room), {"visibility": visibility})


async def listed(person: Client, term: str, **query: Any) -> list[Json]:
    body = await person.ok("POST", "/publicRooms", {"filter": {"generic_search_term": term}}, query=query)
    return list(body["chunk"])


@contextmanager
def cut(node: "Node", region: str) -> Iterator[None]:
    """Nobody reaches `region`, and it reaches nobody."""
    number = CellNo(node.config.region(region).number * 256)
    ways = [way for other in node.cells if other != number for way in ((number, other), (other, number))]
    for way in ways:
        node.link.faults[way].cut = True
    try:
        yield
    finally:
        for way in ways:
            node.link.faults[way].cut = False


@asynccontextmanager
async def soon(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(SOON_S):
            yield
    except TimeoutError:
        raise AssertionError(f"not within {SOON_S:.0f} s: {what}") from None


# --- aliases ----------------------------------------------------------------------------------------------------------


async def test_an_alias_leads_everybody_to_its_room(alice: Client, bob: Client, carol: Client, http: Http) -> None:
    room = await alice.create_room(preset="public_chat")
    alias = alias_of(alice, a_name("сад 花园"))
    await give(alice, alias, room)
    for person in (alice, bob, carol):
        assert await resolved(person, alias) == room
    anybody = await http.request("GET", path("directory", "room", alias))
    assert anybody == (200, {"room_id": room, "servers": ["cn.localhost"]})
    assert await aliases(alice, room) == [alias]


async def test_a_room_is_joined_by_its_alias_from_abroad(alice: Client, bob: Client) -> None:
    room = await alice.create_room(preset="public_chat", room_version="11")
    alias = alias_of(alice, a_name())
    await give(alice, alias, room)
    assert await bob.ok("POST", path("join", alias), {}) == {"room_id": room}
    assert bob.user_id in await alice.joined_members(room)


async def test_somebody_knocks_by_alias(alice: Client, carol: Client) -> None:
    room = await alice.create_room(
        initial_state=[{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}], room_alias_name=a_name()
    )
    alias = (await alice.get_state(room, "m.room.canonical_alias"))["alias"]
    assert await carol.ok("POST", path("knock", alias), {"reason": "may I?"}) == {"room_id": room}
    assert (await alice.members(room))[carol.user_id] == "knock"


async def test_an_alias_stands_for_a_room_of_another_region(alice: Client, bob: Client, carol: Client) -> None:
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    alias = alias_of(bob, a_name())
    await give(bob, alias, room)
    assert await resolved(carol, alias) == room
    answer = await carol.ok("GET", path("directory", "room", alias))
    assert answer["servers"] == ["cn.localhost", "eu.localhost"]
    assert await aliases(bob, room) == [alias]
    assert await aliases(alice, room) == [], "each region tells its own"
    await carol.ok("POST", path("join", alias), {})
    assert carol.user_id in await carol.joined_members(room)


async def test_an_alias_stands_for_one_room(alice: Client, newcomer: Newcomer) -> None:
    first, second = await alice.create_room(), await alice.create_room()
    alias = alias_of(alice, a_name())
    await give(alice, alias, first)
    for person, room in ((alice, second), (alice, first)):
        with refused("M_UNKNOWN", naming="stands for a room already", status=409):
            await give(person, alias, room)
    assert await resolved(alice, alias) == first
    await take(alice, alias)
    await give(alice, alias, second)
    assert await resolved(alice, alias) == second


async def test_an_alias_is_compared_letter_by_letter(alice: Client) -> None:
    room = await alice.create_room()
    name = a_name("Lane")
    await give(alice, alias_of(alice, name), room)
    with refused("M_NOT_FOUND", naming="roomAlias", status=404):
        await resolved(alice, alias_of(alice, name.lower()))


async def test_of_two_who_give_an_alias_at_once_one_has_it(alice: Client, newcomer: Newcomer) -> None:
    other = await newcomer("anna", "cn")
    rooms = {person.name: await person.create_room() for person in (alice, other)}
    alias = alias_of(alice, a_name())
    answers = await asyncio.gather(
        *(
            person.put(path("directory", "room", alias), {"room_id": rooms[person.name]})
            for person in (alice, other)
            for _ in range(4)
        )
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert [len(await aliases(person, rooms[person.name])) for person in (alice, other)] in ([0, 1], [1, 0])


async def test_its_creator_takes_an_alias_away_though_they_have_left(alice: Client, bob: Client) -> None:
    room = await alice.create_room(preset="public_chat")
    await bob.join(room)
    alias = alias_of(bob, a_name())
    await give(bob, alias, room)
    await bob.leave(room)
    await take(bob, alias)
    with refused("M_NOT_FOUND", naming="roomAlias", status=404):
        await resolved(alice, alias)
    with refused("M_NOT_FOUND", naming="roomAlias", status=404):
        await take(bob, alias)


async def test_who_may_name_the_room_takes_any_of_its_aliases_away(alice: Client, newcomer: Newcomer) -> None:
    anna, mute = await newcomer("anna", "cn"), await newcomer("mute", "cn")
    room = await alice.create_room(preset="public_chat")
    for person in (anna, mute):
        await person.join(room)
    alias = alias_of(anna, a_name())
    await give(anna, alias, room)
    stranger = await newcomer("ada", "cn")
    for person in (mute, stranger):
        with refused("M_FORBIDDEN", naming="roomAlias", status=403):
            await take(person, alias)
    assert await resolved(alice, alias) == room
    await take(alice, alias)
    with refused("M_NOT_FOUND"):
        await resolved(alice, alias)
    assert await aliases(anna, room) == []


async def test_the_aliases_of_a_room_are_for_its_members_unless_all_may_look(
    alice: Client, bob: Client, newcomer: Newcomer
) -> None:
    room = await alice.create_room(preset="public_chat", room_alias_name=a_name())
    stranger = await newcomer("anna", "cn")
    for person in (stranger, bob):
        with refused("M_FORBIDDEN", status=403):
            await aliases(person, room)
    await alice.set_state(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    assert len(await aliases(stranger, room)) == 1
    assert await aliases(bob, room) == [], "bob's region has none for it"
    with refused("M_FORBIDDEN", status=403):
        await aliases(stranger, "!" + "A" * 22)


@pytest.mark.parametrize(
    ("alias", "naming"),
    [
        ("lane:cn.localhost", "roomAlias"),
        ("#lane", "roomAlias"),
        ("#:cn.localhost", "roomAlias"),
        ("#lane:", "roomAlias"),
        ("!lane:cn.localhost", "roomAlias"),
        ("#la\0ne:cn.localhost", "roomAlias"),
        ("#" + "a" * 242 + ":cn.localhost", "255 bytes"),
        ("#" + "花" * 81 + ":cn.localhost", "255 bytes"),
    ],
)
async def test_what_is_no_alias_is_refused(alice: Client, alias: str, naming: str) -> None:
    room = await alice.create_room()
    asked: list[Answer] = [
        await alice.get(path("directory", "room", alias)),
        await alice.put(path("directory", "room", alias), {"room_id": room}),
        await alice.delete(path("directory", "room", alias)),
        await alice.put(path("rooms", room, "state", "m.room.canonical_alias"), {"alias": alias}),
    ]
    for answer in asked:
        assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM"), answer
    for answer in asked[:3]:
        assert naming in answer.error
    assert "alias:" in asked[3].error
    assert await aliases(alice, room) == []


async def test_an_alias_of_255_bytes_is_one(alice: Client) -> None:
    room, name = await alice.create_room(), a_name("a" * 230)
    alias = alias_of(alice, name.ljust(241, "x"))
    assert len(alias) == 255
    await give(alice, alias, room)
    assert await resolved(alice, alias) == room


async def test_aliases_of_other_servers_are_not_given(alice: Client, bob: Client) -> None:
    room = await alice.create_room(preset="public_chat")
    for server in ("eu.localhost", "matrix.example", "cn.localhost:8448", "CN.localhost"):
        alias = f"#lane:{server}"
        with refused("M_INVALID_PARAM", naming=f"roomAlias: is one of {server}", status=400):
            await give(alice, alias, room)
        with refused("M_INVALID_PARAM", naming=f"roomAlias: is one of {server}", status=400):
            await take(alice, alias)
    with refused("M_NOT_FOUND", naming="matrix.example is another server", status=404):
        await resolved(alice, "#lane:matrix.example")
    assert await aliases(alice, room) == []


async def test_an_alias_for_a_room_that_one_is_not_in_is_refused(alice: Client, bob: Client) -> None:
    room = await alice.create_room(preset="public_chat")
    alias = alias_of(bob, a_name())
    for target, errcode, naming in (
        (room, "M_FORBIDDEN", "not in this room"),
        ("!" + "A" * 22, "M_FORBIDDEN", "not in this room"),
        ("!nothing:matrix.example", "M_INVALID_PARAM", "room_id"),
        ("nothing", "M_INVALID_PARAM", "room_id"),
    ):
        with refused(errcode, naming=naming):
            await give(bob, alias, target)
    answer = await bob.put(path("directory", "room", alias), {})
    assert (answer.errcode, "room_id" in answer.error) == ("M_MISSING_PARAM", True)
    with refused("M_NOT_FOUND"):
        await resolved(bob, alias)


async def test_the_way_of_ids_takes_no_alias(alice: Client, bob: Client) -> None:
    await alice.create_room(preset="public_chat", room_alias_name=(name := a_name()))
    with refused("M_INVALID_PARAM", naming="roomId", status=400):
        await bob.join(alias_of(alice, name))


# --- m.room.canonical_alias -------------------------------------------------------------------------------------------


async def test_a_canonical_alias_must_lead_to_the_room(alice: Client, bob: Client) -> None:
    room, other = await alice.create_room(preset="public_chat"), await alice.create_room()
    here, there, eu = alias_of(alice, a_name()), alias_of(alice, a_name()), alias_of(bob, a_name())
    await give(alice, here, room)
    await give(alice, there, other)
    await bob.join(room)
    await give(bob, eu, room)
    wrong: list[tuple[Json, str]] = [
        ({"alias": there}, "alias"),
        ({"alias": alias_of(alice, "nobody-gave-this")}, "alias"),
        ({"alias": "#lane:matrix.example"}, "alias"),
        ({"alias": here, "alt_aliases": [eu, there]}, "alt_aliases[1]"),
        ({"alt_aliases": ["#lane:matrix.example"]}, "alt_aliases[0]"),
    ]
    for content, field in wrong:
        with refused("M_BAD_ALIAS", naming=f"{field}: #", status=400):
            await alice.set_state(room, "m.room.canonical_alias", content)
    broken: list[tuple[Json, str, str]] = [
        ({"alias": 7}, "M_BAD_JSON", "alias"),
        ({"alt_aliases": here}, "M_BAD_JSON", "alt_aliases"),
        ({"alt_aliases": [None]}, "M_BAD_JSON", "alt_aliases[0]"),
        ({"alt_aliases": ["here"]}, "M_INVALID_PARAM", "alt_aliases[0]"),
        ({"alt_aliases": [here] * 101}, "M_INVALID_PARAM", "alt_aliases"),
    ]
    for content, errcode, field in broken:
        with refused(errcode, naming=field, status=400):
            await alice.set_state(room, "m.room.canonical_alias", content)
    with refused("M_NOT_FOUND"):
        await alice.get_state(room, "m.room.canonical_alias")
    content = {"alias": here, "alt_aliases": [eu]}
    await bob.sees(room, await alice.set_state(room, "m.room.canonical_alias", content))
    assert await bob.get_state(room, "m.room.canonical_alias") == content


async def test_a_deleted_alias_is_canonical_no_more_but_may_be_taken_out(alice: Client) -> None:
    room = await alice.create_room(room_alias_name=(name := a_name()))
    alias = alias_of(alice, name)
    await take(alice, alias)
    with refused("M_BAD_ALIAS", naming="alias"):
        await alice.set_state(room, "m.room.canonical_alias", {"alias": alias})
    for content in ({"alias": None}, {"alias": "", "alt_aliases": None}, {}):
        await alice.set_state(room, "m.room.canonical_alias", content)


# --- the list of published rooms --------------------------------------------------------------------------------------


async def test_an_entry_shows_everything_that_the_list_has_fields_for(alice: Client, bob: Client, http: Http) -> None:
    name = a_name("plaza")
    room = await alice.create_room(
        preset="public_chat",
        visibility="public",
        name=f"The {name}",
        topic="persimmons",
        room_alias_name=name,
        creation_content={"type": "m.space"},
        initial_state=[
            {"type": "m.room.avatar", "content": {"url": "mxc://cn.localhost/abc"}},
            {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}},
            {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
        ],
    )
    await bob.join(room)
    entry = {
        "room_id": room,
        "name": f"The {name}",
        "topic": "persimmons",
        "canonical_alias": alias_of(alice, name),
        "avatar_url": "mxc://cn.localhost/abc",
        "num_joined_members": 2,
        "world_readable": True,
        "guest_can_join": True,
        "join_rule": "public",
        "room_type": "m.space",
    }
    for person in (alice, bob):
        assert await listed(person, name.upper()) == [entry], "in any case, from any region"
    found = await http.request("GET", "/publicRooms", query={"limit": 500})
    assert entry in found.body["chunk"], "anybody may look"
    assert found.body["total_room_count_estimate"] >= len(found.body["chunk"])


async def test_a_bare_room_shows_what_every_entry_has(alice: Client) -> None:
    room = await alice.create_room(preset="private_chat", room_alias_name=(name := a_name("bare")))
    await publish(alice, room)
    (entry,) = await listed(alice, name)
    await alice.set_state(room, "m.room.canonical_alias", {})
    bare = {key: value for key, value in entry.items() if key != "canonical_alias"}
    assert bare == {
        "room_id": room,
        "num_joined_members": 1,
        "world_readable": False,
        "guest_can_join": True,
        "join_rule": "invite",
    }
    assert await listed(alice, name) == [], "an alias that is canonical no more is not searched"


async def test_an_entry_changes_with_its_room(alice: Client, bob: Client, carol: Client) -> None:
    word = a_name("fountain")
    room = await alice.create_room(preset="public_chat", visibility="public", name=f"A {word}")
    assert [entry["num_joined_members"] for entry in await listed(carol, word)] == [1]
    await bob.join(room)
    assert [entry["num_joined_members"] for entry in await listed(carol, word)] == [2]
    topic = await alice.set_state(room, "m.room.topic", {"topic": "koi"})
    await alice.set_state(room, "m.room.join_rules", {"join_rule": "knock"})
    (entry,) = await listed(carol, word)
    assert (entry["topic"], entry["join_rule"]) == ("koi", "knock")
    await alice.redact(room, topic)
    assert "topic" not in (await listed(carol, word))[0]
    rich = [{"body": "<b>carp</b>", "mimetype": "text/html"}, {"body": "carp"}]
    await alice.set_state(room, "m.room.topic", {"topic": "old", "m.topic": {"m.text": rich}})
    assert (await listed(carol, word))[0]["topic"] == "carp"
    await bob.leave(room)
    assert [entry["num_joined_members"] for entry in await listed(carol, word)] == [1]
    await alice.leave(room)
    assert await listed(carol, word) == [], "nobody is in it"


async def test_a_room_is_published_and_withdrawn(alice: Client, bob: Client, http: Http) -> None:
    word = a_name("market")
    room = await alice.create_room(preset="public_chat", name=word)
    where = path("directory", "list", "room", room)
    assert await http.request("GET", where) == (200, {"visibility": "private"})
    assert await listed(bob, word) == []
    assert (await alice.put(where, {})).status == 200
    for person in (alice, bob):
        assert await person.get(where) == (200, {"visibility": "public"})
        assert [entry["room_id"] for entry in await listed(person, word)] == [room]
    await publish(alice, room)
    await publish(alice, room, "private")
    assert await bob.get(where) == (200, {"visibility": "private"})
    assert await listed(bob, word) == []


async def test_a_moderator_abroad_publishes_a_room_and_a_member_does_not(alice: Client, bob: Client) -> None:
    word = a_name("harbour")
    room = await alice.create_room(preset="public_chat", name=word)
    with refused("M_FORBIDDEN", status=403):
        await publish(bob, room)
    await bob.join(room)
    with refused("M_FORBIDDEN", naming="visibility", status=403):
        await publish(bob, room)
    levels = await alice.get_state(room, "m.room.power_levels")
    await bob.sees(room, await alice.set_state(room, "m.room.power_levels", {**levels, "users": {bob.user_id: 50}}))
    await publish(bob, room)
    assert [entry["room_id"] for entry in await listed(alice, word)] == [room]
    with refused("M_INVALID_PARAM", naming="visibility", status=400):
        await publish(bob, room, "secret")
    for unknown in ("!" + "A" * 22, "!nothing:matrix.example"):
        with refused("M_NOT_FOUND", naming="roomId", status=404):
            await publish(bob, unknown)
        with refused("M_NOT_FOUND", naming="roomId", status=404):
            await bob.ok("GET", path("directory", "list", "room", unknown))


async def test_the_list_of_one_server_has_its_rooms_only(alice: Client, bob: Client, carol: Client) -> None:
    word = a_name("square")
    rooms = {
        person.region: await person.create_room(preset="public_chat", visibility="public", name=word)
        for person in (alice, bob, carol)
    }
    assert {entry["room_id"] for entry in await listed(alice, word)} == set(rooms.values())
    for region, room in rooms.items():
        assert [entry["room_id"] for entry in await listed(alice, word, server=f"{region}.localhost")] == [room]
    for server in ("matrix.example", "", "EU.localhost"):
        with refused("M_INVALID_PARAM", naming="server", status=400):
            await listed(alice, word, server=server)


async def test_a_room_for_its_own_region_only_is_shown_there_only(
    alice: Client, bob: Client, newcomer: Newcomer
) -> None:
    word = a_name("yard")
    await alice.create_room(
        preset="public_chat", visibility="public", name=word, creation_content={"m.federate": False}
    )
    assert len(await listed(await newcomer("anna", "cn"), word)) == 1
    assert await listed(bob, word) == []


async def test_types_of_rooms_are_asked_for(alice: Client) -> None:
    word = a_name("types")
    kinds: tuple[str | None, ...] = (None, "m.space", "org.example.game")
    rooms = {
        kind: await alice.create_room(
            visibility="public", name=word, creation_content={} if kind is None else {"type": kind}
        )
        for kind in kinds
    }
    for wanted in ([None], ["m.space"], ["org.example.game", None], list(kinds), []):
        body = {"filter": {"generic_search_term": word, "room_types": wanted}}
        chunk = (await alice.ok("POST", "/publicRooms", body))["chunk"]
        assert {entry["room_id"] for entry in chunk} == {rooms[kind] for kind in wanted}, wanted


async def test_pages_lead_through_the_list_and_back(alice: Client, bob: Client, carol: Client) -> None:
    word = a_name("pages")
    people = (alice, bob, carol)
    rooms = [await person.create_room(visibility="public", preset="public_chat", name=word) for person in people * 3]
    await bob.join(rooms[0])
    await carol.join(rooms[0])
    await alice.join(rooms[4])
    query: Json = {"limit": 2, "filter": {"generic_search_term": word}}
    pages = [await alice.ok("POST", "/publicRooms", query)]
    assert "prev_batch" not in pages[0]
    while "next_batch" in pages[-1]:
        pages.append(await alice.ok("POST", "/publicRooms", {**query, "since": pages[-1]["next_batch"]}))
    chunks = [[entry["room_id"] for entry in page["chunk"]] for page in pages]
    assert [len(chunk) for chunk in chunks] == [2, 2, 2, 2, 1]
    assert sorted(itertools.chain(*chunks)) == sorted(rooms)
    assert chunks[0] == [rooms[0], rooms[4]], "the largest first"
    assert {page["total_room_count_estimate"] for page in pages} == {9}
    page, back = pages[-1], []
    while "prev_batch" in page:
        page = await alice.ok("POST", "/publicRooms", {**query, "since": page["prev_batch"]})
        back.append([entry["room_id"] for entry in page["chunk"]])
    assert back == chunks[-2::-1]


async def test_a_token_of_another_list_is_refused(alice: Client, bob: Client) -> None:
    word = a_name("tokens")
    for _ in range(2):
        await alice.create_room(visibility="public", name=word)
    query: Json = {"limit": 1, "filter": {"generic_search_term": word}}
    token = (await alice.ok("POST", "/publicRooms", query))["next_batch"]
    sync = (await alice.sync())["next_batch"]
    for body, more in (
        ({"limit": 1, "since": token}, {}),
        ({**query, "since": token}, {"server": "cn.localhost"}),
        ({**query, "since": token[:-2] + "AA"}, {}),
        ({**query, "since": sync}, {}),
        ({**query, "since": "d1."}, {}),
        ({**query, "since": "ü" * 40}, {}),
        ({**query, "since": "x" * 2_000}, {}),
    ):
        with refused("M_INVALID_PARAM", naming="since", status=400):
            await alice.ok("POST", "/publicRooms", body, query=more)
    with refused("M_INVALID_PARAM", naming="since", status=400):
        await bob.ok("POST", "/publicRooms", {**query, "since": token})
    with refused("M_INVALID_PARAM", naming="since", status=400):
        await alice.ok("GET", "/publicRooms", query={"since": token})


@pytest.mark.parametrize(
    ("body", "errcode", "field"),
    [
        ({"limit": -1}, "M_INVALID_PARAM", "limit"),
        ({"limit": "ten"}, "M_BAD_JSON", "limit"),
        ({"filter": {"generic_search_term": 7}}, "M_BAD_JSON", "filter.generic_search_term"),
        ({"filter": {"generic_search_term": "x" * 256}}, "M_INVALID_PARAM", "filter.generic_search_term"),
        ({"filter": {"room_types": "m.space"}}, "M_BAD_JSON", "filter.room_types"),
        ({"filter": {"room_types": [7]}}, "M_BAD_JSON", "filter.room_types"),
        ({"filter": {"room_types": ["x"] * 51}}, "M_INVALID_PARAM", "filter.room_types"),
        ({"third_party_instance_id": "irc"}, "M_INVALID_PARAM", "third_party_instance_id"),
        ({"since": 7}, "M_BAD_JSON", "since"),
    ],
)
async def test_a_wrong_question_to_the_list_names_its_field(
    alice: Client, body: Json, errcode: str, field: str
) -> None:
    with refused(errcode, naming=field, status=400):
        await alice.ok("POST", "/publicRooms", body)


async def test_only_who_is_known_may_ask_with_a_filter(http: Http) -> None:
    assert (await http.request("POST", "/publicRooms", {})).errcode == "M_MISSING_TOKEN"
    for limit in (0, 1):
        assert (await http.request("GET", "/publicRooms", query={"limit": limit})).status == 200
    assert (await http.request("GET", "/publicRooms", query={"limit": -1})).errcode == "M_INVALID_PARAM"


# --- a region that is cut ---------------------------------------------------------------------------------------------


async def test_while_a_region_is_cut_its_aliases_wait_and_the_list_says_that_it_is_left_out(
    node: "Node", alice: Client, bob: Client, carol: Client
) -> None:
    word = a_name("island")
    own, far = [
        await person.create_room(preset="public_chat", visibility="public", name=word, room_alias_name=a_name())
        for person in (alice, carol)
    ]
    alias = (await carol.get_state(far, "m.room.canonical_alias"))["alias"]
    mine = (await alice.get_state(own, "m.room.canonical_alias"))["alias"]
    body = {"filter": {"generic_search_term": word}}
    with cut(node, "ru"):
        for answer in (
            await alice.get(path("directory", "room", alias)),
            await alice.post(path("join", alias)),
            await alice.put(path("rooms", own, "state", "m.room.canonical_alias"), {"alt_aliases": [alias]}),
            await alice.post("/publicRooms", body, server="ru.localhost"),
        ):
            assert (answer.status, answer.body["hutong.region"]) == (503, "ru"), answer
            assert answer.headers["Retry-After"]
        for person in (alice, bob):
            found = await person.ok("POST", "/publicRooms", body)
            assert [entry["room_id"] for entry in found["chunk"]] == [own]
            assert found["hutong.away"] == ["ru"]
        assert await resolved(bob, mine) == own
        found = await carol.ok("POST", "/publicRooms", body)
        assert ([entry["room_id"] for entry in found["chunk"]], found["hutong.away"]) == ([far], ["cn", "eu"])
    assert await resolved(alice, alias) == far
    found = await bob.ok("POST", "/publicRooms", body)
    assert {entry["room_id"] for entry in found["chunk"]} == {own, far}
    assert "hutong.away" not in found


async def test_an_entry_without_the_words_of_a_region_that_is_cut_gets_them_back(
    node: "Node", alice: Client, carol: Client
) -> None:
    word = a_name("bridge")
    room = await alice.create_room(preset="public_chat", visibility="public", name=word, room_version="11")
    await carol.join(room)
    levels = await alice.get_state(room, "m.room.power_levels")
    levels["users"][carol.user_id] = 50
    await carol.sees(room, await alice.set_state(room, "m.room.power_levels", levels))
    topic = await carol.set_state(room, "m.room.topic", {"topic": "made in ru"})
    await alice.sees(room, topic)
    for cell in node.cells.values():  # as after a restart: nobody remembers the words
        cell.words._cache.clear()
    with cut(node, "ru"):
        (entry,) = await listed(alice, word)
        assert entry["name"] == word
        assert "topic" not in entry
    async with soon("the topic is shown again"):
        while (await listed(alice, word))[0].get("topic") != "made in ru":
            await asyncio.sleep(0.1)


# --- who goes ---------------------------------------------------------------------------------------------------------


async def test_an_alias_outlives_its_erased_creator_and_somebody_else_may_keep_it(
    alice: Client, bob: Client, newcomer: Newcomer
) -> None:
    anna, ada = await newcomer("anna", "cn"), await newcomer("ada", "cn")
    room, elsewhere = await alice.create_room(preset="public_chat"), await ada.create_room()
    await anna.join(room)
    alias = alias_of(anna, a_name())
    await give(anna, alias, room)
    await anna.deactivate(erase=True)
    async with soon("anna's words are gone"):
        while await aliases(alice, room):
            await asyncio.sleep(0.05)
    assert await resolved(bob, alias) == room, "the room is still found"
    with refused("M_UNKNOWN", status=409):
        await give(ada, alias, elsewhere)
    with refused("M_FORBIDDEN", status=403):
        await take(ada, alias)
    await give(alice, alias, room)
    assert await aliases(alice, room) == [alias]
    with refused("M_UNKNOWN", status=409):
        await give(alice, alias, room)
    await take(alice, alias)
    with refused("M_NOT_FOUND"):
        await resolved(bob, alias)


async def test_an_orphaned_alias_is_taken_away_by_who_may_name_the_room(alice: Client, newcomer: Newcomer) -> None:
    anna = await newcomer("anna", "cn")
    room = await alice.create_room(preset="public_chat")
    await anna.join(room)
    alias = alias_of(anna, a_name())
    await give(anna, alias, room)
    await anna.deactivate(erase=True)
    async with soon("anna's words are gone"):
        while await aliases(alice, room):
            await asyncio.sleep(0.05)
    await take(alice, alias)
    with refused("M_NOT_FOUND"):
        await resolved(alice, alias)


async def test_what_is_left_of_an_alias_when_its_creator_only_closes_the_account(
    alice: Client, newcomer: Newcomer
) -> None:
    anna = await newcomer("anna", "cn")
    room = await alice.create_room(preset="public_chat")
    await anna.join(room)
    alias = alias_of(anna, a_name())
    await give(anna, alias, room)
    await anna.deactivate(erase=False)
    assert await aliases(alice, room) == [alias]
    assert await resolved(alice, alias) == room
