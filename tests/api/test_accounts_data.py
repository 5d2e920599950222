"""Devices, profiles, account data, tags, filters, and what the server says about itself, through HTTP."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.client import PASSWORD, Answer, Client, Http, Json, path


def proof(client: Client, password: str = PASSWORD, **more: Any) -> Json:
    identifier = {"type": "m.id.user", "user": client.user_id}
    return {"type": "m.login.password", "identifier": identifier, "password": password, **more}


def expect(answer: Answer, status: int, errcode: str, naming: str = "") -> None:
    assert (answer.status, answer.errcode) == (status, errcode), answer
    assert naming in answer.error, answer


# --- devices ---


async def test_a_device_is_listed_read_and_renamed(alice: Client) -> None:
    phone = await alice.another_device(device_id="PHONE/1 ü", initial_device_display_name="手机")
    devices = (await alice.ok("GET", "/devices"))["devices"]
    assert {device["device_id"] for device in devices} == {alice.device_id, "PHONE/1 ü"}
    shown = await alice.ok("GET", path("devices", "PHONE/1 ü"))
    assert shown["display_name"] == "手机"
    assert shown["last_seen_ts"] > 0
    assert shown["last_seen_ip"] == ""  # no address is kept, but some clients refuse a list without the field
    assert await alice.put(path("devices", phone.device_id), {"display_name": "Old phone"}) == (200, {})
    assert (await alice.ok("GET", path("devices", phone.device_id)))["display_name"] == "Old phone"
    assert await alice.put(path("devices", phone.device_id), {}) == (200, {})
    assert (await alice.ok("GET", path("devices", phone.device_id)))["display_name"] == "Old phone"


async def test_no_device_of_ones_own(alice: Client, bob: Client) -> None:
    for device_id in ("NOSUCH", bob.device_id):
        expect(await alice.get(path("devices", device_id)), 404, "M_NOT_FOUND", "device_id")
        renamed = await alice.put(path("devices", device_id), {"display_name": "mine"})
        expect(renamed, 404, "M_NOT_FOUND", "device_id")
    expect(await alice.put(path("devices", alice.device_id), {"display_name": 5}), 400, "M_BAD_JSON", "display_name")
    long = await alice.put(path("devices", alice.device_id), {"display_name": "x" * 256})
    expect(long, 400, "M_INVALID_PARAM", "display_name")


async def test_a_device_is_deleted_with_the_password_only(alice: Client) -> None:
    phone = await alice.another_device()
    asked = await alice.delete(path("devices", phone.device_id), {})
    assert (asked.status, asked.body["flows"]) == (401, [{"stages": ["m.login.password"]}])
    session = asked.body["session"]
    wrong = await alice.delete(path("devices", phone.device_id), {"auth": proof(alice, "no", session=session)})
    expect(wrong, 401, "M_FORBIDDEN", "auth.password")
    assert (await phone.get("/account/whoami")).status == 200
    elsewhere = await alice.delete(path("devices", alice.device_id), {"auth": proof(alice, session=session)})
    expect(elsewhere, 403, "M_FORBIDDEN", "auth.session")
    auth = {"auth": proof(alice, session=session)}
    assert await alice.delete(path("devices", phone.device_id), auth) == (200, {})
    assert await alice.delete(path("devices", phone.device_id), auth) == (200, {})  # a lost answer, asked for again
    expect(await phone.get("/account/whoami"), 401, "M_UNKNOWN_TOKEN")
    expect(await alice.get(path("devices", phone.device_id)), 404, "M_NOT_FOUND")


async def test_another_persons_password_deletes_nothing(alice: Client, bob: Client) -> None:
    phone = await alice.another_device()
    expect(await alice.delete(path("devices", phone.device_id), {"auth": proof(bob)}), 403, "M_FORBIDDEN", "auth")
    assert (await phone.get("/account/whoami")).status == 200


async def test_several_devices_are_deleted_at_once(alice: Client) -> None:
    others = [await alice.another_device() for _ in range(3)]
    ids = [other.device_id for other in others[:2]]
    expect(await alice.post("/delete_devices", {}), 400, "M_MISSING_PARAM", "devices")
    expect(await alice.post("/delete_devices", {"devices": [5]}), 400, "M_BAD_JSON", "devices")
    expect(await alice.post("/delete_devices", {"devices": ["x"] * 1_001}), 400, "M_INVALID_PARAM", "devices")
    session = (await alice.post("/delete_devices", {"devices": ids})).body["session"]
    legacy = {"type": "m.login.password", "user": alice.name, "password": PASSWORD, "session": session}
    assert await alice.post("/delete_devices", {"devices": ids, "auth": legacy}) == (200, {})
    statuses = [(await other.get("/account/whoami")).status for other in others]
    assert statuses == [401, 401, 200]


# --- profiles ---


async def test_a_profile_is_empty_set_read_from_everywhere_and_emptied(
    http: Http, alice: Client, carol: Client
) -> None:
    mine = path("profile", alice.user_id)
    assert await alice.get(mine) == (200, {})
    expect(await alice.get(mine + "/displayname"), 404, "M_NOT_FOUND", "displayname")
    avatar = "mxc://cn.localhost/abc_DEF-1"
    assert await alice.put(mine + "/displayname", {"displayname": "爱丽丝"}) == (200, {})
    assert await alice.put(mine + "/avatar_url", {"avatar_url": avatar}) == (200, {})
    assert await alice.put(mine + "/m.tz", {"m.tz": "Asia/Shanghai"}) == (200, {})
    assert await alice.put(mine + "/org.example.job", {"org.example.job": {"title": ["potter", 1.5]}}) == (200, {})
    whole = {
        "displayname": "爱丽丝",
        "avatar_url": avatar,
        "m.tz": "Asia/Shanghai",
        "org.example.job": {"title": ["potter", 1.5]},
    }
    for answer in (await alice.get(mine), await carol.get(mine), await http.request("GET", mine)):
        assert answer == (200, whole)
    assert await carol.get(mine + "/displayname") == (200, {"displayname": "爱丽丝"})
    assert await alice.delete(mine + "/org.example.job") == (200, {})
    assert await alice.delete(mine + "/org.example.job") == (200, {})
    assert await alice.put(mine + "/displayname", {"displayname": ""}) == (200, {})
    assert await alice.get(mine) == (200, {"avatar_url": avatar, "m.tz": "Asia/Shanghai"})


async def test_two_fields_set_at_once_are_both_set(alice: Client) -> None:
    fields = {f"org.example.f{number}": number for number in range(6)}
    answers = await asyncio.gather(
        *(alice.put(path("profile", alice.user_id, key), {key: value}) for key, value in fields.items())
    )
    assert [answer.status for answer in answers] == [200] * 6
    assert await alice.get(path("profile", alice.user_id)) == (200, fields)


BAD_FIELDS: dict[str, tuple[str, Any, str, str]] = {
    "a name that is a number": ("displayname", {"displayname": 5}, "M_INVALID_PARAM", "displayname"),
    "a name that is null": ("displayname", {"displayname": None}, "M_INVALID_PARAM", "displayname"),
    "a name without end": ("displayname", {"displayname": "x" * 257}, "M_INVALID_PARAM", "displayname"),
    "another key in the body": ("displayname", {"name": "x"}, "M_MISSING_PARAM", "displayname"),
    "an avatar on the web": ("avatar_url", {"avatar_url": "https://x/y.png"}, "M_INVALID_PARAM", "avatar_url"),
    "a time zone on no map": ("m.tz", {"m.tz": "Mars/Olympus"}, "M_INVALID_PARAM", "m.tz"),
    "a key without a namespace": ("nickname", {"nickname": "x"}, "M_INVALID_PARAM", "keyName"),
    "a key in capitals": ("Org.Example", {"Org.Example": "x"}, "M_INVALID_PARAM", "keyName"),
    "a key without end": ("a." + "b" * 254, {}, "M_KEY_TOO_LARGE", "keyName"),
    "too much": ("org.example.x", {"org.example.x": "x" * 65_536}, "M_PROFILE_TOO_LARGE", "org.example.x"),
    "a list": ("displayname", [], "M_BAD_JSON", "body"),
}


@pytest.mark.parametrize("what", BAD_FIELDS)
async def test_a_field_that_cannot_be(alice: Client, what: str) -> None:
    key, body, errcode, naming = BAD_FIELDS[what]
    expect(await alice.put(path("profile", alice.user_id, key), body), 400, errcode, naming)
    assert await alice.get(path("profile", alice.user_id)) == (200, {})


async def test_somebody_elses_profile(alice: Client, bob: Client) -> None:
    theirs = path("profile", bob.user_id, "displayname")
    expect(await alice.put(theirs, {"displayname": "mine"}), 403, "M_FORBIDDEN", "userId")
    expect(await alice.delete(theirs), 403, "M_FORBIDDEN", "userId")
    expect(await alice.put(path("profile", "nobody", "displayname"), {"displayname": "x"}), 400, "M_INVALID_PARAM")
    anybody = await alice.http.request("PUT", theirs, {"displayname": "mine"})
    expect(anybody, 401, "M_MISSING_TOKEN")


@pytest.mark.parametrize(
    ("user_id", "status", "errcode"),
    [
        ("@nobody-here:cn.localhost", 404, "M_NOT_FOUND"),
        ("@nobody-here:ru.localhost", 404, "M_NOT_FOUND"),
        ("@somebody:example.org", 404, "M_NOT_FOUND"),
        ("alice", 400, "M_INVALID_PARAM"),
        ("@alice", 400, "M_INVALID_PARAM"),
        ("@" + "x" * 300 + ":cn.localhost", 400, "M_INVALID_PARAM"),
    ],
)
async def test_a_profile_that_is_not_there(alice: Client, user_id: str, status: int, errcode: str) -> None:
    expect(await alice.get(path("profile", user_id)), status, errcode, "userId")


# --- account data ---


async def test_account_data_comes_back_as_it_was_sent(alice: Client, room: str) -> None:
    for place in (("user", alice.user_id), ("user", alice.user_id, "rooms", room)):
        where = path(*place, "account_data", "org.example/ключ")
        expect(await alice.get(where), 404, "M_NOT_FOUND", "type")
        sent = b'{"b": 1.50,  "a": {"\\u00e9": "\xc3\xa9"}}'
        assert await alice.request("PUT", where, raw=sent) == (200, {})
        async with alice.http.session.get(
            alice.http.base_url + "/_matrix/client/v3" + where, headers={"Authorization": f"Bearer {alice.token}"}
        ) as answer:
            assert json.loads(await answer.read()) == json.loads(sent)
        assert await alice.put(where, {"second": True}) == (200, {})
        assert await alice.get(where) == (200, {"second": True})


async def test_account_data_of_a_room_is_its_own(alice: Client, room: str) -> None:
    await alice.ok("PUT", path("user", alice.user_id, "account_data", "org.example.a"), {"where": "everywhere"})
    expect(
        await alice.get(path("user", alice.user_id, "rooms", room, "account_data", "org.example.a")), 404, "M_NOT_FOUND"
    )


async def test_nobody_elses_account_data(alice: Client, bob: Client) -> None:
    theirs = path("user", bob.user_id, "account_data", "org.example.a")
    expect(await alice.get(theirs), 403, "M_FORBIDDEN", "userId")
    expect(await alice.put(theirs, {}), 403, "M_FORBIDDEN", "userId")


BAD_DATA: dict[str, tuple[str, bytes, int, str, str]] = {
    "what the server manages": ("m.fully_read", b"{}", 405, "M_BAD_JSON", "m.fully_read"),
    "push rules": ("m.push_rules", b"{}", 405, "M_BAD_JSON", "m.push_rules"),
    "a list": ("org.example.a", b"[]", 400, "M_BAD_JSON", "body"),
    "no JSON": ("org.example.a", b"{", 400, "M_NOT_JSON", "body"),
    "a key twice": ("org.example.a", b'{"a":1,"a":2}', 400, "M_BAD_JSON", "a"),
    "nested too deep": ("org.example.a", b'{"a":' * 200 + b"1" + b"}" * 200, 400, "M_BAD_JSON", "deep"),
    "half a surrogate": ("org.example.a", b'{"a":"\\ud800"}', 400, "M_NOT_JSON", "body"),
    "too much": ("org.example.a", b'{"a":"' + b"x" * 70_000 + b'"}', 413, "M_TOO_LARGE", "body"),
    "a type without end": ("x" * 256, b"{}", 400, "M_INVALID_PARAM", "type"),
    "a type with a zero byte": ("a\0b", b"{}", 400, "M_INVALID_PARAM", "type"),
}


@pytest.mark.parametrize("what", BAD_DATA)
async def test_account_data_that_cannot_be(alice: Client, room: str, what: str) -> None:
    type, raw, status, errcode, naming = BAD_DATA[what]
    for place in (("user", alice.user_id), ("user", alice.user_id, "rooms", room)):
        expect(await alice.request("PUT", path(*place, "account_data", type), raw=raw), status, errcode, naming)


async def test_account_data_and_tags_of_no_room(alice: Client, carol: Client, room: str) -> None:
    """A room that is none, one that somebody has nothing to do with, and one by another name."""
    for person, room_id, status, errcode in (
        (alice, "nowhere", 400, "M_INVALID_PARAM"),
        (alice, "#alias:cn.localhost", 400, "M_INVALID_PARAM"),
        (alice, "!" + "A" * 300, 400, "M_INVALID_PARAM"),
        (alice, "!short:cn.localhost", 403, "M_FORBIDDEN"),
        (alice, "!" + "A" * 22, 403, "M_FORBIDDEN"),
        (alice, "!" + "é" * 22, 403, "M_FORBIDDEN"),
        (alice, room + ":cn.localhost", 403, "M_FORBIDDEN"),
        (alice, room + ":matrix.org", 403, "M_FORBIDDEN"),
        (carol, room, 403, "M_FORBIDDEN"),
    ):
        where = path("user", person.user_id, "rooms", room_id)
        for answer in (
            await person.put(where + "/account_data/org.example.a", {}),
            await person.put(where + "/tags/u.work", {}),
            await person.delete(where + "/tags/u.work"),
            await person.get(where + "/tags"),
        ):
            expect(answer, status, errcode)
        read = await person.get(where + "/account_data/org.example.a")
        expect(read, 404 if status == 403 else 400, "M_NOT_FOUND" if status == 403 else "M_INVALID_PARAM", "roomId")
    assert (await alice.sync())["rooms"]["join"][room].get("account_data") is None


async def test_who_was_invited_or_has_left_may_keep_data_for_the_room(alice: Client, carol: Client, room: str) -> None:
    where = path("user", carol.user_id, "rooms", room, "account_data", "org.example.a")
    await alice.invite(room, carol)
    await carol.until(lambda: room in carol.invitations, "the invitation")
    await carol.ok("PUT", where, {"when": "invited"})
    await carol.join(room)
    told = (await carol.sync())["rooms"]["join"][room]
    assert {"type": "org.example.a", "content": {"when": "invited"}} in told["account_data"]["events"]
    await carol.leave(room)
    await carol.ok("PUT", where, {"when": "gone"})
    assert await carol.ok("GET", where) == {"when": "gone"}


async def test_each_change_of_account_data_is_told_once(alice: Client, bob: Client, room: str) -> None:
    phone = await alice.another_device()
    since = (await phone.sync())["next_batch"]
    for place in (("user", alice.user_id), ("user", alice.user_id, "rooms", room)):
        for n in (1, 2):
            await alice.ok("PUT", path(*place, "account_data", "org.example.a"), {"n": n})
    told = await phone.sync(since)
    last = [{"type": "org.example.a", "content": {"n": 2}}]
    assert told["account_data"]["events"] == last
    assert told["rooms"]["join"][room]["account_data"]["events"] == last
    again = await phone.sync(told["next_batch"])
    assert "account_data" not in again
    assert "rooms" not in again
    assert "org.example.a" not in str(await bob.sync())


async def test_tags(alice: Client, room: str) -> None:
    tags = path("user", alice.user_id, "rooms", room, "tags")
    assert await alice.get(tags) == (200, {"tags": {}})
    assert await alice.put(tags + "/m.favourite", {"order": 0.25}) == (200, {})
    assert await alice.put(tags + path("u.work stuff"), {}) == (200, {})
    assert await alice.get(tags) == (200, {"tags": {"m.favourite": {"order": 0.25}, "u.work stuff": {}}})
    as_data = await alice.get(path("user", alice.user_id, "rooms", room, "account_data", "m.tag"))
    assert as_data.body == {"tags": {"m.favourite": {"order": 0.25}, "u.work stuff": {}}}
    assert await alice.delete(tags + "/m.favourite") == (200, {})
    assert await alice.delete(tags + "/m.favourite") == (200, {})
    assert await alice.get(tags) == (200, {"tags": {"u.work stuff": {}}})
    for order, errcode in (("first", "M_BAD_JSON"), (None, "M_BAD_JSON"), (True, "M_BAD_JSON"), ([0], "M_BAD_JSON"),
                           (2, "M_INVALID_PARAM"), (-0.1, "M_INVALID_PARAM"), (1.0001, "M_INVALID_PARAM")):  # fmt: skip
        expect(await alice.put(tags + "/m.favourite", {"order": order}), 400, errcode, "order")
    expect(await alice.request("PUT", tags + "/m.favourite", raw=b"[]"), 400, "M_BAD_JSON", "body")
    expect(await alice.request("PUT", tags + "/m.favourite", raw=b'{"order":NaN}'), 400, "M_NOT_JSON", "body")
    expect(await alice.put(tags + "/m.favourite", {"x": "y" * 5_000}), 413, "M_TOO_LARGE", "body")
    expect(await alice.put(tags + path("x" * 256), {}), 400, "M_INVALID_PARAM", "tag")
    expect(await alice.put(tags + path("é" * 128), {}), 400, "M_INVALID_PARAM", "tag")
    assert await alice.get(tags) == (200, {"tags": {"u.work stuff": {}}})
    for order in (0, 1, 0.5):
        assert await alice.put(tags + path("é" * 127), {"order": order}) == (200, {})


async def test_a_tag_keeps_what_else_a_client_says_of_it(alice: Client, room: str) -> None:
    phone = await alice.another_device()
    since = (await phone.sync())["next_batch"]
    tag = {"order": 0.5, "org.example.colour": {"name": "jade"}}
    await alice.ok("PUT", path("user", alice.user_id, "rooms", room, "tags", "u.garden"), tag)
    told = await phone.sync(since, timeout=5_000)
    assert told["rooms"]["join"][room]["account_data"]["events"] == [
        {"type": "m.tag", "content": {"tags": {"u.garden": tag}}}
    ]


async def test_tags_that_are_set_at_once_all_stay(alice: Client, room: str) -> None:
    tags = path("user", alice.user_id, "rooms", room, "tags")
    await asyncio.gather(*(alice.ok("PUT", f"{tags}/u.{n}", {}) for n in range(8)))
    assert await alice.get(tags) == (200, {"tags": {f"u.{n}": {} for n in range(8)}})


# --- filters ---


async def test_a_filter_comes_back(alice: Client, bob: Client) -> None:
    filter = {"room": {"timeline": {"limit": 10, "types": ["m.room.*"]}}, "event_fields": ["type", "content.body"]}
    made = await alice.ok("POST", path("user", alice.user_id, "filter"), filter)
    assert await alice.get(path("user", alice.user_id, "filter", made["filter_id"])) == (200, filter)
    assert not made["filter_id"].startswith("{")
    assert await alice.ok("POST", path("user", alice.user_id, "filter"), filter) == made
    expect(await bob.get(path("user", bob.user_id, "filter", made["filter_id"])), 404, "M_NOT_FOUND", "filter_id")
    expect(await bob.get(path("user", alice.user_id, "filter", made["filter_id"])), 403, "M_FORBIDDEN", "userId")


@pytest.mark.parametrize("filter_id", ["0", "nope", "f", "f" + "A" * 22, "ж" * 23, "f" + "A" * 5_000])
async def test_no_such_filter(alice: Client, filter_id: str) -> None:
    expect(await alice.get(path("user", alice.user_id, "filter", filter_id)), 404, "M_NOT_FOUND", "filter_id")


BAD_FILTERS: dict[str, tuple[Any, str]] = {
    "a list": ([], "body"),
    "room that is a list": ({"room": []}, "room"),
    "presence that is text": ({"presence": "all"}, "presence"),
    "a limit that is text": ({"room": {"timeline": {"limit": "ten"}}}, "limit"),
    "a limit below nothing": ({"room": {"timeline": {"limit": -1}}}, "limit"),
    "types that are text": ({"room": {"state": {"types": "m.room.member"}}}, "types"),
    "a type that is a number": ({"account_data": {"types": [5]}}, "types"),
    "a sender that is no user id": ({"presence": {"senders": ["alice"]}}, "senders"),
    "a room that is no room id": ({"room": {"rooms": ["#lane:cn.localhost"]}}, "rooms"),
    "a room of a timeline that is no room id": ({"room": {"timeline": {"rooms": ["lane"]}}}, "rooms"),
    "a flag that is text": ({"room": {"include_leave": "yes"}}, "include_leave"),
    "an unknown format": ({"event_format": "xml"}, "event_format"),
    "fields that are a number": ({"event_fields": 5}, "event_fields"),
}


@pytest.mark.parametrize("what", BAD_FILTERS)
async def test_a_filter_that_cannot_be(alice: Client, what: str) -> None:
    body, naming = BAD_FILTERS[what]
    answer = await alice.post(path("user", alice.user_id, "filter"), body)
    assert (answer.status, answer.errcode) in {(400, "M_BAD_JSON"), (400, "M_INVALID_PARAM")}, answer
    assert naming in answer.error


# --- the server ---


async def test_what_the_server_can(http: Http, alice: Client) -> None:
    versions = await http.request("GET", "/_matrix/client/versions")
    assert "v1.11" in versions.body["versions"]
    capabilities = (await alice.ok("GET", "/capabilities"))["capabilities"]
    versions_of_rooms = capabilities["m.room_versions"]
    assert set(versions_of_rooms["available"]) == {"10", "11", "12"}
    assert versions_of_rooms["default"] in versions_of_rooms["available"]
    assert capabilities["m.change_password"] == {"enabled": True}
    expect(await http.request("GET", "/capabilities"), 401, "M_MISSING_TOKEN")


async def test_where_the_server_is(http: Http) -> None:
    answer = await http.request("GET", "/.well-known/matrix/client")
    assert answer.body["m.homeserver"]["base_url"] == http.base_url
    assert {"name": "ru", "server_name": "ru.localhost"} in answer.body["hutong.regions"]


async def test_lists_that_are_empty_here(alice: Client) -> None:
    # The specification wants an address here; `{}` is how every server says that it has none, and clients know it.
    url = alice.http.base_url + "/_matrix/client/v3/voip/turnServer"
    async with alice.http.session.get(url, headers={"Authorization": f"Bearer {alice.token}"}) as answer:
        assert (answer.status, await answer.read()) == (200, b"{}")
    assert await alice.get("/thirdparty/protocols") == (200, {})
    assert await alice.get("/account/3pid") == (200, {"threepids": []})
    assert await alice.get("/pushers") == (200, {"pushers": []})
