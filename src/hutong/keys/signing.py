"""Signed JSON: what is signed, and whether a signature is right. No I/O.

Source: appendices v1.19, "Signing JSON" and "Canonical JSON".
"""

import base64
import binascii
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hutong.errors import MatrixError

ALGORITHM = "ed25519"
_NOT_SIGNED = ("signatures", "unsigned")


class BadSignature(MatrixError):
    errcode = "M_INVALID_SIGNATURE"


def signed_part(value: dict[str, Any]) -> dict[str, Any]:
    """What of `value` a signature covers."""
    return {key: each for key, each in value.items() if key not in _NOT_SIGNED}


def canonical(value: dict[str, Any]) -> bytes:
    """The bytes that a signature of `value` covers."""
    return json.dumps(signed_part(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def is_signed(value: dict[str, Any], signature: str, public_key: str) -> bool:
    """Whether `signature` is the one of `value` by the holder of `public_key`; both unpadded base64."""
    try:
        key = Ed25519PublicKey.from_public_bytes(_bytes(public_key))
        key.verify(_bytes(signature), canonical(value))
    except (ValueError, InvalidSignature):
        return False
    return True


def is_public_key(text: str) -> bool:
    """Whether `text` is an Ed25519 public key in unpadded base64."""
    try:
        return len(_bytes(text)) == 32 and not text.endswith("=")
    except ValueError:
        return False


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
