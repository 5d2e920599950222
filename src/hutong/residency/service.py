"""An audit from its beginning to its end: what to look for, reading every file, whether that is proof, the report."""

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import asyncpg

from hutong.config import Cell, Config, Region
from hutong.engines.tables import Placement, Table
from hutong.residency import evaluate, structure
from hutong.residency.files import File, Place, list_files
from hutong.residency.markers import Control, Kind, Marker, Needle, choose, needles, provable
from hutong.residency.records import Opened, markers, open_records, still_there
from hutong.residency.report import Count, Finding, Report
from hutong.residency.scanner import Scanned, scan
from hutong.residency.software import of_the_software
from hutong.vault.disk import Disk
from hutong.vault.keystore import Keystore
from hutong.vault.rootkey import load_root_key
from hutong.vault.vault import Vault

if TYPE_CHECKING:
    from asyncpg import Connection

    Database = Connection[Any]

PIECES_MAX = 20_000
"""Of sealed records. More would make the search of sealed bytes, which are as random, several times slower."""
MARKERS_MAX = 60_000
"""Searched at once: more would not fit into memory with all their forms."""
CONNECT_TIMEOUT_S = 30.0
_RELATIONS = """
    SELECT pg_relation_filepath(c.oid) AS path, coalesce(t.relname, c.relname)::text AS name
    FROM pg_class c LEFT JOIN pg_class t ON t.reltoastrelid = c.oid WHERE pg_relation_filepath(c.oid) IS NOT NULL"""


class CannotLook(Exception):
    """There is nothing that could be audited; the message says why."""


class Watcher(Protocol):
    """Who shows how far the audit is."""

    def stage(self, what: str, total_bytes: int) -> None: ...

    def advance(self, done_bytes: int) -> None: ...


@dataclass(frozen=True)
class Given:
    """What the operator says. `databases`: the DSN of each cell that is here, by its number; `admins`: for the regions
    with an embedded cluster, the DSN of any of its databases; `pgdata`: where the files of a database given by DSN are.
    """

    databases: Mapping[int, str]
    admins: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    pgdata: Mapping[str, Path] = field(default_factory=dict)
    texts: Sequence[bytes] = ()


class _LookOnly(Disk):
    """A keystore that is opened beside a running node must heal nothing: the node may be writing it just now."""

    def make_directory(self, directory: Path) -> None:
        pass

    def write_atomically(self, path: Path, data: bytes) -> None:
        pass

    def remove_unfinished(self, directory: Path) -> None:
        pass


@dataclass
class _CellDatabase:
    cell: Cell
    database: "Database"
    vault: Vault


async def audit(config: Config, given: Given, tables: Sequence[Table], watcher: Watcher) -> Report:
    """Look at every byte at rest under the data folder, and say what is where it must not be.

    Raises: CannotLook, KeystoreError, RootKeyError; asyncpg's and the system's errors of reaching a database.
    Cost: twice 20 ns a byte in two processes, and what opening a sample of the records costs.
    """
    return await _Audit(config, given, tables, watcher).run()


class _Audit:
    def __init__(self, config: Config, given: Given, tables: Sequence[Table], watcher: Watcher) -> None:
        self._config = config
        self._given = given
        self._tables = tables
        self._watcher = watcher
        self._report = Report(str(config.data))
        self._cells: list[_CellDatabase] = []
        self._relations: dict[str, dict[str, str]] = {}
        self._markers: list[Marker] = []

    async def run(self) -> Report:
        started = time.monotonic()
        report = self._report
        async with AsyncExitStack() as stack:
            for region in self._config.regions:
                if all(cell.number in self._given.databases for cell in region.cells):
                    await self._open_region(stack, region)
                else:
                    report.notes.append(f"{region.name}: nothing of this region is in {self._config.data}.")
            if not self._cells:
                raise CannotLook(report.problems[0] if report.problems else "no region has a database here")
            self._watcher.stage("Opening records at home", 0)
            for each in self._cells:
                await self._check_structure(each)
            await self._learn()
            met = await self._scan(self._markers)
            await self._prove(met)
            report.findings += met.findings(self._relations)
        report.findings.sort(key=lambda finding: (finding.region, finding.place, finding.where))
        report.seconds = time.monotonic() - started
        return report

    # --- what is looked at ---

    async def _open_region(self, stack: AsyncExitStack, region: Region) -> None:
        config, problems = self._config, self._report.problems
        embedded = region.name in self._given.admins
        if not embedded and region.name not in self._given.pgdata:
            problems.append(
                f"region {region.name}: its database is given by a DSN, so its files are elsewhere. Run the audit on "
                f"the machine that has them, with --pgdata {region.name}=FOLDER (its data_directory)."
            )
            return
        if not config.root_key(region.name).exists():
            problems.append(f"{config.root_key(region.name)} is missing: nothing of this region can be opened")
            return
        root_key = load_root_key(config.root_key(region.name), ())
        self._markers.append(Marker(Kind.ROOT_KEY, region.name, root_key))
        for cell in region.cells:
            keystore = await Keystore.open(
                config.keystore_dir(cell), config.mirror_dir(cell), root_key, region.name, cell.index,
                random=os.urandom, disk=_LookOnly(),
            )  # fmt: skip
            database = await _connect(stack, self._given.databases[cell.number])
            self._cells.append(_CellDatabase(cell, database, Vault(keystore, os.urandom)))
            await self._name_files(region.name, database)
        if embedded:
            await self._check_cluster(stack, region)

    async def _check_cluster(self, stack: AsyncExitStack, region: Region) -> None:
        """The databases of a cluster that belong to no cell are to be empty."""
        dsn = self._given.admins[region.name]
        admin = await _connect(stack, dsn("postgres"))
        names = await admin.fetch("SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1")
        ours = {cell.database_name for cell in region.cells}
        for row in names:
            if row["datname"] in ours:
                continue
            other = await _connect(stack, dsn(row["datname"]))
            flaws = await structure.undeclared(other, f"{region.name}, database {row['datname']}", ())
            self._flaws(region.name, flaws)
            await self._name_files(region.name, other)
            await other.close()

    async def _name_files(self, region: str, database: "Database") -> None:
        rows = await database.fetch(_RELATIONS)
        self._relations.setdefault(region, {}).update((row["path"], row["name"]) for row in rows)

    async def _check_structure(self, each: _CellDatabase) -> None:
        region, name = each.cell.region, f"{each.cell.region}, cell {each.cell.index}"
        flaws = await structure.undeclared(each.database, name, self._tables)
        if not any(flaw.topic == "undeclared" for flaw in flaws):  # else the columns may not be there to be read
            for table in self._tables:
                flaws += await structure.wrong_values(each.database, name, table, int(time.time() // 60))
        self._report.columns += sum(len(table.columns) for table in self._tables)
        self._flaws(region, flaws)

    def _flaws(self, region: str, flaws: Iterable[structure.Flaw]) -> None:
        self._report.findings += [Finding(region, Place.DATABASE, flaw.where, flaw.what, flaw.topic) for flaw in flaws]

    # --- what is looked for ---

    async def _learn(self) -> None:
        """Open sealed records at home; what they open to, and pieces of the records themselves, are the markers."""
        report, given = self._report, self._given
        opened: dict[str, list[Opened]] = {}
        known = [table for table in self._tables if table.placed(Placement.HOME)]
        for each in self._cells:
            region = self._config.region(each.cell.region)
            found = await open_records(each.database, each.vault, region, known, given.texts)
            opened.setdefault(region.name, []).append(found)
            report.controls.setdefault(region.name, Count()).records += found.opened
            for where, count in found.unopenable.items():
                self._flaws(
                    region.name,
                    [structure.Flaw(f"{region.name}, cell {each.cell.index}: {where}",
                                    f"{count} records do not open here: they are of no account of this cell",
                                    "sealed-copies")],
                )  # fmt: skip
            if found.gone:
                report.notes.append(f"{region.name}: {found.gone} records are of erased people, and open to nobody.")
            for where, (looked, total) in found.sampled.items():
                report.notes.append(f"{region.name}: {looked:,} of {total:,} records of {where} were opened.")
        texts = sorted(
            {text for each in opened.values() for found in each for kind, text in found.texts if len(text) >= 16}
        )
        common = await asyncio.to_thread(of_the_software, texts)
        everyones = [
            marker for region, found in opened.items() for marker in markers(region, found, dict.fromkeys(common))
        ]
        for kind, count in sorted(evaluate.count_unsearchable(everyones).items()):
            report.notes.append(
                f"{count:,} × {kind} shorter than 16 bytes: unsearchable, as it would be met by chance."
            )
        if common:
            report.notes.append(f"{len(common):,} strings are also words of hutong or PostgreSQL: unsearchable.")
        for text in given.texts:
            if len(text) < 16:
                report.problems.append("a --marker is shorter than 16 bytes, so it would be met by chance")
            elif not any(marker.kind is Kind.GIVEN and marker.text == text for marker in everyones):
                everyones.append(Marker(Kind.GIVEN, "", text))
                report.problems.append(
                    f"--marker number {given.texts.index(text) + 1}: no sealed record opens to it, so that it is not "
                    f"met proves nothing"
                )
        searchable = sum(marker.searchable for marker in everyones)
        chosen, pieces = provable(choose(everyones, MARKERS_MAX), PIECES_MAX)
        if len(chosen) < searchable:
            report.notes.append(f"{len(chosen):,} of {searchable:,} searchable strings were searched: people first.")
        pieces |= {(region, piece) for region, each in opened.items() for found in each for piece in found.pieces}
        self._markers += [*chosen, *(Marker(Kind.SEALED, home, piece) for home, piece in sorted(pieces))]

    # --- reading ---

    async def _scan(self, wanted: Sequence[Marker], homes: Iterable[str] | None = None) -> evaluate.Met:
        """Read every file, or, again, those of the databases of `homes`."""
        for each in self._cells:
            try:
                await each.database.execute("CHECKPOINT")  # what was committed is then in the tables' files too
            except asyncpg.InsufficientPrivilegeError:
                continue
        report = self._report
        config = self._config
        elsewhere = [(region, folder) for region, folder in self._given.pgdata.items()]
        elsewhere += [
            (cell.region, config.mirror_dir(cell)) for cell in config.cells
            if not config.mirror_dir(cell).is_relative_to(config.data)
        ]  # fmt: skip
        problems: list[str] = []
        files = list_files(config.data, [region.name for region in config.regions], elsewhere, problems)
        if homes is not None:
            files = [file for file in files if file.region in homes and file.place in (Place.DATABASE, Place.WAL)]
        else:
            report.problems += problems
        forms = needles(wanted)
        stands_for = list(forms.values())
        met = evaluate.Met()
        self._watcher.stage("Reading every byte at rest", sum(file.size for file in files))
        await asyncio.to_thread(self._read, list(forms), files, stands_for, wanted, met, homes is None)
        return met

    def _read(
        self, patterns: list[bytes], files: list[File], stands_for: list[list[Needle]], wanted: Sequence[Marker],
        met: evaluate.Met, first: bool,
    ) -> None:  # fmt: skip
        for scanned in scan(patterns, files, self._watcher.advance):
            met.add(scanned, stands_for, wanted)
            if first:
                self._count(scanned)

    def _count(self, scanned: Scanned) -> None:
        report = self._report
        report.files += 1
        report.read[scanned.file.region, scanned.file.place] += scanned.read_bytes
        report.decoded.update(scanned.decoded)
        if scanned.problem:
            report.problems.append(scanned.problem)

    # --- is it proof? ---

    async def _prove(self, met: evaluate.Met) -> None:
        """Every marker's sealed record must have been met at home, unless it changed while the files were read."""
        unmet = evaluate.missing(self._markers, met.pieces)
        if unmet:
            there = await self._still_there(control for marker in unmet for control in marker.controls)
            again = [
                Marker(Kind.SEALED, marker.home, control.piece)
                for marker in unmet for control in marker.controls if control in there
            ]  # fmt: skip
            if again:
                met.pieces |= (await self._scan(again, {marker.home for marker in again})).pieces
            unmet = [marker for marker in evaluate.missing(unmet, met.pieces) if there & set(marker.controls)]
        failed: dict[str, int] = {}
        for marker in unmet:
            failed[marker.home] = failed.get(marker.home, 0) + 1
        for region, count in self._report.controls.items():
            count.markers = sum(marker.home == region and bool(marker.controls) for marker in self._markers)
            count.met = count.markers - failed.get(region, 0)
            if count.met < count.markers:
                self._report.problems.append(
                    f"region {region}: the scan cannot be trusted. Its database has sealed records that open to "
                    f"{count.markers} markers; those of {count.markers - count.met} were not met in its files. Are "
                    f"these the files of that database?"
                )

    async def _still_there(self, controls: Iterable[Control]) -> set[Control]:
        wanted = set(controls)
        found: set[Control] = set()
        for each in self._cells:
            found |= await still_there(each.database, self._tables, wanted)
        return found


async def _connect(stack: AsyncExitStack, dsn: str) -> "Database":
    database = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    stack.push_async_callback(database.close)
    return database
