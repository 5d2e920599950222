"""A small Matrix client with a name: what a person in a test does, and what they see.

Every verb succeeds or raises `Refused`; every answer is held against the specification on its way.
"""

import asyncio
import io
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp
import pytest
from yarl import URL

from tests.support.openapi import Contract

CLIENT = "/_matrix/client/v3"
PASSWORD = "a lane that joins courtyards"
DEADLINE_S = 15.0
POLL_MS = 2_000
EVERYTHING = {"room": {"timeline": {"limit": 1_000}, "include_leave": True}}

REGIONS = {"cn": 1, "eu": 2, "ru": 3}

Json = dict[str, Any]


class Answer(tuple[int, Any]):  # noqa: SLOT001 - the headers need a place, and a tuple has no slots
    """(status, body), with the headers beside them."""

    headers: Mapping[str, str]

    def __new__(cls, status: int, body: Any, headers: Mapping[str, str]) -> Self:
        answer = super().__new__(cls, (status, body))
        answer.headers = headers
        return answer

    @property
    def status(self) -> int:
        return self[0]

    @property
    def body(self) -> Any:
        return self[1]

    @property
    def errcode(self) -> str:
        return str(self.body.get("errcode", "")) if isinstance(self.body, dict) else ""

    @property
    def error(self) -> str:
        return str(self.body.get("error", "")) if isinstance(self.body, dict) else ""


class Refused(Exception):
    """The server said no."""

    def __init__(self, what: str, answer: Answer) -> None:
        super().__init__(f"{what}: {answer.status} {answer.errcode}: {answer.error or answer.body}")
        self.answer = answer


@contextmanager
def refused(errcode: str, naming: str = "", status: int | None = None) -> Iterator[None]:
    """The block must be refused with `errcode`, by a message in which `naming` stands."""
    with pytest.raises(Refused) as caught:
        yield
    answer = caught.value.answer
    assert answer.errcode == errcode, caught.value
    assert naming.lower() in answer.error.lower(), f"the message does not say {naming!r}: {caught.value}"
    assert status is None or answer.status == status, caught.value


def ageless(event: Json) -> Json:
    """The event, and those within it, without their age, which is another one each time it is asked for."""
    event.get("unsigned", {}).pop("age", None)
    for told in event.get("unsigned", {}).get("m.relations", {}).values():
        ageless(told.get("latest_event", told))
    return event


def path(*parts: str) -> str:
    """A path below `/_matrix/client/v3` with every part percent-encoded."""
    return "".join("/" + quote(part, safe="") for part in parts)


@dataclass
class Http:
    """One connection pool for all people of a test run, and the contract that their answers are held against."""

    session: aiohttp.ClientSession
    base_url: str
    contract: Contract | None

    async def request(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        token: str = "",
        query: Mapping[str, Any] | None = None,
        raw: bytes | io.BytesIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`target` is a path from `/_`, or one below `/_matrix/client/v3`, percent-encoded; `raw` goes as it is."""
        target = target if target.startswith(("/_", "/.well-known", "/hutong", "/health")) else CLIENT + target
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        url = URL(self.base_url + target + (f"?{urlencode(_flat(query))}" if query else ""), encoded=True)
        async with self.session.request(method, url, data=data, headers=sent, allow_redirects=False) as response:
            read = await response.read()
            is_json = response.content_type == "application/json"
            answer = Answer(response.status, json.loads(read) if read and is_json else None, response.headers)
        assert answer.status < 500 or answer.status == 503, f"{method} {target}: {answer.status} {read[:600]!r}"
        if self.contract is not None:
            self.contract.check(method, target.partition("?")[0], answer.status, answer.body)
        return answer


def _flat(query: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: json.dumps(value) if isinstance(value, dict | list | bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


@dataclass
class Client:
    """One device of one person."""

    http: Http
    name: str
    region: str
    user_id: str = ""
    token: str = ""
    device_id: str = ""
    since: str | None = None
    timeline: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    """Every event that this device has been told by `/sync`, by room."""
    state: dict[str, dict[tuple[str, str], Json]] = field(default_factory=lambda: defaultdict(dict))
    invitations: dict[str, list[Json]] = field(default_factory=dict)
    receipts: dict[str, Json] = field(default_factory=lambda: defaultdict(dict))
    typists: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    unread: dict[str, int] = field(default_factory=dict)
    _transactions: int = 0

    @property
    def cell(self) -> int:
        """The number of the cell that the access token names: where this person is at home."""
        _, region, index, _ = self.token.split(".", 3)
        return REGIONS[region] * 256 + int(index)

    # --- what any request needs -------------------------------------------------------------------------------------

    async def request(self, method: str, target: str, body: Any = None, **more: Any) -> Answer:
        return await self.http.request(method, target, body, token=self.token, **more)

    async def get(self, target: str, **query: Any) -> Answer:
        return await self.request("GET", target, query=query)

    async def post(self, target: str, body: Any = None, **query: Any) -> Answer:
        return await self.request("POST", target, {} if body is None else body, query=query)

    async def put(self, target: str, body: Any, **query: Any) -> Answer:
        return await self.request("PUT", target, body, query=query)

    async def delete(self, target: str, body: Any = None, **query: Any) -> Answer:
        return await self.request("DELETE", target, body, query=query)

    async def ok(self, method: str, target: str, body: Any = None, **more: Any) -> Any:
        """The body of an answer that must be 200. Raises Refused."""
        answer = await self.request(method, target, body, **more)
        if answer.status != 200:
            raise Refused(f"{self.name}: {method} {target}", answer)
        return answer.body

    # --- accounts ---------------------------------------------------------------------------------------------------

    async def register(self, **more: Any) -> "Client":
        """Make the account, in this person's region, as the specification's two steps."""
        body = {"username": self.name, "password": PASSWORD, "hutong.region": self.region, **more}
        asked = await self.http.request("POST", "/register", body)
        assert asked.status == 401, asked
        body["auth"] = {"type": "m.login.dummy", "session": asked.body["session"]}
        self._signed_in(await self.ok("POST", "/register", body))
        return self

    async def another_device(self, **more: Any) -> "Client":
        """The same person, signed in once more."""
        other = Client(self.http, self.name, self.region)
        user = {"type": "m.id.user", "user": self.user_id}
        body = {"type": "m.login.password", "identifier": user, "password": PASSWORD, **more}
        other._signed_in(await other.ok("POST", "/login", body))
        return other

    async def deactivate(self, *, erase: bool = False) -> None:
        """Close the account, proving with the password who asks."""
        body: Json = {"erase": erase}
        asked = await self.post("/account/deactivate", body)
        assert asked.status == 401, asked
        user = {"type": "m.id.user", "user": self.user_id}
        proof = {"type": "m.login.password", "identifier": user, "password": PASSWORD}
        await self.ok("POST", "/account/deactivate", {**body, "auth": {**proof, "session": asked.body["session"]}})

    def _signed_in(self, body: Json) -> None:
        self.user_id, self.token, self.device_id = body["user_id"], body["access_token"], body["device_id"]

    # --- rooms ------------------------------------------------------------------------------------------------------

    async def create_room(self, **options: Any) -> str:
        return str((await self.ok("POST", "/createRoom", options))["room_id"])

    async def join(self, room: str, **body: Any) -> str:
        return str((await self.ok("POST", path("rooms", room, "join"), body))["room_id"])

    async def leave(self, room: str, **body: Any) -> None:
        await self.ok("POST", path("rooms", room, "leave"), body)

    async def forget(self, room: str) -> None:
        await self.ok("POST", path("rooms", room, "forget"), {})

    async def invite(self, room: str, whom: "Client | str", **body: Any) -> None:
        await self._about(room, "invite", whom, body)

    async def kick(self, room: str, whom: "Client | str", **body: Any) -> None:
        await self._about(room, "kick", whom, body)

    async def ban(self, room: str, whom: "Client | str", **body: Any) -> None:
        await self._about(room, "ban", whom, body)

    async def unban(self, room: str, whom: "Client | str", **body: Any) -> None:
        await self._about(room, "unban", whom, body)

    async def _about(self, room: str, verb: str, whom: "Client | str", body: Json) -> None:
        user_id = whom.user_id if isinstance(whom, Client) else whom
        await self.ok("POST", path("rooms", room, verb), {"user_id": user_id, **body})

    async def accept(self, room: str) -> None:
        """Wait for the invitation, then join."""
        await self.until(lambda: room in self.invitations, f"an invitation to {room}")
        await self.join(room)

    async def members(self, room: str, **query: Any) -> dict[str, str]:
        """The memberships of everybody who ever had one, by user id."""
        body = await self.ok("GET", path("rooms", room, "members"), query=query)
        return {event["state_key"]: event["content"]["membership"] for event in body["chunk"]}

    async def joined_members(self, room: str) -> dict[str, Json]:
        body = await self.ok("GET", path("rooms", room, "joined_members"))
        return dict(body["joined"])

    async def joined_rooms(self) -> list[str]:
        return list((await self.ok("GET", "/joined_rooms"))["joined_rooms"])

    # --- events -----------------------------------------------------------------------------------------------------

    async def send(self, room: str, text: str, **more: Any) -> str:
        """Send a text message; its event id."""
        return await self.send_event(room, "m.room.message", {"msgtype": "m.text", "body": text, **more})

    async def send_event(self, room: str, type: str, content: Any, txn: str | None = None) -> str:
        body = await self.ok("PUT", path("rooms", room, "send", type, txn or self.new_txn()), content)
        return str(body["event_id"])

    async def redact(self, room: str, event_id: str, **body: Any) -> str:
        answer = await self.ok("PUT", path("rooms", room, "redact", event_id, self.new_txn()), body)
        return str(answer["event_id"])

    async def event(self, room: str, event_id: str) -> Json:
        return dict(await self.ok("GET", path("rooms", room, "event", event_id)))

    async def set_state(self, room: str, type: str, content: Any, key: str = "") -> str:
        parts = ("rooms", room, "state", type, key) if key else ("rooms", room, "state", type)
        return str((await self.ok("PUT", path(*parts), content))["event_id"])

    async def get_state(self, room: str, type: str, key: str = "") -> Any:
        parts = ("rooms", room, "state", type, key) if key else ("rooms", room, "state", type)
        return await self.ok("GET", path(*parts))

    async def all_state(self, room: str) -> dict[tuple[str, str], Json]:
        """The room's current state events by (type, state key)."""
        events = await self.ok("GET", path("rooms", room, "state"))
        return {(event["type"], event["state_key"]): ageless(event) for event in events}

    async def messages(self, room: str, dir: str = "b", **query: Any) -> Json:
        """One page of `/messages`."""
        return dict(await self.ok("GET", path("rooms", room, "messages"), query={"dir": dir, **query}))

    async def history(self, room: str, dir: str = "b", page: int = 10) -> list[Json]:
        """Every event of the room that this person may see, page by page in the order of `dir`."""
        return [event async for event in self._pages(room, dir, page)]

    async def _pages(self, room: str, dir: str, page: int) -> AsyncIterator[Json]:
        token: str | None = None
        while True:
            got = await self.messages(room, dir, limit=page, **({"from": token} if token else {}))
            for event in got["chunk"]:
                yield ageless(event)
            if "end" not in got or got["end"] == token:
                return
            token = got["end"]

    async def texts(self, room: str) -> list[str]:
        """What was said in the room, oldest first, as this person reads it."""
        events = await self.history(room, "f", page=100)
        return [event["content"]["body"] for event in events if "body" in event["content"]]

    async def type_in(self, room: str, typing: bool = True, timeout_ms: int = 20_000) -> None:
        body = {"typing": True, "timeout": timeout_ms} if typing else {"typing": False}
        await self.ok("PUT", path("rooms", room, "typing", self.user_id), body)

    async def mark_read(self, room: str, event_id: str, type: str = "m.read", **body: Any) -> None:
        await self.ok("POST", path("rooms", room, "receipt", type, event_id), body)

    def new_txn(self) -> str:
        self._transactions += 1
        return f"t{self._transactions}"

    # --- sync -------------------------------------------------------------------------------------------------------

    async def sync(self, since: str | None = None, timeout: int = 0, **query: Any) -> Json:
        """One `/sync` that this client does not remember."""
        return dict(await self.ok("GET", "/sync", query={"since": since, "timeout": timeout, **query}))

    async def poll(self, timeout: int = POLL_MS) -> Json:
        """Go on from the last poll, and remember what it told."""
        body = await self.sync(self.since, 0 if self.since is None else timeout, filter=EVERYTHING)
        self.since = body["next_batch"]
        rooms = body.get("rooms", {})
        self.invitations |= {room: told["invite_state"]["events"] for room, told in rooms.get("invite", {}).items()}
        for room, told in {**rooms.get("join", {}), **rooms.get("leave", {})}.items():
            self.invitations.pop(room, None)
            events = told.get("timeline", {}).get("events", [])
            self.timeline[room] += events
            for event in told.get("state", {}).get("events", []) + events:
                if "state_key" in event:
                    self.state[room][event["type"], event["state_key"]] = event
            for event in told.get("ephemeral", {}).get("events", []):
                if event["type"] == "m.typing":
                    self.typists[room] = event["content"]["user_ids"]
                elif event["type"] == "m.receipt":
                    self.receipts[room] |= event["content"]
            if "notification_count" in told.get("unread_notifications", {}):
                self.unread[room] = told["unread_notifications"]["notification_count"]
        return body

    def membership(self, room: str, whose: "Client | None" = None) -> str:
        """What the polls so far told of somebody's membership, by default one's own."""
        event = self.state[room].get(("m.room.member", (whose or self).user_id))
        return str(event["content"]["membership"]) if event else ""

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Poll until `condition` holds. Fails after 15 s, saying `what` never came."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not condition():
                    await self.poll()
        except TimeoutError:
            raise AssertionError(f"{self.name} in {self.region} waited {DEADLINE_S:.0f} s for {what}") from None

    async def sees(self, room: str, event_id: str) -> Json:
        """Wait until `/sync` tells of the event."""
        found: list[Json] = []

        def told() -> bool:
            found[:] = [event for event in self.timeline[room] if event["event_id"] == event_id]
            return bool(found)

        await self.until(told, f"{event_id} in {room}")
        return found[0]
