"""Every endpoint that is served, against every kind of value that has no business there: no 5xx, nothing that hangs,
nothing written by a request that was refused.

The table below is compared with the router, so a new endpoint fails here until it stands in the table.
"""

import json
import random
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import pytest

from hutong.accounts.homes import Homes
from hutong.http import openapi
from hutong.http.app import METHODS
from hutong.ids import CellNo
from tests.support.client import PASSWORD, Client, Http, Json
from tests.support.wire import exchange

if TYPE_CHECKING:
    from hutong.node import Node

V3 = "/_matrix/client/v3"
ROOM = f"{V3}/rooms/{{room_id}}"
RELATIONS = "/_matrix/client/v1/rooms/{room_id}/relations/{event_id}"
PROFILE = f"{V3}/profile/{{user_id}}"
USER = f"{V3}/user/{{user_id}}"
RULE = f"{V3}/pushrules/global/{{kind}}/{{rule_id}}"
SLOWEST_S = 10.0
FEW = 1_200

VALUES = [
    *("null", "true", "0", "-1", "1.5", "1e3", "9007199254740993", "1" + "0" * 40, "-9223372036854775808", "1e999"),
    *(
        '""',
        '" "',
        '"true"',
        '"1"',
        '"\\ud800"',
        '"\\u0000"',
        '"\\u202e\\u2066gnp.exe"',
        '"👩‍👩‍👧‍👦"',
        '"ＡＬＩＣＥ"',
        '"*"',
    ),
    *("[]", "{}", "[null]", "[[]]", '[{"a":1}]', '{"a":{"b":[]}}', '{"@x:y":100}', '{"":""}', '["a","a"]'),
    *('"@bob:eu.localhost"', '"@a:b"', '"@:cn.localhost"', '"@bob:EU.LOCALHOST"', '"@bob:eu.localhost:8448"'),
    *('"!aaaaaaaaaaaaaaaaaaaaaa"', '"$aaaaaaaaaaaaaaaaaaaaaa"', '"#a:cn.localhost"', '"m.room.create"', '"join"'),
    "[" * 90 + "]" * 90,
    '{"a":' * 3_000 + "1" + "}" * 3_000,
    json.dumps("a" * 40_000),
    json.dumps("宝" * 12_000),
    json.dumps("*" * 20_000),
    json.dumps({f"@user{n}:eu.localhost": 50 for n in range(1_000)}),
    json.dumps([f"@user{n}:eu.localhost" for n in range(1_000)]),
    json.dumps(list(range(5_000))),
    '{"a":1,"a":2}',
]
"""As JSON, so that what no encoder would write can be among them."""

BODIES = [
    *(
        b"",
        b"{",
        b"[]",
        b'"a"',
        b"null",
        b"{}{}",
        b"\xff\xfe",
        b'{"a":NaN}',
        b'{"a":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
    ),
    *(b"[" * 100_000, b'{"a":' * 50_000, b'{"":0}', b'{"a"\t:1,"a":2}', b'{"__proto__":{},"constructor":[]}'),
    *(b'{"body":"' + b"\\u0061" * 10_000 + b'"}', b'{"a":1}\x00', b" " * 70_000, b'{"x":"\\/\\b\\f"}'),
]

PARTS = [
    *("", "%20", "%00", "%2F", "%2e%2e", "%ff", "%F0%9F", "%", "%zz", "%ED%A0%80", "%e2%80%ae", "%C3%A9", "+", "~"),
    *("null", "0", "-1", "9" * 400, "a" * 300, "%F0%9F%91%A9" * 80, "%40", "%21", "%24", "%23a%3Acn.localhost", "%5C"),
    *("%40bob%3Aeu.localhost", "%40a%3Ab", "%40%3Acn.localhost", "%40bob%3AEU.LOCALHOST", "%40a%00%3Acn.localhost"),
    *("%21aaaaaaaaaaaaaaaaaaaaaa", "%21aaaaaaaaaaaaaaaaaaaaaa%3Aeu.localhost", "%21aaaaaaaaaaaaaaaaaaaaaa%3Ax.example"),
    *("%24aaaaaaaaaaaaaaaaaaaaaa", "%24AAAAAAAAAAAAAAAAAAAAAB", "%24" + "a" * 43, "m.room.create", "m.room.member"),
    *("m.room.power_levels", "m.room.redaction", "m.fully_read", "m.push_rules", "m.tag", "displayname", "avatar_url"),
    *("x%0d%0aset-cookie%3a%20a", "..;", "a;b=c", "a%3Fb", "a%23b", "%2500", "%252F"),
]
"""As they stand in a path or a query."""

TOKENS = [
    *("h1", "h1.", "h1.0.0.0.0", "h1.1.-1.0.0", "h1.1." + "9" * 30 + ".0.0", "h1." + "1" * 4_000, "h1.%D9%A1.1.1.1"),
    *("r1.0.0.0", "r1.1.aa.1", "s72594_4483", "h1.ffffffff.9223372036854775807.ffffffff.9223372036854775807"),
]
FILTERS = [
    quote(text)
    for text in (
        *("{", "[]", "{}", '{"room":5}', '{"room":{"timeline":{"limit":-1}}}', '{"room":{"timeline":{"limit":1e9}}}'),
        *('{"types":["' + "*" * 2_000 + '"]}', '{"room":{"timeline":{"types":["' + "*a" * 900 + '"]}}}'),
        *('{"event_fields":["' + "a." * 900 + '"]}', '{"event_fields":["\\\\.\\\\"," "]}', '{"event_format":"xml"}'),
        *('{"a":' + "[" * 3_000, '{"room":' * 1_000, '{"types":' + json.dumps([f"{n}*" for n in range(500)]) + "}"),
        *('{"room":{"rooms":["!"]}}', '{"room":{"state":{"senders":["@"]}}}', '{"contains_url":7}', '{"senders":"@"}'),
    )
]


@dataclass(frozen=True)
class Endpoint:
    """What a good request looks like. `spends`: one that is let pass leaves no room to try the next one in."""

    method: str
    path: str
    body: Json | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    spends: bool = False
    anonymous: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


AUTH: Json = {"type": "m.login.password", "session": "s", "identifier": {"type": "m.id.user", "user": "nobody"}}
FILTER: Json = {
    "event_fields": ["content.body"],
    "presence": {"types": []},
    "account_data": {"types": ["*"]},
    "room": {"rooms": [], "timeline": {"limit": 5, "types": ["m.*"], "senders": ["@a:b"]}, "state": {"not_types": []}},
}
POWER: Json = {
    "users": {},
    "events": {"m.room.name": 50},
    "notifications": {"room": 50},
    "users_default": 0,
    "invite": 0,
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "kick": 50,
    "redact": 50,
}
MESSAGE: Json = {
    "msgtype": "m.text",
    "body": "hello",
    "m.relates_to": {"rel_type": "m.thread", "event_id": "$e", "m.in_reply_to": {"event_id": "$e"}},
    "m.mentions": {"user_ids": ["@bob:eu.localhost"], "room": True},
    "m.new_content": {"body": "b"},
}
CREATION: Json = {
    "preset": "public_chat",
    "visibility": "private",
    "name": "n",
    "topic": "t",
    "room_version": "11",
    "invite": [],
    "invite_3pid": [],
    "is_direct": True,
    "room_alias_name": None,
    "creation_content": {"type": "x"},
    "initial_state": [{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "public"}}],
    "power_level_content_override": {"users": {}, "events": {"a": 1}},
}
LISTING: Json = {
    "limit": 5,
    "since": None,
    "filter": {"generic_search_term": "a", "room_types": [None, "m.space"]},
    "include_all_networks": False,
    "third_party_instance_id": None,
}
ABOUT: Json = {"user_id": "@bob:eu.localhost", "reason": "r"}

SIGNATURES: Json = {"@alice:cn.localhost": {"ed25519:D": "s"}}
CROSS_KEY: Json = {"user_id": "@a:b", "usage": ["master"], "keys": {"ed25519:k": "k"}, "signatures": SIGNATURES}


def _state(type: str, content: Json) -> Endpoint:
    return Endpoint("PUT", f"{ROOM}/state/{{event_type}}", {"": type, **content}, spends=True)


TABLE = [
    Endpoint(
        "POST",
        f"{V3}/register",
        {
            "username": "n",
            "password": PASSWORD,
            "device_id": "D",
            "initial_device_display_name": "d",
            "inhibit_login": True,
            "refresh_token": True,
            "hutong.region": "ru",
            "auth": {"type": "m.login.dummy"},
        },
        {"kind": "user"},
        anonymous=True,
    ),
    Endpoint("GET", f"{V3}/register/available", None, {"username": "n", "hutong.region": "ru"}, anonymous=True),
    Endpoint("GET", f"{V3}/login", anonymous=True),
    Endpoint(
        "POST",
        f"{V3}/login",
        {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "nobody"},
            "password": "wrong",
            "device_id": "D",
            "initial_device_display_name": "d",
            "refresh_token": True,
            "hutong.region": "ru",
        },
        anonymous=True,
    ),
    Endpoint("POST", f"{V3}/refresh", {"refresh_token": "hr.cn.0.a"}, anonymous=True),
    Endpoint("GET", f"{V3}/account/whoami"),
    Endpoint("POST", f"{V3}/account/password", {"new_password": "n" * 12, "logout_devices": True, "auth": AUTH}),
    Endpoint("POST", f"{V3}/account/deactivate", {"erase": True, "id_server": "x", "auth": AUTH}),
    Endpoint("GET", f"{V3}/devices"),
    Endpoint("GET", f"{V3}/devices/{{device_id}}"),
    Endpoint("PUT", f"{V3}/devices/{{device_id}}", {"display_name": "d"}),
    Endpoint("DELETE", f"{V3}/devices/{{device_id}}", {"auth": AUTH}),
    Endpoint("POST", f"{V3}/delete_devices", {"devices": ["D"], "auth": AUTH}),
    Endpoint("GET", PROFILE),
    Endpoint("GET", f"{PROFILE}/{{key}}"),
    Endpoint("PUT", f"{PROFILE}/{{key}}", {"displayname": "n", "avatar_url": "mxc://a/b"}),
    Endpoint("DELETE", f"{PROFILE}/{{key}}"),
    Endpoint("GET", f"{USER}/account_data/{{type}}"),
    Endpoint("PUT", f"{USER}/account_data/{{type}}", {"a": 1}),
    Endpoint("GET", f"{USER}/rooms/{{room_id}}/account_data/{{type}}"),
    Endpoint("PUT", f"{USER}/rooms/{{room_id}}/account_data/{{type}}", {"a": 1}),
    Endpoint("GET", f"{USER}/rooms/{{room_id}}/tags"),
    Endpoint("PUT", f"{USER}/rooms/{{room_id}}/tags/{{tag}}", {"order": 0.5}),
    Endpoint("DELETE", f"{USER}/rooms/{{room_id}}/tags/{{tag}}"),
    Endpoint("POST", f"{USER}/filter", FILTER),
    Endpoint("GET", f"{USER}/filter/{{filter_id}}"),
    Endpoint("GET", f"{V3}/capabilities"),
    Endpoint("GET", f"{V3}/account/3pid"),
    Endpoint("GET", f"{V3}/thirdparty/protocols"),
    Endpoint("GET", f"{V3}/voip/turnServer"),
    Endpoint("GET", f"{V3}/thirdparty/protocol/{{protocol}}"),
    Endpoint("GET", f"{V3}/thirdparty/location", None, {"alias": "#a:b"}),
    Endpoint("GET", f"{V3}/thirdparty/location/{{protocol}}"),
    Endpoint("GET", f"{V3}/thirdparty/user", None, {"userid": "@a:b"}),
    Endpoint("GET", f"{V3}/thirdparty/user/{{protocol}}"),
    Endpoint("GET", "/_matrix/client/v1/media/config"),
    Endpoint("GET", "/_matrix/media/v3/config"),
    Endpoint("GET", f"{V3}/room_keys/version"),
    Endpoint("GET", f"{V3}/presence/{{user_id}}/status"),
    Endpoint("PUT", f"{V3}/presence/{{user_id}}/status", {"presence": "online", "status_msg": "m"}),
    Endpoint("POST", f"{V3}/user_directory/search", {"search_term": "b", "limit": 5}),
    Endpoint("GET", f"{V3}/pushers"),
    Endpoint(
        "POST",
        f"{V3}/keys/upload",
        {
            "device_keys": {
                "user_id": "@a:b",
                "device_id": "D",
                "algorithms": ["a"],
                "keys": {"ed25519:D": "k"},
                "signatures": SIGNATURES,
            },
            "one_time_keys": {"signed_curve25519:A": {"key": "k", "signatures": SIGNATURES}, "curve25519:B": "k"},
            "fallback_keys": {"signed_curve25519:F": {"key": "k", "fallback": True, "signatures": SIGNATURES}},
        },
    ),
    Endpoint("POST", f"{V3}/keys/query", {"timeout": 1_000, "device_keys": {"@bob:eu.localhost": ["D"]}}),
    Endpoint("POST", f"{V3}/keys/claim", {"timeout": 1_000, "one_time_keys": {"@bob:eu.localhost": {"D": "a"}}}),
    Endpoint("GET", f"{V3}/keys/changes", None, {"from": "h1.0.0.0.0", "to": "h1.0.0.0.0"}),
    Endpoint(
        "POST",
        f"{V3}/keys/device_signing/upload",
        {"master_key": CROSS_KEY, "self_signing_key": CROSS_KEY, "user_signing_key": CROSS_KEY, "auth": AUTH},
    ),
    Endpoint("POST", f"{V3}/keys/signatures/upload", {"@bob:eu.localhost": {"D": CROSS_KEY}}),
    Endpoint("GET", "/_matrix/client/versions", anonymous=True),
    Endpoint("GET", "/.well-known/matrix/client", anonymous=True),
    Endpoint("GET", "/hutong/openapi.json", anonymous=True),
    Endpoint("GET", "/health/live", anonymous=True),
    Endpoint("GET", "/health/ready", anonymous=True),
    Endpoint("GET", "/", anonymous=True),
    Endpoint("POST", f"{V3}/createRoom", CREATION),
    Endpoint("GET", f"{V3}/joined_rooms"),
    Endpoint(
        "POST", f"{V3}/join/{{room_id}}", {"reason": "r"}, {"via": "eu.localhost", "server_name": "x"}, spends=True
    ),
    Endpoint("POST", f"{V3}/knock/{{room_id}}", {"reason": "r"}, {"via": "eu.localhost"}),
    Endpoint("POST", f"{ROOM}/join", {"reason": "r", "third_party_signed": {}}, spends=True),
    Endpoint("POST", f"{ROOM}/leave", {"reason": "r"}, spends=True),
    Endpoint("POST", f"{ROOM}/forget", {"a": 1}, spends=True),
    Endpoint("POST", f"{ROOM}/invite", ABOUT),
    Endpoint("GET", f"{ROOM}/aliases"),
    Endpoint("GET", f"{V3}/directory/room/{{room_alias}}", anonymous=True),
    Endpoint("PUT", f"{V3}/directory/room/{{room_alias}}", {"room_id": "!a"}),
    Endpoint("DELETE", f"{V3}/directory/room/{{room_alias}}"),
    Endpoint("GET", f"{V3}/directory/list/room/{{room_id}}", anonymous=True),
    Endpoint("PUT", f"{V3}/directory/list/room/{{room_id}}", {"visibility": "private"}),
    Endpoint("GET", f"{V3}/publicRooms", None, {"limit": "5", "since": "", "server": "eu.localhost"}, anonymous=True),
    Endpoint("POST", f"{V3}/publicRooms", LISTING, {"server": "eu.localhost"}),
    _state("m.room.canonical_alias", {"alias": None, "alt_aliases": []}),
    Endpoint("POST", f"{ROOM}/kick", ABOUT, spends=True),
    Endpoint("POST", f"{ROOM}/ban", ABOUT, spends=True),
    Endpoint("POST", f"{ROOM}/unban", ABOUT),
    Endpoint("PUT", f"{ROOM}/send/{{event_type}}/{{txn_id}}", MESSAGE),
    Endpoint("PUT", f"{ROOM}/redact/{{event_id}}/{{txn_id}}", {"reason": "r", "redacts": "$e"}, spends=True),
    Endpoint("GET", f"{ROOM}/state"),
    Endpoint("GET", f"{ROOM}/state/{{event_type}}", None, {"format": "event"}),
    Endpoint("PUT", f"{ROOM}/state/{{event_type}}", {"name": "n"}),
    Endpoint("GET", f"{ROOM}/state/{{event_type}}/{{state_key}}", None, {"format": "content"}),
    Endpoint("PUT", f"{ROOM}/state/{{event_type}}/{{state_key}}", {"membership": "invite", "reason": "r"}),
    _state("m.room.create", {"room_version": "11"}),
    _state("m.room.power_levels", POWER),
    _state("m.room.join_rules", {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": "!a"}]}),
    _state("m.room.history_visibility", {"history_visibility": "shared"}),
    _state("m.room.guest_access", {"guest_access": "can_join"}),
    _state("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}),
    _state("m.room.tombstone", {"body": "b", "replacement_room": "!a"}),
    _state("m.room.redaction", {"redacts": "$e"}),
    Endpoint("GET", f"{ROOM}/event/{{event_id}}"),
    Endpoint("GET", f"{ROOM}/messages", None, {"dir": "b", "from": "", "to": "", "limit": "5", "filter": "{}"}),
    Endpoint("GET", f"{ROOM}/context/{{event_id}}", None, {"limit": "5", "filter": "{}"}),
    *(
        Endpoint(
            "GET",
            f"{RELATIONS}{kind}",
            None,
            {"dir": "b", "from": "", "to": "", "limit": "5", "recurse": "true"},
        )
        for kind in ("", "/{rel_type}", "/{rel_type}/{event_type}")
    ),
    Endpoint("GET", "/_matrix/client/v1/rooms/{room_id}/threads", None, {"include": "all", "from": "", "limit": "5"}),
    Endpoint("GET", f"{ROOM}/members", None, {"at": "", "membership": "join", "not_membership": "leave"}),
    Endpoint("GET", f"{ROOM}/joined_members"),
    Endpoint("POST", f"{ROOM}/receipt/{{receipt_type}}/{{event_id}}", {"thread_id": "main"}),
    Endpoint("POST", f"{ROOM}/read_markers", {"m.fully_read": "$e", "m.read": "$e", "m.read.private": "$e"}),
    Endpoint("PUT", f"{ROOM}/typing/{{user_id}}", {"typing": True, "timeout": 1_000}),
    Endpoint(
        "GET",
        f"{V3}/sync",
        None,
        {
            "since": "",
            "filter": "{}",
            "timeout": "0",
            "full_state": "false",
            "set_presence": "online",
            "use_state_after": "true",
        },
    ),
    Endpoint("GET", f"{V3}/pushrules"),
    Endpoint("GET", f"{V3}/pushrules/"),
    Endpoint("GET", f"{V3}/pushrules/global/"),
    Endpoint("GET", RULE),
    Endpoint("GET", f"{RULE}/enabled"),
    Endpoint("GET", f"{RULE}/actions"),
]
ELSEWHERE = {("POST", f"{V3}/logout"), ("POST", f"{V3}/logout/all")}
"""They take nothing that could be wrong, and end the session."""


@dataclass(frozen=True)
class Case:
    endpoint: Endpoint
    what: str
    parts: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None


def fields(value: Any, at: str = "") -> Iterator[str]:
    """Every place in a body, as `a.b` or `a.0`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if key != "":
            yield (here := f"{at}\0{key}" if at else str(key))
            yield from fields(inner, here)


def replaced(value: Any, place: list[str], mark: Any) -> Any:
    """`value` with `mark` at `place`."""
    if not place:
        return mark
    if isinstance(value, list):
        return [replaced(inner, place[1:], mark) if str(n) == place[0] else inner for n, inner in enumerate(value)]
    return {key: replaced(inner, place[1:], mark) if key == place[0] else inner for key, inner in value.items()}


def cases(endpoint: Endpoint) -> Iterator[Case]:
    body = endpoint.body
    fixed = {"event_type": quote(body[""])} if body is not None and "" in body else {}
    if body is not None:
        body = {key: value for key, value in body.items() if key != ""}
        for place in fields(body):
            whole = json.dumps(replaced(body, place.split("\0"), "MARK"))
            for value in VALUES:
                raw = whole.replace('"MARK"', value).encode("utf-8", "surrogatepass")
                yield Case(endpoint, f"{place!r} = {value[:60]}", fixed, raw=raw)
    if endpoint.method != "GET":
        for raw in BODIES:
            yield Case(endpoint, f"body {raw[:60]!r}", fixed, raw=raw)
    good = b"{}" if body is None else json.dumps(body).encode()
    for name in re.findall(r"{(\w+)}", endpoint.path):
        if name not in fixed:
            for part in PARTS:
                yield Case(endpoint, f"{name} is {part[:60]}", {**fixed, name: part}, raw=good)
    for name in endpoint.query:
        for text in (*PARTS, *(TOKENS if name in ("since", "from", "to", "at") else ())):
            yield Case(endpoint, f"?{name}={text[:60]}", fixed, {name: text}, good)
        for text in FILTERS if name == "filter" else ():
            yield Case(endpoint, f"?filter={text[:120]}", fixed, {name: text}, good)


@dataclass
class Attacker:
    """Alice of cn in a room of hers, where bob of eu is; and what cn has written so far."""

    http: Http
    node: "Node"
    alice: Client
    bob: Client
    room: str = ""
    event: str = ""
    n: int = 0

    async def settle_in(self) -> None:
        self.room = await self.alice.create_room(preset="public_chat", name="Courtyard")
        await self.bob.join(self.room)
        self.event = await self.alice.send(self.room, "first")

    async def hear_out(self) -> None:
        """Wait for what eu has sent so far: it arrives in order, so before what bob says now."""
        await self.alice.sees(self.room, await self.bob.send(self.room, "last"))

    def head(self) -> int:
        return int(self.node.cells[CellNo(self.alice.cell)].tail.head)

    async def send(self, case: Case) -> tuple[int, bytes]:
        """Status and body of the answer; status 0 when there was none. Raises: TimeoutError."""
        self.n += 1
        mine = {
            "room_id": self.room,
            "event_id": self.event,
            "user_id": self.alice.user_id,
            "txn_id": f"h{self.n}",
            "event_type": "m.room.message",
            "rel_type": "m.thread",
            "state_key": "k",
            "key": "displayname",
            "type": "org.example.t",
            "tag": "u.t",
            "filter_id": "f",
            "protocol": "irc",
            "device_id": self.alice.device_id,
            "room_alias": f"#h{self.n}:cn.localhost",
            "receipt_type": "m.read",
            "kind": "override",
            "rule_id": ".m.rule.master",
        }
        parts = {name: quote(text, safe="") for name, text in mine.items()} | dict(case.parts)
        target = re.sub(r"{(\w+)}", lambda found: parts[found[1]], case.endpoint.path)
        query = {name: text for name, text in case.endpoint.query.items() if text} | dict(case.query)
        target += "?" + "&".join(f"{name}={text}" for name, text in query.items()) if query else ""
        token = "" if case.endpoint.anonymous else f"authorization: Bearer {self.alice.token}\r\n"
        raw = case.raw or b""
        head = f"{case.endpoint.method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{token}"
        if case.endpoint.method != "GET":
            head += f"content-length: {len(raw)}\r\n"
        else:
            raw = b""
        answer = await exchange(self.http.base_url, head.encode() + b"\r\n" + raw, within_s=SLOWEST_S)
        found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
        return int(found[1]) if found else 0, answer.partition(b"\r\n\r\n")[2]


@pytest.fixture
async def attacker(session: aiohttp.ClientSession, node: "Node", alice: Client, bob: Client) -> Attacker:
    found = Attacker(Http(session, node.base_url, None), node, alice, bob)
    await found.settle_in()
    return found


async def tried(attacker: Attacker, case: Case) -> str:
    """What is wrong with the answer, or nothing."""
    for attempt in range(2):
        before = attacker.head()
        try:
            status, body = await attacker.send(case)
        except TimeoutError:
            return f"no answer within {SLOWEST_S:.0f} s"
        if status == 0 or status >= 500:
            return f"answered {status} {body[:200]!r}"
        if status < 400:
            if case.endpoint.spends:
                await attacker.settle_in()
            return ""
        if status != 401 and '"errcode"' not in body.decode():
            return f"answered {status} without errcode: {body[:200]!r}"
        if attacker.head() == before:
            return ""
        if attempt == 0:
            await attacker.hear_out()  # something earlier may just have arrived: look once more
    return f"answered {status}, and yet something was written"


def test_every_endpoint_is_in_the_table(node: "Node") -> None:
    routes = openapi.with_document(node._routes(Homes(node.config, node.services), time.time, secrets.token_bytes))
    served = {
        (method, path) for path, resource in routes for method in METHODS if hasattr(resource, f"on_{method.lower()}")
    }
    assert served == {(each.method, each.path) for each in TABLE} | ELSEWHERE


@pytest.mark.soak
async def test_no_value_breaks_an_endpoint(attacker: Attacker, seeded: random.Random, soaking: bool) -> None:
    every = [case for endpoint in TABLE for case in cases(endpoint)]
    chosen = every if soaking else seeded.sample(every, FEW)
    wrong = [f"{case.endpoint.name}: {case.what}: {why}" for case in chosen if (why := await tried(attacker, case))]
    assert not wrong, "\n".join(wrong)
