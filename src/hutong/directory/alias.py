"""What a room alias is. No I/O.

Source: Matrix appendices, "Room Aliases"; Client-Server API v1.19, `m.room.canonical_alias`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hutong.errors import BadJson, BadParam

ALIAS_BYTES_MAX = 255
CANONICAL_MAX = 100
"""So many aliases one m.room.canonical_alias may name; each of them is looked up."""


class Alias(NamedTuple):
    """The two parts of `#localpart:server_name`. Aliases are compared letter by letter."""

    localpart: str
    server_name: str

    def __str__(self) -> str:
        return f"#{self.localpart}:{self.server_name}"


def parse_alias(text: str, field: str = "roomAlias") -> Alias:
    """The parts of an alias of any server. Raises: BadParam naming `field`."""
    localpart, colon, server_name = text.removeprefix("#").partition(":")
    if not text.startswith("#") or not colon or not localpart or not server_name:
        raise BadParam(field, "is not a room alias, which looks like #name:server")
    return _checked(Alias(localpart, server_name), field)


def local_alias(localpart: str, server_name: str, field: str) -> Alias:
    """The alias with this local part on this server. Raises: BadParam naming `field`."""
    if not localpart:
        raise BadParam(field, "is empty")
    if ":" in localpart:
        raise BadParam(field, f"is the part between # and :{server_name} only; it may have no colon")
    return _checked(Alias(localpart, server_name), field)


def _checked(alias: Alias, field: str) -> Alias:
    text = str(alias)
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BadParam(field, "holds a character that no room alias can have")
    if len(text.encode()) > ALIAS_BYTES_MAX:
        raise BadParam(field, f"is longer than {ALIAS_BYTES_MAX} bytes, with # and server")
    return alias


def canonical_aliases(content: Mapping[str, Any]) -> dict[str, Alias]:
    """The aliases that an m.room.canonical_alias names, by the field that names each.

    Raises: BadJson for a field of a wrong type, BadParam for what is no alias, or for too many.
    """
    named: dict[str, Alias] = {}
    alias = content.get("alias")
    if alias not in (None, ""):
        named["alias"] = _parsed(alias, "alias")
    others = content.get("alt_aliases")
    if others is None:
        return named
    if not isinstance(others, list):
        raise BadJson("alt_aliases: must be a list of room aliases")
    if len(others) > CANONICAL_MAX:
        raise BadParam("alt_aliases", f"has more than {CANONICAL_MAX} aliases")
    for place, text in enumerate(others):
        named[f"alt_aliases[{place}]"] = _parsed(text, f"alt_aliases[{place}]")
    return named


def _parsed(text: object, field: str) -> Alias:
    if not isinstance(text, str):
        raise BadJson(f"{field}: must be a string")
    return parse_alias(text, field)
