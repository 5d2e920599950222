"""What cells ask each other about keys. In memory only, on their way to whom they belong."""

from typing import Any, ClassVar

from msgspec import Struct

from hutong.cells.link import Request
from hutong.ids import Minute, RoomNo


class PublishedKeys(Struct, frozen=True, kw_only=True):
    """A person's public keys as JSON: of devices by device id, and those for cross-signing that all may see."""

    devices: dict[str, bytes]
    master: bytes | None = None
    self_signing: bytes | None = None


class KeysOf(Request[dict[str, PublishedKeys]], frozen=True, kw_only=True):
    """The public keys of people of the asked region, by user id; of the devices named, or of all.

    `named`: with what the devices are called, which is told within a region only.
    """

    flow: ClassVar[str] = "keys"
    reply: ClassVar[Any] = dict[str, PublishedKeys]
    users: dict[str, list[str]]
    named: bool = False


class ClaimKeys(Request[dict[str, dict[str, dict[str, bytes]]]], frozen=True, kw_only=True):
    """One one-time key for each device: by user id and device id the algorithm wanted; the reply by name the key.

    Asked twice, it gives two: what a lost reply brought is used by nobody.
    """

    flow: ClassVar[str] = "claim"
    reply: ClassVar[Any] = dict[str, dict[str, dict[str, bytes]]]
    devices: dict[str, dict[str, str]]


class KeysChanged(Request[list[str]], frozen=True, kw_only=True):
    """Who is at home in the asked cell, has joined one of `rooms`, and changed their public keys in `since` or later.

    The reply: user ids.
    """

    flow: ClassVar[str] = "key changes"
    reply: ClassVar[Any] = list[str]
    rooms: list[RoomNo]
    since: Minute
