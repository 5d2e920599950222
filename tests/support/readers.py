"""Clients that keep what `/sync` told them, go back to old tokens at times, and are held against the room in the end.

Every answer is an edge: from what a reader knew when it had a token, to what it knows with the next one. Nothing is
judged while the room goes on; in the end the whole room is known, and each edge is.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tests.support.client import Client, Json

State = Mapping[tuple[str, str], Json]
MEMBER = "m.room.member"


@dataclass(frozen=True)
class Known:
    """What a reader has with one of its tokens. `last`: the last event of the room that it was told of."""

    since: str | None = None
    joined: bool = False
    last: str | None = None
    gap: bool = False
    """After `last` something was left out, and nothing told of what follows."""
    line: tuple[str, ...] = ()
    """The timeline since it was last said to be limited, or since the reader came in."""
    prev_batch: str | None = None
    """Where to page on from before `line`."""
    state: State = field(default_factory=dict)


@dataclass(frozen=True)
class Edge:
    """One answer about the room: told to a reader who knew `before`."""

    before: Known
    section: str
    events: list[Json]
    limited: bool
    prev_batch: str | None
    cut: bool
    """A way between regions is cut, or was: words may be left out, and told again."""

    @property
    def ids(self) -> list[str]:
        return [event["event_id"] for event in self.events]


@dataclass(frozen=True, kw_only=True)
class Habit:
    """How a reader asks."""

    limit: int
    types: tuple[str, ...] | None = None
    lazy: bool = False
    state_after: bool = False

    @property
    def filter(self) -> Json:
        timeline: Json = {"limit": self.limit}
        if self.types is not None:
            timeline["types"] = list(self.types)
        return {"room": {"timeline": timeline, "state": {"lazy_load_members": self.lazy}}}

    @property
    def page_filter(self) -> Json:
        return {} if self.types is None else {"types": list(self.types)}

    def passes(self, event: Json) -> bool:
        return self.types is None or event["type"] in self.types


class Reader:
    """One device of one person, asking about one room."""

    def __init__(self, client: Client, room: str, habit: Habit, chance: random.Random) -> None:
        self.client = client
        self.room = room
        self.habit = habit
        self.chance = chance
        self.known = Known()
        self.kept: list[Known] = [self.known]
        self.edges: list[Edge] = []

    async def step(self, *, back: float = 0.2, timeout: int = 0, cut: bool = False) -> Edge | None:
        """Ask once: with the newest token, or as a client that was set back to an older one."""
        if self.chance.random() < back:
            self.known = self.chance.choice(self.kept)
        before = self.known
        query: Json = {"filter": self.habit.filter}
        if self.habit.state_after:
            query["use_state_after"] = True
        body = await self.client.sync(before.since, timeout, **query)
        edge = self._edge(before, body, cut)
        self.known = self._after(before, edge, body)
        self.kept.append(self.known)
        if edge is not None:
            self.edges.append(edge)
        return edge

    async def state(self) -> State:
        """The room's state, asked for itself."""
        return await self.client.all_state(self.room)

    def _edge(self, before: Known, body: Json, cut: bool) -> Edge | None:
        for section in ("join", "leave"):
            told = body.get("rooms", {}).get(section, {}).get(self.room)
            if told is not None and "timeline" in told:
                line = told["timeline"]
                return Edge(before, section, line["events"], line["limited"], line.get("prev_batch"), cut)
        return None

    def _after(self, before: Known, edge: Edge | None, body: Json) -> Known:
        rooms, since = body.get("rooms", {}), body["next_batch"]
        told = rooms.get("join", {}).get(self.room) or rooms.get("leave", {}).get(self.room)
        if told is None:
            out = self.room in rooms.get("invite", {}) or self.room in rooms.get("knock", {})
            return replace(before, since=since, joined=before.joined and not out)
        events = [] if edge is None else edge.events
        joined = self.room in rooms.get("join", {})
        state = dict(before.state) if before.joined or not joined else {}  # a client that was out begins anew
        updates = told["state_after"]["events"] if self.habit.state_after and "state_after" in told else [
            *told.get("state", {}).get("events", []), *(() if self.habit.state_after else events)
        ]  # fmt: skip
        state.update({(event["type"], event["state_key"]): event for event in updates if "state_key" in event})
        ids = () if edge is None else tuple(edge.ids)
        goes_on = before.joined and (edge is None or not edge.limited)
        return Known(
            since,
            joined,
            last=ids[-1] if ids else before.last,
            gap=not ids and (before.gap or not goes_on),
            line=(*before.line, *ids) if goes_on else ids,
            prev_batch=before.prev_batch if goes_on or edge is None else edge.prev_batch,
            state=state,
        )


class Room:
    """A room as its home tells it to somebody who was in it all the time."""

    def __init__(self, events: list[Json], visibility: str) -> None:
        self.events = events
        self.visibility = visibility
        self.place = {event["event_id"]: at for at, event in enumerate(events)}
        assert len(self.place) == len(events), "an event stands twice in the room"

    def memberships(self, user_id: str) -> list[str]:
        """Somebody's membership after each event."""
        now, found = "leave", []
        for event in self.events:
            if event["type"] == MEMBER and event["state_key"] == user_id:
                now = event["content"]["membership"]
            found.append(now)
        return found

    def visible(self, user_id: str) -> list[Json]:
        """What somebody may see who is in the room at its end. Source: "Room History Visibility"."""
        if self.visibility == "shared":
            return self.events
        allowed = {"join", "invite"} if self.visibility == "invited" else {"join"}
        ruled = next(at for at, event in enumerate(self.events) if event["type"] == "m.room.history_visibility")
        after = self.memberships(user_id)
        before = ["leave", *after]
        return [
            event
            for at, event in enumerate(self.events)
            if at <= ruled  # until then it is shared
            or after[at] in allowed
            or (event["type"] == MEMBER and event["state_key"] == user_id and before[at] in allowed)
        ]


def judge(reader: Reader, room: Room) -> list[str]:
    """What is wrong with what a reader was told, in words."""
    user_id = reader.client.user_id
    seen = [event["event_id"] for event in room.visible(user_id) if reader.habit.passes(event)]
    place = {event_id: at for at, event_id in enumerate(seen)}
    memberships = room.memberships(user_id)
    wrong: list[str] = []
    for number, edge in enumerate(reader.edges):
        said = f"{user_id} answer {number} ({edge.section}, {reader.habit}, since {edge.before.since})"
        unknown = [event for event in edge.events if event["event_id"] not in place]
        if edge.section == "leave":  # the last move is told, be it that of somebody who only was invited
            unknown = [event for event in unknown if event.get("state_key") != user_id]
        if unknown:
            kinds = [event["type"] for event in unknown]
            wrong.append(f"{said}: {kinds} are not for the reader to see")
            continue
        at = [place[event_id] for event_id in edge.ids if event_id in place]
        if at != sorted(set(at)):
            wrong.append(f"{said}: out of order, or twice: {at}")
        if not at:
            continue
        whole = at == list(range(at[0], at[-1] + 1))
        if not whole and not edge.cut:
            wrong.append(f"{said}: something is left out within {at}")
        if not edge.before.joined:
            continue
        last = place.get(edge.before.last or "", -1)
        absent = {"leave", "ban", "invite"} & set(memberships[room.place.get(edge.before.last or "", 0) :])
        if at[0] <= last and not absent and not edge.cut:
            wrong.append(f"{said}: {at} repeats what ended at {last}")
        if not edge.limited and not edge.before.gap and not edge.cut and at[0] != last + 1:
            wrong.append(f"{said}: {at} does not go on from {last}, and says no gap")
    return wrong


async def pages(reader: Reader, token: str | None) -> list[str]:
    """Everything before a token, in the room's order."""
    found: list[str] = []
    while token is not None:
        query = {"limit": reader.chance.choice([7, 30, 100]), "filter": reader.habit.page_filter, "from": token}
        page = await reader.client.messages(reader.room, "b", **query)
        found += [event["event_id"] for event in page["chunk"]]
        token = page.get("end")
    return found[::-1]


async def judge_pages(reader: Reader, room: Room, edges: Iterable[Edge]) -> list[str]:
    """Whether each timeline goes on where the pages before it end, and what the reader has in the end is the room."""
    seen = [event["event_id"] for event in room.visible(reader.client.user_id) if reader.habit.passes(event)]
    wrong = []
    for edge in edges:
        if edge.section == "join" and edge.ids and edge.prev_batch is not None:
            before = await pages(reader, edge.prev_batch)
            if before != seen[: seen.index(edge.ids[0])]:
                wrong.append(
                    f"{reader.client.user_id}: the pages before a timeline of {len(edge.ids)} are not the room"
                )
    whole = [*await pages(reader, reader.known.prev_batch), *reader.known.line]
    if whole != seen:
        places = [seen.index(event_id) if event_id in seen else event_id for event_id in whole]
        wrong.append(
            f"{reader.client.user_id} ({reader.habit}): a timeline of {len(reader.known.line)} with its pages is not "
            f"the room of {len(seen)}, but {places}"
        )
    return wrong


def judge_state(reader: Reader, state: State) -> list[str]:
    """Whether what was added up from `/sync` is the state."""
    mine = reader.known.state
    wrong = []
    for key in {*mine, *state}:
        if key[0] == MEMBER and reader.habit.lazy and key not in mine:
            continue
        left, right = mine.get(key, {}).get("event_id"), state.get(key, {}).get("event_id")
        if left != right:
            wrong.append(f"{reader.client.user_id} ({reader.habit}): {key} is {left}, not {right}")
    return wrong
