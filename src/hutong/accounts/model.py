"""Typed records of accounts, and the codes that stand for their states."""

from enum import IntEnum
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from hutong.ids import AccountNo, DeviceNo, Minute

DEVICE_ID_CHARS_MAX = 255
DEVICE_NAME_CHARS_MAX = 255


class State(IntEnum):
    """What has become of an account. Only ACTIVE ones can log in or be found."""

    ACTIVE = 1
    CLOSING = 2
    """Deactivated; still has to leave its rooms and lose its rows."""
    CLOSED = 3
    """Deactivated. What was written stays readable, and the name taken."""
    ERASING = 4
    """On the way to ERASED; taken up again at every start until it is done."""
    ERASED = 5
    """The key is destroyed. The keyed hash of the name stays, so that nobody else gets it."""


class TokenKind(IntEnum):
    ACCESS = 1
    REFRESH = 2


class Person(Struct, frozen=True, kw_only=True):
    """What is sealed of an account: its name and its profile. `fields` are as the Client-Server API names them."""

    localpart: str
    fields: dict[str, Any] = {}


class DeviceBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sealed of a device: the words that the client chose."""

    device_id: str
    name: str | None = None


class Device(Struct, frozen=True, kw_only=True):
    number: DeviceNo
    device_id: str
    name: str | None
    seen: Minute
    """When it was last seen, to the hour."""


class Account(Struct, frozen=True, kw_only=True):
    """A row of `accounts`, opened."""

    number: AccountNo
    state: State
    bucket: int
    person: Person | None
    """None once erased."""


class Login(Struct, frozen=True, kw_only=True):
    """What a client needs in order to go on as a device of an account. Times in milliseconds."""

    account: AccountNo
    device_id: str
    access_token: str
    refresh_token: str | None = None
    expires_in_ms: int | None = None


PERSON = Decoder(Person)
DEVICE_BODY = Decoder(DeviceBody)
