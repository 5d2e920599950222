"""The check of answers must itself be able to fail."""

import pytest

from tests.support.openapi import VARIABLE, Contract, Violation, specification

ROOM = "/_matrix/client/v3/rooms/%21lane%3Acn.localhost"

STATE_EVENT = {
    "type": "m.room.name",
    "state_key": "",
    "content": {"name": "Courtyard"},
    "sender": "@alice:cn.localhost",
    "event_id": "$a",
    "room_id": "!lane:cn.localhost",
    "origin_server_ts": 1,
}


@pytest.fixture(scope="module")
def contract() -> Contract:
    folder = specification()
    if folder is None:
        pytest.skip(f"answers are NOT checked: no Matrix specification beside the repository; {VARIABLE} may name it")
    return Contract(folder)


def test_the_whole_client_server_api_is_known(contract: Contract) -> None:
    assert len(contract.operations) == 166


def test_every_response_of_the_specification_compiles(contract: Contract) -> None:
    for operation in contract.operations:
        for status in operation.responses:
            if status.isdigit():
                contract._validator(operation, status)


def test_an_answer_as_specified_passes(contract: Contract) -> None:
    contract.check("PUT", f"{ROOM}/send/m.room.message/1", 200, {"event_id": "$a"})
    contract.check("GET", f"{ROOM}/messages", 200, {"start": "r1", "chunk": []})
    contract.check("PUT", f"{ROOM}/state/m.room.name", 200, {"event_id": "$a"})
    contract.check("GET", f"{ROOM}/state/m.room.name", 200, {"name": "Courtyard"})
    contract.check("GET", f"{ROOM}/state/m.room.name", 200, STATE_EVENT)
    contract.check("PUT", f"{ROOM}/state/m.room.name/", 200, {"event_id": "$a"})
    contract.check("POST", f"{ROOM}/join", 403, {"errcode": "M_FORBIDDEN", "error": "no"})


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("PUT", f"{ROOM}/send/m.room.message/1", 200, {"event": "$a"}),
        ("PUT", f"{ROOM}/send/m.room.message/1", 200, {"event_id": 7}),
        ("PUT", f"{ROOM}/state/m.room.name", 200, {}),
        ("PUT", f"{ROOM}/send/m.room.message/1", 418, {"error": "no code"}),
        ("GET", f"{ROOM}/messages", 200, {"start": "r1", "chunk": [{"type": "m.room.message"}]}),
        ("GET", "/_matrix/client/v3/sync", 200, {"rooms": {}}),
        ("GET", "/_matrix/client/v3/sync", 200, {"next_batch": "h1", "rooms": {"join": {"!a": {"timeline": []}}}}),
        ("GET", "/_matrix/client/v3/unheard/of", 200, {}),
        ("GET", "/_matrix/client/v3/unheard/of", 404, {"error": "no code"}),
    ],
)
def test_an_answer_otherwise_is_a_violation(
    contract: Contract, method: str, path: str, status: int, body: object
) -> None:
    with pytest.raises(Violation):
        contract.check(method, path, status, body)
