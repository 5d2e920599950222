"""Registering, logging in and out, refreshing, the password, and the end of an account, through HTTP."""

import asyncio
import itertools
from typing import Any

import pytest

from tests.conftest import Newcomer
from tests.support.client import PASSWORD, Answer, Client, Http, Json, path, refused

NUMBERS = itertools.count(1)
DUMMY = {"type": "m.login.dummy"}


def fresh(name: str = "wei") -> str:
    return f"{name}-{next(NUMBERS)}"


async def register(http: Http, **body: Any) -> Answer:
    """In one step, as clients do that know the only flow by heart."""
    return await http.request("POST", "/register", {"password": PASSWORD, "auth": DUMMY, **body})


async def login(http: Http, user: str, password: str = PASSWORD, **body: Any) -> Answer:
    identifier = {"type": "m.id.user", "user": user}
    return await http.request(
        "POST", "/login", {"type": "m.login.password", "identifier": identifier, "password": password, **body}
    )


def proof(client: Client, password: str = PASSWORD, **more: Any) -> Json:
    identifier = {"type": "m.id.user", "user": client.user_id}
    return {"type": "m.login.password", "identifier": identifier, "password": password, **more}


# --- registering ---


async def test_a_request_without_auth_is_answered_with_the_flows(http: Http) -> None:
    answer = await http.request("POST", "/register", {})
    assert answer.status == 401
    assert answer.body["flows"] == [{"stages": ["m.login.dummy"]}]
    assert "errcode" not in answer.body
    assert answer.body["session"]


@pytest.mark.parametrize("region", ["cn", "eu", "ru"])
async def test_a_newcomer_chooses_the_region(http: Http, region: str) -> None:
    name = fresh()
    answer = await register(http, username=name, **{"hutong.region": region})
    assert answer.status == 200
    assert answer.body["user_id"] == f"@{name}:{region}.localhost"
    client = Client(http, name, region, token=answer.body["access_token"])
    who = await client.ok("GET", "/account/whoami")
    assert who == {
        "user_id": f"@{name}:{region}.localhost",
        "device_id": answer.body["device_id"],
        "is_guest": False,
        "hutong.region": region,
    }


async def test_the_host_names_the_region_when_the_body_does_not(http: Http) -> None:
    name = fresh()
    answer = await http.request(
        "POST", "/register", {"username": name, "password": PASSWORD, "auth": DUMMY}, headers={"Host": "eu.localhost"}
    )
    assert answer.body["user_id"] == f"@{name}:eu.localhost"


async def test_an_unknown_region_is_told_which_there_are(http: Http) -> None:
    answer = await register(http, username=fresh(), **{"hutong.region": "us"})
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")
    assert "hutong.region: is none of cn, eu, ru" in answer.error


async def test_the_same_name_in_two_regions_is_two_people(http: Http) -> None:
    name = fresh()
    for region in ("cn", "ru"):
        assert (await register(http, username=name, **{"hutong.region": region})).status == 200
    for region in ("cn", "ru"):
        answer = await login(http, f"@{name}:{region}.localhost")
        assert answer.body["user_id"] == f"@{name}:{region}.localhost"


async def test_a_taken_name_is_refused_before_and_after_authentication(http: Http) -> None:
    name = fresh()
    assert (await register(http, username=name)).status == 200
    for body in ({}, {"auth": DUMMY}):
        answer = await http.request("POST", "/register", {"username": name, "password": PASSWORD, **body})
        assert (answer.status, answer.errcode) == (400, "M_USER_IN_USE")


async def test_of_two_who_ask_for_one_name_at_once_one_gets_it(http: Http) -> None:
    name = fresh()
    answers = await asyncio.gather(*(register(http, username=name) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400]
    assert {answer.errcode for answer in answers} == {"", "M_USER_IN_USE"}


async def test_a_repeated_registration_gets_the_same_answer(http: Http) -> None:
    body: Json = {"username": fresh(), "password": PASSWORD}
    session = (await http.request("POST", "/register", body)).body["session"]
    body["auth"] = {**DUMMY, "session": session}
    first = await http.request("POST", "/register", body)
    assert first.status == 200
    assert await http.request("POST", "/register", body) == first
    other = await http.request("POST", "/register", {**body, "password": "another password"})
    assert other.errcode == "M_USER_IN_USE"


async def test_capitals_become_small_letters(http: Http) -> None:
    name = fresh("MixedCase")
    answer = await register(http, username=name)
    assert answer.body["user_id"].startswith(f"@{name.lower()}:")
    localpart, server_name = answer.body["user_id"].split(":")
    for user in (name, name.upper(), f"{localpart.upper()}:{server_name}"):
        assert (await login(http, user)).body["user_id"] == answer.body["user_id"]


async def test_without_a_name_one_is_made(http: Http) -> None:
    first, second = await register(http), await register(http)
    assert first.status == second.status == 200
    assert first.body["user_id"] != second.body["user_id"]


async def test_inhibit_login_makes_no_device(http: Http) -> None:
    name = fresh()
    answer = await register(http, username=name, inhibit_login=True)
    assert set(answer.body) == {"user_id"}
    assert (await login(http, answer.body["user_id"])).status == 200


async def test_the_device_is_the_one_asked_for(http: Http) -> None:
    answer = await register(http, username=fresh(), device_id="TABLET", initial_device_display_name="By the stove")
    assert answer.body["device_id"] == "TABLET"
    client = Client(http, "", "", token=answer.body["access_token"])
    devices = (await client.ok("GET", "/devices"))["devices"]
    assert [(device["device_id"], device["display_name"]) for device in devices] == [("TABLET", "By the stove")]


async def test_available(http: Http, alice: Client) -> None:
    query = {"username": fresh()}
    assert await http.request("GET", "/register/available", query=query) == (200, {"available": True})
    taken = await http.request("GET", "/register/available", query={"username": alice.name, "hutong.region": "cn"})
    assert (taken.status, taken.errcode) == (400, "M_USER_IN_USE")
    wrong = await http.request("GET", "/register/available", query={"username": "not valid!"})
    assert (wrong.status, wrong.errcode) == (400, "M_INVALID_USERNAME")
    assert (await http.request("GET", "/register/available")).errcode == "M_MISSING_PARAM"


BAD_NAMES = {
    "empty": "",
    "a space": "two words",
    "a colon": "a:b",
    "a sigil": "@wei",
    "a cyrillic а": "аlice",
    "a full-width letter": "ａlice",
    "an accent": "zoë",
    "a dotted capital I": "İstanbul",
    "a Kelvin sign": "\u212aelvin",
    "a zero-width joiner": "ali\u200dce",
    "a right-to-left override": "ali\u202ece",
    "a zero byte": "ali\0ce",
    "a line end": "alice\n",
    "reserved for the erased": "erased-abc",
    "too long": "a" * 250,
}


@pytest.mark.parametrize("what", BAD_NAMES)
async def test_a_name_that_nobody_may_have(http: Http, what: str) -> None:
    for body in ({}, {"auth": DUMMY}):
        answer = await http.request("POST", "/register", {"username": BAD_NAMES[what], "password": PASSWORD, **body})
        assert (answer.status, answer.errcode) == (400, "M_INVALID_USERNAME"), answer
        assert "username" in answer.error


@pytest.mark.parametrize("mark", "._=/+-")
async def test_marks_that_a_name_may_have(http: Http, mark: str) -> None:
    name = f"q{mark}{next(NUMBERS)}"
    assert f"@{name}:" in (await register(http, username=name)).body["user_id"]


BAD_REGISTRATIONS: dict[str, tuple[Any, int, str, str]] = {
    "no object": ([], 400, "M_BAD_JSON", "body"),
    "a number for a name": ({"username": 5}, 400, "M_BAD_JSON", "username"),
    "an object for a password": ({"username": "x", "password": {}}, 400, "M_BAD_JSON", "password"),
    "text for a flag": ({"inhibit_login": "yes"}, 400, "M_BAD_JSON", "inhibit_login"),
    "auth that is text": ({"auth": "m.login.dummy"}, 400, "M_BAD_JSON", "auth"),
    "a session that is a number": ({"auth": {"session": 3}}, 400, "M_BAD_JSON", "auth.session"),
    "no password": ({"username": "nopassword", "auth": DUMMY}, 400, "M_MISSING_PARAM", "password"),
    "a short password": ({"username": "short", "password": "1234567"}, 400, "M_WEAK_PASSWORD", "password"),
    "a password without end": ({"username": "long", "password": "x" * 2_000}, 400, "M_INVALID_PARAM", "password"),
    "an empty device": ({"device_id": ""}, 400, "M_INVALID_PARAM", "device_id"),
    "a device without end": ({"device_id": "x" * 256}, 400, "M_INVALID_PARAM", "device_id"),
    "a device with a control character": ({"device_id": "a\x07"}, 400, "M_INVALID_PARAM", "device_id"),
    "a device with an invisible letter": ({"device_id": "a\u202e"}, 400, "M_INVALID_PARAM", "device_id"),
    "a device name without end": (
        {"initial_device_display_name": "x" * 256}, 400, "M_INVALID_PARAM", "initial_device_display_name"),
    "a region that is a number": ({"hutong.region": 1}, 400, "M_BAD_JSON", "hutong.region"),
    "an unknown stage": ({"auth": {"type": "m.login.magic"}}, 401, "M_UNRECOGNIZED", "auth.type"),
    "an unknown session": ({"auth": {**DUMMY, "session": "nope"}}, 401, "M_UNKNOWN", "auth.session"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_REGISTRATIONS)
async def test_a_registration_that_cannot_be(http: Http, what: str) -> None:
    body, status, errcode, naming = BAD_REGISTRATIONS[what]
    answer = await http.request("POST", "/register", body)
    assert (answer.status, answer.errcode) == (status, errcode), answer
    assert naming in answer.error


async def test_guests_are_refused(http: Http) -> None:
    answer = await http.request("POST", "/register", {}, query={"kind": "guest"})
    assert (answer.status, answer.errcode) == (403, "M_GUEST_ACCESS_FORBIDDEN")
    assert (await http.request("POST", "/register", {}, query={"kind": "robot"})).errcode == "M_INVALID_PARAM"


async def test_a_session_is_good_for_one_operation(http: Http, alice: Client) -> None:
    session = (await http.request("POST", "/register", {})).body["session"]
    answer = await alice.post("/account/deactivate", {"auth": proof(alice, session=session)})
    assert (answer.status, answer.errcode) == (403, "M_FORBIDDEN")
    assert (await alice.get("/account/whoami")).status == 200


# --- logging in and out ---


async def test_login_flows(http: Http) -> None:
    assert await http.request("GET", "/login") == (200, {"flows": [{"type": "m.login.password"}]})


async def test_login_by_every_way_to_say_who(http: Http, alice: Client, carol: Client) -> None:
    for user in (carol.user_id, carol.name):
        assert (await login(http, user)).body["user_id"] == carol.user_id
    old = {"type": "m.login.password", "user": carol.user_id, "password": PASSWORD}
    assert (await http.request("POST", "/login", old)).body["user_id"] == carol.user_id
    asked = await login(http, alice.name, **{"hutong.region": "ru"})
    assert (asked.status, asked.errcode) == (403, "M_FORBIDDEN")  # alice is at home in cn


async def test_wrong_password_and_unknown_person_get_one_answer(http: Http, alice: Client) -> None:
    wrong = await login(http, alice.user_id, "not the password")
    unknown = await login(http, "@nobody-at-all:cn.localhost")
    assert wrong == unknown
    assert (wrong.status, wrong.errcode) == (403, "M_FORBIDDEN")


PASSWORD_LOGIN = {"type": "m.login.password", "password": PASSWORD}
BAD_LOGINS: dict[str, tuple[Any, int, str, str]] = {
    "nothing": ({}, 400, "M_MISSING_PARAM", "type"),
    "another type": ({"type": "m.login.token", "token": "x"}, 400, "M_UNKNOWN", "type"),
    "nobody": (PASSWORD_LOGIN, 400, "M_MISSING_PARAM", "identifier"),
    "no user": ({**PASSWORD_LOGIN, "identifier": {"type": "m.id.user"}}, 400, "M_MISSING_PARAM", "identifier.user"),
    "no type": ({**PASSWORD_LOGIN, "identifier": {}}, 400, "M_MISSING_PARAM", "identifier.type"),
    "an address": (
        {**PASSWORD_LOGIN, "identifier": {"type": "m.id.thirdparty", "medium": "email", "address": "a@b"}},
        403, "M_FORBIDDEN", "identifier.type"),
    "another server": (
        {**PASSWORD_LOGIN, "identifier": {"type": "m.id.user", "user": "@wei:example.org"}},
        403, "M_FORBIDDEN", "example.org"),
    "half a user id": (
        {**PASSWORD_LOGIN, "identifier": {"type": "m.id.user", "user": "@wei"}},
        400, "M_INVALID_PARAM", "identifier.user"),
    "a zero byte": (
        {**PASSWORD_LOGIN, "identifier": {"type": "m.id.user", "user": "@w\0i:cn.localhost"}},
        400, "M_INVALID_PARAM", "identifier.user"),
    "no password": (
        {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "wei"}},
        400, "M_MISSING_PARAM", "password"),
    "a password that is a number": (
        {**PASSWORD_LOGIN, "password": 5, "user": "wei"}, 400, "M_BAD_JSON", "password"),
    "a password without end": (
        {**PASSWORD_LOGIN, "password": "x" * 100_000, "user": "wei"}, 403, "M_FORBIDDEN", "password"),
    "an endless user": ({**PASSWORD_LOGIN, "user": "x" * 100_000}, 403, "M_FORBIDDEN", "user"),
    "a region there is not": ({**PASSWORD_LOGIN, "user": "w", "hutong.region": "us"}, 400, "M_INVALID_PARAM", "region"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_LOGINS)
async def test_a_login_that_cannot_be(http: Http, what: str) -> None:
    body, status, errcode, naming = BAD_LOGINS[what]
    answer = await http.request("POST", "/login", body)
    assert (answer.status, answer.errcode) == (status, errcode), answer
    assert naming in answer.error


async def test_a_device_that_logs_in_again_loses_its_old_token_and_keeps_its_name(http: Http, alice: Client) -> None:
    first = await alice.another_device(device_id="PHONE", initial_device_display_name="Red phone")
    again = await alice.another_device(device_id="PHONE", initial_device_display_name="Other name")
    assert again.device_id == first.device_id == "PHONE"
    assert (await first.get("/account/whoami")).errcode == "M_UNKNOWN_TOKEN"
    assert (await again.ok("GET", "/devices/PHONE"))["display_name"] == "Red phone"
    assert (await alice.get("/account/whoami")).status == 200


async def test_logout_ends_one_device_at_once(alice: Client) -> None:
    other = await alice.another_device()
    assert (await other.get("/account/whoami")).status == 200
    assert await other.post("/logout") == (200, {})
    gone = await other.get("/account/whoami")
    assert (gone.status, gone.errcode) == (401, "M_UNKNOWN_TOKEN")
    assert "soft_logout" not in gone.body
    devices = (await alice.ok("GET", "/devices"))["devices"]
    assert [device["device_id"] for device in devices] == [alice.device_id]


async def test_logout_all_ends_every_device(alice: Client) -> None:
    others = [await alice.another_device() for _ in range(2)]
    assert await others[0].post("/logout/all") == (200, {})
    for client in (alice, *others):
        assert (await client.get("/account/whoami")).errcode == "M_UNKNOWN_TOKEN"


@pytest.mark.parametrize(
    "token",
    ["x", "h.cn.0", "h.cn.0.", "h.us.0." + "A" * 43, "h.cn.7." + "A" * 43, "h.cn.0." + "A" * 43, "hr.cn.0." + "A" * 43,
     "h.cn.-1." + "A" * 43, "h.cn.²." + "A" * 43, "h." * 5_000, "ё" * 50],
)  # fmt: skip
async def test_a_token_that_is_none(http: Http, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}".encode().decode("latin-1")} if not token.isascii() else None
    if headers is None:
        answer = await http.request("GET", "/account/whoami", token=token)
    else:
        answer = await http.request("GET", "/account/whoami", query={"access_token": token})
    assert (answer.status, answer.errcode) == (401, "M_UNKNOWN_TOKEN")


# --- refreshing ---


async def refresh(http: Http, token: str) -> Answer:
    return await http.request("POST", "/refresh", {"refresh_token": token})


async def test_a_refreshed_device_goes_on_with_new_tokens(http: Http, alice: Client) -> None:
    first = (await login(http, alice.user_id, refresh_token=True)).body
    assert first["expires_in_ms"] > 0
    phone = Client(http, alice.name, "cn", token=first["access_token"])
    assert (await phone.get("/account/whoami")).status == 200

    second = (await refresh(http, first["refresh_token"])).body
    assert second["access_token"] != first["access_token"]
    assert (await phone.get("/account/whoami")).status == 200  # the new tokens have not been used yet
    phone.token = second["access_token"]
    who = await phone.ok("GET", "/account/whoami")
    assert who["device_id"] == first["device_id"]

    used = await refresh(http, first["refresh_token"])
    assert (used.status, used.errcode) == (401, "M_UNKNOWN_TOKEN")
    phone.token = first["access_token"]
    assert (await phone.get("/account/whoami")).errcode == "M_UNKNOWN_TOKEN"
    assert (await refresh(http, second["refresh_token"])).status == 200


async def test_a_lost_answer_can_be_asked_for_again(http: Http, alice: Client) -> None:
    first = (await login(http, alice.user_id, refresh_token=True)).body
    lost = (await refresh(http, first["refresh_token"])).body
    again = (await refresh(http, first["refresh_token"])).body
    phone = Client(http, alice.name, "cn", token=again["access_token"])
    assert (await phone.get("/account/whoami")).status == 200
    assert (await refresh(http, lost["refresh_token"])).errcode == "M_UNKNOWN_TOKEN"


async def test_using_the_new_refresh_token_ends_the_old_one(http: Http, alice: Client) -> None:
    first = (await login(http, alice.user_id, refresh_token=True)).body
    second = (await refresh(http, first["refresh_token"])).body
    assert (await refresh(http, second["refresh_token"])).status == 200
    assert (await refresh(http, first["refresh_token"])).errcode == "M_UNKNOWN_TOKEN"


async def test_logout_ends_the_refresh_token_too(http: Http, alice: Client) -> None:
    first = (await login(http, alice.user_id, refresh_token=True)).body
    assert (await Client(http, "", "", token=first["access_token"]).post("/logout")).status == 200
    assert (await refresh(http, first["refresh_token"])).errcode == "M_UNKNOWN_TOKEN"


async def test_an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing(http: Http, alice: Client) -> None:
    first = (await login(http, alice.user_id, refresh_token=True)).body
    assert (await refresh(http, first["access_token"])).errcode == "M_UNKNOWN_TOKEN"
    phone = Client(http, alice.name, "cn", token=first["refresh_token"])
    assert (await phone.get("/account/whoami")).errcode == "M_UNKNOWN_TOKEN"
    assert (await http.request("POST", "/refresh", {})).errcode == "M_MISSING_PARAM"
    assert (await http.request("POST", "/refresh", {"refresh_token": 3})).errcode == "M_BAD_JSON"


async def test_who_does_not_ask_for_it_gets_no_refresh_token(http: Http, alice: Client) -> None:
    assert not {"refresh_token", "expires_in_ms"} & set((await login(http, alice.user_id)).body)


# --- the password ---


async def test_a_new_password_logs_the_others_out(http: Http, alice: Client) -> None:
    other = await alice.another_device()
    body: Json = {"new_password": "quite another lane"}
    asked = await alice.post("/account/password", body)
    assert (asked.status, asked.body["flows"]) == (401, [{"stages": ["m.login.password"]}])
    body["auth"] = proof(alice, session=asked.body["session"])
    assert await alice.post("/account/password", body) == (200, {})
    assert (await other.get("/account/whoami")).errcode == "M_UNKNOWN_TOKEN"
    assert (await alice.get("/account/whoami")).status == 200
    assert (await login(http, alice.user_id)).errcode == "M_FORBIDDEN"
    assert (await login(http, alice.user_id, "quite another lane")).status == 200


async def test_a_new_password_may_leave_the_others_in(alice: Client) -> None:
    other = await alice.another_device()
    body = {"new_password": "quite another lane", "logout_devices": False, "auth": proof(alice)}
    assert (await alice.post("/account/password", body)).status == 200
    assert (await other.get("/account/whoami")).status == 200


async def test_a_wrong_proof_changes_nothing_and_may_be_mended(http: Http, alice: Client, bob: Client) -> None:
    body: Json = {"new_password": "quite another lane"}
    session = (await alice.post("/account/password", body)).body["session"]
    wrong = await alice.post("/account/password", {**body, "auth": proof(alice, "wrong", session=session)})
    assert (wrong.status, wrong.errcode, wrong.body["session"]) == (401, "M_FORBIDDEN", session)
    somebody = await alice.post("/account/password", {**body, "auth": proof(bob, session=session)})
    assert (somebody.status, somebody.errcode) == (403, "M_FORBIDDEN")
    other = {"new_password": "something else again", "auth": proof(alice, session=session)}
    assert (await alice.post("/account/password", other)).status == 403  # the session was for another password
    assert (await login(http, alice.user_id)).status == 200
    assert (await alice.post("/account/password", {**body, "auth": proof(alice, session=session)})).status == 200


async def test_a_password_must_be_one(alice: Client) -> None:
    assert (await alice.post("/account/password", {})).errcode == "M_MISSING_PARAM"
    weak = await alice.post("/account/password", {"new_password": "short"})
    assert (weak.errcode, "new_password" in weak.error) == ("M_WEAK_PASSWORD", True)


# --- the end of an account ---


@pytest.mark.parametrize("erase", [True, False])
async def test_a_deactivated_account_is_gone_and_its_name_stays_taken(http: Http, carol: Client, erase: bool) -> None:
    other = await carol.another_device()
    await carol.ok("PUT", path("profile", carol.user_id, "displayname"), {"displayname": "Carol of the lane"})
    assert (await carol.post("/account/deactivate", {"erase": erase})).status == 401
    done = await carol.post("/account/deactivate", {"erase": erase, "auth": proof(carol)})
    assert done == (200, {"id_server_unbind_result": "success"})
    for client in (carol, other):
        assert (await client.get("/account/whoami")).errcode == "M_UNKNOWN_TOKEN"
    assert (await login(http, carol.user_id)).errcode == "M_FORBIDDEN"
    assert (await http.request("GET", path("profile", carol.user_id))).errcode == "M_NOT_FOUND"
    taken = await register(http, username=carol.name, **{"hutong.region": "ru"})
    assert taken.errcode == "M_USER_IN_USE"


async def test_a_wrong_password_deactivates_nobody(carol: Client) -> None:
    with refused("M_FORBIDDEN", "auth.password", 401):
        await carol.ok("POST", "/account/deactivate", {"auth": proof(carol, "wrong")})
    assert (await carol.get("/account/whoami")).status == 200


async def test_closed_registration(newcomer: Newcomer) -> None:
    """The endpoint itself: a node of its own would only show that the setting is read."""
    from hutong.accounts.api_login import _check_open
    from hutong.errors import Forbidden

    with pytest.raises(Forbidden, match="closed"):
        _check_open("closed")
    _check_open("open")
