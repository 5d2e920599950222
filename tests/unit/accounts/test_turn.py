"""Passwords for the server that relays calls, as coturn checks them."""

import base64
import hmac
import json
from typing import Any

from hutong.accounts.api_server import TurnEndpoint
from hutong.config import Turn


class Answer:
    data = b""


async def answer(turn: Turn | None) -> Any:
    resp: Any = Answer()
    request: Any = None
    await TurnEndpoint(turn, lambda: 1_000.7, lambda count: bytes(range(count))).on_get(request, resp)
    return json.loads(resp.data)


async def test_a_password_is_good_for_a_while_and_names_nobody() -> None:
    told = await answer(Turn(("turn:a.example",), "hush", 600))
    username = "1600:0001020304050607"
    password = base64.b64encode(hmac.new(b"hush", username.encode(), "sha1").digest()).decode()
    assert told == {"username": username, "password": password, "uris": ["turn:a.example"], "ttl": 600}


async def test_without_a_relay_there_is_nothing_to_tell() -> None:
    assert await answer(None) == {}
