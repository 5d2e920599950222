"""Is this JSON fit to be stored and handed on byte for byte? Pure: bytes in, a decoded object or an error out.

Content is never encoded again (it is concatenated into responses as it was sent), so whatever two parsers could read
differently is refused here. Source: Client-Server API v1.19, "Standard error response"; appendices, "Canonical JSON".
"""

import json
import re
from collections import Counter
from typing import Any

import msgspec

from hutong.errors import BadJson, NotJson

DEPTH_MAX = 100
INT_MAX = 2**53 - 1

_DECODER = msgspec.json.Decoder()
_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')


def checked_object(raw: bytes) -> dict[str, Any]:
    """`raw` decoded: one JSON object, UTF-8, no key twice, at most `DEPTH_MAX` deep, integers of 53 bits.

    Raises: NotJson (also for NaN, lone surrogates and control characters), BadJson naming the field.
    Cost: one decode and one walk, about 2 µs for a message.
    """
    return _checked(raw, floats=True)


def event_content(raw: bytes) -> dict[str, Any]:
    """`raw` decoded as the content of an event: as `checked_object`, and without fractions or exponents.

    Source: room versions 6 and later, "Canonical JSON".
    """
    return _checked(raw, floats=False)


def _checked(raw: bytes, *, floats: bool) -> dict[str, Any]:
    try:
        value = _DECODER.decode(raw)
    except msgspec.ValidationError as error:
        raise BadJson(f"body: {str(error).split(' - at ')[0].lower()}") from None
    except msgspec.DecodeError as error:
        raise NotJson(f"body: {error}") from None
    except UnicodeDecodeError:
        raise NotJson("body: is not UTF-8") from None
    except RecursionError:
        raise BadJson(f"body: nested more than {DEPTH_MAX} deep") from None
    if type(value) is not dict:
        raise BadJson("body: is not a JSON object")
    keys = _walk(value, floats=floats)
    # In compact JSON `":` ends each key, and may stand, escaped, in a string. As many as decoded keys: none was twice.
    if raw.count(b'":') != keys or _SPACED_COLON.search(raw):
        json.loads(raw, object_pairs_hook=_once, parse_int=len, parse_float=len)
    return value


def _walk(root: dict[str, Any], *, floats: bool) -> int:
    """The number of keys in `root`, level by level. Raises BadJson for what must not be there."""
    keys = depth = 0
    level: list[Any] = [root]
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            raise BadJson(f"body: nested more than {DEPTH_MAX} deep")
        below: list[Any] = []
        for node in level:
            if type(node) is dict:
                keys += len(node)
                values: Any = node.values()
            else:
                values = node
            for value in values:
                kind = type(value)
                if kind is dict or kind is list:
                    below.append(value)
                elif kind is int:
                    if not -INT_MAX <= value <= INT_MAX:
                        raise BadJson(f"{_path(root, value)}: is an integer beyond 2^53 - 1")
                elif kind is float and not floats:
                    raise BadJson(f"{_path(root, value)}: is not an integer; events hold no fractions or exponents")
        level = below
    return keys


def _path(root: Any, wanted: Any) -> str:
    """Where in `root` the very object `wanted` is, as `a.b[2]`."""
    stack: list[tuple[str, Any]] = [("", root)]
    while stack:
        path, node = stack.pop()
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            here = f"{path}[{key}]" if isinstance(node, list) else f"{path}.{key}"
            if value is wanted:
                return here.lstrip(".")
            if isinstance(value, (dict, list)):
                stack.append((here, value))
    return "body"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise BadJson(f"{twice}: stands twice in one object")
    return found
