"""Puts a node together. The only file that knows everybody; read it from the bottom up or from the top down.

What happens to a message, in order: `http` routes and authenticates it; `rooms.api` decodes and checks it;
`rooms.service` looks the room up through the sender's membership; `rooms.posting` seals the words with the `vault` and
submits an `AppendOp` to the room's home, here or over the `link`; `cells.writer` authorises, numbers and commits it
with whatever else came meanwhile; `cells.tail` shows it and wakes the `sync` of those who wait; `cells.replication`
brings the envelope to the other cells of the room, whose readers fetch the words from the sender's home, into memory
only.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from hutong import config
from hutong.accounts import api as accounts_api
from hutong.accounts.account_data import AccountData, Computed
from hutong.accounts.erasure import Erasure
from hutong.accounts.filters import Filters
from hutong.accounts.homes import CellAccounts, Homes
from hutong.accounts.ignored import IgnoredUsers
from hutong.accounts.interactive import Interactive
from hutong.accounts.passwords import Passwords
from hutong.accounts.profile_link import ProfileLink
from hutong.accounts.profiles import Profiles
from hutong.accounts.service import Accounts
from hutong.accounts.sessions import Sessions
from hutong.accounts.store import AccountStore
from hutong.cells.account_data import AccountDataLog
from hutong.cells.cell import Cell
from hutong.cells.directory import Directory
from hutong.cells.link import InProcessLinks
from hutong.cells.messages import (
    AuthorityFor,
    BundlesOf,
    ChildrenOf,
    ProfileOf,
    Stripped,
    ThreadsOf,
    Typing,
)
from hutong.cells.names import People
from hutong.cells.relation_reads import RelationReads
from hutong.cells.roots import Roots
from hutong.cells.sync_reads import SyncReads
from hutong.cells.tokens import Tokens
from hutong.config import Config
from hutong.directory import api as directory_api
from hutong.directory.api import CellDirectory
from hutong.engines.clusters import open_databases
from hutong.engines.databases import AWAY, NO_ROOM, Database
from hutong.engines.node_lock import NodeLock
from hutong.http import health, inside, landing, metrics, openapi, ports
from hutong.http.app import build_app
from hutong.http.limits import RateLimiter
from hutong.http.request import Caller
from hutong.http.server import HttpServer
from hutong.ids import AccountNo, CellNo, RoomNo
from hutong.keys import api as keys_api
from hutong.keys.cell import cell_keys
from hutong.membership import api as membership_api
from hutong.membership.departure import Departure
from hutong.membership.restricted import RestrictedJoins
from hutong.membership.service import Memberships
from hutong.presence import api as presence_api
from hutong.presence.service import PresenceOfPeople, cell_presence
from hutong.push import api as push_api
from hutong.push.rules import ruleset
from hutong.receipts import api as receipts_api
from hutong.receipts.service import Receipts
from hutong.relations import api as relations_api
from hutong.relations.bundles import Bundles
from hutong.relations.ignoring import IgnoredMembers
from hutong.relations.service import Relations
from hutong.rooms import api as rooms_api
from hutong.rooms.access import Access
from hutong.rooms.annotations import Annotations
from hutong.rooms.context import Contexts
from hutong.rooms.creation import DEFAULT_VERSION, VERSIONS, Creation
from hutong.rooms.governing import Governing
from hutong.rooms.history import History
from hutong.rooms.pieces import Pieces
from hutong.rooms.posting import Posting
from hutong.rooms.service import Rooms
from hutong.rooms.show import Show
from hutong.rooms.stripped import StrippedState
from hutong.search import api as search_api
from hutong.sync import api as sync_api
from hutong.sync.build import Builder
from hutong.sync.filters import parse as parse_filter
from hutong.sync.service import Sync
from hutong.sync.session import Sessions as SyncSessions
from hutong.sync.surroundings import Surroundings
from hutong.sync.wheel import Wheel
from hutong.typing_notices import api as typing_api
from hutong.typing_notices.board import TypingBoard
from hutong.typing_notices.service import TypingNotices
from hutong.vault.blind import BlindIndex
from hutong.vault.keystore import Keystore, KeystoreError
from hutong.vault.rootkey import load_root_key, subkey
from hutong.vault.vault import Vault

log = logging.getLogger(__name__)

FINISH_EVERY_S = 60.0
ENGINE_ERRORS = {
    **dict.fromkeys(AWAY, "the database cannot be reached at the moment"),
    **dict.fromkeys(NO_ROOM, "the database has no room to write at the moment"),
    KeystoreError: "a key cannot be stored at the moment",
}
"""What an engine raises, and what a client is told then: 503, and to try again."""
LOCAL_HOSTS = ("127.0.0.1", "0.0.0.0", "::")  # noqa: S104 - to write an address, not to bind one
Random = Callable[[int], bytes]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Slices:
    """What one cell does for its people, slice by slice."""

    cell: Cell
    accounts: CellAccounts
    rooms: rooms_api.CellRooms
    relations: Relations
    directory: CellDirectory
    receipts: Receipts
    typing: TypingNotices
    keys: keys_api.CellKeys
    presence: PresenceOfPeople
    sync: Sync


class Node:
    """A running node. `link.faults` lets tests cut, slow and trick the ways between its cells."""

    def __init__(self, settings: Config, links: InProcessLinks) -> None:
        self.config = settings
        self.link = links
        self.slices: dict[CellNo, Slices] = {}
        self.base_url = ""
        self._region_urls: dict[str, str] = {}
        self._closing = AsyncExitStack()
        self._wheel = Wheel()
        self._passwords = Passwords(settings.passwords)
        self._closing.callback(self._passwords.close)

    @property
    def cells(self) -> Mapping[CellNo, Cell]:
        return {number: slices.cell for number, slices in self.slices.items()}

    @property
    def services(self) -> Mapping[CellNo, CellAccounts]:
        """The accounts of each cell."""
        return {number: slices.accounts for number, slices in self.slices.items()}

    def region_url(self, region: str) -> str | None:
        """The address of one region alone, when it has a port of its own."""
        return self._region_urls.get(region)

    async def stop(self) -> None:
        """Answer those who wait, commit what was submitted, stop the engines that this node started."""
        await self._closing.aclose()

    # How it starts, in order.

    async def _start(self, now: Clock, random: Random) -> None:
        on_stop = self._closing
        on_stop.callback(NodeLock.acquire(self.config.data, self.config.port).release)
        await ports.can_be_had(self.config)
        databases = await open_databases(self.config, on_stop)
        directory = Directory(self.config)
        for region in self.config.local_regions:
            root_key = load_root_key(self.config.root_key(region.name), self._keystores(region), random)
            for settings in region.cells:
                database = databases[settings.number]
                slices = await self._cell(settings, region, directory, database, root_key, now, random)
                self.slices[settings.number] = slices
        on_stop.push_async_callback(self.link.close)
        for slices in self.slices.values():
            await slices.cell.start()
            on_stop.push_async_callback(slices.cell.stop)
        for slices in self.slices.values():
            await slices.cell.follow()
        await self._finish_interrupted()
        await self._listen(now, random)

    def _keystores(self, region: config.Region) -> list[Path]:
        kept = [(self.config.keystore_dir(cell), self.config.mirror_dir(cell)) for cell in region.cells]
        return [folder for pair in kept for folder in pair]

    async def _cell(
        self,
        settings: config.Cell,
        region: config.Region,
        directory: Directory,
        database: Database,
        root_key: bytes,
        now: Clock,
        random: Random,
    ) -> Slices:
        """One cell: keys, accounts, the core, then the slices on top of it."""
        keystore = await Keystore.open(
            self.config.keystore_dir(settings), self.config.mirror_dir(settings), root_key, region.name, settings.index,
            random=random,
        )  # fmt: skip
        for healed in keystore.healed:
            log.warning("%s", healed)
        vault, blind = Vault(keystore, random), BlindIndex(root_key)
        store = AccountStore(database.pool)
        await keystore.reconcile(await store.numbers())
        accounts = Accounts(region, store, keystore, vault, blind, self._passwords, now, random)
        cell = Cell(
            settings=settings, region=region, directory=directory, rev=database.rev, pool=database.pool,
            connect=database.connect, keystore=keystore, vault=vault, blind=blind,
            people=People(accounts.find_many, accounts.user_ids, accounts.bucket),
            links=self.link, now=now, random=random,
        )  # fmt: skip
        tokens = Tokens(database.rev.gen, int.from_bytes(random(4), "big"), subkey(root_key, "pagination tokens"))

        # Rooms and membership.
        relation_reads = RelationReads(database.pool)
        bundles = Bundles(cell, relation_reads)
        pieces = Pieces(cell.words, cell.names, Governing(cell).content, cell.cell_of)
        cell.on_erased.append(pieces.forget)

        async def ignored_by(account: AccountNo) -> frozenset[str]:
            return await ignored_users.of(account)

        ignored = IgnoredMembers(cell, ignored_by)
        access, posting = Access(cell), Posting(cell, Annotations(cell, relation_reads))
        history, show = History(cell, access, tokens), Show(cell, pieces, bundles.of, ignored.of)
        relations = Relations(cell, access, history, show, relation_reads)
        restricted = RestrictedJoins(cell)
        finding = CellDirectory.of(cell, access, subkey(root_key, "directory tokens"))
        aliases = finding.aliases
        memberships = Memberships(cell, access, posting, restricted, aliases, accounts.profile_of, accounts.user_id)
        rooms = Rooms(cell, access, posting, show, aliases, history, accounts.user_id)

        # Receipts, typing, sync.
        sync_reads = SyncReads(database.pool)
        receipts = Receipts(
            access=access, writer=cell.writer, view=cell.view, reads=cell.reads, tail=cell.tail, link=cell.link,
            home=cell.home, markers=sync_reads.marker, now=lambda: cell.minute,
        )  # fmt: skip
        board = TypingBoard(asyncio.get_running_loop(), cell.tail.nudge)
        typing = TypingNotices(
            cell=cell.number, access=access, view=cell.view, directory=directory, link=cell.link, board=board,
            member_cells=cell.member_cells, members=cell.reads.members_by_ref,
        )  # fmt: skip
        stripped = StrippedState(cell)
        roots = Roots(cell.number, directory, cell.view, cell.link)

        async def push_rules(account: AccountNo, _: RoomNo = RoomNo(0)) -> bytes:
            return ruleset(await accounts.user_id(account))

        # Keys and presence, which go when a device or its person goes.
        login_sessions = Sessions(settings, store, vault, blind, now, random)
        keys = cell_keys(cell, accounts, login_sessions, tokens)
        presence = cell_presence(cell, accounts, login_sessions)

        # Account data, which says whom a sync leaves out.
        computed: dict[str, Computed] = {"m.push_rules": push_rules, "m.fully_read": receipts.fully_read}

        async def room_of(account: AccountNo, room_id: str) -> RoomNo:
            return (await access.involved(account, room_id)).room.room

        account_data = AccountData(
            AccountDataLog(cell.writer, cell.reads), vault, blind, computed, room_of, now, random
        )
        ignored_users = IgnoredUsers(account_data)
        surroundings = Surroundings(sync_reads, relation_reads, pieces, ignored.of)
        sync = Sync(
            tail=cell.tail, reads=sync_reads, sessions=SyncSessions(cell.tail, sync_reads, directory.server_name),
            builder=Builder(cell.tail, sync_reads, surroundings, pieces, roots, board, cell.cuts.leave_out),
            typing=board, tokens=tokens, names=cell.names, view=cell.view, vault=vault, stripped=stripped.of,
            push_rules=push_rules, user_id=accounts.user_id, ignored=ignored_users.of,
            transaction=cell.transactions.text, keys=keys.keys.in_sync, away=cell.away, now=now, wheel=self._wheel,
        )  # fmt: skip

        # Accounts, which end sessions, show profiles and leave rooms.
        login_sessions.ended.append(lambda caller: sync.sessions.end(caller.account, caller.device))
        erasure = Erasure(
            store, accounts, login_sessions, keystore, vault, Departure(cell, memberships, aliases), now, random,
            grace_hours=self.config.erasure_grace_hours,
        )  # fmt: skip
        await erasure.mark_destroyed()
        self._closing.push_async_callback(erasure.stop)

        # What other cells ask of these slices.
        self.link.serve(cell.number, BundlesOf, bundles.answer)
        self.link.serve(cell.number, ChildrenOf, relations.answer_children)
        self.link.serve(cell.number, ThreadsOf, relations.answer_threads)
        self.link.serve(cell.number, ProfileOf, ProfileLink(cell, accounts).answer)
        self.link.serve(cell.number, Stripped, stripped.answer)
        self.link.serve(cell.number, AuthorityFor, restricted.answer)
        self.link.serve(cell.number, Typing, typing.heard)
        cell_accounts = CellAccounts(
            number=settings.number, region=region, accounts=accounts, sessions=login_sessions,
            profiles=Profiles(accounts, memberships.show_profile), account_data=account_data,
            filters=Filters(store, vault, blind, parse_filter, now, random), erasure=erasure,
        )  # fmt: skip
        return Slices(
            cell=cell,
            accounts=cell_accounts,
            rooms=rooms_api.CellRooms(
                rooms,
                Creation(cell, aliases, finding.opening, accounts.profile_of),
                memberships,
                Contexts(cell, access, history, show),
            ),
            relations=relations,
            directory=finding,
            receipts=receipts,
            typing=typing,
            keys=keys,
            presence=presence,
            sync=sync,
        )

    async def _finish_interrupted(self) -> None:
        """Take up erasures and aliases that a stop interrupted, now and then again."""

        async def resume() -> None:
            while True:
                for slices in self.slices.values():
                    try:
                        await slices.accounts.erasure.resume()
                        await slices.directory.aliases.settle()
                    except Exception:
                        log.exception("cell %s: what was interrupted could not be finished", slices.cell.number)
                await asyncio.sleep(FINISH_EVERY_S)

        task = asyncio.get_running_loop().create_task(resume(), name="interrupted")
        self._closing.callback(task.cancel)

    async def _listen(self, now: Clock, random: Random) -> None:
        """Bind the ports: one that serves all regions, one for each region that has its own, one for metrics."""
        settings = self.config
        homes = Homes(settings, {number: slices.accounts for number, slices in self.slices.items()})
        figures = metrics.Metrics()
        limiter = RateLimiter(settings.limits, random(32), time.monotonic) if settings.limits.enabled else None
        app = build_app(
            openapi.with_document(self._routes(homes, now, random)),
            homes.authenticate,
            authenticate_cached=homes.authenticate_cached,
            hosts={host: region.name for region in settings.local_regions for host in region.hosts},
            limiter=limiter,
            observe=figures.observe,
            engine_errors=ENGINE_ERRORS,
            json_bytes_max=settings.limits.request_bytes_max,
            region_name=lambda cell: next(r.name for r in settings.regions if r.number == cell // 256),
        )
        own = [(region.name, region.port) for region in settings.local_regions if region.port is not None]
        binds = [(settings.host, settings.port, None), *((settings.host, port, name) for name, port in own)]
        server = HttpServer(app, binds, settings.limits, homes=len(self.slices))
        await server.start()
        self._closing.push_async_callback(server.stop)
        for slices in self.slices.values():
            # Last in, first out: those who wait are let go before their connections are closed.
            self._closing.callback(slices.sync.sessions.stop)
        name = "localhost" if settings.host in LOCAL_HOSTS else settings.host
        self.base_url = settings.public_url or f"http://{name}:{server.ports[0]}"
        self._region_urls = {
            region: f"http://{name}:{port}" for (region, _), port in zip(own, server.ports[1:], strict=True)
        }
        listener = await inside.listen(settings.metrics, figures, self._problems, homes.authenticate)
        if listener is not None:
            self._closing.push_async_callback(listener.stop)
        figures.follow(server.admission)
        figures.gauge("hutong_connections", "Clients connected.", lambda: server.connections)

    def _routes(self, homes: Homes, now: Clock, random: Random) -> list[tuple[str, object]]:
        slices = self.slices
        rooms = {number: each.rooms for number, each in slices.items()}

        async def user_id(caller: Caller) -> str:
            return await slices[caller.cell].accounts.accounts.user_id(caller.account)

        async def remote_profile(asking: CellNo, user_id: str) -> bytes | None:
            return await ProfileLink(slices[asking].cell, slices[asking].accounts.accounts).ask(user_id)

        interactive = Interactive(now, random)
        page = landing.LandingPage(
            self._addresses, public_url=self.config.public_url, registration_open=self.config.registration == "open"
        )
        return [
            *landing.routes(page),
            *health.routes(self._problems),
            *accounts_api.routes(
                homes, self.config, remote_profile, room_versions=VERSIONS, default_room_version=DEFAULT_VERSION,
                unstable_features={}, interactive=interactive, now=now, random=random,
            ),
            *rooms_api.routes(rooms),
            *relations_api.routes({number: each.relations for number, each in slices.items()}),
            *directory_api.routes(
                {number: each.directory for number, each in slices.items()},
                lambda region: homes.asking(region).number,
            ),
            *membership_api.routes({number: each.memberships for number, each in rooms.items()}),
            *receipts_api.routes({number: each.receipts for number, each in slices.items()}),
            *typing_api.routes({number: each.typing for number, each in slices.items()}, user_id),
            *keys_api.routes({number: each.keys for number, each in slices.items()}, homes, interactive),
            *presence_api.routes({number: each.presence for number, each in slices.items()}),
            *search_api.routes({number: each.rooms for number, each in rooms.items()}, remote_profile),
            *push_api.routes(user_id),
            *sync_api.routes(
                {number: each.sync for number, each in slices.items()},
                {number: each.accounts.filters for number, each in slices.items()},
                lambda who, state: slices[who.cell].presence.board.polled(who.account, state),
            ),
        ]  # fmt: skip

    def _addresses(self) -> list[landing.RegionAddress]:
        ports = {region: int(url.rpartition(":")[2]) for region, url in self._region_urls.items()}
        return [
            landing.RegionAddress(region.name, region.server_name, ports.get(region.name))
            for region in self.config.local_regions
        ]

    async def _problems(self) -> list[str]:
        """What keeps this node from serving, in plain words; nothing when it is ready."""
        return [slices.cell.problem for slices in self.slices.values() if slices.cell.problem is not None]


async def start(
    settings: Config,
    *,
    clock: Clock = time.time,
    random: Random = secrets.token_bytes,
    links: InProcessLinks | None = None,
) -> Node:
    """A running node. What it had started is stopped again when a part of it does not start.

    `links`: the ways between its cells, when something is to be wrong with them from the beginning.

    Raises: DataInUse, EngineMissing, EngineFailed, CannotConnect, WrongDatabase, KeystoreError, RootKeyError,
        NotTheWriter, CannotListen, OSError.
    """
    node = Node(settings, links or InProcessLinks())
    try:
        await node._start(clock, random)
    except BaseException:
        await node.stop()
        raise
    return node
