"""Keyed hashes that stand for words in the database, so that it can look a name up and never sees one.

Every purpose has its own key, derived from the region's root key: equal words under two purposes do not look equal, and
without the root key nobody can try words out.
"""

from hmac import digest

from hutong.ids import BUCKETS, DeviceNo
from hutong.vault.rootkey import subkey

HASH_BYTES = 16


def bucket_of_key(key: bytes) -> int:
    """0 to 4,095: which part of the region a keyed hash of 16 bytes belongs to."""
    return int.from_bytes(key[:4], "big") % BUCKETS


class BlindIndex:
    """One region's keyed hashes. Cost: about a microsecond each."""

    def __init__(self, root_key: bytes) -> None:
        self._name = subkey(root_key, "blind index: name")
        self._device = subkey(root_key, "blind index: device")
        self._bucket = subkey(root_key, "blind index: bucket")
        self._type = subkey(root_key, "blind index: type")
        self._filter = subkey(root_key, "blind index: filter")
        self._transaction = subkey(root_key, "blind index: transaction")
        self._key = subkey(root_key, "blind index: key")
        self._room = subkey(root_key, "blind index: room")
        self._alias = subkey(root_key, "blind index: alias")

    def name(self, localpart: str) -> bytes:
        """16 bytes by which an account is found."""
        return digest(self._name, localpart.encode(), "sha256")[:HASH_BYTES]

    def device(self, device_id: str) -> DeviceNo:
        """The first 63 bits: positive, and the same device of two accounts is the same number."""
        return DeviceNo(int.from_bytes(digest(self._device, device_id.encode(), "sha256")[:8], "big") >> 1)

    def bucket(self, localpart: str) -> int:
        """0 to 4,095: which part of the region's accounts this one belongs to."""
        return int.from_bytes(digest(self._bucket, localpart.encode(), "sha256")[:4], "big") % BUCKETS

    def type_key(self, type: str) -> bytes:
        """16 bytes that stand for a type of account data."""
        return digest(self._type, type.encode(), "sha256")[:HASH_BYTES]

    def filter(self, body: bytes) -> bytes:
        """16 bytes that stand for the JSON of a filter."""
        return digest(self._filter, body, "sha256")[:HASH_BYTES]

    def transaction(self, path: str, transaction_id: str) -> bytes:
        """16 bytes that stand for a transaction id on one path."""
        return digest(self._transaction, f"{path}\0{transaction_id}".encode(), "sha256")[:HASH_BYTES]

    def key(self, name: str) -> bytes:
        """16 bytes that stand for the name of somebody's public key, or of an algorithm of keys."""
        return digest(self._key, name.encode(), "sha256")[:HASH_BYTES]

    def alias(self, alias: str) -> bytes:
        """16 bytes that stand for a room alias, and say to which of the region's cells it belongs."""
        return digest(self._alias, alias.encode(), "sha256")[:HASH_BYTES]

    def room_code(self, room_id: bytes, text: str) -> int:
        """63 bits, negative: how the room with this 128-bit id writes a type or state key that is no code.

        Every room has its own, so equal texts in two rooms do not look equal.
        """
        return -1 - (int.from_bytes(digest(self._room, room_id + text.encode(), "sha256")[:8], "big") >> 1)
