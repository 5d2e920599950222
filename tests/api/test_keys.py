"""Public keys of devices and people: stored and told as specified, across regions and while one is away."""

import base64
import json
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hutong.ids import CellNo
from tests.support.client import PASSWORD, Client, Json, refused

if TYPE_CHECKING:
    from hutong.node import Node

RU = CellNo(768)
ALGORITHMS = ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"]


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


class Signer:
    """A key pair that signs JSON as the specification says."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public = b64(self._key.public_key().public_bytes_raw())

    def sign(self, value: Json, user_id: str, key_id: str = "") -> Json:
        """`value` with one more signature."""
        part = {key: each for key, each in value.items() if key not in ("signatures", "unsigned")}
        text = json.dumps(part, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        by = f"ed25519:{key_id or self.public}"
        signatures = {**value.get("signatures", {})}
        signatures[user_id] = {**signatures.get(user_id, {}), by: b64(self._key.sign(text.encode()))}
        return {**value, "signatures": signatures}


def identity(person: Client, signer: Signer | None = None) -> Json:
    """Identity keys of this device, signed by itself."""
    signer = signer or Signer()
    value = {
        "user_id": person.user_id,
        "device_id": person.device_id,
        "algorithms": ALGORITHMS,
        "keys": {f"ed25519:{person.device_id}": signer.public, f"curve25519:{person.device_id}": b64(bytes(32))},
        "org.example.more": {"é": 1},
    }
    return signer.sign(value, person.user_id, person.device_id)


def one_time(*names: str, **more: Any) -> Json:
    return {f"signed_curve25519:{name}": {"key": f"key {name}", "signatures": {}, **more} for name in names}


def named(keys: Json) -> list[str]:
    return [name.partition(":")[2] for name in keys]


async def upload(person: Client, **keys: Any) -> Json:
    body = await person.ok("POST", "/keys/upload", keys)
    return dict(body["one_time_key_counts"])


async def query(person: Client, *whose: Client) -> Json:
    return dict(await person.ok("POST", "/keys/query", {"device_keys": {each.user_id: [] for each in whose}}))


async def claim(person: Client, whose: Client, algorithm: str = "signed_curve25519") -> Json:
    wanted = {whose.user_id: {whose.device_id: algorithm}}
    body = await person.ok("POST", "/keys/claim", {"one_time_keys": wanted})
    assert body["failures"] == {}
    return dict(body["one_time_keys"].get(whose.user_id, {}).get(whose.device_id, {}))


# --- identity keys ---


async def test_keys_come_back_as_they_were_uploaded(alice: Client, bob: Client, carol: Client) -> None:
    keys = identity(alice)
    assert await upload(alice, device_keys=keys) == {}
    for reader in (alice, bob, carol):
        told = await query(reader, alice, bob)
        found = told["device_keys"][alice.user_id][alice.device_id]
        assert {**found, "unsigned": None} == {**keys, "unsigned": None}
        assert told["failures"] == {}
        assert told["device_keys"][bob.user_id] == {}


async def test_a_device_is_named_to_its_own_region_only(newcomer: Any, bob: Client) -> None:
    anna = await newcomer("anna", "cn", initial_device_display_name="Anna's lute")
    await upload(anna, device_keys=identity(anna))
    neighbour = await newcomer("ann", "cn")
    near = (await query(neighbour, anna))["device_keys"][anna.user_id][anna.device_id]
    assert near["unsigned"] == {"device_display_name": "Anna's lute"}
    far = (await query(bob, anna))["device_keys"][anna.user_id][anna.device_id]
    assert far["unsigned"] == {}


async def test_only_the_devices_asked_for(alice: Client, bob: Client) -> None:
    phone = await alice.another_device()
    for device in (alice, phone):
        await upload(device, device_keys=identity(device))
    wanted = {alice.user_id: [phone.device_id, "NONE"], "@nobody:cn.localhost": [], "@a:matrix.example": []}
    told = await bob.ok("POST", "/keys/query", {"device_keys": wanted})
    assert list(told["device_keys"][alice.user_id]) == [phone.device_id]
    assert "@nobody:cn.localhost" not in told["device_keys"]
    assert list(told["failures"]) == ["matrix.example"]


async def test_keys_of_somebody_else_are_refused(alice: Client, bob: Client) -> None:
    good = identity(alice)
    with refused("M_INVALID_PARAM", "device_keys.user_id"):
        await upload(alice, device_keys={**good, "user_id": bob.user_id})
    with refused("M_INVALID_PARAM", "device_keys.device_id"):
        await upload(alice, device_keys={**good, "device_id": bob.device_id})
    with refused("M_INVALID_PARAM", "device_keys.keys"):
        await upload(alice, device_keys={**good, "keys": {"ed25519:OTHER": "x"}})
    with refused("M_MISSING_PARAM", "device_keys.algorithms"):
        await upload(alice, device_keys={key: good[key] for key in good if key != "algorithms"})
    with refused("M_INVALID_PARAM", "one_time_keys"):
        await upload(alice, device_keys=good, one_time_keys={"nocolon": "x"})
    with refused("M_BAD_JSON", "one_time_keys"):
        await upload(alice, device_keys=good, one_time_keys={"signed_curve25519:A": 5})
    with refused("M_INVALID_PARAM", "fallback_keys"):
        await upload(alice, device_keys=good, fallback_keys=one_time("A", "B"))
    assert (await query(bob, alice))["device_keys"] == {alice.user_id: {}}


async def test_keys_go_with_their_device(alice: Client, bob: Client) -> None:
    phone = await alice.another_device()
    for device in (alice, phone):
        await upload(device, device_keys=identity(device), one_time_keys=one_time("A"), fallback_keys=one_time("F"))
    await phone.ok("POST", "/logout", {})
    assert list((await query(bob, alice))["device_keys"][alice.user_id]) == [alice.device_id]
    assert await claim(bob, phone) == {}
    assert named(await claim(bob, alice)) == ["A"]


async def test_keys_go_with_their_account(alice: Client, bob: Client, node: "Node") -> None:
    await upload(alice, device_keys=identity(alice), one_time_keys=one_time("A"), fallback_keys=one_time("F"))
    await set_up(alice)
    account = await node.services[CellNo(alice.cell)].accounts.find(alice.name)
    await alice.deactivate(erase=True)
    told = await query(bob, alice)
    assert (told["device_keys"], told["master_keys"]) == ({}, {})
    assert await claim(bob, alice) == {}
    pool = node.cells[CellNo(alice.cell)].pool
    for table in ("device_keys", "one_time_keys", "fallback_keys", "cross_signing_keys", "key_signatures"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table} WHERE account = $1", account) == 0, table


async def test_new_identity_keys_leave_no_old_one_time_keys(alice: Client, bob: Client) -> None:
    await upload(alice, device_keys=identity(alice), one_time_keys=one_time("A", "B"), fallback_keys=one_time("F"))
    fresh = identity(alice)
    assert await upload(alice, device_keys=fresh, one_time_keys=one_time("C")) == {"signed_curve25519": 1}
    assert await upload(alice, device_keys=fresh) == {"signed_curve25519": 1}
    assert named(await claim(bob, alice)) == ["C"]
    assert await claim(bob, alice) == {}


# --- one-time and fallback keys ---


async def test_a_one_time_key_is_given_once_and_in_order(alice: Client, bob: Client, carol: Client) -> None:
    assert await upload(alice, one_time_keys=one_time("B")) == {"signed_curve25519": 1}
    assert await upload(alice, one_time_keys={**one_time("A"), "curve25519:P": "plain"}) == {
        "signed_curve25519": 2,
        "curve25519": 1,
    }
    assert await claim(bob, alice) == one_time("B")
    assert await claim(carol, alice) == one_time("A")
    assert await claim(alice, alice) == {}
    assert await claim(bob, alice, "curve25519") == {"curve25519:P": "plain"}
    assert await claim(bob, alice, "none") == {}


async def test_a_key_that_was_given_out_does_not_come_back(alice: Client, bob: Client) -> None:
    await upload(alice, one_time_keys=one_time("A"))
    assert named(await claim(bob, alice)) == ["A"]
    assert await upload(alice, one_time_keys=one_time("A", "B")) == {"signed_curve25519": 1}
    assert named(await claim(bob, alice)) == ["B"]
    assert await claim(bob, alice) == {}


async def test_two_keys_cannot_have_one_id(alice: Client) -> None:
    await upload(alice, one_time_keys=one_time("A"))
    assert await upload(alice, one_time_keys=one_time("A")) == {"signed_curve25519": 1}
    with refused("M_INVALID_PARAM", "one_time_keys.signed_curve25519:A"):
        await upload(alice, one_time_keys=one_time("A", key="another"))


async def test_a_fallback_key_is_given_again_and_again(alice: Client, bob: Client) -> None:
    await upload(alice, one_time_keys=one_time("A"), fallback_keys=one_time("F", fallback=True))
    assert named(await claim(bob, alice)) == ["A"]
    assert [await claim(bob, alice) for _ in range(2)] == [one_time("F", fallback=True)] * 2
    await upload(alice, fallback_keys=one_time("F", fallback=True))
    assert (await alice.sync())["device_unused_fallback_key_types"] == []
    await upload(alice, fallback_keys=one_time("G", fallback=True))
    assert named(await claim(bob, alice)) == ["G"]


async def test_sync_says_what_is_left(alice: Client, bob: Client) -> None:
    phone = await alice.another_device()
    await upload(alice, one_time_keys=one_time("A", "B"), fallback_keys=one_time("F"))
    first = await alice.sync()
    assert first["device_one_time_keys_count"] == {"signed_curve25519": 2}
    assert first["device_unused_fallback_key_types"] == ["signed_curve25519"]
    for _ in range(3):
        await claim(bob, alice)
    quiet = await alice.sync(since=first["next_batch"])
    assert quiet["device_one_time_keys_count"] == {}
    assert quiet["device_unused_fallback_key_types"] == []
    assert (await phone.sync())["device_one_time_keys_count"] == {}


# --- a region that is away ---


async def test_the_server_that_is_away_is_named(alice: Client, bob: Client, carol: Client, node: "Node") -> None:
    for person in (bob, carol):
        await upload(person, device_keys=identity(person), one_time_keys=one_time("A"))
    node.link.faults[CellNo(alice.cell), RU].cut = True
    try:
        told = await query(alice, bob, carol)
        assert list(told["device_keys"]) == [bob.user_id]
        assert list(told["failures"]) == ["ru.localhost"]
        wanted = {each.user_id: {each.device_id: "signed_curve25519"} for each in (bob, carol)}
        claimed = await alice.ok("POST", "/keys/claim", {"one_time_keys": wanted})
        assert list(claimed["one_time_keys"]) == [bob.user_id]
        assert list(claimed["failures"]) == ["ru.localhost"]
    finally:
        node.link.faults[CellNo(alice.cell), RU].cut = False
    assert list((await query(alice, carol))["device_keys"]) == [carol.user_id]
    assert named(await claim(alice, carol)) == ["A"]


# --- whose keys changed ---


async def changed(person: Client, since: str) -> list[str]:
    now = (await person.sync())["next_batch"]
    body = await person.ok("GET", "/keys/changes", query={"from": since, "to": now})
    return list(body["changed"])


async def test_who_shares_a_room_is_told_whose_keys_changed(
    alice: Client, bob: Client, carol: Client, room: str, newcomer: Any
) -> None:
    stranger = await newcomer("stranger", "eu")
    await alice.send(room, "now")
    since = (await alice.sync())["next_batch"]
    assert await changed(alice, since) == []
    for person in (bob, carol, stranger):
        await upload(person, device_keys=identity(person))
    assert await changed(alice, since) == [bob.user_id]
    await carol.join(room)
    await carol.until(lambda: carol.membership(room) == "join", "her own joining")
    assert await changed(alice, since) == sorted([bob.user_id, carol.user_id])
    with refused("M_MISSING_PARAM", "to"):
        await alice.ok("GET", "/keys/changes", query={"from": since})
    with refused("M_INVALID_PARAM", "from"):
        await alice.ok("GET", "/keys/changes", query={"from": "s1_2", "to": since})


# --- cross-signing ---


class CrossSigned:
    """A person's three keys."""

    def __init__(self, person: Client) -> None:
        self.master, self.self_signing, self.user_signing = Signer(), Signer(), Signer()
        self.user_id = person.user_id

    def key(self, usage: str, signer: Signer) -> Json:
        keys = {f"ed25519:{signer.public}": signer.public}
        value: Json = {"user_id": self.user_id, "usage": [usage], "keys": keys}
        return value if usage == "master" else self.master.sign(value, self.user_id)

    def body(self) -> Json:
        return {
            "master_key": self.key("master", self.master),
            "self_signing_key": self.key("self_signing", self.self_signing),
            "user_signing_key": self.key("user_signing", self.user_signing),
        }


async def set_up(person: Client) -> CrossSigned:
    keys = CrossSigned(person)
    await person.ok("POST", "/keys/device_signing/upload", keys.body())
    return keys


async def test_cross_signing_keys_are_told_to_whom_they_concern(alice: Client, bob: Client) -> None:
    keys = await set_up(alice)
    body = keys.body()
    for reader in (alice, bob):
        told = await query(reader, alice)
        assert told["master_keys"] == {alice.user_id: body["master_key"]}
        assert told["self_signing_keys"] == {alice.user_id: body["self_signing_key"]}
        own = {alice.user_id: body["user_signing_key"]} if reader is alice else {}
        assert told["user_signing_keys"] == own


async def test_other_keys_need_the_password(alice: Client) -> None:
    keys = await set_up(alice)
    await alice.ok("POST", "/keys/device_signing/upload", keys.body())  # the same ones again do not
    fresh = CrossSigned(alice).body()
    asked = await alice.post("/keys/device_signing/upload", fresh)
    assert (asked.status, asked.body["flows"]) == (401, [{"stages": ["m.login.password"]}])
    assert (await query(alice, alice))["master_keys"][alice.user_id] == keys.body()["master_key"]
    user = {"type": "m.id.user", "user": alice.user_id}
    proof = {"type": "m.login.password", "identifier": user, "password": PASSWORD, "session": asked.body["session"]}
    await alice.ok("POST", "/keys/device_signing/upload", {**fresh, "auth": proof})
    assert (await query(alice, alice))["master_keys"][alice.user_id] == fresh["master_key"]


async def test_keys_that_are_not_signed_right_are_refused(alice: Client, bob: Client) -> None:
    keys = CrossSigned(alice)
    body = keys.body()
    with refused("M_MISSING_PARAM", "master_key"):
        await alice.ok("POST", "/keys/device_signing/upload", {"self_signing_key": body["self_signing_key"]})
    forged = CrossSigned(alice).key("self_signing", keys.self_signing)
    with refused("M_INVALID_SIGNATURE", "self_signing_key"):
        await alice.ok("POST", "/keys/device_signing/upload", {**body, "self_signing_key": forged})
    with refused("M_INVALID_PARAM", "master_key.user_id"):
        await bob.ok("POST", "/keys/device_signing/upload", body)
    with refused("M_INVALID_PARAM", "master_key.usage"):
        await alice.ok("POST", "/keys/device_signing/upload", {"master_key": body["self_signing_key"]})
    with refused("M_INVALID_PARAM", "master_key.keys"):
        wrong = {**body["master_key"], "keys": {"ed25519:a": "b"}}
        await alice.ok("POST", "/keys/device_signing/upload", {"master_key": wrong})
    assert (await query(alice, alice))["master_keys"] == {}


async def test_signatures_are_seen_by_whom_they_concern(alice: Client, bob: Client, carol: Client) -> None:
    device = Signer()
    device_keys = identity(alice, device)
    await upload(alice, device_keys=device_keys)
    mine, his = await set_up(alice), await set_up(bob)
    signed_device = mine.self_signing.sign({**device_keys, "signatures": {}}, alice.user_id)
    signed_own = device.sign(mine.key("master", mine.master), alice.user_id, alice.device_id)
    signed_his = mine.user_signing.sign(his.key("master", his.master), alice.user_id)
    forged = Signer().sign(his.key("master", his.master), alice.user_id, mine.user_signing.public)
    sent = {
        alice.user_id: {alice.device_id: signed_device, mine.master.public: signed_own, "NONE": signed_device},
        bob.user_id: {his.master.public: forged},
    }
    answer = await alice.ok("POST", "/keys/signatures/upload", sent)
    assert {
        (user, key): error["errcode"] for user, keys in answer["failures"].items() for key, error in keys.items()
    } == {(alice.user_id, "NONE"): "M_NOT_FOUND", (bob.user_id, his.master.public): "M_INVALID_SIGNATURE"}
    again = {bob.user_id: {his.master.public: signed_his}}
    assert (await alice.ok("POST", "/keys/signatures/upload", again)) == {"failures": {}}
    for reader in (alice, bob, carol):
        told = await query(reader, alice, bob)
        shown = told["device_keys"][alice.user_id][alice.device_id]["signatures"][alice.user_id]
        by_device, by_self_signing = f"ed25519:{alice.device_id}", f"ed25519:{mine.self_signing.public}"
        assert set(shown) == {by_device, by_self_signing}
        assert shown[by_self_signing] == signed_device["signatures"][alice.user_id][by_self_signing]
        assert told["master_keys"][alice.user_id]["signatures"] == signed_own["signatures"]
        by_alice = told["master_keys"][bob.user_id].get("signatures", {}).get(alice.user_id)
        assert by_alice == (signed_his["signatures"][alice.user_id] if reader is alice else None)


async def test_who_is_just_being_erased_is_told_of_without_their_keys(alice: Client, bob: Client, node: "Node") -> None:
    """Their key is destroyed before their rows are gone."""
    for person in (alice, bob):
        await person.ok("POST", "/keys/upload", {"device_keys": identity(person)})
    home = node.slices[CellNo(bob.cell)]
    account = await home.accounts.accounts.find(bob.name)
    assert account is not None
    await node.cells[CellNo(bob.cell)].keystore.destroy(account)
    told = await alice.ok("POST", "/keys/query", {"device_keys": {alice.user_id: [], bob.user_id: []}})
    assert told["failures"] == {}
    assert list(told["device_keys"][alice.user_id]) == [alice.device_id]
    assert not told["device_keys"].get(bob.user_id)
