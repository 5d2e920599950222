"""User ids and the names in them. No I/O.

Source: Matrix appendices, "User Identifiers" and "Historical User IDs".
"""

import re
from typing import NamedTuple

from hutong.errors import BadParam, MatrixError

USER_ID_BYTES_MAX = 255
ERASED_PREFIX = "erased-"
"""What the sender of an erased person's events is called; nobody can register such a name."""

_NAME = re.compile(r"[a-z0-9._=/+-]+")
_FOLD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class UserId(NamedTuple):
    """The two parts of `@localpart:server_name`."""

    localpart: str
    server_name: str

    def __str__(self) -> str:
        return f"@{self.localpart}:{self.server_name}"


class BadUsername(MatrixError):
    """The name cannot be registered."""

    errcode = "M_INVALID_USERNAME"


def parse_user_id(text: str, field: str = "user_id") -> UserId:
    """The parts of any user id that the specification knows, historical ones included.

    Raises: BadParam, naming `field`.
    """
    localpart, colon, server_name = text.removeprefix("@").partition(":")
    if not text.startswith("@") or not colon or not server_name:
        raise BadParam(field, "is not a user id, which looks like @name:server")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BadParam(field, "holds a character that no user id can have")
    if len(text.encode()) > USER_ID_BYTES_MAX:
        raise BadParam(field, f"is longer than {USER_ID_BYTES_MAX} bytes")
    return UserId(localpart, server_name)


def fold(name: str) -> str:
    """`name` with A-Z in lower case. Nothing else is folded: other alphabets have letters that look alike."""
    return name.translate(_FOLD)


def registrable(username: str, server_name: str) -> str:
    """The localpart that a person who asks for `username` gets.

    Raises: BadUsername, saying which character or rule.
    """
    name = fold(username)
    if not name:
        raise BadUsername("username: is empty")
    if not _NAME.fullmatch(name):
        wrong = next(letter for letter in name if not _NAME.fullmatch(letter))
        raise BadUsername(f"username: may have a-z, 0-9 and . _ = / + - only, not U+{ord(wrong):04X}")
    if name.startswith(ERASED_PREFIX):
        raise BadUsername(f"username: names that start with {ERASED_PREFIX!r} stand for people who were erased")
    if len(str(UserId(name, server_name))) > USER_ID_BYTES_MAX:
        raise BadUsername(f"username: @name:{server_name} would be longer than {USER_ID_BYTES_MAX} characters")
    return name
