"""Programs of npm packages: what a package-lock.json names, installed once, run by the Node of the wheel."""

import asyncio
import fcntl
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import environment

BIN = Path(sys.executable).parent
DEADLINE_S = 120


def node_environment() -> dict[str, str]:
    """This process's environment with the wheel's Node first in PATH."""
    env = environment()
    return {**env, "PATH": f"{BIN}:{env.get('PATH', '')}"}


async def run(folder: Path, command: Sequence[str | Path], env: dict[str, str]) -> tuple[int, str]:
    """Exit status and output; -1 when it is not done in time."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
        return -1, f"not done after {DEADLINE_S} s\n{output.decode(errors='replace')}"
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")


async def install(folder: Path, locks: Path) -> None:
    """Install what the package-lock.json of `folder` names, unless it is there. `locks`: shared by all workers."""
    lock = folder / "package-lock.json"
    installed = folder / "node_modules" / ".package-lock.json"
    with _one_at_a_time(locks / "hutong-npm.lock"):
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            status, output = await run(folder, (BIN / "npm", "ci", "--no-progress"), node_environment())
            assert status == 0, f"{folder}: npm ci failed\n{output}"


@contextmanager
def _one_at_a_time(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
