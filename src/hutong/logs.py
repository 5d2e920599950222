"""The node's log: what happened, where in the code, in which region. Never a person's words, name or address.

An exception is logged as its type and the places it passed, without its message, which may quote what somebody sent.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from hutong.config import Log

FILE = "hutong.log"
FILE_BYTES_MAX = 16 << 20
FILES_KEPT = 4
EXTRAS = ("region", "cell", "port")
"""What a record may carry beside its message: `log.info("...", extra={"region": "ru"})`."""


def start(settings: Log, regions: Iterable[tuple[str, Path]]) -> None:
    """Log to standard error, and into the folder of each of `regions` what concerns it or all of them."""
    formatter = JsonLines() if settings.format == "json" else Lines()
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if settings.files:
        for name, folder in regions:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = LogFile(folder / FILE, maxBytes=FILE_BYTES_MAX, backupCount=FILES_KEPT, encoding="utf-8", delay=True)
            file.addFilter(_OfRegion(name))
            handlers.append(file)
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(_without_reprs)
    logging.basicConfig(level=settings.level.upper(), handlers=handlers, force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)  # its pools complain while a database is away; we said so


class LogFile(RotatingFileHandler):
    """A log file on a disk that may be full: then the line stands on standard error only, without complaints."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class Lines(logging.Formatter):
    """`2026-12-02 09:30:00.123 warning cells.writer  ru  lost the database; connecting again`"""

    def format(self, record: logging.LogRecord) -> str:
        name = record.name.removeprefix("hutong.")
        parts = [f"{_time(record)} {record.levelname.lower()} {name}", *map(str, _extras(record).values())]
        line = "  ".join([*parts, record.getMessage()])
        return f"{line} [{_failure(record)}]" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object on each line."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            said["failure"] = _failure(record)
        return json.dumps(said, ensure_ascii=False)


class _OfRegion(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "region", self.name) == self.name


def _without_reprs(record: logging.LogRecord) -> bool:
    """asyncio's own reports quote the exception of a task in the lines after the first."""
    if record.name == "asyncio":
        record.msg, record.args = record.getMessage().split("\n")[0], ()
    return True


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name in EXTRAS if (value := getattr(record, name, None)) is not None}


def _failure(record: logging.LogRecord) -> str:
    """The type of the exception and the places it passed, innermost first."""
    assert record.exc_info is not None
    kind, _, trace = record.exc_info
    if kind is None:
        return ""
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
    return f"{kind.__name__} at {' < '.join(reversed(places))}"
