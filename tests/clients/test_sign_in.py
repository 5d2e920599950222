"""What Element Web, Cinny and Hydrogen ask from their first screen to their first room, and what each is answered.

Every request is answered with 2xx, or with the error that the client is written for. `chat.test.js`, `sign_in.test.js`
and `tests/browser` have the clients' own code ask; this is the list, in the order in which they do.
"""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.support.client import PASSWORD, Client

SDK = "matrix-js-sdk 43.0.0, src/"
ELEMENT = "element-web, src/"
CINNY = "cinny, src/app/"
HYDROGEN = "hydrogen-view-sdk 0.3.1, src/matrix/"
FILTER = {
    "room": {"timeline": {"limit": 20, "unread_thread_notifications": True}, "state": {"lazy_load_members": True}}
}
UNRECOGNIZED = (404, "M_UNRECOGNIZED")
NOT_FOUND = (404, "M_NOT_FOUND")


@dataclass(frozen=True)
class Asked:
    """One request. `where`: the code that makes it. `answer`: the status, and the error code that the client handles.

    `{me}`, `{filter}` and `{device}` stand for the caller's own.
    """

    method: str
    path: str
    where: str
    body: Any = None
    answer: tuple[int, str] = (200, "")
    known: bool = True
    """Whether the client has signed in."""


V1, V3 = "/_matrix/client/v1", "/_matrix/client/v3"
MSC = "/_matrix/client/unstable/org.matrix.msc"
DATA = f"{V3}/user/{{me}}/account_data"
NEW = {"username": "{fresh}", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
LOGIN = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "{me}"}, "password": PASSWORD}
TABLE = [
    Asked("GET", "/.well-known/matrix/client", f"{SDK}autodiscovery.ts; {HYDROGEN}well-known.js", known=False),
    Asked("GET", "/_matrix/client/versions", f"{SDK}client.ts getVersions; {HYDROGEN}Client.js", known=False),
    Asked("GET", f"{V1}/auth_metadata", f"{SDK}client.ts getAuthMetadata", None, UNRECOGNIZED, known=False),
    Asked("GET", f"{V3}/login", f"{CINNY}components/AuthFlowsLoader.tsx; {HYDROGEN}Client.js", known=False),
    Asked("POST", f"{V3}/register", f"{CINNY}components/AuthFlowsLoader.tsx", {}, (401, ""), known=False),
    Asked("POST", f"{V3}/register", f"{SDK}client.ts registerRequest", NEW, known=False),
    Asked("POST", f"{V3}/login", f"{SDK}client.ts loginRequest", LOGIN, known=False),
    Asked("GET", f"{V3}/account/whoami", f"{ELEMENT}Lifecycle.ts"),
    # The start of the SDK that Element and Cinny share.
    Asked("GET", "/_matrix/client/versions", f"{SDK}client.ts startClient"),
    Asked("GET", f"{V3}/voip/turnServer", f"{SDK}client.ts checkTurnServers"),
    Asked("GET", f"{V3}/capabilities", f"{SDK}serverCapabilities.ts; {CINNY}components/CapabilitiesLoader.tsx"),
    Asked("GET", f"{MSC}4143/rtc/transports", f"{SDK}rtcTransportsCachedValue.ts", None, UNRECOGNIZED),
    Asked("GET", f"{V3}/pushrules/", f"{SDK}sync.ts getPushRules"),
    Asked("POST", f"{V3}/user/{{me}}/filter", f"{SDK}sync.ts; {HYDROGEN}Sync.js", FILTER),
    Asked("GET", f"{V3}/user/{{me}}/filter/nosuch", f"{SDK}client.ts getOrCreateFilter", None, NOT_FOUND),
    Asked("GET", f"{V3}/sync?timeout=0&set_presence=offline&filter={{filter}}", f"{SDK}sync.ts; {HYDROGEN}Sync.js"),
    # Its encryption, which starts before anything is encrypted.
    Asked("POST", f"{V3}/keys/upload", f"{SDK}rust-crypto/OutgoingRequestProcessor.ts; {HYDROGEN}e2ee/Account.js", {}),
    Asked("POST", f"{V3}/keys/query", f"{SDK}rust-crypto/OutgoingRequestProcessor.ts", {"device_keys": {"{me}": []}}),
    Asked("GET", f"{V3}/room_keys/version", f"{SDK}rust-crypto/backup.ts; {HYDROGEN}e2ee/megolm", None, NOT_FOUND),
    Asked("GET", f"{MSC}3814.v1/dehydrated_device", f"{SDK}rust-crypto/DehydratedDeviceManager.ts", None, UNRECOGNIZED),
    Asked("GET", f"{DATA}/m.secret_storage.default_key", f"{SDK}secret-storage.ts", None, NOT_FOUND),
    Asked("GET", f"{V3}/dehydrated_device", f"{HYDROGEN}Client.js", None, UNRECOGNIZED),
    # What their screens want to know.
    Asked("GET", f"{V3}/profile/{{me}}", f"{SDK}client.ts getProfileInfo"),
    Asked("GET", f"{V3}/devices", f"{SDK}client.ts getDevices"),
    Asked("GET", f"{V3}/devices/{{device}}", f"{SDK}client.ts getDevice"),
    Asked("GET", f"{V3}/pushers", f"{SDK}client.ts getPushers; {HYDROGEN}Session.js"),
    Asked("GET", f"{V3}/thirdparty/protocols", f"{ELEMENT}LegacyCallHandler.tsx; {CINNY}features/explore"),
    Asked("GET", f"{V1}/media/config", f"{ELEMENT}ContentMessages.ts"),
    Asked("GET", "/_matrix/media/v3/config", f"{CINNY}components/CapabilitiesAndMediaConfigLoader.tsx"),
    Asked("PUT", f"{V3}/presence/{{me}}/status", f"{ELEMENT}Presence.ts", {"presence": "online"}),
    Asked("GET", f"{V3}/presence/{{me}}/status", f"{SDK}client.ts getPresence"),
    Asked("POST", f"{V3}/user_directory/search", f"{SDK}client.ts searchUserDirectory", {"search_term": "a"}),
    Asked("GET", f"{V3}/account/3pid", f"{ELEMENT}components/views/settings"),
    Asked("GET", f"{V3}/joined_rooms", f"{SDK}client.ts getJoinedRooms"),
    Asked("POST", f"{V3}/logout", f"{SDK}client.ts logout; {HYDROGEN}Session.js", {}),
]  # fmt: skip


def filled(value: Any, names: dict[str, str]) -> Any:
    """`value` with each `{name}` replaced."""
    if isinstance(value, dict):
        return {filled(key, names): filled(each, names) for key, each in value.items()}
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
    return value


async def test_every_request_of_a_sign_in_is_answered(alice: Client, worker_id: str) -> None:
    phone = await alice.another_device()
    kept = await phone.ok("POST", f"/user/{phone.user_id}/filter", FILTER)
    fresh = f"fresh.{worker_id}.{phone.device_id.lower()}"
    names = {"me": phone.user_id, "device": phone.device_id, "filter": kept["filter_id"], "fresh": fresh}
    wrong = []
    for each in TABLE:
        token = phone.token if each.known else ""
        body = filled(each.body, names)
        # `{}` says "no server for calls" in a way that every client knows and the schema does not.
        http = replace(phone.http, contract=None) if each.path.endswith("/turnServer") else phone.http
        path, _, query = filled(each.path, names).partition("?")
        answer = await http.request(each.method, path, body, token=token, query=dict(parse_qsl(query)))
        errcode = answer.errcode if answer.status >= 400 and answer.status != 401 else ""
        if (answer.status, errcode) != each.answer:
            wrong.append(f"{each.method} {each.path} ({each.where}): {answer}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("field", ["m.room_versions", "m.change_password", "m.profile_fields", "m.3pid_changes"])
async def test_what_the_server_can_do_is_said(alice: Client, field: str) -> None:
    assert field in (await alice.ok("GET", "/capabilities"))["capabilities"]
