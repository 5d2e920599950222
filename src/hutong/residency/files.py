"""What is at rest under a data folder: every file, the place it belongs to, in the order in which it is to be read.

A node that runs meanwhile replaces and removes files. A file that is gone is no longer at rest, so it is passed over; a
file that is there and cannot be read makes the audit incomplete.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

SEGMENT = re.compile(r"[0-9A-F]{24}(\.partial)?")
"""The name of a segment of the write-ahead log."""
RELATION = re.compile(r"(t\d+_)?\d+(\.\d+)?")
"""The name of a file that holds rows or an index."""
_TEMPORARY = re.compile(r"(^|/)(pgsql_tmp|pg_dynshmem|tmp|temp)(/|$)|\.(tmp|part|new|unfinished)(/|$)")
_LOG = re.compile(r"\.log(\.\d+)?$|(^|/)(log|logs|pg_log)(/|$)")


class Place(StrEnum):
    """What a file is part of, as the report groups them."""

    KEYSTORE = "keystore"
    DATABASE = "PostgreSQL"
    WAL = "WAL"
    STATISTICS = "statistics"
    LOGS = "logs"
    TEMPORARY = "temporary"
    OTHER = "other"


@dataclass(frozen=True)
class File:
    """One file to read.

    `shown`: its name in reports. `region`: "" for what lies beside the regions. `lead`: the segment of the write-ahead
    log before this one.
    """

    path: Path
    shown: str
    region: str
    place: Place
    size: int
    lead: Path | None = None


def place_of(relative: str) -> Place:
    """The place of a file, by its path within a region's folder or within a PostgreSQL cluster's."""
    folders = relative.split("/")[:-1]
    if "keystore" in folders or "keystore-mirror" in folders or relative == "root.key":
        return Place.KEYSTORE
    if "pg_wal" in folders:
        return Place.WAL
    if "pg_stat" in folders or "pg_stat_tmp" in folders:
        return Place.STATISTICS
    if _TEMPORARY.search(relative):
        return Place.TEMPORARY
    if _LOG.search(relative):
        return Place.LOGS
    if "postgres" in folders or "base" in folders or "global" in folders or "pg_tblspc" in folders:
        return Place.DATABASE
    return Place.OTHER


def list_files(
    data: Path, regions: Sequence[str], elsewhere: Sequence[tuple[str, Path]], problems: list[str]
) -> list[File]:
    """Every file under `data`, and in the folders of `elsewhere` (region, folder) outside it.

    The write-ahead log comes last: a row that is written into its table while the tables are read is still met there.
    What cannot be listed is noted in `problems`.
    """
    found = []
    for path, status in _walk(data, problems):
        relative = path.relative_to(data).as_posix()
        first, _, rest = relative.partition("/")
        region = first if rest and first in regions else ""
        found.append(File(path, relative, region, place_of(rest if region else relative), status.st_size))
    for region, folder in elsewhere:
        if not folder.is_dir():
            problems.append(f"{folder}: no such folder")
        for path, status in _walk(folder, problems):
            place = place_of(path.relative_to(folder).as_posix())
            if place is Place.OTHER:
                place = Place.DATABASE
            found.append(File(path, path.as_posix(), region, place, status.st_size))
    return [*(file for file in found if file.place is not Place.WAL), *_in_order(found)]


def _in_order(found: Sequence[File]) -> Iterator[File]:
    previous: Path | None = None
    for file in sorted((file for file in found if file.place is Place.WAL), key=lambda file: file.path):
        follows = previous is not None and previous.parent == file.path.parent
        yield File(file.path, file.shown, file.region, file.place, file.size, lead=previous if follows else None)
        previous = file.path if SEGMENT.fullmatch(file.path.name) else None


def _walk(root: Path, problems: list[str]) -> Iterator[tuple[Path, os.stat_result]]:
    """Every regular file under `root`, links followed, each once."""
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(f"{folder}: {error.strerror}")
            continue
        for entry in entries:
            path = Path(entry.path)
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue  # gone, or a link to nowhere
            except OSError as error:
                problems.append(f"{path}: {error.strerror}")
                continue
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            if stat.S_ISDIR(status.st_mode):
                waiting.append(path)
            elif stat.S_ISREG(status.st_mode):
                yield path, status
