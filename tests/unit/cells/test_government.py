"""Power in a room, through the writer and its tables: many people change it at once, and none goes beyond their own."""

import asyncio
import json
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from hutong.cells.append import AppendOp, CreateOp
from hutong.cells.drafts import Home, SealedContent
from hutong.cells.messages import Draft, RefReply
from hutong.errors import MatrixError
from hutong.ids import MemberRef, RoomNo, Seq, room_no
from hutong.rooms.authorisation import level_of
from hutong.rooms.event_types import MEMBER, NAME, Membership
from hutong.rooms.projection import VERSIONS, Projection, decode
from tests.unit.cells.conftest import CellTables
from tests.unit.cells.desk import ALICE, ALICES, HERE, Desk, draft, new_id

PEOPLE = [ALICE, *(MemberRef(number) for number in range(101, 106))]
BURSTS = 40
TABLES = ("rooms", "events", "state", "members", "log", "out", "content", "highlights")


async def refs(user_ids: Iterable[str], room: RoomNo) -> dict[str, RefReply]:
    """Everybody is called by their ref."""
    return {user_id: RefReply(MemberRef(int(user_id[1:].partition(":")[0])), HERE) for user_id in user_ids}


def name(ref: MemberRef) -> str:
    return f"@{ref}:cn.localhost"


class Government:
    """A room of `version`, its people, and what each of them tries."""

    def __init__(self, desk: Desk, version: int, chance: random.Random) -> None:
        self.desk, self.version, self.chance = desk, version, chance
        self.home: Home = replace(desk.home, refs=refs)
        self.room = RoomNo(0)
        self.projection: Projection | None = None
        self.membership = dict.fromkeys(PEOPLE, Membership.LEAVE)
        self.seen = 0

    async def found(self) -> None:
        raw = new_id()
        self.room = room_no(raw)
        await self.home.reads.give_ref(self.room, ALICE, ALICES, HERE)
        levels = {name(PEOPLE[1]): 50, name(PEOPLE[2]): 50, name(PEOPLE[3]): 10}
        if self.version < 12:
            levels[name(ALICE)] = 100
        create = {"room_version": str(self.version)} | ({"creator": name(ALICE)} if self.version == 10 else {})
        said: list[tuple[str, dict[str, Any], MemberRef | None]] = [
            ("m.room.create", create, None),
            ("m.room.member", {"membership": "join"}, ALICE),
            ("m.room.power_levels", {"users": levels, "events": {"m.room.name": 40}}, None),
            ("m.room.join_rules", {"join_rule": "public"}, None),
        ]
        drafts: list[tuple[Draft, SealedContent | None]] = [
            (self.draft(ALICE, type, content, target), None) for type, content, target in said
        ]
        op = CreateOp(home=self.home, room=self.room, room_id=raw, room_home=HERE, version=self.version, drafts=drafts)
        await self.desk.writer.submit(op)
        for person in PEOPLE[1:]:
            assert await self.does([(person, "m.room.member", {"membership": "join"}, person)]) == [True]
        self.follow()

    def draft(self, sender: MemberRef, type: str, content: dict[str, Any], target: MemberRef | None) -> Draft:
        key = "" if target is None else name(target)
        return draft(type, json.dumps(content).encode(), sender=sender, state_key=key, target=target)

    def attempt(self) -> tuple[MemberRef, str, dict[str, Any], MemberRef | None]:
        """Somebody changes the levels a little, or somebody's membership."""
        sender, chance = self.chance.choice(PEOPLE), self.chance
        if chance.random() < 0.4:
            to = chance.choice(["join", "leave", "ban", "invite"])
            target = sender if to == "join" else chance.choice(PEOPLE)
            return sender, "m.room.member", {"membership": to}, target
        assert self.projection is not None
        power = self.projection.power
        assert power is not None
        users = {name(ref): level for ref, level in power.users.items()}
        content: dict[str, Any] = {"users": users, "events": {"m.room.name": power.events.get(NAME, 40)}}
        for field in ("ban", "kick", "redact", "users_default", "state_default"):
            if (level := getattr(power, field)) is not None:
                content[field] = level
        levels = [0, 10, 49, 50, 51, 100, 2**53 - 1]
        if chance.random() < 0.7:
            who = name(chance.choice(PEOPLE if self.version < 12 else PEOPLE[1:]))
            if chance.random() < 0.3:
                users.pop(who, None)
            else:
                users[who] = chance.choice(levels)
        else:
            content[chance.choice(["ban", "kick", "redact", "users_default", "state_default"])] = chance.choice(levels)
        return sender, "m.room.power_levels", content, None

    async def does(self, attempts: list[tuple[MemberRef, str, dict[str, Any], MemberRef | None]]) -> list[bool]:
        """All at once, so that the writer takes them into one batch; whether each was let pass."""
        ops = [AppendOp(self.home, self.room, self.draft(*attempt)) for attempt in attempts]
        results = await asyncio.gather(*map(self.desk.writer.submit, ops), return_exceptions=True)
        for result in results:
            assert isinstance(result, int | MatrixError), result
        return [isinstance(result, int) for result in results]

    def follow(self) -> None:
        """Go through what was committed since, event by event: each must be within its sender's power."""
        for batch in self.desk.committed[self.seen :]:
            for record in batch.records:
                if record.event is not None and record.event.env.room == self.room:
                    env = record.event.env
                    if self.projection is not None:
                        self.judge(env.sender, env.target, env.value, env.type == MEMBER, env.proj)
                    if env.proj is not None:
                        self.projection = decode(env.proj)
                    if env.type == MEMBER and env.target is not None and env.value is not None:
                        self.membership[env.target] = Membership(env.value)
        self.seen = len(self.desk.committed)

    def judge(
        self, sender: MemberRef, target: MemberRef | None, value: int | None, moves: bool, proj: bytes | None
    ) -> None:
        before = self.projection
        assert before is not None
        own = level_of(before, sender)
        if moves and target is not None and target != sender and value in (Membership.LEAVE, Membership.BAN):
            assert level_of(before, target) < own, "somebody put out their equal"
        if proj is None:
            return
        after = decode(proj)
        for person in (*PEOPLE, MemberRef(999_999)):
            was, is_now = level_of(before, person), level_of(after, person)
            assert is_now <= max(was, own), "somebody rose above who raised them"
            named = before.power is not None and person in before.power.users
            if person != sender and was >= own and named:
                assert is_now == was, "somebody took from their equal"


async def rows(desk: Desk) -> dict[str, list[Any]]:
    found = {}
    for table in TABLES:
        found[table] = sorted(map(str, await desk.tables.pool.fetch(f"SELECT * FROM {table}")))
    return found


async def known(desk: Desk, room: RoomNo) -> tuple[Any, ...]:
    """What the writer's memory says of the room; that it looked for state which was never set says nothing."""
    state = await desk.memory.load(room)
    assert state is not None
    state_set = {key: seq for key, seq in state.state.items() if seq is not None}
    return state.projection, dict(state.members), state_set, state.head, dict(state.joined), dict(state.cells)


@pytest.fixture
async def desk(cell_tables: CellTables) -> Any:
    await cell_tables.empty()
    desk = await Desk(cell_tables).start()
    yield desk
    await desk.writer.stop()


@pytest.mark.parametrize("version", VERSIONS)
async def test_nobody_rises_above_their_level_or_takes_from_their_equals(
    desk: Desk, version: int, seeded: random.Random
) -> None:
    government = Government(desk, version, seeded)
    await government.found()
    passed = refused = 0
    for _ in range(BURSTS):
        verdicts = await government.does([government.attempt() for _ in range(seeded.randint(1, 6))])
        passed += sum(verdicts)
        refused += len(verdicts) - sum(verdicts)
        government.follow()
        state = await desk.memory.load(government.room)
        assert state is not None
        assert state.projection == government.projection, "the writer follows what was committed"
    timeline = await desk.timeline(government.room)
    founding = 4 + len(PEOPLE) - 1
    assert [seq for seq, _ in timeline] == list(range(1, founding + passed + 1)), "what is refused has no number"
    assert min(passed, refused) > BURSTS // 4, "both happen"


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_refused_changes_nothing(desk: Desk, version: int, seeded: random.Random) -> None:
    government = Government(desk, version, seeded)
    await government.found()
    before, committed = await rows(desk), len(desk.committed)
    for attempt in hopeless(version):
        was = await known(desk, government.room)
        assert await government.does([attempt]) == [False], attempt
        assert await known(desk, government.room) == was
    assert await rows(desk) == before
    assert len(desk.committed) == committed, "nobody is told"
    assert await government.does([(ALICE, "m.room.topic", {"topic": "on we go"}, None)]) == [True]
    assert (await desk.timeline(government.room))[-1][0] == Seq(4 + len(PEOPLE))


def hopeless(version: int) -> list[tuple[MemberRef, str, dict[str, Any], MemberRef | None]]:
    """What nobody may do in the room as it was founded: everybody is in, with 100 (or more), 50, 50, 10, 0 and 0."""
    alice, first, second, low, plain, other = PEOPLE
    levels = {name(first): 50, name(second): 50, name(low): 10} | ({name(alice): 100} if version < 12 else {})
    events = {"m.room.name": 40}
    attempts: list[tuple[MemberRef, str, dict[str, Any], MemberRef | None]] = [
        (plain, "m.room.power_levels", {"users": levels | {name(plain): 100}, "events": events}, None),
        (first, "m.room.power_levels", {"users": levels | {name(first): 51}, "events": events}, None),
        (first, "m.room.power_levels", {"users": levels | {name(second): 0}, "events": events}, None),
        (first, "m.room.power_levels", {"users": levels, "events": events, "users_default": 51}, None),
        (first, "m.room.power_levels", {"users": levels, "events": events, "ban": "50"}, None),
        (low, "m.room.name", {"name": "mine"}, None),
        (first, "m.room.member", {"membership": "ban"}, second),
        (first, "m.room.member", {"membership": "leave"}, alice),
        (low, "m.room.member", {"membership": "leave"}, plain),
        (plain, "m.room.member", {"membership": "knock"}, plain),
        (alice, "m.room.member", {"membership": "invite"}, other),
        (alice, "m.room.create", {"room_version": str(version)}, None),
    ]
    if version >= 12:
        attempts.append((alice, "m.room.power_levels", {"users": levels | {name(alice): 100}, "events": events}, None))
    return attempts
