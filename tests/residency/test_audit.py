"""The audit of a real node, after a chat across three regions in which every word is a canary."""

import asyncio
import re

from hutong.residency.files import list_files
from hutong.residency.markers import Kind, Marker, needles
from hutong.residency.placements import PAGE
from hutong.residency.scanner import scan
from tests.residency.conftest import Place
from tests.residency.scene import CLEAN, audit
from tests.support.client import path
from tests.support.process import HUTONG, environment


async def test_a_chat_across_regions_leaves_no_word_in_clear(site: Place) -> None:
    result = await audit(site.data)
    assert result.outcome == CLEAN
    for region in ("cn", "eu", "ru"):
        control = result.report["controls"][region]
        assert control["met"] == control["markers"] > 20


async def test_every_canary_opens_at_home_and_is_nowhere_else(site: Place) -> None:
    listed = site.folder / "canaries.txt"
    listed.write_text("\n".join(site.scene.canaries.kept.values()))
    result = await audit(site.data, "--markers-file", listed)
    assert result.outcome == CLEAN


async def test_what_is_never_kept_is_nowhere(site: Place) -> None:
    """Passwords, tokens, transaction ids, user agents, redacted words: no record opens to them, nothing has them."""
    texts = list(site.scene.canaries.passing.values())
    # As content: of a token, which is random, its hash is kept, and may be.
    forms = needles([Marker(Kind.CONTENT, "", text.encode()) for text in texts])
    problems: list[str] = []
    files = list_files(site.data, ["cn", "eu", "ru"], (), problems)

    def read() -> list[str]:
        names = [texts[needle.marker] for each in forms.values() for needle in each[:1]]
        return [
            f"{names[hit.needle]} in {scanned.file.shown} within {hit.path}"
            for scanned in scan(list(forms), files, lambda _: None) for hit in scanned.hits
        ]  # fmt: skip

    assert await asyncio.to_thread(read) == []
    assert problems == []


async def test_beside_a_node_that_works_records_come_and_go(site: Place) -> None:
    """What changed while the files were read fails no control, and what came is in no other place either."""
    scene = site.scene
    done = asyncio.Event()

    async def work() -> int:
        rounds = 0
        while not done.is_set():
            rounds += 1
            for person in scene.people:
                name = {"displayname": f"The name of {person.name}, number {rounds}"}
                await person.ok("PUT", path("profile", person.user_id, "displayname"), name)
                said = await person.send(scene.room, f"Message {rounds} of {person.name}, soon to be gone")
                await person.redact(scene.room, said)
        return rounds

    working = asyncio.create_task(work())
    try:
        result = await audit(site.data)
    finally:
        done.set()
    assert await working > 1
    assert result.outcome == CLEAN


async def test_the_page_shows_what_the_command_prints(site: Place) -> None:
    """The output in docs/residency.md, with other numbers."""
    process = await asyncio.create_subprocess_exec(
        HUTONG, "audit", "residency", "--data", site.data, stdout=asyncio.subprocess.PIPE, env=environment()
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    shown = re.search(r"<!-- output: hutong audit residency -->\n```\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    assert _masked(printed.decode()) == _masked(shown[1].partition("\n")[2])


def _masked(text: str) -> list[str]:
    return [" ".join(re.sub(r"[\d.,]+( ?(B|kB|MB|GB)\b)?", "N", line).split()) for line in text.splitlines()]
