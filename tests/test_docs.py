"""What README and docs say can be done can be: links, make targets, commands, settings, the audit's report."""

import asyncio
import re
import shlex
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from hutong import config
from hutong.cli import main
from hutong.schema import TABLES
from tests.support.openapi import REPOSITORY
from tests.support.process import NodeProcess, run

if TYPE_CHECKING:
    from hutong.node import Node

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#]+)(?:#[^)]*)?\)")
AUDIT = re.compile(r"<!-- audit -->\n```\n(?P<report>.*?)```\n<!-- /audit -->", re.DOTALL)
NOT_OF_THE_CODE = {"Host", "NewType", "Retry"}


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def commands() -> Iterator[tuple[str, str]]:
    """(page, line) for each line of a plain code block or inline code that runs hutong or make."""
    for page in PAGES:
        text = page.read_text()
        lines = [line for block in FENCE.finditer(text) if not block["language"] for line in block["text"].splitlines()]
        for line in lines + re.findall(r"`([^`\n]+)`", FENCE.sub("", text)):
            command = line.removeprefix("$ ").removeprefix(".venv/bin/").split("  ")[0].partition(" #")[0].strip()
            if re.match(r"(hutong|make) [a-z-]", command) and "|" not in command and "..." not in command:
                yield name_of(page), command


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = [match["target"] for match in LINK.finditer(page.read_text())]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_name_of_the_code_is_in_the_code(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    code = "\n".join(file.read_text() for file in (REPOSITORY / "src" / "hutong").rglob("*.py"))
    for name in set(re.findall(r"`([A-Z][a-z]\w+(?:\.\w+)?)(?:\(\))?`", text)) - NOT_OF_THE_CODE:
        kind, _, method = name.partition(".")
        place = re.search(rf"^(class {kind}\b|{kind} = )", code, re.MULTILINE)
        assert place is not None, f"there is no {kind}"
        body = code[place.end() :]
        until = re.search(r"\n\w", body)
        assert not method or re.search(rf"\bdef {method}\b", body[: until.start() if until else None]), name


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_every_command_exists(page: str, line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets), f"{page}: {line}"
        return
    command: click.Command = main
    words = words[1:]
    while isinstance(command, click.Group) and words:
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known | {"--help"}, f"{page}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_configuration_is_valid(page: Path, tmp_path: Path) -> None:
    for block in FENCE.finditer(page.read_text()):
        if block["language"] == "toml":
            file = tmp_path / "hutong.toml"
            file.write_text(block["text"])
            config.load(file, {})


async def shown(page: str, base_url: str) -> str:
    """What the first block under "See it for yourself" of `page` prints."""
    block = FENCE.search((REPOSITORY / "docs" / page).read_text().split("## See it for yourself")[1])
    assert block is not None
    script = block["text"].replace("http://localhost:8008", base_url)
    process = await asyncio.create_subprocess_exec("sh", "-c", script, stdout=PIPE, stderr=DEVNULL)
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return output.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_what_one_is_to_see_for_oneself_can_be_seen(node: "Node") -> None:
    assert await shown("unread.md", node.base_url) == "{}"
    found = await shown("find-a-room.md", node.base_url)
    assert '"servers":["cn.localhost"]' in found.replace(" ", "")
    assert '"canonical_alias":"#lane:cn.localhost"' in found.replace(" ", "")


@pytest.mark.parametrize("page", ["README.md", "docs/residency.md"])
def test_as_many_columns_are_shown_as_are_checked(page: str) -> None:
    columns = len(config.load(None, {}).cells) * sum(len(table.columns) for table in TABLES)
    assert f"Structure: {columns} columns checked" in (REPOSITORY / page).read_text()


def shape(report: str) -> list[str]:
    """A report without what differs from run to run: figures, and the widths that follow from them."""
    figures = re.sub(r"[0-9][0-9.,]*( [kM]?B)?", "N", report)
    return [re.sub(r"\s+", " ", line).strip() for line in figures.splitlines() if line.strip()]


async def test_the_report_in_the_readme_is_what_the_audit_prints(node_process: NodeProcess) -> None:
    node = await node_process.start()
    alice, carol = await node.register("alice", "cn"), await node.register("carol", "ru")
    bob = await node.register("bob", "eu")
    room = await alice.create_room(name="The courtyard by the canal", invite=[bob.user_id, carol.user_id])
    for guest in (bob, carol):
        await guest.accept(room)
    for number in range(10):
        await alice.send(room, f"院子里的柿子熟了，来尝尝吧 {number}")
        await bob.send(room, f"on my way, with a bottle of wine {number}")
        await carol.send(room, f"и варенье, с того самого лета {number}")
    status, report = await run(node, "audit", "residency")
    assert status == 0, report
    shown = AUDIT.search((REPOSITORY / "README.md").read_text())
    assert shown is not None, f"README.md shows no report of the audit; it is:\n{report}"
    assert shape(shown["report"]) == ["$ hutong audit residency", *shape(report)], report
