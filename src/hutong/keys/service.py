"""The keys that devices publish and ask one another for. Client-Server API v1.19, "End-to-End Encryption".

A key is a word of the person who published it: sealed in their home. Whoever asks from abroad is told over the link.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from msgspec import Raw, json

from hutong.accounts.names import parse_user_id
from hutong.accounts.service import Accounts
from hutong.accounts.sessions import Sessions
from hutong.cells.cell import Cell
from hutong.cells.key_messages import ClaimKeys, KeysOf, PublishedKeys
from hutong.cells.link import LinkDown
from hutong.cells.view import Lru
from hutong.errors import BadParam, MatrixError
from hutong.ids import AccountNo, CellNo, DeviceNo, Minute, new_id
from hutong.keys import publishing
from hutong.keys.model import (
    ASKED_AT_ONCE_MAX,
    KEPT_SIGNATURES,
    NAMED_KEY,
    ONE_TIME_KEYS_MAX,
    Counts,
    NamedKey,
    UploadBody,
)
from hutong.keys.store import KeyStore, SealedKey, Usage, Wanted
from hutong.vault.vault import Gone, Sealed

COUNTS_CACHED_MAX = 100_000
GIVEN_KEPT_MINUTES = 30 * 24 * 60
"""So long it is remembered that a one-time key was given out, should its device upload it once more."""
WAIT_S_MAX = 10.0

Json = dict[str, Any]


class Keys:
    """The keys of one cell's accounts, and the way to everybody else's."""

    def __init__(self, cell: Cell, store: KeyStore, accounts: Accounts, sessions: Sessions) -> None:
        self._cell = cell
        self._store = store
        self.accounts = accounts
        self.sessions = sessions
        self._counts: Lru[tuple[AccountNo, DeviceNo], Counts] = Lru(COUNTS_CACHED_MAX)
        self._writes = 0

    # --- publishing ---

    async def upload(self, account: AccountNo, device: DeviceNo, asked: UploadBody) -> dict[str, int]:
        """Keep new keys of a device, all or none. Returns how many unclaimed one-time keys it has, by algorithm.

        New identity keys under an old device id replace all that was there; the same ones again change nothing.
        Raises: BadParam and others naming the field; also when another key was uploaded under the same id.
        Cost: up to eight statements, one transaction.
        """
        user_id = await self.accounts.user_id(account)
        device_id = (await self.sessions.device_of(account, device)).device_id
        identity = publishing.device_keys(asked.device_keys, user_id, device_id)
        one_time = publishing.named_keys("one_time_keys", asked.one_time_keys)
        fallback = publishing.fallback_keys(asked.fallback_keys)
        before = None if identity is None else await self._identity(account, device)
        if identity == before:
            identity = None
        renewed = identity is not None and before is not None and identity["keys"] != before["keys"]
        if one_time and not renewed:
            one_time = await self._not_there_yet(account, device, one_time)
        if fallback and not renewed:
            rows = await self._store.fallback(account, device, unused_only=False)
            there = {key.id: json.decode(key.key) for key in self._named(account, rows)}
            fallback = [key for key in fallback if there.get(key.id) != json.decode(key.key)]
        held = {} if renewed else (await self.counts(account, device)).one_time
        if sum(held.values()) + len(one_time) > ONE_TIME_KEYS_MAX:
            raise BadParam("one_time_keys", f"a device may keep {ONE_TIME_KEYS_MAX:,} here, and has {held}")
        if identity is not None or one_time or fallback:
            forget = (self.minute - GIVEN_KEPT_MINUTES).to_bytes(4, "big") + bytes(12)
            await self._store.publish(
                account, device, self.minute,
                self.seal(account, json.encode(identity)) if identity is not None else None,
                self.target(user_id, device_id) if renewed else None,
                [self._sealed_key(account, key) for key in one_time],
                [self._sealed_key(account, key) for key in fallback],
                UUID(bytes=forget),
            )  # fmt: skip
            self._moved(account, device)
        return (await self.counts(account, device)).one_time

    async def _identity(self, account: AccountNo, device: DeviceNo) -> Json | None:
        """The identity keys that a device has uploaded."""
        for row in await self._store.device_keys([account]):
            if row["device"] == device:
                identity: Json = json.decode(self.open(account, row))
                return identity
        return None

    async def _not_there_yet(
        self, account: AccountNo, device: DeviceNo, uploaded: Sequence[NamedKey]
    ) -> list[NamedKey]:
        """Those of `uploaded` that are not here already. Raises: Conflict."""
        hashes = {self._cell.blind.key(key.id): key for key in uploaded}
        for row in await self._store.one_time(account, device, list(hashes)):
            key = hashes.pop(row["key"])
            if row["body"] is None:
                continue  # it was given out, and must not be given out again
            (there,) = self._named(account, [row])
            if json.decode(there.key) != json.decode(key.key):
                raise BadParam(f"one_time_keys.{key.id}", "another key was uploaded under this id")
        return list(hashes.values())

    async def counts(self, account: AccountNo, device: DeviceNo) -> Counts:
        """What a device still has here. Cost: nothing once cached, else two statements."""
        counts = self._counts.get((account, device))
        if counts is None:
            writes = self._writes
            one_time, fallback = await asyncio.gather(
                self._store.counts(account, device), self._store.fallback(account, device, unused_only=True)
            )
            many = zip(self._named(account, one_time), (row["many"] for row in one_time), strict=True)
            counts = Counts(
                {key.algorithm: count for key, count in many},
                [key.algorithm for key in self._named(account, fallback)],
            )
            if writes == self._writes:
                self._counts.put((account, device), counts)
        return counts

    async def in_sync(self, account: AccountNo, device: DeviceNo) -> bytes:
        """What every answer of `/sync` says of the device's keys: two members of its object."""
        counts = await self.counts(account, device)
        return b'"device_one_time_keys_count":%b,"device_unused_fallback_key_types":%b' % (
            json.encode(counts.one_time),
            json.encode(counts.fallback),
        )

    async def forget(self, account: AccountNo, devices: Mapping[DeviceNo, str] | None) -> None:
        """Forget what `devices` (by number, their ids) published; None: everything of the account's."""
        if devices is None:
            await self._store.drop_all(account, self.minute)
        else:
            user_id = await self.accounts.user_id(account)
            targets = [self.target(user_id, device_id) for device_id in devices.values()]
            await self._store.drop(account, self.minute, list(devices), targets)
        self._writes += 1
        for device in devices or ():
            self._counts.drop((account, device))

    # --- asking for keys ---

    async def query(self, asker: AccountNo, wanted: Mapping[str, Sequence[str]], timeout_ms: int | None) -> Json:
        """The keys of people, by user id the devices wanted, none meaning all. Whose server is away, is in `failures`.

        Raises: BadParam.
        Cost: four statements in each cell that is asked, and one seal opened for each key; three for the asker's own.
        """
        if len(wanted) > ASKED_AT_ONCE_MAX:
            raise BadParam("device_keys", f"has more than {ASKED_AT_ONCE_MAX:,} people")
        cells, failures = self._places(wanted, "device_keys")

        async def ask(cell: CellNo, user_ids: Sequence[str]) -> dict[str, PublishedKeys]:
            asked = {user_id: list(wanted[user_id]) for user_id in user_ids}
            if cell == self._cell.number:
                return await self.published(asked, named=True)
            near = self._cell.directory.region_of_cell(cell).number == self._cell.region.number
            return await self._cell.link.call(cell, KeysOf(users=asked, named=near), _wait(timeout_ms))

        found: dict[str, PublishedKeys] = {}
        for part in await self._ask_all(cells, ask, failures):
            found |= part
        answer: Json = {
            "device_keys": {
                user_id: {device_id: Raw(raw) for device_id, raw in keys.devices.items()}
                for user_id, keys in found.items()
            },
            "failures": failures,
            "master_keys": {user_id: Raw(keys.master) for user_id, keys in found.items() if keys.master},
            "self_signing_keys": {
                user_id: Raw(keys.self_signing) for user_id, keys in found.items() if keys.self_signing
            },
            "user_signing_keys": {},
        }
        await self._add_own(asker, found, answer)
        return answer

    async def _add_own(self, asker: AccountNo, found: Mapping[str, PublishedKeys], answer: Json) -> None:
        """What only the asker may see: their user-signing key, and whom they have signed with it."""
        own = await self.accounts.user_id(asker)
        if own in found:
            key = (await self.cross_signing([asker])).get((asker, Usage.USER_SIGNING))
            if key is not None:
                answer["user_signing_keys"][own] = key
        signable = {self.about(user_id): user_id for user_id in answer["master_keys"] if user_id != own}
        if not signable:
            return
        for row in await self._store.signatures(asker, list(signable)):
            kept = KEPT_SIGNATURES.decode(self.open(asker, row))
            master = json.decode(answer["master_keys"][kept.user_id])
            if kept.key_id in master["keys"].values():
                publishing.add_signatures(master, own, kept.signatures)
                answer["master_keys"][kept.user_id] = Raw(json.encode(master))

    async def published(self, wanted: Mapping[str, Sequence[str]], *, named: bool) -> dict[str, PublishedKeys]:
        """What people of this cell let everybody know; who does not exist is absent. `named`: what devices are called.

        Cost: five statements.
        """
        accounts = await self.accounts.find_many([user_id[1:].partition(":")[0] for user_id in wanted])
        people = {user_id: accounts[name] for user_id in wanted if (name := user_id[1:].partition(":")[0]) in accounts}
        numbers = list(people.values())
        devices, keys, signing, signatures = await asyncio.gather(
            self.sessions.all_devices(numbers),
            self._store.device_keys(numbers),
            self.cross_signing(numbers),
            self._store.own_signatures(numbers, [self.about(user_id) for user_id in people]),
        )
        bodies = {(row["account"], row["device"]): opened for row, opened in self._there(keys)}
        signed: dict[tuple[AccountNo, str], dict[str, str]] = {}
        for row, opened in self._there(signatures):
            kept = KEPT_SIGNATURES.decode(opened)
            signed[row["account"], kept.key_id] = kept.signatures
        found: dict[str, PublishedKeys] = {}
        for user_id, account in people.items():
            shown: dict[str, bytes] = {}
            for device in devices.get(account, ()):
                body = bodies.get((account, device.number))
                if body is None or (wanted[user_id] and device.device_id not in wanted[user_id]):
                    continue
                identity = json.decode(body)
                publishing.add_signatures(identity, user_id, signed.get((account, device.device_id), {}))
                identity["unsigned"] = {"device_display_name": device.name} if named and device.name else {}
                shown[device.device_id] = json.encode(identity)
            master = signing.get((account, Usage.MASTER))
            if master is not None:
                public = next(iter(master["keys"].values()))
                publishing.add_signatures(master, user_id, signed.get((account, public), {}))
            self_signing = signing.get((account, Usage.SELF_SIGNING))
            found[user_id] = PublishedKeys(
                devices=shown,
                master=None if master is None else json.encode(master),
                self_signing=None if self_signing is None else json.encode(self_signing),
            )
        return found

    async def answer_query(self, src: CellNo, request: KeysOf) -> dict[str, PublishedKeys]:
        """Another cell asks. Of a region with several cells any may be asked: it passes on what others know."""
        near = self._cell.directory.region_of_cell(src).number == self._cell.region.number
        cells, _ = self._places(request.users, "device_keys", near_only=True)
        found: dict[str, PublishedKeys] = {}
        for cell, user_ids in cells.items():
            asked = {user_id: request.users[user_id] for user_id in user_ids}
            named = request.named and near
            if cell == self._cell.number:
                found |= await self.published(asked, named=named)
            elif src != cell:
                told = await self._cell.link.call(cell, KeysOf(users=asked, named=named))
                found |= told
        return found

    # --- claiming one-time keys ---

    async def claim(self, wanted: Mapping[str, Mapping[str, str]], timeout_ms: int | None) -> Json:
        """One key for each device of `wanted` (user id, device id, algorithm) that has one; never the same one twice.

        Raises: BadParam.
        Cost: three statements in each cell that is asked.
        """
        if sum(map(len, wanted.values())) > ASKED_AT_ONCE_MAX:
            raise BadParam("one_time_keys", f"has more than {ASKED_AT_ONCE_MAX:,} devices")
        cells, failures = self._places(wanted, "one_time_keys")

        async def ask(cell: CellNo, user_ids: Sequence[str]) -> dict[str, dict[str, dict[str, bytes]]]:
            asked = {user_id: dict(wanted[user_id]) for user_id in user_ids}
            if cell == self._cell.number:
                return await self._give(asked)
            return await self._cell.link.call(cell, ClaimKeys(devices=asked), _wait(timeout_ms))

        found: dict[str, dict[str, dict[str, Raw]]] = {}
        for part in await self._ask_all(cells, ask, failures):
            for user_id, devices in part.items():
                found[user_id] = {
                    device_id: {name: Raw(raw) for name, raw in keys.items()} for device_id, keys in devices.items()
                }
        return {"one_time_keys": found, "failures": failures}

    async def answer_claim(self, src: CellNo, request: ClaimKeys) -> dict[str, dict[str, dict[str, bytes]]]:
        cells, _ = self._places(request.devices, "one_time_keys", near_only=True)
        found: dict[str, dict[str, dict[str, bytes]]] = {}
        for cell, user_ids in cells.items():
            asked = {user_id: request.devices[user_id] for user_id in user_ids}
            if cell == self._cell.number:
                found |= await self._give(asked)
            elif src != cell:
                given = await self._cell.link.call(cell, ClaimKeys(devices=asked))
                found |= given
        return found

    async def _give(self, devices: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, dict[str, bytes]]]:
        accounts = await self.accounts.find_many([user_id[1:].partition(":")[0] for user_id in devices])
        asked: list[tuple[str, str]] = []
        wanted: list[Wanted] = []
        for user_id, algorithms in devices.items():
            account = accounts.get(user_id[1:].partition(":")[0])
            for device_id, algorithm in algorithms.items() if account is not None else ():
                asked.append((user_id, device_id))
                number = self._cell.blind.device(device_id)
                assert account is not None
                wanted.append(Wanted(account, number, self._cell.blind.key(algorithm)))
        found: dict[str, dict[str, dict[str, bytes]]] = {}
        for n, (id, body) in (await self._store.claim(wanted)).items():
            account, device = wanted[n].account, wanted[n].device
            self._moved(account, device)
            try:
                key = NAMED_KEY.decode(self._cell.vault.open(account, id.bytes, body))
            except Gone:
                continue
            user_id, device_id = asked[n]
            found.setdefault(user_id, {})[device_id] = {key.id: bytes(key.key)}
        return found

    # --- what cross-signing needs as well ---

    async def cross_signing(self, accounts: Sequence[AccountNo]) -> dict[tuple[AccountNo, Usage], Json]:
        """The cross-signing keys of accounts of this cell. Cost: one statement."""
        return {
            (row["account"], Usage(row["usage"])): json.decode(body)
            for row, body in self._there(await self._store.cross_signing(accounts))
        }

    def target(self, user_id: str, key_id: str) -> bytes:
        """What stands for a key that somebody signs: a device's by its device id, another by its public key."""
        return self._cell.blind.key(f"{user_id}\0{key_id}")

    def about(self, user_id: str) -> bytes:
        return self._cell.blind.key(user_id)

    def seal(self, account: AccountNo, plain: bytes) -> tuple[UUID, Sealed]:
        id = new_id(self.minute, self._cell.random)
        return UUID(bytes=id), self._cell.vault.seal(account, id, plain)

    @property
    def minute(self) -> Minute:
        return self._cell.minute

    def open(self, account: AccountNo, row: Any) -> bytes:
        return self._cell.vault.open(account, row["id"].bytes, row["body"])

    # --- inside ---

    def _there(self, rows: Iterable[Any]) -> Iterator[tuple[Any, bytes]]:
        """Each row with what it says; without those of who is being erased, whose rows go after their key."""
        for row in rows:
            with suppress(Gone):
                yield row, self.open(row["account"], row)

    def _places(
        self, user_ids: Iterable[str], field: str, *, near_only: bool = False
    ) -> tuple[dict[CellNo, list[str]], Json]:
        """Which cell to ask for whom, and the servers that nobody here can ask. Raises: BadParam."""
        cells: dict[CellNo, list[str]] = {}
        failures: Json = {}
        directory = self._cell.directory
        for text in user_ids:
            user_id = parse_user_id(text, field)
            region = directory.region_of_server(user_id.server_name)
            if region is None:
                message = f"{user_id.server_name} is another server, and there is no federation with it"
                failures[user_id.server_name] = MatrixError(message, errcode="M_NOT_FOUND").body()
            elif region.number == self._cell.region.number:
                cell = directory.cell_of(self._cell.names.home_of(user_id.localpart))
                cells.setdefault(cell, []).append(text)
            elif not near_only:
                cells.setdefault(directory.first_cell(region), []).append(text)
        return cells, failures

    async def _ask_all(self, cells: Mapping[CellNo, Sequence[str]], ask: Any, failures: Json) -> list[Any]:
        """What `ask` of each cell answers; a cell that does not is noted in `failures`, under its server's name."""

        async def one(cell: CellNo, user_ids: Sequence[str]) -> Any:
            try:
                return await ask(cell, user_ids)
            except LinkDown:
                away = self._cell.away(cell)
                failures[self._cell.directory.region_of_cell(cell).server_name] = away.body()
                return {}

        return await asyncio.gather(*(one(cell, user_ids) for cell, user_ids in cells.items()))

    def _named(self, account: AccountNo, rows: Iterable[Any]) -> list[NamedKey]:
        return [NAMED_KEY.decode(self.open(account, row)) for row in rows]

    def _sealed_key(self, account: AccountNo, key: NamedKey) -> SealedKey:
        id, body = self.seal(account, json.encode(key))
        return SealedKey(self._cell.blind.key(key.algorithm), self._cell.blind.key(key.id), id, body)

    def _moved(self, account: AccountNo, device: DeviceNo) -> None:
        self._writes += 1
        self._counts.drop((account, device))


def _wait(timeout_ms: int | None) -> float:
    """Seconds that a cell abroad is waited for."""
    return WAIT_S_MAX if timeout_ms is None else min(max(timeout_ms, 0) / 1_000, WAIT_S_MAX)
