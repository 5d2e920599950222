"""An invitation that a third party signs, as a room's rules judge it (4.4.1; 5.4.1), across regions.

This server has no identity server and makes none of these itself; a client that has one brings all that is needed.
"""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.client import Answer, Client, Json, path

TOKEN = "a token of the third party"


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def signed(key: Ed25519PrivateKey, mxid: str, token: str = TOKEN, **changed: Any) -> Json:
    """What the third party says, changed after it was signed."""
    said = {"mxid": mxid, "token": token}
    canonical = json.dumps(said, separators=(",", ":"), sort_keys=True).encode()
    return {**said, "signatures": {"id.example": {"ed25519:0": text(key.sign(canonical))}}, **changed}


async def brings(inviter: Client, room: str, whom: Client, said: Json) -> Answer:
    invite = {"display_name": "w...@example.org", "signed": said}
    target = path("rooms", room, "state", "m.room.member", whom.user_id)
    return await inviter.put(target, {"membership": "invite", "third_party_invite": invite})


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
async def hall(alice: Client, bob: Client, key: Ed25519PrivateKey) -> str:
    """A room of alice's, where she and bob of eu may invite by a third party whose key is the second of two."""
    levels: Json = {"invite": 0}
    room = await alice.create_room(preset="private_chat", invite=[bob.user_id], power_level_content_override=levels)
    await bob.accept(room)
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    content = {
        "display_name": "w...@example.org", "key_validity_url": "https://id.example/valid", "public_key": text(other),
        "public_keys": [{"public_key": text(key.public_key().public_bytes_raw())}],
    }  # fmt: skip
    await bob.sees(room, await bob.set_state(room, "m.room.third_party_invite", content, TOKEN))
    return room


async def test_what_the_third_party_signed_invites(
    bob: Client, carol: Client, alice: Client, hall: str, key: Ed25519PrivateKey
) -> None:
    answer = await brings(bob, hall, carol, signed(key, carol.user_id))
    assert answer.status == 200, answer
    await carol.accept(hall)
    assert (await alice.members(hall))[carol.user_id] == "join"


async def test_what_is_not_as_it_was_signed_is_refused(
    alice: Client, bob: Client, carol: Client, hall: str, key: Ed25519PrivateKey
) -> None:
    before = await alice.members(hall)
    right = signed(key, carol.user_id)
    stranger = Ed25519PrivateKey.generate()
    for inviter, said, why in (
        (bob, signed(stranger, carol.user_id), "no key"),
        (bob, {**right, "extra": 1}, "no key"),
        (bob, {**right, "signatures": {}}, "no key"),
        (bob, {**right, "signatures": {"id.example": {"ed25519:0": "宝"}}}, "no key"),
        (bob, {**right, "signatures": {"id.example": {f"ed25519:{n}": "AA" for n in range(1_000)}}}, "no key"),
        (bob, signed(key, alice.user_id), "mxid"),
        (bob, signed(key, carol.user_id, "another"), "token"),
        (alice, right, "somebody else"),
    ):
        answer = await brings(inviter, hall, carol, said)
        assert (answer.status, answer.errcode, why in answer.error) == (403, "M_FORBIDDEN", True), answer
    assert await alice.members(hall) == before
    await alice.ban(hall, carol)
    answer = await brings(bob, hall, carol, right)
    assert (answer.status, "banned" in answer.error) == (403, True), answer


async def test_an_invitation_that_was_taken_back_invites_nobody(
    bob: Client, carol: Client, alice: Client, hall: str, key: Ed25519PrivateKey
) -> None:
    await alice.sees(hall, await bob.set_state(hall, "m.room.third_party_invite", {}, TOKEN))
    answer = await brings(bob, hall, carol, signed(key, carol.user_id))
    assert (answer.status, "no key" in answer.error) == (403, True), answer
