"""Reading files: which, in what order, and what happens to those that vanish, cannot be read, or are alike."""

import gzip
import os
from pathlib import Path

import pytest

from hutong.residency import scanner
from hutong.residency.files import File, Place, list_files, place_of
from hutong.residency.scanner import FILE_NAME, READ_BYTES, Scanned, Scanner, scan

WORDS = b"Nine o'clock, under the old plum tree"


def file(path: Path, place: Place = Place.OTHER) -> File:
    return File(path, path.name, "ru", place, path.stat().st_size if path.exists() else 0)


def paths(scanned: Scanned) -> set[tuple[str, ...]]:
    return {hit.path for hit in scanned.hits}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("root.key", Place.KEYSTORE),
        ("cell0/keystore/page-00000000", Place.KEYSTORE),
        ("cell1/keystore-mirror/head", Place.KEYSTORE),
        ("postgres/base/16384/2619", Place.DATABASE),
        ("postgres/global/1260", Place.DATABASE),
        ("postgres/postgresql.conf", Place.DATABASE),
        ("postgres/pg_wal/000000010000000000000001", Place.WAL),
        ("postgres/pg_stat/pgstat.stat", Place.STATISTICS),
        ("postgres/base/pgsql_tmp/pgsql_tmp12.0", Place.TEMPORARY),
        ("cell0/keystore/page-00000000.new", Place.KEYSTORE),
        ("postgres.part/base/1/1247", Place.TEMPORARY),
        ("logs/hutong.log", Place.LOGS),
        ("logs/hutong.log.1", Place.LOGS),
        ("export.json", Place.OTHER),
        ("base/5/1247", Place.DATABASE),
    ],
)
def test_the_place_of_a_file(path: str, place: Place) -> None:
    assert place_of(path) is place


def test_every_file_is_listed_once_and_the_log_last_in_order(tmp_path: Path) -> None:
    for name in ("ru/postgres/pg_wal/000000010000000000000002", "ru/postgres/pg_wal/000000010000000000000001"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "zz.txt").write_text("beside")
    (tmp_path / "ru" / "loop").symlink_to(tmp_path)
    (tmp_path / "ru" / "again").symlink_to(tmp_path / "zz.txt")
    (tmp_path / "ru" / "nowhere").symlink_to(tmp_path / "missing")
    os.mkfifo(tmp_path / "ru" / "pipe")
    problems: list[str] = []
    files = list_files(tmp_path, ["ru"], (), problems)
    assert [(file.shown, file.region, file.place) for file in files] == [
        ("zz.txt", "", Place.OTHER),
        ("ru/postgres/pg_wal/000000010000000000000001", "ru", Place.WAL),
        ("ru/postgres/pg_wal/000000010000000000000002", "ru", Place.WAL),
    ]
    assert files[2].lead == files[1].path
    assert problems == []


def test_a_folder_outside_belongs_to_its_region(tmp_path: Path) -> None:
    (tmp_path / "pg" / "base").mkdir(parents=True)
    (tmp_path / "pg" / "base" / "1247").write_bytes(b"x")
    (tmp_path / "data").mkdir()
    problems: list[str] = []
    (found,) = list_files(tmp_path / "data", ["ru"], [("ru", tmp_path / "pg")], problems)
    assert (found.region, found.place) == ("ru", Place.DATABASE)
    list_files(tmp_path / "data", ["ru"], [("ru", tmp_path / "gone")], problems)
    assert problems == [f"{tmp_path / 'gone'}: no such folder"]


def test_a_file_that_is_gone_is_no_problem_and_one_that_cannot_be_read_is(tmp_path: Path) -> None:
    reader = Scanner([WORDS])
    assert reader.scan(file(tmp_path / "gone")).problem is None
    (tmp_path / "folder").mkdir()
    assert "directory" in str(reader.scan(file(tmp_path / "folder")).problem)


def test_the_name_of_a_file_is_searched(tmp_path: Path) -> None:
    path = tmp_path / WORDS.decode()
    path.write_bytes(b"nothing")
    assert paths(Scanner([WORDS]).scan(file(path))) == {(FILE_NAME,)}


def test_equal_files_are_both_reported(tmp_path: Path) -> None:
    reader = Scanner([WORDS])
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(gzip.compress(WORDS, mtime=0))
        assert paths(reader.scan(file(tmp_path / name))) == {("gzip",)}
    (tmp_path / "three").write_bytes(b"nothing")
    assert reader.scan(file(tmp_path / "three")).hits == []


def test_offsets_are_right_behind_unused_room_and_at_the_edges_of_what_is_read(tmp_path: Path) -> None:
    reader = Scanner([WORDS])
    for start in (READ_BYTES - 5, 3 * READ_BYTES, 3 * READ_BYTES + 17, 4 * READ_BYTES - 1):
        path = tmp_path / str(start)
        path.write_bytes(bytes(start) + WORDS + bytes(100))
        scanned = reader.scan(file(path))
        assert [(hit.offset, hit.path) for hit in scanned.hits] == [(start, ())]
        assert scanned.read_bytes == start + len(WORDS) + 100


def test_two_processes_find_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for number in range(6):
        path = tmp_path / str(number)
        path.write_bytes(os.urandom(1_000) + (WORDS if number % 2 else b"") + gzip.compress(WORDS))
        files.append(file(path))
    alone = {scanned.file: paths(scanned) for scanned in scan([WORDS], files, lambda _: None)}
    monkeypatch.setattr(scanner, "PARALLEL_BYTES_MIN", 0)
    monkeypatch.setattr(scanner, "_BATCH_BYTES", 3_000)
    done: list[int] = []
    together = {scanned.file: paths(scanned) for scanned in scan([WORDS], files, done.append)}
    assert together == alone
    assert sum(done) == sum(file.size for file in files)
