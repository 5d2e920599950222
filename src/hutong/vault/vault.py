"""The one place that seals and opens content."""

from collections.abc import Callable
from typing import NewType

from cryptography.exceptions import InvalidTag

from hutong.ids import ID_BYTES, AccountNo
from hutong.vault.keystore import Keystore

Sealed = NewType("Sealed", bytes)
"""12 bytes of nonce, ciphertext, 16 of tag. Only the vault makes it, so plain bytes do not pass the type checker."""

NONCE_BYTES = 12
OVERHEAD_BYTES = NONCE_BYTES + 16


class Gone(Exception):
    """The account's key was destroyed: its content cannot be opened any more, by anybody."""


class Unopenable(Exception):
    """The bytes were not sealed by this account for this id, or were changed since."""


class Vault:
    """Seals content under the key of the account that wrote it, for one record id."""

    def __init__(self, keystore: Keystore, random: Callable[[int], bytes]) -> None:
        self._cipher = keystore.cipher
        self._random = random

    def seal(self, account: AccountNo, id: bytes, plain: bytes) -> Sealed:
        """`plain` under `account`'s key. It opens only for the same account and the same 16-byte `id`.

        Raises: Gone.
        Cost: 1-2 microseconds and 28 bytes.
        """
        assert len(id) == ID_BYTES
        cipher = self._cipher(account)
        if cipher is None:
            raise Gone
        nonce = self._random(NONCE_BYTES)
        return Sealed(nonce + cipher.encrypt(nonce, plain, id))

    def open(self, account: AccountNo, id: bytes, sealed: bytes) -> bytes:
        """What was sealed.

        Raises: Gone, Unopenable.
        """
        assert len(id) == ID_BYTES
        cipher = self._cipher(account)
        if cipher is None:
            raise Gone
        try:
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], id)
        except (InvalidTag, ValueError):
            raise Unopenable(f"a record of {len(sealed)} bytes") from None
