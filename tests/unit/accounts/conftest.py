"""One cell's accounts on a real database and a real keystore, with a clock that a test can set."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from hutong import config
from hutong.accounts.erasure import Erasure
from hutong.accounts.filters import Filters
from hutong.accounts.passwords import Passwords
from hutong.accounts.profiles import Profiles
from hutong.accounts.service import Accounts
from hutong.accounts.sessions import Sessions
from hutong.accounts.store import AccountStore
from hutong.engines.migrations import migrate
from hutong.engines.postgres import EmbeddedPostgres
from hutong.ids import AccountNo
from hutong.sync.filters import parse
from hutong.vault.blind import BlindIndex
from hutong.vault.keystore import Keystore
from hutong.vault.vault import Gone, Vault
from tests.support.places import data_folder

ROOT = bytes(range(32))
CHEAP = config.Passwords(memory_kib=256, passes=1, at_once=2)
PASSWORD = "a lane that joins courtyards"


@dataclass
class Clock:
    seconds: float = 1_795_000_000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Rooms:
    """What the rooms' side of an erasure was asked to do; `failing` names the step that does not work yet."""

    steps: list[str] = field(default_factory=list)
    failing: str | None = None
    gone: bool = False
    """Whether leaving finds no key to seal a farewell with."""

    async def _step(self, name: str) -> None:
        if self.failing == name:
            raise ConnectionError(name)
        self.steps.append(name)

    async def leave_rooms(self, account: AccountNo) -> None:
        if self.gone:
            raise Gone
        await self._step("leave_rooms")

    async def delete_content(self, account: AccountNo) -> None:
        await self._step("delete_content")

    async def announce_erased(self, account: AccountNo) -> None:
        await self._step("announce_erased")


@dataclass
class Lane:
    """A cell of `ru` with its accounts."""

    pool: Any
    keystore: Keystore
    folder: Path
    statements: list[Any]
    """Every statement that PostgreSQL was given, and every parameter."""
    clock: Clock = field(default_factory=Clock)
    rooms: Rooms = field(default_factory=Rooms)
    changed: list[AccountNo] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = config.load(None, {}, data=self.folder)
        self.region = settings.region("ru")
        blind, vault = BlindIndex(ROOT), Vault(self.keystore, os.urandom)
        self.vault = vault
        self.passwords = Passwords(CHEAP)
        self.store = AccountStore(self.pool)
        shared = (self.clock, os.urandom)
        self.accounts = Accounts(self.region, self.store, self.keystore, vault, blind, self.passwords, *shared)
        self.sessions = Sessions(self.region.cells[0], self.store, vault, blind, *shared)
        self.profiles = Profiles(self.accounts, self._changed)
        self.filters = Filters(self.store, vault, blind, parse, *shared)
        self.erasure = self.erasing()

    def erasing(self, grace_hours: int = 0) -> Erasure:
        return Erasure(
            self.store, self.accounts, self.sessions, self.keystore, self.vault, self.rooms, self.clock, os.urandom,
            grace_hours=grace_hours,
        )  # fmt: skip

    async def _changed(self, account: AccountNo) -> None:
        self.changed.append(account)

    async def restarted(self) -> "Lane":
        """The same cell after a stop, with nothing in memory."""
        keystore = await Keystore.open(self.keystore.directory, self.keystore.mirror, ROOT, "ru", random=os.urandom)
        return replace(self, keystore=keystore)


@pytest.fixture(scope="session")
async def database() -> AsyncIterator[str]:
    with data_folder("accounts") as folder:
        postgres = EmbeddedPostgres(folder / "ru" / "postgres")
        await postgres.start("cell0")
        connection = await asyncpg.connect(postgres.dsn("cell0"))
        await migrate(connection, config.load(None, {}, data=folder).region("ru").cells[0].number, lambda: 7)
        await connection.close()
        yield postgres.dsn("cell0")
        await postgres.stop()


@pytest.fixture
async def lane(database: str, tmp_path: Path) -> AsyncIterator[Lane]:
    statements: list[Any] = []

    def note(query: Any) -> None:
        statements.append(query.query)
        statements.extend(query.args or ())

    async def listen(connection: Any) -> None:
        connection.add_query_logger(note)  # goes with each release, so it comes with each acquire

    pool = await asyncpg.create_pool(database, min_size=1, max_size=4, setup=listen)
    await pool.execute("TRUNCATE accounts, devices, tokens, filters")
    keystore = await Keystore.open(tmp_path / "keystore", tmp_path / "mirror", ROOT, "ru", random=os.urandom)
    made = Lane(pool, keystore, tmp_path, statements)
    yield made
    await made.erasure.stop()
    made.passwords.close()
    await pool.close()
