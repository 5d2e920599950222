"""Real nodes for each test worker, and the people of the tests: alice in cn, bob in eu, carol in ru.

Tests keep apart by new accounts and new rooms, so that none needs a clean database.
"""

import itertools
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from hutong import config
from hutong.ids import home_no
from tests.support import soak
from tests.support.client import Client, Http
from tests.support.openapi import Contract, specification
from tests.support.places import PORTS, data_folder, free_ports
from tests.support.process import NodeProcess
from tests.support.ways import Ways

if TYPE_CHECKING:
    from hutong.node import Node

LIMITS_OFF = "[limits]\nenabled = false\n"
CHEAP_PASSWORDS = "[passwords]\nmemory_kib = 1024\npasses = 1\n"
REQUEST_TIMEOUT_S = 60
DEMO, TWO_CELLS = "demo", soak.TWO_CELLS
KINDS = {
    DEMO: "",
    TWO_CELLS: """
[regions.cn]
number = 1
server_name = "cn.localhost"
port = {0}
cells = [{{}}, {{}}]
[regions.eu]
number = 2
server_name = "eu.localhost"
port = {1}
[regions.ru]
number = 3
server_name = "ru.localhost"
port = {2}
""",
}

Newcomer = Callable[..., Awaitable[Client]]


@pytest.fixture(scope="session")
def contract() -> Contract | None:
    """The specification's OpenAPI files, or None where they are not on this machine."""
    folder = specification()
    return Contract(folder) if folder else None


@dataclass
class Place:
    """A node that many tests share, and how they reach it."""

    node: "Node"
    http: Http
    newcomer: Newcomer


Places = Callable[[str], Awaitable[Place]]


@pytest.fixture(scope="session")
async def places(session: aiohttp.ClientSession, contract: Contract | None) -> AsyncIterator[Places]:
    """The nodes of this test worker, in this process, with PostgreSQL for each region; started when first asked for."""
    from hutong.node import start  # a test that needs no node must not wait for the import of everything

    found: dict[str, Place] = {}
    async with AsyncExitStack() as closing:

        async def place(kind: str) -> Place:
            if kind not in found:
                folder, port = closing.enter_context(data_folder("tests")), free_ports()
                settings = folder / "hutong.toml"
                settings.write_text(LIMITS_OFF + CHEAP_PASSWORDS + KINDS[kind].format(*range(port + 1, port + PORTS)))
                node = await start(config.load(settings, {}, data=folder / "data", port=port))
                closing.push_async_callback(node.stop)
                http = Http(session, node.base_url, contract)
                found[kind] = Place(node, http, newcomers(node, http))
            return found[kind]

        yield place


@pytest.fixture(scope="session")
async def place(request: pytest.FixtureRequest, places: Places) -> Place:
    """The three-region demo; `@pytest.mark.parametrize("place", [TWO_CELLS], indirect=True)` for another kind.

    Asked for anew where tests of the other kind begin, which costs nothing: the nodes run on.
    """
    return await places(getattr(request, "param", DEMO))


@pytest.fixture(scope="session")
def node(place: Place) -> "Node":
    return place.node


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
    return is_soaking(pytestconfig)


def is_soaking(pytestconfig: pytest.Config) -> bool:
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
def http(place: Place) -> Http:
    return place.http


@pytest.fixture(scope="session")
def newcomer(place: Place) -> Newcomer:
    """Register one more person: `await newcomer("dave", "ru")`. The name is made unique by a number."""
    return place.newcomer


def newcomers(node: "Node", http: Http) -> Newcomer:
    """In a region of several cells, each newcomer lives in another one than the last."""
    numbers = itertools.count(1)
    turns = {region.name: itertools.cycle(region.cells) for region in node.config.regions}
    numbered = {region.name: region.number for region in node.config.regions}

    async def register(name: str, region: str, **more: object) -> Client:
        cell = node.cells[next(turns[region]).number]
        while True:
            unique = f"{name}{next(numbers)}"
            if cell.cell_of(home_no(numbered[region], cell.blind.bucket(unique))) == cell.number:
                return await Client(http, unique, region).register(**more)

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


@pytest.fixture
async def ways(node: "Node") -> AsyncIterator[Ways]:
    """What goes wrong between the regions of `node`; afterwards everything goes through again."""
    made = Ways(node)
    yield made
    await made.healed()
