"""Every operation that is served, with what schemathesis makes of the specification's OpenAPI files: valid and invalid.

Half of what is random is put right again with real rooms, events, people and tokens, so that requests get past "no such
room". `make test` runs a few cases of each operation with one seed, `make soak` many with new ones.
"""

import asyncio
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from hutong.ids import CellNo, Pos
from tests.support import matrix
from tests.support.client import Client, Http, Json, path
from tests.support.openapi import VARIABLE, Contract, Violation

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from hutong.node import Node
    from tests.conftest import Newcomer

SEED = 4
FEW, MANY = 4, 50
"""Cases of one operation, valid and invalid each; of one that takes nothing, a single one."""
SEEDS_OF_A_SOAK = 2
SLOWEST_S = 15.0
REAL = (0.5, 1.0)
"""How often a value is put right, in one half of the cases and in the other."""
THROUGH = 0.6
"""That part of the operations is done at least once, or else all this would only be about refusals."""
WATCHED = 0.1
"""Of so many of the cases it is asked whether a refusal wrote something: it takes until all is quiet."""
QUIET_S = 0.1
EVERY = 8
"""So many cases find the same rooms."""
FIELD = re.compile(r"^[A-Za-z_][\w.\[\]-]*(?: of [\w.]+)?: \S", re.ASCII)
"""An error of 400 starts with the name of what is wrong, be it a name that the client made up."""
TYPES = ("m.room.message", "m.room.name", "m.room.topic", "m.room.member", "m.room.power_levels", "m.room.create")
ON_PURPOSE = {("GET /_matrix/client/v3/voip/turnServer", 200)}
"""Who has no address to name says `{}`, as every server does; of an empty list of addresses no browser makes a call."""
ENDS_THE_SESSION = re.compile(r"/logout(/all)?$|/account/(deactivate|password)$|/delete_devices$|/devices/")


@dataclass
class Scene:
    """Alice of cn, the rooms that she knows and what is in them; made anew when cases have used it up."""

    newcomer: "Newcomer"
    alice: Client = field(init=False)
    values: dict[str, list[str]] = field(init=False)
    """What is real, by the name of a parameter or field."""

    async def set(self) -> None:
        self.alice = await self.newcomer("alice", "cn")
        bob = await self.newcomer("bob", "eu")
        lane = f"lane-{self.alice.name}"
        mine = await self.alice.create_room(preset="public_chat", name="Courtyard", room_alias_name=lane)
        his = await bob.create_room(preset="public_chat", invite=[self.alice.user_id])
        closed = await bob.create_room()
        await asyncio.gather(bob.join(mine), self.alice.join(his))
        first = await self.alice.send(mine, "first")
        gone = await self.alice.send(mine, "gone")
        reply = {"m.relates_to": {"rel_type": "m.thread", "event_id": first}}
        others = [await bob.send(mine, "second", **reply), await bob.send(his, "third")]
        await self.alice.redact(mine, gone)
        events = [first, gone, *others, *(event["event_id"] for event in await self.alice.history(mine, page=100))]
        rooms = [mine, mine, mine, his, closed]
        aliases = [f"#{lane}:cn.localhost", f"#other-{lane}:cn.localhost"]
        filters = await self.alice.post(
            path("user", self.alice.user_id, "filter"), {"room": {"timeline": {"limit": 3}}}
        )
        pages = [str((await self.alice.messages(room, limit=2))["end"]) for room in (mine, his)]
        tokens = [str((await self.alice.sync())["next_batch"]), *pages]
        people = [self.alice.user_id, self.alice.user_id, bob.user_id, "@nobody:ru.localhost"]
        relations = ["m.thread", "m.annotation", "m.reference", "m.replace"]
        self.values = {
            "roomId": rooms, "roomIdOrAlias": [*rooms, *aliases], "room_id": rooms, "rooms": rooms,
            "roomAlias": aliases, "alias": aliases,
            "userId": people, "user_id": people, "invite": people, "senders": people, "user": people,
            "eventId": events, "event_id": events, "event": events, "m.fully_read": events, "m.read": events,
            "m.read.private": events, "redacts": events, "thread_id": ["main", *events],
            "eventType": [*TYPES, "m.reaction"], "type": [*TYPES, "m.direct", "m.login.password"],
            "stateKey": ["", "", *people],
            "relType": relations, "rel_type": relations,
            "receiptType": ["m.read", "m.read.private", "m.fully_read"],
            "deviceId": [self.alice.device_id], "device_id": [self.alice.device_id],
            "filterId": [str(filters.body["filter_id"])], "filter": [str(filters.body["filter_id"]), '{"limit":2}'],
            "keyName": ["displayname", "avatar_url"],
            "kind": ["override", "underride", "content", "user"], "ruleId": [".m.rule.master", ".m.rule.message"],
            "tag": ["u.work", "m.favourite"],
            "from": tokens, "to": tokens, "since": tokens, "at": tokens,
            "dir": ["f", "b"], "limit": ["1", "5"], "membership": ["join", "leave", "invite"],
            "room_version": ["10", "11", "12"],
        }  # fmt: skip


@dataclass
class Mend:
    """Puts values of one case right, as its dice fall."""

    values: dict[str, list[str]]
    dice: random.Random

    def __post_init__(self) -> None:
        self.chance = self.dice.choice(REAL)

    def text(self, name: str) -> str | None:
        """Something real that has this name, or None to leave it as it is."""
        real = self.values.get(name)
        return self.dice.choice(real) if real and self.dice.random() < self.chance else None

    def body(self, value: Any, name: str = "") -> Any:
        """`value` with some of its strings put right."""
        if isinstance(value, dict):
            return {key: self.body(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.body(inner, name) for inner in value]
        if isinstance(value, float) and self.dice.random() < self.chance:
            return self.dice.randrange(100)  # events hold no fractions
        return (self.text(name) or value) if isinstance(value, str) else value


@dataclass
class Fuzz:
    """Sends cases, from a thread: the node answers in this process's own loop."""

    loop: asyncio.AbstractEventLoop
    node: "Node"
    contract: Contract
    scene: Scene
    wrong: list[str] = field(default_factory=list)
    sent: int = 0
    statuses: dict[str, set[int]] = field(default_factory=dict)
    session: requests.Session = field(default_factory=requests.Session)

    def wait(self, step: "Coroutine[Any, Any, Any]") -> Any:
        return asyncio.run_coroutine_threadsafe(step, self.loop).result(SLOWEST_S)

    def quiet(self) -> dict[CellNo, Pos]:
        """Where the logs of all cells end, once nothing more arrives."""
        while True:
            before = {number: cell.tail.head for number, cell in self.node.cells.items()}
            self.wait(asyncio.sleep(QUIET_S))
            if before == {number: cell.tail.head for number, cell in self.node.cells.items()}:
                return before

    def run(self, operation: Any, mode: GenerationMode, count: int, seed_of_run: int) -> None:
        """`count` cases of one operation. What is wrong is kept and the rest goes on."""

        @seed(seed_of_run)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        @given(operation.as_strategy(mode), st.integers(0, 2**32))
        def every(case: Any, throw: int) -> None:
            if self.sent % EVERY == 0:
                self.wait(self.scene.set())
                self.sent = 1
            self.sent += case.method != "GET"
            if said := self.tried(case, random.Random(throw)):
                self.wrong.append(f"{operation.label} ({mode.value}, seed {seed_of_run}): {said}")

        try:
            every()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, operation.label  # nothing in it could be invalid

    def tried(self, case: Any, dice: random.Random) -> str:
        """What is wrong with the answer to one case, or nothing."""
        mend = Mend(self.scene.values, dice)
        case.path_parameters = {
            name: quote(right, safe="") if (right := mend.text(name)) is not None else value
            for name, value in (case.path_parameters or {}).items()
        }
        case.query = {name: mend.text(name) or value for name, value in (case.query or {}).items()}
        if "timeout" in case.query:
            case.query = {**case.query, "timeout": str(dice.choice((0, 20)))}
        if isinstance(case.body, dict | list):
            case.body = mend.body(case.body)
        before = self.quiet() if case.method != "GET" and dice.random() < WATCHED else {}
        answer = case.call(
            base_url=self.node.base_url,
            session=self.session,
            headers={"Authorization": f"Bearer {self.scene.alice.token}"},
            timeout=SLOWEST_S,
        )
        said = self.judged(case, answer)
        if not said and before and answer.status_code >= 400 and self.quiet() != before:
            said = "was refused, and yet something was written"
        if ENDS_THE_SESSION.search(case.path) or answer.status_code == 401:
            self.sent = 0  # the next one finds a scene of its own
        if not said:
            return ""
        body = case.body if isinstance(case.body, dict | list | str | int) else type(case.body).__name__
        request = f"{case.method} {answer.request.path_url[:300]} {json.dumps(body, default=repr)[:600]}"
        return f"{said}\n    {request}\n    -> {answer.status_code} {answer.content[:300]!r}"

    def judged(self, case: Any, answer: Any) -> str:
        status, headers = answer.status_code, {name.lower(): value for name, value in answer.headers.items()}
        self.statuses.setdefault(case.operation.label, set()).add(status)
        if status >= 500:
            return "a 5xx"
        if headers.get("access-control-allow-origin") != ["*"]:
            return f"no CORS headers: {headers}"
        if headers.get("content-type") != ["application/json"]:
            return f"not JSON: {headers.get('content-type')}"
        body = json.loads(answer.content)
        if status >= 400 and "flows" not in body:
            if not (isinstance(body.get("errcode"), str) and isinstance(body.get("error"), str)):
                return "an error without errcode and error"
            if status == 400 and not names_a_field(body["error"], case.body):
                return "does not name the field"
        try:
            self.contract.check(case.method, urlsplit(answer.request.path_url).path, status, body)
        except Violation as violation:
            return "" if (case.operation.label, status) in ON_PURPOSE else str(violation)
        return ""


def names_a_field(error: str, sent: Any) -> bool:
    made_up = sent if isinstance(sent, dict) else {}
    return FIELD.match(error) is not None or any(error.startswith(key) for key in made_up)


def operations(contract: Contract) -> Iterator[Any]:
    """The operations of the specification that are served, as schemathesis knows them."""
    served = {route.key for route in matrix.routes()}
    paths: dict[str, Json] = {}
    for operation in contract.operations:
        # A template that ends in a space is the same operation once more.
        if not operation.template.endswith(" ") and matrix.key_of(operation) in served:
            paths.setdefault(operation.template, {})[operation.method] = contract.described(operation)
    document = {"openapi": "3.1.0", "info": {"title": "Client-Server API", "version": "1.19"}, "paths": paths}
    for each in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(each, Ok), each
        yield each.ok()


@pytest.fixture
async def fuzz(node: "Node", contract: Contract | None, newcomer: "Newcomer") -> Fuzz:
    if contract is None:
        pytest.skip(f"NOT fuzzed: no Matrix specification beside the repository; {VARIABLE} may name it")
    return Fuzz(asyncio.get_running_loop(), node, contract, Scene(newcomer))


@pytest.mark.soak
async def test_whatever_the_specification_lets_be_sent_is_answered_as_it_says(
    fuzz: Fuzz, soaking: bool, seeded: random.Random
) -> None:
    every = list(operations(fuzz.contract))
    seeds = [seeded.randrange(2**32) for _ in range(SEEDS_OF_A_SOAK)] if soaking else [SEED]

    def run() -> None:
        for seed_of_run in seeds:
            for operation in every:
                takes = any(True for _ in operation.iter_parameters()) or bool(operation.body)
                count = (MANY if soaking else FEW) if takes else 1
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if takes else (GenerationMode.POSITIVE,):
                    fuzz.run(operation, mode, count, seed_of_run)

    await asyncio.to_thread(run)
    assert not fuzz.wrong, f"{len(fuzz.wrong)} of the cases:\n" + "\n".join(fuzz.wrong)
    never = sorted(label for label, statuses in fuzz.statuses.items() if not any(status < 300 for status in statuses))
    assert len(never) < len(fuzz.statuses) * (1 - THROUGH), "too few got through; never: " + ", ".join(never)


async def test_what_hutong_says_of_its_own_services_is_so(node: "Node", http: Http, newcomer: "Newcomer") -> None:
    document = (await http.request("GET", "/hutong/openapi.json")).body
    alice = await newcomer("alice", "cn")
    called: list[str] = []

    def run() -> None:
        for operation in schemathesis.openapi.from_dict(document).get_all_operations():
            assert isinstance(operation, Ok), operation

            @seed(SEED)
            @settings(max_examples=FEW, database=None, deadline=None, phases=[Phase.generate])
            @given(operation.ok().as_strategy())
            def every(case: Any) -> None:
                called.append(case.operation.label)
                case.call_and_validate(
                    base_url=node.base_url, headers={"Authorization": f"Bearer {alice.token}"}, timeout=SLOWEST_S
                )

            every()

    await asyncio.to_thread(run)
    assert {label.partition(" ")[2] for label in called} == set(document["paths"])
