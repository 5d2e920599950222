"""The root key of a region: one file, from which every other secret of the region is derived."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hutong.vault.disk import Disk

KEY_BYTES = 32
_PREFIX = "hutong-root-key-1 "


class RootKeyError(Exception):
    """The root key cannot be used; the message says why and what now."""


def subkey(root_key: bytes, purpose: str, length: int = KEY_BYTES) -> bytes:
    """The key for one `purpose`, from which neither the root key nor another purpose's key can be told."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=b"hutong " + purpose.encode()).derive(root_key)


def load_root_key(
    path: Path, keystores: Iterable[Path], random: Callable[[int], bytes] = os.urandom, disk: Disk | None = None
) -> bytes:
    """The region's root key in the file at `path`, made there at the very first start.

    `keystores`: the folders (mirrors included) of keystores sealed under it. While one of them holds a file, a missing
    key is an error: a new one would open nothing.
    Raises: RootKeyError.
    """
    try:
        return _parse(path, path.read_text("ascii"))
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise RootKeyError(f"{path}: cannot be read: {error}. Nothing was started.") from None
    for keystore in keystores:
        if keystore.is_dir() and any(keystore.iterdir()):
            raise RootKeyError(
                f"{path} is missing, and {keystore} is sealed under it. Put the file back; without it nobody's content "
                f"in this region can be opened. Nothing was started."
            )
    key = random(KEY_BYTES)
    disk = disk or Disk()
    disk.make_directory(path.parent)
    disk.write_atomically(path, f"{_PREFIX}{key.hex()}\n".encode())
    return key


def _parse(path: Path, text: str) -> bytes:
    try:
        key = bytes.fromhex(text.removeprefix(_PREFIX).strip())
    except ValueError:
        key = b""
    if not text.startswith(_PREFIX) or len(key) != KEY_BYTES:
        raise RootKeyError(
            f'{path}: not a root key, which is one line: "{_PREFIX.strip()}" and 64 hexadecimal digits. '
            f"Nothing was started."
        )
    return key
