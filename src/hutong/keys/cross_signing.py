"""Cross-signing: a person's own three keys, and signatures made with them. Client-Server API v1.19, "Cross-signing".

Signatures are words of who signed, at home with the signer. Those on one's own keys are for all to see, those on other
people's for the signer alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw, json

from hutong.errors import BadParam, Forbidden, MatrixError, MissingParam, NotFound, TooLarge
from hutong.http.request import decode
from hutong.ids import AccountNo
from hutong.keys import signing
from hutong.keys.model import KEY_BYTES_MAX, UPLOADED_AT_ONCE_MAX, CrossSigningBody, CrossSigningKey, KeptSignatures
from hutong.keys.service import Json, Keys
from hutong.keys.store import KeyStore, SealedSignatures, Usage

_KEY = msgspec.json.Decoder(CrossSigningKey)
FIELDS = {
    Usage.MASTER: "master_key",
    Usage.SELF_SIGNING: "self_signing_key",
    Usage.USER_SIGNING: "user_signing_key",
}


@dataclass(frozen=True)
class Change:
    """New cross-signing keys, checked. `proof`: whoever asks for it must prove once more who they are."""

    keys: Mapping[Usage, Json]
    afresh: bool
    proof: bool


@dataclass(frozen=True)
class CrossSigning:
    """The cross-signing of one cell's accounts."""

    keys: Keys
    store: KeyStore

    async def change(self, account: AccountNo, asked: CrossSigningBody) -> Change:
        """What `asked` would change, if it may be.

        Raises: BadParam and others naming the field; BadSignature; MissingParam without a master key; Forbidden.
        """
        user_id = await self.keys.accounts.user_id(account)
        before = {usage: key for (_, usage), key in (await self.keys.cross_signing([account])).items()}
        given = {
            usage: key
            for usage, field in FIELDS.items()
            if (key := _checked(getattr(asked, field), field, usage, user_id)) is not None
        }
        master = given.get(Usage.MASTER) or before.get(Usage.MASTER)
        if given and master is None:
            raise MissingParam("master_key", "there is none yet, and it must sign the others")
        devices = {device.device_id for device in await self.keys.sessions.devices(account)}
        for usage, key in given.items():
            if _public(key) in devices:
                raise Forbidden(f"{FIELDS[usage]}: is the same as the id of one of your devices")
            if usage is not Usage.MASTER:
                assert master is not None
                signature = key.get("signatures", {}).get(user_id, {}).get(f"{signing.ALGORITHM}:{_public(master)}", "")
                if not signing.is_signed(key, signature, _public(master)):
                    raise signing.BadSignature(f"{FIELDS[usage]}: is not signed with the master key")
        fresh = {usage: key for usage, key in given.items() if not _same(key, before.get(usage))}
        afresh = Usage.MASTER in fresh and Usage.MASTER in before
        return Change(keys=given if afresh else fresh, afresh=afresh, proof=bool(fresh) and Usage.MASTER in before)

    async def apply(self, account: AccountNo, change: Change) -> None:
        if change.keys:
            sealed = [(usage, *self.keys.seal(account, json.encode(key))) for usage, key in change.keys.items()]
            await self.store.put_cross_signing(account, self.keys.minute, sealed, afresh=change.afresh)

    async def sign(self, account: AccountNo, signed: Mapping[str, Mapping[str, Json]]) -> Json:
        """Keep signatures on keys: by user id and key id, the key with them. Returns what is wrong, in the same way.

        Raises: BadParam.
        Cost: one query for all people; one statement.
        """
        if sum(map(len, signed.values())) > UPLOADED_AT_ONCE_MAX:
            raise BadParam("body", f"has more than {UPLOADED_AT_ONCE_MAX} keys")
        user_id = await self.keys.accounts.user_id(account)
        known = await self.keys.query(account, {whose: [] for whose in signed}, None)
        by = self._signers(user_id, await self.keys.query(account, {user_id: []}, None))
        failures: Json = {}
        rows: list[SealedSignatures] = []
        for whose, keys in signed.items():
            for key_id, key in keys.items():
                try:
                    signatures = self._accepted(user_id, whose, key_id, key, known, by)
                except MatrixError as error:
                    failures.setdefault(whose, {})[key_id] = error.body()
                    continue
                kept = KeptSignatures(whose, key_id, signatures)
                id, body = self.keys.seal(account, json.encode(kept))
                rows.append(SealedSignatures(self.keys.target(whose, key_id), self.keys.about(whose), id, body))
        if rows:
            await self.store.put_signatures(account, self.keys.minute, rows, seen_by_others=user_id in signed)
        return {"failures": failures}

    @staticmethod
    def _signers(user_id: str, own: Json) -> dict[str, str]:
        """The keys that somebody signs with: by `<algorithm>:<key id>` the public key."""
        found: dict[str, str] = {}
        for part in ("self_signing_keys", "user_signing_keys"):
            if user_id in own[part]:
                key = _plain(own[part][user_id])
                found[f"{signing.ALGORITHM}:{_public(key)}"] = _public(key)
        for raw in own["device_keys"].get(user_id, {}).values():
            keys: dict[str, str] = json.decode(raw)["keys"]
            found |= {name: key for name, key in keys.items() if name.startswith(f"{signing.ALGORITHM}:")}
        return found

    @staticmethod
    def _accepted(
        user_id: str, whose: str, key_id: str, key: Json, known: Json, by: Mapping[str, str]
    ) -> dict[str, str]:
        """The good signatures by `user_id` on a key. Raises: NotFound, BadParam, BadSignature, TooLarge."""
        if len(json.encode(key)) > KEY_BYTES_MAX:
            raise TooLarge(f"{key_id}: has more than {KEY_BYTES_MAX:,} bytes")
        master = known["master_keys"].get(whose)
        there = json.decode(master) if master is not None and _public(json.decode(master)) == key_id else None
        if there is None and whose == user_id:
            device = known["device_keys"].get(whose, {}).get(key_id)
            there = None if device is None else json.decode(device)
        if there is None:
            raise NotFound(f"{key_id}: {whose} has no such key that you may sign")
        if signing.signed_part(there) != signing.signed_part(key):
            raise BadParam(key_id, "is not the key that is known here under this id")
        signatures = key.get("signatures")
        mine = signatures.get(user_id) if isinstance(signatures, dict) else None
        good: dict[str, str] = {}
        for name, signature in mine.items() if isinstance(mine, dict) else ():
            if name not in by:
                continue
            if not isinstance(signature, str) or not signing.is_signed(key, signature, by[name]):
                raise signing.BadSignature(f"{key_id}: the signature by {name} is wrong")
            good[name] = signature
        if not good:
            raise signing.BadSignature(f"{key_id}: has no signature by a key of yours")
        return good


def _checked(raw: Raw, field: str, usage: Usage, user_id: str) -> Json | None:
    """A cross-signing key that is what it must be. Raises: BadParam and others naming the field."""
    if bytes(raw) == b"null":
        return None
    if len(bytes(raw)) > KEY_BYTES_MAX:
        raise TooLarge(f"{field}: has more than {KEY_BYTES_MAX:,} bytes")
    key = decode(bytes(raw), _KEY, field)
    if key.user_id != user_id:
        raise BadParam(f"{field}.user_id", "is not yours")
    if usage.text not in key.usage:
        raise BadParam(f"{field}.usage", f"does not hold {usage.text}")
    (name,) = key.keys
    if not signing.is_public_key(key.public) or name != f"{signing.ALGORITHM}:{key.public}":
        raise BadParam(f"{field}.keys", f"is not {signing.ALGORITHM}:<public key> with the same public key")
    value: Json = json.decode(bytes(raw))
    value.pop("unsigned", None)
    return value


def _public(key: Json) -> str:
    public: str = next(iter(key["keys"].values()))
    return public


def _same(key: Json, other: Json | None) -> bool:
    return other is not None and signing.signed_part(key) == signing.signed_part(other)


def _plain(value: Any) -> Json:
    plain: Json = json.decode(value) if isinstance(value, Raw) else value
    return plain
