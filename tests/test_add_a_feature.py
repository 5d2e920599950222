"""docs/add-a-feature.md, followed to the letter on a copy of the sources, gives a node with the feature."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.openapi import REPOSITORY, VARIABLE, specification
from tests.support.process import environment

PAGE = REPOSITORY / "docs" / "add-a-feature.md"
BLOCK = re.compile(r"^```(?P<kind>python|diff) file=(?P<file>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def changed(text: str, diff: str) -> str:
    """`text` after `diff`, whose lines are kept (" "), taken out ("-") or put in ("+"). The place must be unique."""
    lines = diff.splitlines()
    before = "\n".join(line[1:] for line in lines if line[:1] != "+")
    after = "\n".join(line[1:] for line in lines if line[:1] != "-")
    assert f"\n{text}".count(f"\n{before}\n") == 1, f"the page says to change what is not there once:\n{before}"
    return f"\n{text}".replace(f"\n{before}\n", f"\n{after}\n")[1:]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("src/hutong", "tests/support", "tests/api"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("test_*", "__pycache__"))
    for file in ("tests/conftest.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / file, tmp_path / file)
    return tmp_path


def test_the_page_works(copy: Path) -> None:
    blocks = list(BLOCK.finditer(PAGE.read_text()))
    assert len(blocks) > 8
    for block in blocks:
        file = copy / block["file"]
        if block["kind"] == "python":
            file.parent.mkdir(parents=True, exist_ok=True)
            (file.parent / "__init__.py").touch() if "src" in block["file"] else None
            file.write_text(block["text"])
        else:
            file.write_text(changed(file.read_text(), block["text"]))
    env = environment() | {"PYTHONPATH": str(copy / "src")}
    if spec := specification():
        env[VARIABLE] = str(spec.resolve())
    for command in (
        (sys.executable, "-m", "hutong.schema"),
        (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/api/test_reports.py"),
        (
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--no-incremental",
            "--explicit-package-bases",
            "src/hutong/reports",
        ),
        (sys.executable, "-m", "ruff", "check", "src/hutong/reports", "src/hutong/schema.py"),
        (sys.executable, "-m", "ruff", "format", "--check", "src/hutong/reports", "tests/api/test_reports.py"),
    ):
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3_000:]}\n{done.stderr[-3_000:]}"
