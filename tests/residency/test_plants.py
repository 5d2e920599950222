"""Deliberate leaks, all at once, each of which the audit must find; one test for each names what was missed."""

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random

import asyncpg
import lz4.frame
import pytest
import zstandard

from hutong.engines.postgres import EmbeddedPostgres
from tests.residency.conftest import Place
from tests.residency.scene import Audited, audit
from tests.support.process import HUTONG, environment

FILES: dict[str, Callable[[str], bytes]] = {
    "eu/note.txt": str.encode,
    "eu/export.gz": lambda text: gzip.compress(text.encode()),
    "eu/export.zlib": lambda text: zlib.compress(text.encode()),
    "eu/export.zst": lambda text: zstandard.compress(text.encode()),
    "eu/export.lz4": lambda text: lz4.frame.compress(text.encode()),
    "eu/mail.b64": lambda text: base64.b64encode(b"Hello, " + text.encode()),
    "eu/dump.hex": lambda text: text.encode().hex().encode(),
    "eu/clip.utf16": lambda text: text.encode("utf-16-le"),
    "eu/path.txt": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()).encode(),
    "eu/escapes.json": lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text).encode(),
    "eu/capitals.txt": lambda text: text.upper().encode(),
    "eu/nested.bin": lambda text: b"--" + base64.b64encode(gzip.compress(json.dumps({"body": text}).encode())) + b"--",
    "eu/logs/hutong.log": lambda text: f"2026-11-24 info started\n2026-11-24 error for {text}\n".encode(),
    "eu/logs/hutong.log.1.gz": lambda text: gzip.compress(f"x\n error for {text}\n".encode()),
    "eu/cell0/keystore/note": str.encode,
    "eu/postgres/base/pgsql_tmp/pgsql_tmp99.0": str.encode,
    "eu/postgres/pg_stat/words.stat": str.encode,
    "cn/at-home-too.txt": str.encode,
    "beside.txt": str.encode,
}


@pytest.fixture(scope="module")
async def audited(site: Place) -> Audited:
    """The audit after everything below was planted."""
    canaries = site.scene.canaries.kept
    for number, (name, encode) in enumerate(FILES.items()):
        # Names of people are searched in capitals too; of what they wrote, the words as they are.
        text = canaries["alice.displayname"] if number % 2 or "capitals" in name else canaries["alice.body"]
        path = site.data / name
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.write(encode(text))
    (site.data / "ru" / canaries["alice.displayname"]).write_text("nothing")
    (site.data / "ru" / "old.key").write_bytes((site.data / "cn" / "root.key").read_bytes())
    await _plant_in_databases(site, canaries["alice.long.body"])
    return await audit(site.data)


async def _plant_in_databases(site: Place, text: str) -> None:
    cn, eu, ru = [await _connect(site, region) for region in ("cn", "eu", "ru")]
    # In the write-ahead log alone: the table is gone.
    await ru.execute("CREATE TABLE gone (words text)")
    await ru.execute("INSERT INTO gone VALUES ($1)", text)
    await ru.execute("DROP TABLE gone")
    # In the planner's statistics alone: the rows are gone.
    await eu.execute("CREATE TABLE often (words text)")
    await eu.execute("INSERT INTO often SELECT $1 FROM generate_series(1, 50)", text)
    await eu.execute("ANALYZE often")
    await eu.execute("DELETE FROM often")
    await eu.execute("VACUUM FULL often")
    # Compressed within its row, and compressed and moved out of it.
    await eu.execute("CREATE TABLE small (words text)")
    await eu.execute("ALTER TABLE small ALTER words SET STORAGE main")
    await eu.execute("INSERT INTO small VALUES (repeat('lane ', 300) || $1 || repeat('home ', 300))", text)
    await eu.execute("CREATE TABLE large (words text)")
    noise = "".join(Random(1).choices("abcdefgh", k=9_000))
    await eu.execute("INSERT INTO large VALUES ($1)", noise + text + noise)
    await eu.execute("ALTER TABLE rev ADD COLUMN remark text")
    # A person's record in another region; a word where an id should be; statistics of what is sealed.
    row = await cn.fetchrow("SELECT * FROM content LIMIT 1")
    assert row is not None
    await ru.execute("INSERT INTO content SELECT ($1::content).*", row)
    await cn.execute("INSERT INTO voided (event_id, minute) VALUES (encode('sixteen letters!'::bytea, 'hex')::uuid, 1)")
    await cn.execute("ALTER TABLE content ALTER body SET STATISTICS 100")
    await cn.execute("ANALYZE content")
    for database in (cn, eu, ru):
        await database.close()


async def _connect(site: Place, region: str) -> "asyncpg.Connection[asyncpg.Record]":
    cluster = EmbeddedPostgres(site.node.config.postgres_dir(region))
    return await asyncpg.connect(cluster.admin_dsn("cell0"))


async def test_it_ends_with_status_1_and_its_control_holds(audited: Audited) -> None:
    assert audited.status == 1
    assert audited.report["problems"] == []


@pytest.mark.parametrize("name", FILES)
async def test_a_word_in_a_file_is_found(audited: Audited, name: str) -> None:
    (finding,) = audited.found(where=f"{name}, ")
    assert "of a person whose home is cn" in finding["what"] or "of people whose home is cn" in finding["what"]
    assert (finding["region"] or "beside") == name.partition("/")[0].partition(".")[0]


@pytest.mark.parametrize(
    ("where", "what", "topic"),
    [
        ("ru/postgres/pg_wal/", "in clear", "wal"),
        ("of pg_statistic", "in clear", "database"),
        ("of small", "", "database"),
        ("of large", "within PostgreSQL's compression", "database"),
        ("eu, cell 0: public.often", "nothing declares", "undeclared"),
        ("eu, cell 0: rev.remark", "nothing declares", "undeclared"),
        ("cn, cell 0: voided.event_id", "do not begin with a minute", "values"),
        ("cn, cell 0: content.body", "statistics", "planner-statistics"),
        ("of content", "a sealed record, a copy, still sealed, of a person whose home is cn", "sealed-copies"),
        ("ru, cell 0: content.body", "do not open here", "sealed-copies"),
        ("ru/old.key", "a root key", "root-keys"),
        ("ru, a file whose name says it", "in clear", "other-files"),
    ],
)
async def test_what_is_planted_elsewhere_is_found(audited: Audited, where: str, what: str, topic: str) -> None:
    assert audited.found(where=where, what=what, topic=topic), [
        finding["where"] for finding in audited.report["findings"]
    ]


async def test_a_line_of_a_log_is_named(audited: Audited) -> None:
    assert audited.found(where="eu/logs/hutong.log, line 2")


async def test_the_report_repeats_no_word(audited: Audited, site: Place) -> None:
    said = json.dumps(audited.report) + (site.data / "audit.json").read_text()
    for text in site.scene.canaries.kept.values():
        assert text not in said


async def test_a_finding_is_explained(audited: Audited, site: Place) -> None:
    number = audited.found(where="eu/logs/hutong.log, line 2")[0]["number"]
    said = await _explain(site.data, str(number))
    assert "eu/logs/hutong.log, line 2" in said
    assert "Why it matters" in said
    assert "docs/residency.md#logs" in said
    assert "the last audit has findings 1 to" in await _explain(site.data, "999")


async def _explain(data: Path, number: str) -> str:
    process = await asyncio.create_subprocess_exec(
        HUTONG, "audit", "explain", number, "--data", data,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment(),
    )  # fmt: skip
    said, _ = await process.communicate()
    return said.decode()
