"""One node per data folder: the second is refused, and told who holds it."""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

LOCK_FILE = "node.lock"


class DataInUse(Exception):
    """Another process holds the data folder; the message says which."""


@dataclass(frozen=True)
class Holder:
    """Who holds a data folder: the process, since when, and the port it serves on (0: none)."""

    pid: int
    since: datetime
    port: int


class NodeLock:
    """The lock on a data folder. The system drops it when the process ends, however it ends."""

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    def acquire(cls, data: Path, port: int, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Self:
        """Lock `data`, made if it is not there.

        Raises: DataInUse.
        """
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise DataInUse(_in_use(data)) from None
        said = {"pid": os.getpid(), "since": now().isoformat(timespec="seconds"), "port": port}
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(said).encode() + b"\n", 0)
        return cls(file)

    def release(self) -> None:
        os.ftruncate(self._file, 0)
        os.close(self._file)


def holder(data: Path) -> Holder | None:
    """Who holds `data` now, or None when nobody does."""
    try:
        with (data / LOCK_FILE).open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                said = json.loads(file.read() or b"{}")
                since = datetime.fromisoformat(said.get("since", "1970-01-01T00:00:00+00:00"))
                return Holder(said.get("pid", 0), since, said.get("port", 0))
            return None
    except (FileNotFoundError, ValueError):
        return None


def _in_use(data: Path) -> str:
    who = holder(data)
    if who is None:  # it let go, or had not yet written who it is
        return f"{data} is in use by another process that starts or stops just now; try again"
    served = f", serving on port {who.port}" if who.port else ""
    return (
        f"{data} is in use by process {who.pid} since {who.since:%Y-%m-%d %H:%M:%S} UTC{served};"
        f" stop it, or give --data another folder"
    )
