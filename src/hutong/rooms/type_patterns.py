"""Event types as filters name them: texts in which `*` stands for any characters. No I/O.

Source: Client-Server API v1.19, "Filtering", the schema EventFilter.
"""

import re
from collections.abc import Iterable
from typing import Final

from hutong.errors import BadParam

WILDCARDS_MAX: Final = 100
"""How many texts of one list may hold a `*`: each is tried on each event. Clients send a handful."""
_STARS: Final = re.compile(r"\*+")


class TypePatterns:
    """A list of types with wildcards; `in` asks whether one of them fits a type.

    Raises: BadParam for more than `WILDCARDS_MAX` texts with a wildcard.
    Cost of `in`: grows with the type's length and the number of wildcards, never with their combinations. No regular
    expression can promise that, and a client writes the pattern as well as the type.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        texts = frozenset(texts)
        self._patterns = [_STARS.split(text) for text in texts if "*" in text]
        self._exact = frozenset(text for text in texts if "*" not in text)
        if len(self._patterns) > WILDCARDS_MAX:
            raise BadParam("filter", f"has more than {WILDCARDS_MAX} types with a `*` in one list")

    def __contains__(self, type: str) -> bool:
        return type in self._exact or any(_fits(pieces, type) for pieces in self._patterns)


def _fits(pieces: list[str], type: str) -> bool:
    """Whether `pieces` stand in `type` one after the other, the first at its start and the last at its end."""
    first, *middle, last = pieces
    if not type.startswith(first):
        return False
    at = len(first)
    for piece in middle:
        found = type.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return type.endswith(last) and len(type) - len(last) >= at
