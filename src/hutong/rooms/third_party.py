"""Whether an invitation by a third party is signed by a key that the room was given for it. No I/O.

Source: room versions 10 to 12, rule 4.4.1.7 (5.4.1.7); Matrix appendices, "Signing JSON" and "Canonical JSON".
"""

import base64
import json
from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TRIES_MAX: Final = 100
"""How many pairs of a key and a signature are looked at: more is no invitation, but work for nothing."""


def is_signed(signed: Mapping[str, Any], invitation: Mapping[str, Any]) -> bool:
    """Whether any signature in `signed` is one by any key in `invitation`, the content of m.room.third_party_invite.

    Cost: about 0.1 ms for each pair of a key and a signature, TRIES_MAX of them at most.
    """
    message = json.dumps(
        {key: value for key, value in signed.items() if key not in ("signatures", "unsigned")},
        ensure_ascii=False, separators=(",", ":"), sort_keys=True,
    ).encode()  # fmt: skip
    pairs = product(_keys(invitation), _signatures(signed))
    return any(_verifies(key, signature, message) for key, signature in islice(pairs, TRIES_MAX))


def _keys(invitation: Mapping[str, Any]) -> Iterator[bytes]:
    listed = invitation.get("public_keys")
    named = [each.get("public_key") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return filter(None, map(_bytes, [invitation.get("public_key"), *named]))


def _signatures(signed: Mapping[str, Any]) -> Iterator[bytes]:
    servers = signed.get("signatures")
    of_servers = servers.values() if isinstance(servers, dict) else ()
    texts = [text for by_key in of_servers if isinstance(by_key, dict) for text in by_key.values()]
    return filter(None, map(_bytes, texts))


def _bytes(text: object) -> bytes | None:
    """Base64, with or without padding, in either alphabet."""
    if not isinstance(text, str) or not text.isascii():
        return None
    bare = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        return None


def _verifies(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
