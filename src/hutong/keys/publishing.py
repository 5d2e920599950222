"""What may be published as a key, field by field. No I/O.

Source: Client-Server API v1.19, POST /keys/upload, "Key algorithms", "One-time and fallback keys".
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, json

from hutong.errors import BadParam, TooLarge
from hutong.http.request import decode
from hutong.keys.model import (
    ALGORITHMS_MAX,
    DEVICE_KEYS_BYTES_MAX,
    KEY_BYTES_MAX,
    UPLOADED_AT_ONCE_MAX,
    DeviceKeys,
    NamedKey,
    SignedKey,
)

Json = dict[str, Any]

_DEVICE_KEYS = msgspec.json.Decoder(DeviceKeys)
_KEY = msgspec.json.Decoder(str | SignedKey)


def device_keys(raw: Raw, user_id: str, device_id: str) -> Json | None:
    """The identity keys that the device `device_id` of `user_id` uploads, if they are what they must be.

    Raises: BadParam, MissingParam, BadJson, TooLarge, naming the field.
    """
    if bytes(raw) == b"null":
        return None
    if len(bytes(raw)) > DEVICE_KEYS_BYTES_MAX:
        raise TooLarge(f"device_keys: has more than {DEVICE_KEYS_BYTES_MAX:,} bytes")
    keys = decode(bytes(raw), _DEVICE_KEYS, "device_keys")
    if keys.user_id != user_id:
        raise BadParam("device_keys.user_id", "is not yours")
    if keys.device_id != device_id:
        raise BadParam("device_keys.device_id", "is not the device that you are logged in with")
    for name in keys.keys:
        algorithm, colon, whose = name.partition(":")
        if not algorithm or not colon or whose != device_id:
            raise BadParam("device_keys.keys", "a name is not <algorithm>:<the device's id>")
    value: Json = json.decode(bytes(raw))
    value.pop("unsigned", None)  # it is what servers say, and no part of what is signed
    return value


def named_keys(field: str, uploaded: Mapping[str, Raw] | None) -> list[NamedKey]:
    """One-time keys by `<algorithm>:<key id>`. Raises: as `device_keys`."""
    if not uploaded:
        return []
    if len(uploaded) > UPLOADED_AT_ONCE_MAX:
        raise BadParam(field, f"has more than {UPLOADED_AT_ONCE_MAX} keys")
    for name, raw in uploaded.items():
        algorithm, colon, id = name.partition(":")
        if not algorithm or not colon or not id:
            raise BadParam(field, "a name is not <algorithm>:<key id>")
        if len(bytes(raw)) > KEY_BYTES_MAX:
            raise TooLarge(f"{field}: a key has more than {KEY_BYTES_MAX:,} bytes")
        decode(bytes(raw), _KEY, field)
    if len({name.partition(":")[0] for name in uploaded}) > ALGORITHMS_MAX:
        raise BadParam(field, f"has keys of more than {ALGORITHMS_MAX} algorithms")
    return [NamedKey(name, raw) for name, raw in uploaded.items()]


def fallback_keys(uploaded: Mapping[str, Raw] | None) -> list[NamedKey]:
    """Fallback keys: one for each algorithm. Raises: as `device_keys`."""
    keys = named_keys("fallback_keys", uploaded)
    if len({key.algorithm for key in keys}) < len(keys):
        raise BadParam("fallback_keys", "has more than one key of the same algorithm")
    return keys


def add_signatures(key: Json, user_id: str, signatures: Mapping[str, str]) -> None:
    """Put `signatures` by `user_id` beside those that `key` has."""
    if signatures:
        key.setdefault("signatures", {}).setdefault(user_id, {}).update(signatures)
