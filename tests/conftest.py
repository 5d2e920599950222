"""One real node for each test worker, and the people of the tests: alice in cn, bob in eu, carol in ru.

Tests keep apart by new accounts and new rooms, so that none needs a clean database.
"""

import itertools
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from hutong import config
from tests.support import soak
from tests.support.client import Client, Http
from tests.support.openapi import Contract, specification
from tests.support.places import data_folder, free_ports
from tests.support.process import NodeProcess

if TYPE_CHECKING:
    from hutong.node import Node

LIMITS_OFF = "[limits]\nenabled = false\n"
CHEAP_PASSWORDS = "[passwords]\nmemory_kib = 1024\npasses = 1\n"
REQUEST_TIMEOUT_S = 60

Newcomer = Callable[..., Awaitable[Client]]


@pytest.fixture(scope="session")
def contract() -> Contract | None:
    """The specification's OpenAPI files, or None where they are not on this machine."""
    folder = specification()
    return Contract(folder) if folder else None


@pytest.fixture(scope="session")
async def node() -> AsyncIterator["Node"]:
    """The three-region demo, in this process, with PostgreSQL for each region."""
    from hutong.node import start  # a test that needs no node must not wait for the import of everything

    with data_folder("tests") as folder:
        settings = folder / "hutong.toml"
        settings.write_text(LIMITS_OFF + CHEAP_PASSWORDS)
        running = await start(config.load(settings, {}, data=folder / "data", port=free_ports()))
        try:
            yield running
        finally:
            await running.stop()


@pytest.fixture
async def node_process(session: aiohttp.ClientSession, contract: Contract | None) -> AsyncIterator[NodeProcess]:
    """A node of this test's own that may be killed; `await node_process.start()`. Nothing of it is left behind."""
    with data_folder("faults") as folder:
        settings = folder / "hutong.toml"
        settings.write_text(LIMITS_OFF + CHEAP_PASSWORDS)
        process = NodeProcess(folder / "data", free_ports(), session, contract, settings)
        try:
            yield process
        finally:
            await process.kill_everything()


@pytest.fixture(scope="session")
def soaking(pytestconfig: pytest.Config) -> bool:
    """Whether the long counts are wanted: `make soak`, or HUTONG_SOAK=1."""
    return pytestconfig.option.markexpr == "soak" or os.environ.get("HUTONG_SOAK") == "1"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if config.option.markexpr == "soak":
        soak.write(terminalreporter.stats)


@pytest.fixture
def seeded() -> random.Random:
    """Chances of this test, printed so that a failure can be played again: HUTONG_TEST_SEED=..."""
    seed = int(os.environ.get("HUTONG_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"HUTONG_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
    ) as opened:
        yield opened


@pytest.fixture(scope="session")
def http(node: "Node", session: aiohttp.ClientSession, contract: Contract | None) -> Http:
    return Http(session, node.base_url, contract)


@pytest.fixture(scope="session")
def newcomer(http: Http) -> Newcomer:
    """Register one more person: `await newcomer("dave", "ru")`. The name is made unique by a number."""
    return newcomers(http)


def newcomers(http: Http) -> Newcomer:
    numbers = itertools.count(1)

    async def register(name: str, region: str, **more: object) -> Client:
        return await Client(http, f"{name}{next(numbers)}", region).register(**more)

    return register


@pytest.fixture
async def alice(newcomer: Newcomer) -> Client:
    return await newcomer("alice", "cn")


@pytest.fixture
async def bob(newcomer: Newcomer) -> Client:
    return await newcomer("bob", "eu")


@pytest.fixture
async def carol(newcomer: Newcomer) -> Client:
    return await newcomer("carol", "ru")


@pytest.fixture
async def room(alice: Client, bob: Client) -> str:
    """A public room of alice's in cn that bob of eu has joined; carol may."""
    made = await alice.create_room(preset="public_chat", name="Courtyard")
    await bob.join(made)
    return made


@pytest.fixture
async def lane(room: str, carol: Client) -> str:
    """`room`, where carol of ru has joined as well."""
    await carol.join(room)
    return room
