"""`hutong serve` that kills itself with SIGKILL right after one chosen commit, before anything follows from it.

    python crashing_node.py ORDER --data DIR --port N ...

ORDER is a file that need not be there yet; once it is, it says of which cell the n-th commit from now with a row in
which part of the statement is the last thing that this process does: {"cell": 768, "part": "put_content", "after": 3}.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from hutong.cells.batch import Batch
from hutong.cells.writer import Writer
from hutong.cli import main


def crash_as_told(order: Path) -> None:
    """Let every commit of every writer look whether it is the last one."""
    commit = Writer._execute
    seen = 0

    async def commit_and_crash(self: Writer, batch: Batch) -> None:
        nonlocal seen
        await commit(self, batch)
        if not order.exists():
            return
        told: dict[str, Any] = json.loads(order.read_text())
        if self._cell == told["cell"] and told["part"] in batch._rows:
            seen += 1
            if seen >= told["after"]:
                os.kill(os.getpid(), signal.SIGKILL)

    Writer._execute = commit_and_crash  # type: ignore[method-assign]


if __name__ == "__main__":
    crash_as_told(Path(sys.argv.pop(1)))
    sys.argv.insert(1, "serve")
    main()
