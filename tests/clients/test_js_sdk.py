"""matrix-js-sdk, the heart of Element, lives on a node: tests/clients/js, run by Node's own test runner."""

import json
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import npm
from tests.support.openapi import Contract

if TYPE_CHECKING:
    from hutong.node import Node

JS = Path(__file__).with_name("js")
FILES = ("chat.test.js", "sign_in.test.js")
RUNS = count(1)


@pytest.fixture(scope="module")
async def js_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the tests in `js` run in, with what they need installed."""
    await npm.install(JS, tmp_path_factory.getbasetemp().parent)
    return npm.node_environment()


async def test_js_sdk(
    node: "Node", contract: Contract | None, js_environment: dict[str, str], tmp_path: Path, worker_id: str
) -> None:
    answers = tmp_path / "answers.jsonl"
    urls = {f"URL_{region.upper()}": node.region_url(region) or "" for region in ("cn", "eu", "ru")}
    env = {**js_environment, **urls, "PREFIX": f"js-{worker_id}-{next(RUNS)}-", "ANSWERS": str(answers)}
    status, output = await npm.run(
        JS, (npm.BIN / "node", "--test", "--test-force-exit", "--test-reporter=spec", *FILES), env
    )
    assert status == 0, output
    told = [json.loads(line) for line in answers.read_text().splitlines()]
    assert len(told) > 50
    if contract is not None:
        for answer in told:
            contract.check(answer["method"], answer["path"], answer["status"], answer["body"])
