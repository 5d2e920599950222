"""One node per data folder, and whoever comes second learns who was first."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hutong.engines.node_lock import DataInUse, NodeLock, holder

HOLD = """
import sys
from pathlib import Path
from hutong.engines.node_lock import NodeLock
NodeLock.acquire(Path(sys.argv[1]), 8008)
print("held", flush=True)
sys.stdin.read()
"""


def test_the_second_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    lock = NodeLock.acquire(tmp_path / "data", 8008, now=lambda: datetime(2026, 12, 2, 9, 30, tzinfo=UTC))
    with pytest.raises(DataInUse) as refused:
        NodeLock.acquire(tmp_path / "data", 9000)
    assert f"is in use by process {os.getpid()} since 2026-12-02 09:30:00 UTC, serving on port 8008" in str(
        refused.value
    )
    lock.release()
    assert holder(tmp_path / "data") is None
    NodeLock.acquire(tmp_path / "data", 9000).release()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        found = holder(tmp_path)
        assert found is not None
        assert (found.pid, found.port) == (process.pid, 8008)
        with pytest.raises(DataInUse, match=f"process {process.pid}"):
            NodeLock.acquire(tmp_path, 8008)
        process.kill()
        process.wait()
    assert holder(tmp_path) is None
    NodeLock.acquire(tmp_path, 8008).release()


def test_nobody_holds_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert holder(tmp_path / "nowhere") is None
