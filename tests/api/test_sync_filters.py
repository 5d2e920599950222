"""Every field of a filter, one row each: what `/sync` leaves out for it and what it tells.

The table is held against the specification's schema, so that no field can be missing.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from tests.conftest import Newcomer
from tests.support.client import Client, Json, path, refused
from tests.support.openapi import specification


@dataclass
class Scene:
    """What alice of cn can be told: two rooms with bob of eu, and one that she left."""

    alice: Client
    bob: Client
    yard: str
    other: str
    left: str
    since: str
    last: dict[str, str] = field(default_factory=dict)

    async def seen(self, filter: Json, since: str | None = None, **query: Any) -> "Seen":
        return Seen(self, await self.alice.sync(since, filter=self.filled(filter), **query))

    def filled(self, filter: Json) -> Json:
        """The filter with the names of this scene in place of `$yard` and so on."""
        names = {"$yard": self.yard, "$other": self.other, "$alice": self.alice.user_id, "$bob": self.bob.user_id}
        text = json.dumps(filter)
        for name, value in names.items():
            text = text.replace(name, value)
        return dict(json.loads(text))


@dataclass
class Seen:
    """One answer, as short lists."""

    scene: Scene
    body: Json

    def joined(self) -> list[str]:
        names = {self.scene.yard: "yard", self.scene.other: "other"}
        return sorted(names[room] for room in self.body.get("rooms", {}).get("join", {}))

    def left(self) -> bool:
        return self.scene.left in self.body.get("rooms", {}).get("leave", {})

    def part(self, name: str, room: str = "") -> list[Json]:
        there = self.body.get("rooms", {}).get("join", {}).get(room or self.scene.yard, {})
        return list(there.get(name, {}).get("events", []))

    def timeline(self) -> list[str]:
        """The last four events, by a short name."""
        return [short(event) for event in self.part("timeline")][-4:]

    def limited(self) -> bool:
        return bool(self.body["rooms"]["join"][self.scene.yard]["timeline"]["limited"])

    def state(self) -> list[str]:
        return sorted(event["type"].removeprefix("m.room.") for event in self.part("state"))

    def members(self) -> list[str]:
        names = {self.scene.alice.user_id: "alice", self.scene.bob.user_id: "bob"}
        return sorted(names[event["state_key"]] for event in self.part("state") if event["type"] == "m.room.member")

    def ephemeral(self) -> dict[str, list[str]]:
        """Who types and who has read, by short names."""
        found: dict[str, list[str]] = {}
        for event in self.part("ephemeral"):
            users = event["content"].get("user_ids")
            if users is None:
                users = [user for read in event["content"].values() for user in read["m.read"]]
            found[event["type"]] = sorted(user[1:4] for user in users)
        return found

    def stored(self, room: bool) -> list[str]:
        events = self.part("account_data") if room else self.body.get("account_data", {}).get("events", [])
        return sorted(event["type"] for event in events if event["type"].startswith("cn.hutong."))

    def room_data(self) -> list[str]:
        return self.stored(room=True)

    def data(self) -> list[str]:
        return self.stored(room=False)

    def keys(self) -> set[str]:
        return {key for event in self.part("timeline") for key in event["content"]}


def short(event: Json) -> str:
    return str(event["content"].get("body") or event["type"].removeprefix("m.room."))


@pytest.fixture(scope="module")
async def scene(newcomer: Newcomer) -> Scene:
    alice, bob = await newcomer("alice", "cn"), await newcomer("bob", "eu")
    rooms = []
    for name in ("Yard", "Other", "Left"):
        room = await alice.create_room(preset="public_chat", name=name)
        await bob.join(room)
        rooms.append(room)
    yard, other, left = rooms
    await alice.leave(left)
    for number in range(12):
        await alice.send(yard, f"filler {number}")
    since = str((await alice.sync())["next_batch"])
    found = Scene(alice, bob, yard, other, left, since)
    await alice.send(other, "elsewhere")
    await alice.set_state(yard, "m.room.topic", {"topic": "persimmons"})
    await alice.send(yard, "plain")
    await bob.send_event(yard, "m.room.message", {"msgtype": "m.image", "body": "picture", "url": "mxc://x/y"})
    said = await alice.send_event(yard, "cn.hutong.custom", {"body": "custom"})
    for person in (alice, bob):
        await person.sees(yard, said)
        await person.mark_read(yard, said)
        await person.type_in(yard, timeout_ms=120_000)
    for type in ("cn.hutong.colour", "cn.hutong.sound"):
        await alice.put(path("user", alice.user_id, "account_data", type), {"a": 1})
        await alice.put(path("user", alice.user_id, "rooms", yard, "account_data", type), {"url": "x"})

    async def complete() -> bool:
        seen = await found.seen({}, since)
        return seen.ephemeral() == {"m.typing": ["ali", "bob"], "m.receipt": ["ali", "bob"]}

    async with asyncio.timeout(15):
        while not await complete():
            await bob.type_in(yard, timeout_ms=120_000)
    return found


def timeline(**fields: Any) -> Json:
    return {"room": {"timeline": fields}}


def state(**fields: Any) -> Json:
    return {"room": {"state": fields}}


def ephemeral(**fields: Any) -> Json:
    return {"room": {"ephemeral": fields}}


def room_data(**fields: Any) -> Json:
    return {"room": {"account_data": fields}}


def data(**fields: Any) -> Json:
    return {"account_data": fields}


SAID = ["topic", "plain", "picture", "custom"]
BOTH = {"m.typing": ["ali", "bob"], "m.receipt": ["ali", "bob"]}
BOBS = {"m.typing": ["bob"], "m.receipt": ["bob"]}
STORED = ["cn.hutong.colour", "cn.hutong.sound"]
Row = tuple[str, Json, Callable[[Seen], Any], Any]

GOING_ON: list[Row] = [
    ("room.timeline.limit", timeline(limit=2), Seen.timeline, ["picture", "custom"]),
    ("room.timeline.limit", timeline(limit=2), Seen.limited, True),
    ("room.timeline.limit", timeline(limit=4), Seen.limited, False),
    ("room.timeline.types", timeline(types=["m.room.message"]), Seen.timeline, ["plain", "picture"]),
    ("room.timeline.types", timeline(types=["*.custom"]), Seen.timeline, ["custom"]),
    ("room.timeline.types", timeline(types=[]), Seen.timeline, []),
    ("room.timeline.not_types", timeline(not_types=["m.room.*"]), Seen.timeline, ["custom"]),
    ("room.timeline.not_types", timeline(types=["m.*"], not_types=["m.room.message"]), Seen.timeline, ["topic"]),
    ("room.timeline.senders", timeline(senders=["$bob"]), Seen.timeline, ["picture"]),
    ("room.timeline.not_senders", timeline(senders=["$bob"], not_senders=["$bob"]), Seen.timeline, []),
    ("room.timeline.rooms", timeline(rooms=["$other"]), Seen.timeline, []),
    ("room.timeline.rooms", timeline(rooms=["$yard"]), Seen.timeline, SAID),
    ("room.timeline.not_rooms", timeline(not_rooms=["$yard"]), Seen.timeline, []),
    ("room.timeline.not_rooms", timeline(not_rooms=["$yard"]), Seen.state, ["topic"]),
    ("room.timeline.contains_url", timeline(contains_url=True), Seen.timeline, ["picture"]),
    ("room.timeline.contains_url", timeline(contains_url=False), Seen.timeline, ["topic", "plain", "custom"]),
    ("room.timeline.lazy_load_members", timeline(lazy_load_members=True), Seen.members, []),  # of the state only
    ("room.rooms", {"room": {"rooms": ["$yard"]}}, Seen.joined, ["yard"]),
    ("room.not_rooms", {"room": {"rooms": ["$yard", "$other"], "not_rooms": ["$yard"]}}, Seen.joined, ["other"]),
    ("room.ephemeral.types", ephemeral(types=["m.typing"]), Seen.ephemeral, {"m.typing": ["ali", "bob"]}),
    ("room.ephemeral.not_types", ephemeral(not_types=["m.typ*"]), Seen.ephemeral, {"m.receipt": ["ali", "bob"]}),
    ("room.ephemeral.senders", ephemeral(senders=["$bob"]), Seen.ephemeral, BOBS),
    ("room.ephemeral.not_senders", ephemeral(not_senders=["$alice"]), Seen.ephemeral, BOBS),
    ("room.ephemeral.rooms", ephemeral(rooms=["$other"]), Seen.ephemeral, {}),
    ("room.ephemeral.not_rooms", ephemeral(not_rooms=["$yard"]), Seen.ephemeral, {}),
    ("room.ephemeral.contains_url", ephemeral(contains_url=True), Seen.ephemeral, {}),
    ("room.ephemeral.contains_url", ephemeral(contains_url=False), Seen.ephemeral, BOTH),
    ("room.ephemeral.limit", ephemeral(limit=1), Seen.ephemeral, BOTH),  # what a client adds up is never left out
    ("room.account_data.types", room_data(types=["*.sound"]), Seen.room_data, ["cn.hutong.sound"]),
    ("room.account_data.not_types", room_data(not_types=["*.sound"]), Seen.room_data, ["cn.hutong.colour"]),
    ("room.account_data.senders", room_data(senders=["$bob"]), Seen.room_data, []),
    ("room.account_data.senders", room_data(senders=["$alice"]), Seen.room_data, STORED),
    ("room.account_data.not_senders", room_data(not_senders=["$alice"]), Seen.room_data, []),
    ("room.account_data.rooms", room_data(rooms=["$other"]), Seen.room_data, []),
    ("room.account_data.not_rooms", room_data(not_rooms=["$yard"]), Seen.room_data, []),
    ("room.account_data.contains_url", room_data(contains_url=True), Seen.room_data, STORED),
    ("room.account_data.contains_url", room_data(contains_url=False), Seen.room_data, []),
    ("room.account_data.limit", room_data(limit=1), Seen.room_data, STORED),
    ("account_data.types", data(types=["*.sound"]), Seen.data, ["cn.hutong.sound"]),
    ("account_data.types", data(types=[]), Seen.data, []),
    ("account_data.not_types", data(not_types=["*.sound"]), Seen.data, ["cn.hutong.colour"]),
    ("account_data.senders", data(senders=["$bob"]), Seen.data, []),
    ("account_data.not_senders", data(not_senders=["$alice"]), Seen.data, []),
    ("account_data.limit", data(limit=1), Seen.data, STORED),
    ("event_fields", {"event_fields": ["content.msgtype"]}, Seen.keys, {"msgtype"}),
    ("event_format", {"event_format": "client"}, Seen.timeline, SAID),
]  # fmt: skip

ANEW: list[Row] = [
    ("room.state.types", state(types=["m.room.t*", "m.room.name"]), Seen.state, ["name"]),
    ("room.state.not_types", state(types=["*"], not_types=["m.room.*e*"]), Seen.state, ["history_visibility"]),
    ("room.state.senders", state(senders=["$bob"]), Seen.state, ["member"]),
    ("room.state.not_senders", state(types=["m.room.member"], not_senders=["$bob"]), Seen.members, ["alice"]),
    ("room.state.rooms", state(rooms=["$other"]), Seen.state, []),
    ("room.state.not_rooms", state(not_rooms=["$yard"]), Seen.state, []),
    ("room.state.contains_url", state(contains_url=True), Seen.state, []),
    ("room.state.limit", state(types=["m.room.member"], limit=1), Seen.members, ["alice", "bob"]),
    ("room.state.lazy_load_members", {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}},
     Seen.members, ["alice", "bob"]),  # bob as a hero
    ("room.include_leave", {"room": {"include_leave": True}}, Seen.left, True),
    ("room.include_leave", {"room": {"include_leave": False}}, Seen.left, False),
]  # fmt: skip

ELSEWHERE = {
    "room.state.include_redundant_members": "test_sync_lazy.py",
    "room.state.unread_thread_notifications": "counts are no state",
    "room.timeline.unread_thread_notifications": "tests/api/test_unread.py",
    "room.timeline.include_redundant_members": "of the state only, as lazy_load_members",
    **{
        f"presence.{name}": "nobody's presence is told"
        for name in ("types", "not_types", "senders", "not_senders", "limit")
    },
    **{
        f"room.{part}.{name}": "means nothing there"
        for part in ("ephemeral", "account_data")
        for name in ("lazy_load_members", "include_redundant_members", "unread_thread_notifications")
    },
}  # fmt: skip
"""Fields with a test of their own, or without meaning."""


@pytest.mark.parametrize(("name", "filter", "look", "expected"), GOING_ON, ids=[row[0] for row in GOING_ON])
async def test_a_field_chooses_what_is_told_since(
    scene: Scene, name: str, filter: Json, look: Callable[[Seen], Any], expected: object
) -> None:
    assert look(await scene.seen(filter, scene.since)) == expected


@pytest.mark.parametrize(("name", "filter", "look", "expected"), ANEW, ids=[row[0] for row in ANEW])
async def test_a_field_chooses_what_is_told_anew(
    scene: Scene, name: str, filter: Json, look: Callable[[Seen], Any], expected: object
) -> None:
    assert look(await scene.seen(filter)) == expected


def fields(folder: Any, schema: Json, at: str = "") -> Iterator[str]:
    """Every field of a schema that holds no further fields, by its path."""
    for part in schema.get("allOf", []):
        yield from fields(folder, part, at)
    if "$ref" in schema:
        yield from fields(folder, yaml.safe_load((folder / schema["$ref"]).read_text()), at)
    for name, inner in schema.get("properties", {}).items():
        deeper = list(fields(folder, inner, f"{at}.{name}"))
        yield from deeper or [f"{at}.{name}"]


def test_no_field_of_the_specification_is_missing() -> None:
    root = specification()
    if root is None:
        pytest.skip("the specification is not on this machine")
    folder = root / "data/api/client-server/definitions"
    schema = yaml.safe_load((folder / "sync_filter.yaml").read_text())
    known = {row[0] for row in (*GOING_ON, *ANEW)} | set(ELSEWHERE)
    assert {name.removeprefix(".") for name in fields(folder, schema)} == known


async def test_a_timeline_that_wants_nothing_is_not_cut_short(scene: Scene) -> None:
    """Nothing is missing of what was asked for; a client that took it for a gap would page for nothing."""
    for since in (None, scene.since):
        assert not (await scene.seen(timeline(types=[]), since, full_state="true")).limited()


async def test_what_no_event_of_a_long_gap_is_can_be_paged_for(scene: Scene) -> None:
    since = (await scene.alice.sync())["next_batch"]
    said = [await scene.bob.send(scene.other, f"rare {number}") for number in range(3)]
    await scene.alice.sees(scene.other, said[-1])
    for number in range(100):
        await scene.alice.send(scene.other, f"filler {number}")
    filter = scene.filled({"senders": ["$bob"]})
    there = (await scene.alice.sync(since, filter={"room": {"timeline": filter}}))["rooms"]["join"][scene.other]
    assert (there["timeline"]["events"], there["timeline"]["limited"]) == ([], True)
    begin = {"from": there["timeline"]["prev_batch"]}
    page = await scene.alice.messages(scene.other, "b", limit=200, filter=filter, **begin)
    assert [event["event_id"] for event in page["chunk"]][:3] == said[::-1]


async def test_the_same_filter_may_be_kept_and_named(scene: Scene) -> None:
    filter = scene.filled(timeline(senders=["$bob"]))
    kept = await scene.alice.ok("POST", path("user", scene.alice.user_id, "filter"), filter)
    assert not kept["filter_id"].startswith("{")
    body = await scene.alice.sync(scene.since, filter=kept["filter_id"])
    assert Seen(scene, body).timeline() == ["picture"]


async def test_a_format_that_is_not_to_be_had_is_refused(scene: Scene) -> None:
    with refused("M_INVALID_PARAM", "event_format", 400):
        await scene.alice.sync(filter={"event_format": "federation"})
    with refused("M_INVALID_PARAM", "event_format", 400):
        await scene.alice.ok("POST", path("user", scene.alice.user_id, "filter"), {"event_format": "federation"})


PAGES: list[tuple[str, Json, list[str]]] = [
    ("types", {"types": ["m.room.message"]}, ["plain", "picture"]),
    ("not_types", {"not_types": ["m.room.*"]}, ["custom"]),
    ("senders", {"senders": ["$bob"]}, ["picture"]),
    ("not_senders", {"not_senders": ["$bob"]}, ["topic", "plain", "custom"]),
    ("rooms", {"rooms": ["$other"]}, []),
    ("rooms", {"rooms": ["$yard"]}, SAID),
    ("not_rooms", {"not_rooms": ["$yard"]}, []),
    ("contains_url", {"contains_url": True}, ["picture"]),
    ("contains_url", {"contains_url": False}, ["topic", "plain", "custom"]),
]


@pytest.mark.parametrize(("name", "filter", "expected"), PAGES, ids=[row[0] for row in PAGES])
async def test_a_page_is_filtered_by_the_same_fields(
    scene: Scene, name: str, filter: Json, expected: list[str]
) -> None:
    page = await scene.alice.messages(scene.yard, "b", limit=4, filter=scene.filled(filter))
    assert [short(event) for event in reversed(page["chunk"])] == expected


async def test_a_page_shows_the_members_who_speak_on_it_and_no_others(scene: Scene) -> None:
    filter = {"lazy_load_members": True, "types": ["m.room.message"]}
    page = await scene.alice.messages(scene.yard, "b", limit=2, filter=filter)
    assert [short(event) for event in page["chunk"]] == ["picture"]
    assert [event["state_key"] for event in page["state"]] == [scene.bob.user_id]
