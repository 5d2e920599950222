"""matrix-js-sdk, the heart of Element, lives on a node: tests/clients/js, run by Node's own test runner."""

import asyncio
import fcntl
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.openapi import Contract
from tests.support.process import environment

if TYPE_CHECKING:
    from hutong.node import Node

JS = Path(__file__).with_name("js")
INSTALLED = JS / "node_modules" / ".package-lock.json"
BIN = Path(sys.executable).parent
RUNS = count(1)
DEADLINE_S = 120


@contextmanager
def one_at_a_time(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


async def run(command: Sequence[str | Path], env: dict[str, str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=JS, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
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


@pytest.fixture(scope="module")
async def js_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Node of the wheel first in PATH, and what package-lock.json names installed, once."""
    env = environment()
    env["PATH"] = f"{BIN}:{env.get('PATH', '')}"
    lock = JS / "package-lock.json"
    with one_at_a_time(tmp_path_factory.getbasetemp().parent / "hutong-npm.lock"):
        if not INSTALLED.exists() or INSTALLED.stat().st_mtime < lock.stat().st_mtime:
            status, output = await run((BIN / "npm", "ci", "--no-progress"), env)
            assert status == 0, output
    return env


async def test_js_sdk(
    node: "Node", contract: Contract | None, js_environment: dict[str, str], tmp_path: Path, worker_id: str
) -> None:
    answers = tmp_path / "answers.jsonl"
    urls = {f"URL_{region.upper()}": node.region_url(region) or "" for region in ("cn", "eu", "ru")}
    env = {**js_environment, **urls, "PREFIX": f"js-{worker_id}-{next(RUNS)}-", "ANSWERS": str(answers)}
    status, output = await run(
        (BIN / "node", "--test", "--test-force-exit", "--test-reporter=spec", "chat.test.js"), env
    )
    assert status == 0, output
    told = [json.loads(line) for line in answers.read_text().splitlines()]
    assert len(told) > 50
    if contract is not None:
        for answer in told:
            contract.check(answer["method"], answer["path"], answer["status"], answer["body"])
