"""The files of a keystore: how a page of account keys, or the head record, is sealed and recognised. No I/O.

A file is a header, a nonce, and AES-256-GCM ciphertext with the header as associated data. The header says whose the
file is, in clear and with a checksum, so that a file from another region or under another root key is told from a
damaged one: the first must never be overwritten, the second is healed from its twin.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from zlib import crc32

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hutong.vault.rootkey import KEY_BYTES, subkey

SLOTS = 256
HEAD = 0xFFFF_FFFF
"""The number under which the head record is kept."""

_MAGIC = b"hutongK1"
_FIXED = struct.Struct(">8sIQ8sH")  # magic, number, version, check of the root key, length of the label
_CHECKSUM = struct.Struct(">I")
_HEAD = struct.Struct(">qq")
_NONCE_BYTES = 12


class Slot(IntEnum):
    """What has become of a slot. It only ever moves forward, so an account number is never given twice."""

    FREE = 0
    USED = 1
    DESTROYED = 2


class Damaged(Exception):
    """The bytes are no whole file of a keystore: torn, flipped or cut short."""


class Foreign(Exception):
    """A whole file, of another keystore or under another root key."""


@dataclass
class Page:
    """256 slots. `keys` of a slot that is not in use are zeros."""

    states: bytearray = field(default_factory=lambda: bytearray(SLOTS))
    keys: bytearray = field(default_factory=lambda: bytearray(SLOTS * KEY_BYTES))

    def key(self, slot: int) -> bytes | None:
        if self.states[slot] != Slot.USED:
            return None
        return bytes(self.keys[slot * KEY_BYTES : (slot + 1) * KEY_BYTES])

    def use(self, slot: int, key: bytes) -> None:
        assert self.states[slot] == Slot.FREE
        assert len(key) == KEY_BYTES
        self.states[slot] = Slot.USED
        self.keys[slot * KEY_BYTES : (slot + 1) * KEY_BYTES] = key

    def destroy(self, slot: int) -> None:
        self.states[slot] = Slot.DESTROYED
        self.keys[slot * KEY_BYTES : (slot + 1) * KEY_BYTES] = bytes(KEY_BYTES)

    def to_bytes(self) -> bytes:
        return bytes(self.states + self.keys)

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Page":
        if len(raw) != SLOTS * (1 + KEY_BYTES) or any(state > Slot.DESTROYED for state in raw[:SLOTS]):
            raise Damaged("not a page of 256 slots")
        return cls(bytearray(raw[:SLOTS]), bytearray(raw[SLOTS:]))


@dataclass(frozen=True)
class Head:
    """How far the cell's database is known to have come: its generation, and a position in its log."""

    gen: int
    pos: int

    def to_bytes(self) -> bytes:
        return _HEAD.pack(self.gen, self.pos)

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Head":
        if len(raw) != _HEAD.size:
            raise Damaged("not a head record")
        return cls(*_HEAD.unpack(raw))


@dataclass(frozen=True)
class Whole:
    """What an opened file says. `version` grows with each replacement, so of two the newer is known."""

    number: int
    version: int
    plain: bytes


class Sealer:
    """Seals and opens the files of one keystore.

    `label`: the region and the cell, which every file is bound to.
    """

    def __init__(self, root_key: bytes, label: str) -> None:
        self._cipher = AESGCM(subkey(root_key, "keystore pages"))
        self._check = subkey(root_key, "keystore check", 8)
        self._label = label.encode()

    def seal(self, number: int, version: int, plain: bytes, nonce: bytes) -> bytes:
        assert len(nonce) == _NONCE_BYTES
        header = _FIXED.pack(_MAGIC, number, version, self._check, len(self._label)) + self._label
        header += _CHECKSUM.pack(crc32(header))
        return header + nonce + self._cipher.encrypt(nonce, plain, header)

    def open(self, number: int, raw: bytes) -> Whole:
        """Raises: Damaged, Foreign."""
        if len(raw) < _FIXED.size:
            raise Damaged("cut short")
        magic, found, version, check, length = _FIXED.unpack_from(raw)
        end = _FIXED.size + length + _CHECKSUM.size
        if magic != _MAGIC or len(raw) < end + _NONCE_BYTES:
            raise Damaged("no header of a keystore file")
        if _CHECKSUM.unpack_from(raw, end - _CHECKSUM.size)[0] != crc32(raw[: end - _CHECKSUM.size]):
            raise Damaged("the header's checksum differs")
        label = raw[_FIXED.size : _FIXED.size + length]
        if label != self._label:
            raise Foreign(f"belongs to {label.decode(errors='replace')}, and this is {self._label.decode()}")
        if check != self._check:
            raise Foreign("is sealed under another root key")
        if found != number:
            raise Foreign(f"is number {found} under the name of number {number}")
        try:
            plain = self._cipher.decrypt(raw[end : end + _NONCE_BYTES], raw[end + _NONCE_BYTES :], raw[:end])
        except InvalidTag:
            raise Damaged("does not authenticate") from None
        return Whole(number, version, plain)
