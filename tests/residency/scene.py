"""A chat between three regions, in which everything that a person can say or choose is a string like no other."""

import asyncio
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.client import Client, Http, path
from tests.support.process import HUTONG, environment

AUDIT_S = 300.0
CLEAN: tuple[int, list[Any], list[str], str] = (0, [], [], "")
"""The outcome of an audit that found nothing and could look everywhere."""


@dataclass
class Canaries:
    """By leak path, the strings that went that way. `kept`: there is a sealed record that opens to them."""

    hex: Callable[[int], str] = secrets.token_hex
    kept: dict[str, str] = field(default_factory=dict)
    passing: dict[str, str] = field(default_factory=dict)

    def new(self, name: str, *, kept: bool = True) -> str:
        """Only characters that any field takes."""
        text = f"{name}.{self.hex(10)}"
        (self.kept if kept else self.passing)[name] = text
        return text


@dataclass
class Scene:
    canaries: Canaries
    alice: Client
    bob: Client
    carol: Client
    room: str

    @property
    def people(self) -> Sequence[Client]:
        return (self.alice, self.bob, self.carol)


async def play(http: Http, canaries: Canaries) -> Scene:
    """alice of cn, bob of eu and carol of ru do everything once, and read all of it."""
    people = [await _arrive(http, canaries, *who) for who in (("alice", "cn"), ("bob", "eu"), ("carol", "ru"))]
    alice, bob, carol = people
    room = await alice.create_room(
        preset="public_chat", name=canaries.new("room.name"), topic=canaries.new("room.topic"),
        initial_state=[{"type": canaries.new("state.type"), "state_key": canaries.new("state.key"), "content": {}}],
    )  # fmt: skip
    await bob.join(room, reason=canaries.new("join.reason"))
    await alice.invite(room, carol, reason=canaries.new("invite.reason"))
    await carol.accept(room)
    levels = await alice.get_state(room, "m.room.power_levels")
    levels["events"] = {**levels.get("events", {}), canaries.new("power_levels.events"): 50}
    levels["notifications"] = {"room": 50, canaries.new("power_levels.notifications"): 50}
    levels["users"] = {**levels.get("users", {}), f"@{canaries.new('power_levels.nobody')}:ru.localhost": 1}
    await alice.set_state(room, "m.room.power_levels", levels)
    await _come_by_other_gates(alice, bob, carol, room, canaries)
    for person in people:
        await _be_found(person, room, canaries)
        await _speak(person, room, canaries)
    for person in people:
        await _read(person, room)
    return Scene(canaries, alice, bob, carol, room)


async def _arrive(http: Http, canaries: Canaries, name: str, region: str) -> Client:
    local = canaries.new(f"{name}.localpart")
    person = Client(http, local, region)
    password = canaries.new(f"{name}.password", kept=False)
    await person.register(
        password=password, device_id=canaries.new(f"{name}.device"),
        initial_device_display_name=canaries.new(f"{name}.device.name"),
    )  # fmt: skip
    canaries.passing[f"{name}.token"] = person.token
    await person.ok(
        "PUT", path("profile", person.user_id, "displayname"), {"displayname": canaries.new(f"{name}.displayname")},
        headers={"User-Agent": canaries.new(f"{name}.user.agent", kept=False)},
    )  # fmt: skip
    asked = {"room": {"timeline": {"types": [canaries.new(f"{name}.filter")]}}}
    await person.ok("POST", path("user", person.user_id, "filter"), asked)
    data = {"words": canaries.new(f"{name}.account.data")}
    await person.ok("PUT", path("user", person.user_id, "account_data", canaries.new(f"{name}.data.type")), data)
    await _publish(person, name, canaries)
    said = {"presence": "online", "status_msg": canaries.new(f"{name}.presence.status", kept=False)}
    await person.ok("PUT", path("presence", person.user_id, "status"), said)
    return person


async def _publish(person: Client, name: str, canaries: Canaries) -> None:
    """Keys of this device. The names of algorithms, ids, keys and signatures are all the client's words."""
    signatures = {person.user_id: {f"ed25519:{person.device_id}": canaries.new(f"{name}.signature")}}
    identity = {
        "user_id": person.user_id, "device_id": person.device_id,
        "algorithms": [canaries.new(f"{name}.algorithm")],
        "keys": {f"ed25519:{person.device_id}": canaries.new(f"{name}.identity.key")}, "signatures": signatures,
    }  # fmt: skip

    def keys(kind: str) -> dict[str, Any]:
        id = f"{canaries.new(f'{name}.{kind}.algorithm')}:{canaries.new(f'{name}.{kind}.id')}"
        return {id: {"key": canaries.new(f"{name}.{kind}.key"), "signatures": signatures}}

    await person.ok(
        "POST", "/keys/upload",
        {"device_keys": identity, "one_time_keys": keys("one.time"), "fallback_keys": keys("fallback")},
    )  # fmt: skip


async def _come_by_other_gates(alice: Client, bob: Client, carol: Client, room: str, canaries: Canaries) -> None:
    """Bob joins a room of alice's because he is in `room`; carol knocks there, is sent away, and takes a knock back."""
    condition = {"type": "m.room_membership", "room_id": room, canaries.new("allow.key"): canaries.new("allow.value")}
    rules = {"join_rule": "knock_restricted", "allow": [condition]}
    annex = await alice.create_room(initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rules}])
    await bob.join(annex, reason=canaries.new("restricted.reason"))
    for name, away in (("first", True), ("second", False)):
        await carol.ok("POST", path("knock", annex), {"reason": canaries.new(f"{name}.knock.reason")})
        await carol.sync()
        await alice.until(lambda: alice.membership(annex, carol) == "knock", "carol's knock")
        if away:
            await alice.kick(annex, carol, reason=canaries.new("knock.declined"))
            await carol.until(lambda: carol.membership(annex) == "leave", "the answer")
        else:
            await carol.leave(annex, reason=canaries.new("knock.taken.back"))
    await bob.members(annex)


async def _be_found(person: Client, room: str, canaries: Canaries) -> None:
    """Aliases and the list of published rooms: one's own room in it, and `room` under an alias of one's region."""
    name = person.name.partition(".")[0]
    mine = await person.create_room(
        visibility="public", room_alias_name=canaries.new(f"{name}.alias.of.creation"),
        name=canaries.new(f"{name}.published.name"), topic=canaries.new(f"{name}.published.topic"),
        creation_content={"type": canaries.new(f"{name}.room.type")},
    )  # fmt: skip
    for what, target in (("alias", room), ("alias.taken", mine)):
        alias = f"#{canaries.new(f'{name}.{what}', kept=what == 'alias')}:{person.region}.localhost"
        await person.ok("PUT", path("directory", "room", alias), {"room_id": target})
        await person.ok("GET", path("directory", "room", alias))
        if what == "alias.taken":
            await person.ok("DELETE", path("directory", "room", alias))
    await person.get(path("directory", "room", f"#{canaries.new(f'{name}.alias.asked', kept=False)}:cn.localhost"))
    await person.ok("GET", path("rooms", mine, "aliases"))
    await person.ok("GET", "/publicRooms")
    search: dict[str, Any] = {"generic_search_term": canaries.new(f"{name}.searched", kept=False)}
    search["room_types"] = [canaries.new(f"{name}.type.searched", kept=False)]
    await person.ok("POST", "/publicRooms", {"filter": search})


async def _speak(person: Client, room: str, canaries: Canaries) -> None:
    name = person.name.partition(".")[0]
    first = await person.send_event(
        room, "m.room.message", {"msgtype": "m.text", "body": canaries.new(f"{name}.body")},
        txn=canaries.new(f"{name}.transaction", kept=False),
    )  # fmt: skip
    # Long enough to be moved out of its row, with the canary where two pieces of it meet.
    await person.send(room, "x" * 1_850 + canaries.new(f"{name}.long.body") + "y" * 3_000)
    await person.send_event(room, canaries.new(f"{name}.event.type"), {"words": canaries.new(f"{name}.custom.content")})
    reaction = {"rel_type": "m.annotation", "event_id": first, "key": canaries.new(f"{name}.reaction")}
    await person.send_event(room, "m.reaction", {"m.relates_to": reaction})
    foreign = {"rel_type": canaries.new(f"{name}.relation"), "event_id": first, "key": canaries.new(f"{name}.foreign")}
    await person.send_event(room, "m.reaction", {"m.relates_to": foreign})
    await person.send_event(room, "m.reaction", {"m.relates_to": {**foreign, "event_id": canaries.new(f"{name}.to")}})
    thread = {"rel_type": "m.thread", "event_id": first}
    reply = await person.send(room, canaries.new(f"{name}.in.thread"), **{"m.relates_to": thread})
    edit = {"rel_type": "m.replace", "event_id": first}
    fresh = {"msgtype": "m.text", "body": canaries.new(f"{name}.edit")}
    await person.send(room, "* " + fresh["body"], **{"m.new_content": fresh, "m.relates_to": edit})
    slip = await person.send(room, canaries.new(f"{name}.redacted", kept=False))
    await person.redact(room, slip, reason=canaries.new(f"{name}.redact.reason"))
    await _mark(person, room, first, reply, canaries)
    await person.type_in(room)
    await _keep(person, room, canaries)


async def _mark(person: Client, room: str, root: str, reply: str, canaries: Canaries) -> None:
    """Receipts of every kind; also one for a thread that is none, and a mention of somebody who is nobody."""
    name = person.name.partition(".")[0]
    await person.mark_read(room, root)
    await person.mark_read(room, reply, thread_id=root)
    await person.mark_read(room, reply, "m.read.private")
    await person.ok("POST", path("rooms", room, "read_markers"), {"m.fully_read": reply, "m.read": reply})
    thread = canaries.new(f"{name}.thread.id", kept=False)
    await person.post(path("rooms", room, "receipt", "m.read", reply), {"thread_id": thread})
    await person.post(path("rooms", room, "receipt", canaries.new(f"{name}.receipt.type", kept=False), reply))
    named = f"@{canaries.new(f'{name}.mention')}:cn.localhost"
    await person.send(room, "everybody!", **{"m.mentions": {"room": True, "user_ids": [named]}})


async def _keep(person: Client, room: str, canaries: Canaries) -> None:
    """Account data of a room, tags, and whom somebody ignores."""
    name = person.name.partition(".")[0]
    mine = ("user", person.user_id)
    type = canaries.new(f"{name}.room.data.type")
    await person.ok(
        "PUT", path(*mine, "rooms", room, "account_data", type), {"words": canaries.new(f"{name}.room.data")}
    )
    tag = path(*mine, "rooms", room, "tags", canaries.new(f"{name}.tag"))
    await person.ok("PUT", tag, {"order": 0.5, "words": canaries.new(f"{name}.tag.content")})
    ignored = f"@{canaries.new(f'{name}.ignored')}:ru.localhost"
    await person.ok("PUT", path(*mine, "account_data", "m.ignored_user_list"), {"ignored_users": {ignored: {}}})


async def _read(person: Client, room: str) -> None:
    await person.sync(full_state=True)
    await _read_relations(person, room)
    await person.sync(filter=json.dumps({"room": {"timeline": {"limit": 100}}}))
    await person.history(room)
    await person.members(room)
    others = await person.joined_members(room)
    for other in others:
        await person.get(path("profile", other))
        await person.get(path("presence", other, "status"))
    await person.ok("POST", "/keys/query", {"device_keys": {other: [] for other in others}})
    await person.ok("POST", "/user_directory/search", {"search_term": "displayname"})


async def _read_relations(person: Client, room: str) -> None:
    """By threads, by every kind of relation, with recursion, and around each thread's root."""
    v1 = "/_matrix/client/v1" + path("rooms", room)
    for root in (await person.ok("GET", v1 + "/threads"))["chunk"]:
        children = v1 + path("relations", root["event_id"])
        for child in (await person.ok("GET", children, query={"recurse": True, "limit": 100}))["chunk"]:
            kind = child["content"]["m.relates_to"]["rel_type"]
            await person.ok("GET", children + path(kind, child["type"]))
        await person.ok("GET", path("rooms", room, "context", root["event_id"]))


@dataclass
class Audited:
    """What the command said, and its exit status."""

    status: int
    report: dict[str, Any]
    error: str

    @property
    def outcome(self) -> tuple[int, list[Any], list[str], str]:
        """Status, findings, problems, and what went to standard error: (0, [], [], "") of a clean audit."""
        return self.status, self.report.get("findings", []), self.report.get("problems", []), self.error

    def found(self, **wanted: str) -> list[dict[str, Any]]:
        """The findings in which each of `wanted` stands."""
        return [
            finding for finding in self.report["findings"] if all(text in finding[key] for key, text in wanted.items())
        ]


async def audit(data: Path, *more: str | Path) -> Audited:
    """`hutong audit residency --json` as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        HUTONG, "audit", "residency", "--data", data, "--json", *more,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    try:
        async with asyncio.timeout(AUDIT_S):
            said, error = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return Audited(process.returncode, json.loads(said) if said.strip() else {}, error.decode())
