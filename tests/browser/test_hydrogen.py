"""Hydrogen, a client that nobody here wrote, signs in, shows a room and sends, in the Chromium of this machine.

The page is page.html and page.js, bundled and served from this machine; the node is the one of the other tests.
"""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from playwright.async_api import Page, Response, async_playwright

from tests.support import npm
from tests.support.client import PASSWORD, Client
from tests.support.openapi import Contract

if TYPE_CHECKING:
    from hutong.node import Node

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
VARIABLE = "HUTONG_TEST_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome")
WITHIN_MS = 15_000
OLD = "/_matrix/client/r0/"


def chromium() -> str:
    """The browser of this machine. One that is missing is no reason to skip: nobody would notice for long."""
    found = os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, f"there is no Chromium here: apt-get install chromium, or name one in {VARIABLE}"
    return found


@pytest.fixture(scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where the page is: bundled once, with the files that Hydrogen wants beside it."""
    await npm.install(HERE, tmp_path_factory.getbasetemp().parent)
    bundle = tmp_path_factory.mktemp("browser") / "page.js"
    command = (npm.BIN / "npm", "run", "--silent", "build", "--", f"--outfile={bundle}")
    status, output = await npm.run(HERE, command, npm.node_environment())
    assert status == 0, output

    def file(path: Path) -> Callable[[web.Request], Awaitable[web.FileResponse]]:
        async def answer(_: web.Request) -> web.FileResponse:
            return web.FileResponse(path)

        return answer

    app = web.Application()
    app.router.add_get("/", file(HERE / "page.html"))
    app.router.add_get("/page.js", file(bundle))
    app.router.add_get("/sw.js", file(MODULES / "hydrogen-view-sdk/lib-build/sw.js"))
    app.router.add_static("/assets", MODULES / "hydrogen-view-sdk/asset-build/assets")
    app.router.add_static("/olm", MODULES / "@matrix-org/olm")
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@dataclass
class Seen:
    """What a page asked the node, and what went wrong in it."""

    responses: list[Response] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        page.on("response", lambda response: self.responses.append(response))  # noqa: PLW0108 - it marks its listeners
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def asked(self, node_url: str) -> dict[str, Response]:
        """By method and path, the last answer of each request to the node."""
        return {
            f"{each.request.method} {urlsplit(each.url).path}": each
            for each in self.responses
            if each.url.startswith(node_url)
        }


@pytest.fixture
async def page(address: str) -> AsyncIterator[Page]:
    async with async_playwright() as driver:
        # A browser refuses its sandbox to root, and reads no page here but ours.
        browser = await driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            opened = await browser.new_page()
            opened.set_default_timeout(WITHIN_MS)
            yield opened
        finally:
            await browser.close()


async def test_hydrogen(
    node: "Node", address: str, page: Page, contract: Contract | None, alice: Client, bob: Client, room: str
) -> None:
    await bob.send(room, "The persimmons are ripe")
    seen = Seen()
    seen.follow(page)
    await page.goto(address)
    login: dict[str, Any] = {"server": node.base_url, "user": alice.user_id, "password": PASSWORD, "roomId": room}
    await page.evaluate("(login) => window.signIn(login)", login)

    await page.get_by_text("The persimmons are ripe").wait_for()
    await page.evaluate("window.say('Keep two for me')")
    said: list[str] = []
    await bob.until(lambda: said_by(bob, room, alice, said), "what alice says in the browser")
    assert said == ["Keep two for me"]
    await bob.send(room, "They are yours")
    await page.get_by_text("They are yours").wait_for()

    asked = seen.asked(node.base_url)
    assert {each.status for each in asked.values()} == {200}
    assert {f"POST {OLD}login", f"POST {OLD}keys/upload", f"GET {OLD}sync"} <= set(asked)
    assert seen.errors == []
    if contract is not None:
        for line, response in asked.items():
            if "/sync" not in line:  # the last one still waits
                method, path = line.split(" ", 1)
                contract.check(method, path.replace(OLD, "/_matrix/client/v3/"), 200, await response.json())
    keys = await bob.ok("POST", "/keys/query", {"device_keys": {alice.user_id: []}})
    (browser_keys,) = keys["device_keys"][alice.user_id].values()
    assert browser_keys["algorithms"] == ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"]


def said_by(reader: Client, room: str, whom: Client, said: list[str]) -> bool:
    said[:] = [
        event["content"]["body"]
        for event in reader.timeline[room]
        if event["sender"] == whom.user_id and event["type"] == "m.room.message"
    ]
    return bool(said)
