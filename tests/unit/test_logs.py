"""What a node writes about itself, and what it must not."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hutong import logs
from hutong.config import Log

log = logging.getLogger("hutong.cells.writer")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def _started(tmp_path: Path, **settings: object) -> dict[str, Path]:
    folders = {"cn": tmp_path / "cn" / "logs", "ru": tmp_path / "ru" / "logs"}
    logs.start(Log(**settings), folders.items())  # type: ignore[arg-type]
    return {name: folder / logs.FILE for name, folder in folders.items()}


def test_a_line_goes_to_its_region_or_to_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = _started(tmp_path)
    log.info("the database is back", extra={"region": "ru", "cell": 768})
    log.warning("stopping")
    assert "info cells.writer  ru  768  the database is back" in files["ru"].read_text()
    assert "the database is back" not in files["cn"].read_text()
    assert all("warning cells.writer  stopping" in file.read_text() for file in files.values())
    assert capsys.readouterr().err.count("\n") == 2


def test_an_exceptions_message_is_not_written(tmp_path: Path) -> None:
    file = _started(tmp_path)["cn"]
    try:
        int("the words of somebody")
    except ValueError:
        log.exception("a request failed")
    text = file.read_text()
    assert "a request failed [ValueError at test_logs.py:" in text
    assert "words" not in text


def test_asyncios_own_reports_do_not_quote_either(tmp_path: Path) -> None:
    file = _started(tmp_path)["cn"]
    logging.getLogger("asyncio").error(
        "Task exception was never retrieved\nfuture: <Task exception=ValueError('words')>"
    )
    assert "Task exception was never retrieved" in file.read_text()
    assert "words" not in file.read_text()


def test_json_lines_are_json(tmp_path: Path) -> None:
    file = _started(tmp_path, format="json")["ru"]
    log.error('a "quoted"\nthing', extra={"region": "ru"})
    said = json.loads(file.read_text())
    assert said["message"] == 'a "quoted"\nthing'
    assert (said["level"], said["logger"], said["region"]) == ("error", "hutong.cells.writer", "ru")


def test_no_files_when_none_are_wanted(tmp_path: Path) -> None:
    _started(tmp_path, files=False)
    log.info("hello")
    assert not list(tmp_path.iterdir())
    assert sys.stderr is not None
