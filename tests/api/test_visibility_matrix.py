"""Who sees which message: every history visibility, every kind of member, every endpoint that shows the past.

What is expected is worked out here from the five rules of "Room History Visibility", Client-Server API v1.19.
"""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from tests.conftest import Newcomer
from tests.support.client import Client, Json, path

VISIBILITIES = ("world_readable", "shared", "invited", "joined")
PHASES = ("before", "invited", "inside", "without", "after")
KINDS: dict[str, tuple[str, ...]] = {
    "in all the time": ("join", "join", "join", "join", "join"),
    "invited, then in": ("leave", "invite", "join", "join", "join"),
    "left": ("leave", "invite", "join", "leave", "leave"),
    "banned": ("leave", "invite", "join", "ban", "ban"),
    "left and came back": ("leave", "invite", "join", "leave", "join"),
    "invited only": ("leave", "invite", "invite", "invite", "invite"),
    "declined": ("leave", "invite", "invite", "leave", "leave"),
    "never": ("leave",) * 5,
}
"""A kind of member, and the membership in each phase."""
Endpoint = Callable[[Client, str, dict[str, str]], Awaitable[list[str]]]


def expected(visibility: str, kind: str) -> list[str]:
    """The phases whose message may be seen."""
    memberships = KINDS[kind]
    if "join" not in memberships:
        return []  # a room is looked into by those who are in it, or were
    seen = []
    for at, membership in enumerate(memberships):
        later = memberships[at + 1 :]
        if membership in {"leave", "ban"} and "join" not in later and "join" in memberships[:at]:
            continue  # no events received after they left
        if (
            visibility == "world_readable"
            or membership == "join"
            or (visibility == "shared" and "join" in later)
            or (visibility == "invited" and membership == "invite")
        ):
            seen.append(PHASES[at])
    return seen


def last_known(kind: str) -> str | None:
    """The phase whose state is what somebody sees: the current one, or that at their leaving."""
    memberships = KINDS[kind]
    if memberships[-1] == "join":
        return PHASES[-1]
    return (
        PHASES[max(at for at, membership in enumerate(memberships) if membership == "join")]
        if "join" in memberships
        else None
    )


def said(events: list[Json]) -> list[str]:
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


async def by_sync(client: Client, room: str, ids: dict[str, str]) -> list[str]:
    filter = {"room": {"include_leave": True, "timeline": {"limit": 100}}}
    rooms = (await client.sync(filter=filter)).get("rooms", {})
    there = rooms.get("join", {}).get(room) or rooms.get("leave", {}).get(room) or {"timeline": {"events": []}}
    return said(there["timeline"]["events"])


async def by_pages(client: Client, room: str, ids: dict[str, str]) -> list[str]:
    if (await client.get(path("rooms", room, "messages"), dir="b")).status == 403:
        return []
    backwards = said(await client.history(room, "b", page=7))
    assert backwards[::-1] == said(await client.history(room, "f", page=7))
    return backwards[::-1]


async def by_event(client: Client, room: str, ids: dict[str, str]) -> list[str]:
    answers = {phase: await client.get(path("rooms", room, "event", event)) for phase, event in ids.items()}
    assert {answer.status for answer in answers.values()} <= {200, 404}
    return [phase for phase, answer in answers.items() if answer.status == 200]


async def by_context(client: Client, room: str, ids: dict[str, str]) -> list[str]:
    """An event's surroundings are for whom the event is, and hold nothing that is not for them."""
    answers = {
        phase: await client.get(path("rooms", room, "context", event), limit=100) for phase, event in ids.items()
    }
    assert {answer.status for answer in answers.values()} <= {200, 403, 404}
    found = {phase: answer.body for phase, answer in answers.items() if answer.status == 200}
    for phase, body in found.items():
        around = [*said(body["events_before"])[::-1], phase, *said(body["events_after"])]
        assert set(around) <= set(found), "nothing around it that cannot be asked for itself"
    return list(found)


ENDPOINTS: dict[str, Endpoint] = {"sync": by_sync, "messages": by_pages, "event": by_event, "context": by_context}


@dataclass
class Scene:
    rooms: dict[str, str]
    said: dict[str, dict[str, str]]
    people: dict[str, Client]


@pytest.fixture(scope="module", params=["cn", "ru"])
async def scene(request: pytest.FixtureRequest, newcomer: Newcomer) -> Scene:
    """Four rooms of alice's in cn, where one person of each kind, all of one region, goes through all phases."""
    alice = await newcomer("alice", "cn")
    people = {kind: await newcomer(f"k{number}", request.param) for number, kind in enumerate(KINDS)}
    scene = Scene({}, {}, people)
    for visibility in VISIBILITIES:
        state = [{"type": "m.room.history_visibility", "content": {"history_visibility": visibility}}]
        room = scene.rooms[visibility] = await alice.create_room(preset="private_chat", initial_state=state)
        scene.said[visibility] = {}
        for at, phase in enumerate(PHASES):
            for kind, person in people.items():
                then = KINDS[kind][at - 1] if at else "leave"
                await move(alice, person, room, then, KINDS[kind][at])
            await alice.set_state(room, "m.room.topic", {"topic": phase})
            scene.said[visibility][phase] = await alice.send(room, phase)
        for kind, person in people.items():
            if KINDS[kind][-1] == "join":
                await person.sees(room, scene.said[visibility]["after"])
    return scene


async def move(alice: Client, person: Client, room: str, then: str, now: str) -> None:
    """Take somebody from one membership to another."""
    if then == now:
        return
    if now == "invite" or (now == "join" and then == "leave"):
        await alice.invite(room, person)
        await person.until(lambda: room in person.invitations, "the invitation")
    if now == "join":
        await person.join(room)
    elif now == "leave":
        await person.leave(room)
    elif now == "ban":
        await alice.ban(room, person)
        await person.until(lambda: person.membership(room) == "ban", "the ban")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_each_member_sees_what_is_theirs(scene: Scene, visibility: str, endpoint: str) -> None:
    room, ids = scene.rooms[visibility], scene.said[visibility]
    seen = {kind: await ENDPOINTS[endpoint](person, room, ids) for kind, person in scene.people.items()}
    theirs = {kind: expected(visibility, kind) for kind in KINDS}
    if endpoint == "sync":
        for (
            kind,
            phases,
        ) in seen.items():  # a timeline ends at the first that is not theirs; older ones can be paged for
            assert phases == theirs[kind][len(theirs[kind]) - len(phases) :], kind
            assert bool(phases) == bool(theirs[kind]) or KINDS[kind][-1] in {"leave", "ban"}, kind
    else:
        assert seen == theirs


@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_each_member_is_shown_the_state_of_their_time(scene: Scene, visibility: str) -> None:
    room = scene.rooms[visibility]
    filter = {"room": {"include_leave": True, "timeline": {"limit": 1}}}
    for kind, person in scene.people.items():
        phase = last_known(kind)
        one = await person.get(path("rooms", room, "state", "m.room.topic"))
        whole = await person.get(path("rooms", room, "state"))
        members = await person.get(path("rooms", room, "members"))
        joined = await person.get(path("rooms", room, "joined_members"))
        assert joined.status == (200 if KINDS[kind][-1] == "join" else 403), kind
        rooms = (await person.sync(filter=filter)).get("rooms", {})
        there = rooms.get("join", {}).get(room) or rooms.get("leave", {}).get(room) or {}
        topics = [
            event["content"] for event in there.get("state", {}).get("events", []) if event["type"] == "m.room.topic"
        ]
        if phase is None:
            assert (one.status, whole.status, members.status) == (403, 403, 403), kind
            assert topics == [], kind
            continue
        assert one.body["topic"] == phase, kind
        assert [event["content"]["topic"] for event in whole.body if event["type"] == "m.room.topic"] == [phase], kind
        own = [
            event["content"]["membership"] for event in members.body["chunk"] if event["state_key"] == person.user_id
        ]
        after = KINDS[kind][PHASES.index(phase) + 1 :][:1] or (KINDS[kind][-1],)
        assert own == [after[0]], kind
        assert [content["topic"] for content in topics] in ([phase], []), kind  # it may lie in the timeline


def test_the_rules_differ_for_each_visibility() -> None:
    """The table above would be of little use if two of its columns were the same."""
    columns = {visibility: [expected(visibility, kind) for kind in KINDS] for visibility in VISIBILITIES[1:]}
    assert all(columns[one] != columns[other] for one, other in itertools.combinations(columns, 2))
