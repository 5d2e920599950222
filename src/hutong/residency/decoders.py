"""Undoing what hides bytes from a search: compression met at any offset, and text that encodes bytes. No I/O.

Compressed streams are decoded as they are fed, to their end or to where they break; what came before a break counts.
"""

import binascii
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import lz4.frame
import zstandard

FED_BYTES = 4_096
"""Fed to a decompressor at once; few, because a bomb turns each byte into a hundred thousand."""
OUTPUT_BYTES = 1 << 20
MAGICS = {  # one pattern each: with a literal first byte the search is ten times as fast as through alternatives
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "zlib": re.compile(rb"x[\x01\x5e\x9c\xda]"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "lz4": re.compile(rb"\x04\x22\x4d\x18"),
}
MAGIC_BYTES_MAX = 4


class Broken(Exception):
    """Not, or no longer, such a stream."""


class Decompressor(Protocol):
    """One compressed stream."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` decodes to. Raises: Broken, after what could be decoded."""

    @property
    def ended(self) -> bool: ...


class Deflated:
    """gzip or zlib."""

    def __init__(self, window_bits: int) -> None:
        self._inflate = zlib.decompressobj(window_bits)

    @property
    def ended(self) -> bool:
        return self._inflate.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data and not self._inflate.eof:
            # zlib drops what it had decoded when the same call meets an error: from a copy it is decoded byte by byte.
            before = self._inflate.copy()
            try:
                yield self._inflate.decompress(data, OUTPUT_BYTES)
            except zlib.error:
                yield self._rescue(before, data)
                raise Broken from None
            data = self._inflate.unconsumed_tail

    @staticmethod
    def _rescue(inflate: "zlib._Decompress", data: bytes) -> bytes:
        saved = bytearray()
        try:
            for byte in data:
                saved += inflate.decompress(bytes((byte,)), OUTPUT_BYTES)
        except zlib.error:
            pass
        return bytes(saved)


class Zstd:
    def __init__(self) -> None:
        self._inflate = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()

    @property
    def ended(self) -> bool:
        return self._inflate.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
        view = memoryview(data)
        for start in range(0, len(view), 512):
            if self._inflate.eof:
                return
            try:
                yield self._inflate.decompress(view[start : start + 512])
            except zstandard.ZstdError:
                raise Broken from None


class Lz4:
    def __init__(self) -> None:
        self._inflate = lz4.frame.LZ4FrameDecompressor()

    @property
    def ended(self) -> bool:
        return bool(self._inflate.eof)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            try:
                yield self._inflate.decompress(data, max_length=OUTPUT_BYTES)
            except (RuntimeError, EOFError, ValueError):
                raise Broken from None
            if self._inflate.needs_input or self._inflate.eof:
                return
            data = b""


OPENERS: dict[str, Callable[[], Decompressor]] = {
    "gzip": lambda: Deflated(31),
    "zlib": lambda: Deflated(15),
    "zstd": Zstd,
    "lz4": Lz4,
}


# --- text that encodes bytes ---

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_HEX = b"0123456789abcdefABCDEF"
_STANDARD = bytes.maketrans(b"-_", b"+/")
_BREAKS = b"\r\n"


def decode_base64(run: bytes) -> bytes:
    """From the first character on; a last group that is not whole is padded."""
    return binascii.a2b_base64(run + b"A" * (-len(run) % 4))


def decode_hex(run: bytes) -> bytes:
    return binascii.a2b_hex(run[: len(run) // 2 * 2])


class RunCode:
    """An encoding that is a run of characters of one alphabet, perhaps broken into lines.

    `group`: how many characters stand for whole bytes, so a decoder has to begin at each of so many places. `shortest`:
    a run of so many characters may hold what is encoded again, so it is decoded into a stream.
    """

    def __init__(self, name: str, alphabet: bytes, group: int, shortest: int, decode: Callable[[bytes], bytes]) -> None:
        self.name = name
        self.group = group
        self.shortest = shortest
        self.decode = decode
        self.classes = bytes(120 if byte in alphabet + _BREAKS else 46 for byte in range(256))
        self.enough = b"x" * shortest

    @staticmethod
    def clean(run: bytes) -> bytes:
        """In the standard alphabet, on one line."""
        return run.translate(_STANDARD, _BREAKS)


BASE64 = RunCode("base64", _BASE64, 4, 32, decode_base64)
HEX = RunCode("hex", _HEX, 2, 44, decode_hex)
SHORT_RUN = b"x" * 22
"""As long as the base64 of 16 bytes."""
_PRINTABLE = bytes(range(32, 127))


def is_text(data: bytes) -> bool:
    """Whether it is printable, but for what the padding of its end has made."""
    return not data[:-2].translate(None, _PRINTABLE)


def decode_short(run: bytes) -> Iterator[tuple[str, bytes]]:
    """What a run of BASE64's alphabet holds, by each reading of it: by the code's name."""
    run = BASE64.clean(run)
    for place in range(BASE64.group):
        yield BASE64.name, BASE64.decode(run[place:])
    if len(run) >= 32 and not run.translate(None, _HEX):
        for place in range(HEX.group):
            yield HEX.name, HEX.decode(run[place:])


def decode_utf16(run: bytes) -> bytes:
    """The ASCII characters of UTF-16, whichever byte comes first."""
    return run.translate(None, b"\0")


UTF16_CLASSES = bytes(122 if byte == 0 else 112 if 32 <= byte < 127 or byte in b"\t\r\n" else 46 for byte in range(256))
UTF16_ENOUGH = b"pz" * 15
UTF16_RUN = re.compile(rb"(?:pz){15,}p?")


_SHORT_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_JSON_ESCAPE = re.compile(rb'\\(?:u[0-9A-Fa-f]{4}(?:\\u[0-9A-Fa-f]{4})*|["\\/bfnrt])')
_PERCENT_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_QUOTED_ESCAPE = re.compile(rb"=(?:([0-9A-F]{2})|\r?\n)")


def _json_character(match: re.Match[bytes]) -> bytes:
    escape = match[0]
    if escape[1:2] != b"u":
        return _SHORT_ESCAPES.get(escape[1:], escape[1:])
    units = bytes.fromhex(escape.replace(b"\\u", b"").decode())
    return units.decode("utf-16-be", "replace").encode("utf-8", "replace")


def _escaped_byte(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode()) if match[1] else b""


class EscapeCode:
    """An encoding that leaves most characters as they are and writes some as escapes."""

    def __init__(self, name: str, escape: re.Pattern[bytes], character: Callable[[re.Match[bytes]], bytes]) -> None:
        self.name = name
        self.escape = escape
        self._character = character

    def decode(self, data: bytes) -> bytes:
        return self.escape.sub(self._character, data)


ESCAPE_CODES = (
    EscapeCode("JSON escapes", _JSON_ESCAPE, _json_character),
    EscapeCode("percent-encoding", _PERCENT_ESCAPE, _escaped_byte),
    EscapeCode("quoted-printable", _QUOTED_ESCAPE, _escaped_byte),
)
