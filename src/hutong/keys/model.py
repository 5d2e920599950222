"""Typed records of keys: what clients publish, what other cells are told, what is sealed."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

DEVICE_ID_CHARS_MAX = 255
KEY_ID_CHARS_MAX = 255
DEVICE_KEYS_BYTES_MAX = 32_768
KEY_BYTES_MAX = 8_192
"""Of one one-time key, fallback key or cross-signing key with its signatures."""
UPLOADED_AT_ONCE_MAX = 500
ONE_TIME_KEYS_MAX = 1_000
"""How many unclaimed ones a device may keep here; clients keep about 50."""
ALGORITHMS_MAX = 20
ASKED_AT_ONCE_MAX = 2_000
"""People in one query, devices in one claim."""

ABSENT = Raw(b"null")
KeyId = Annotated[str, Meta(max_length=KEY_ID_CHARS_MAX)]
Signatures = dict[str, dict[str, str]]


class DeviceKeys(Struct, frozen=True):
    """The identity keys of a device, as the specification wants them."""

    user_id: str
    device_id: str
    algorithms: list[str]
    keys: dict[str, str]
    signatures: Signatures


class SignedKey(Struct, frozen=True):
    """A one-time or fallback key that is an object."""

    key: str
    signatures: Signatures


class CrossSigningKey(Struct, frozen=True):
    user_id: str
    usage: list[str]
    keys: Annotated[dict[str, str], Meta(min_length=1, max_length=1)]
    signatures: Signatures = {}

    @property
    def public(self) -> str:
        """The public key itself: unpadded base64."""
        return next(iter(self.keys.values()))


class UploadBody(Struct, frozen=True):
    device_keys: Raw = ABSENT
    one_time_keys: dict[KeyId, Raw] | None = None
    fallback_keys: dict[KeyId, Raw] | None = None


class QueryBody(Struct, frozen=True):
    device_keys: dict[str, list[str]]
    timeout: int | None = None


class ClaimBody(Struct, frozen=True):
    one_time_keys: dict[str, dict[str, str]]
    timeout: int | None = None


class CrossSigningBody(Struct, frozen=True):
    master_key: Raw = ABSENT
    self_signing_key: Raw = ABSENT
    user_signing_key: Raw = ABSENT


SignaturesBody = dict[str, dict[str, dict[str, Any]]]


class NamedKey(Struct, frozen=True):
    """What is sealed of a one-time or fallback key: `<algorithm>:<key id>`, and the key as it was uploaded."""

    id: str
    key: Raw

    @property
    def algorithm(self) -> str:
        return self.id.partition(":")[0]


class KeptSignatures(Struct, frozen=True):
    """What is sealed of signatures that somebody made: on whose key, which one, and the signatures."""

    user_id: str
    key_id: str
    signatures: dict[str, str]


class Counts(Struct, frozen=True):
    """What a device still has here: unclaimed one-time keys by algorithm, algorithms with an unused fallback key."""

    one_time: dict[str, int] = {}
    fallback: list[str] = []


NAMED_KEY = msgspec.json.Decoder(NamedKey)
KEPT_SIGNATURES = msgspec.json.Decoder(KeptSignatures)
