"""What an audit says, and with which status it ends."""

from collections import Counter
from io import StringIO
from pathlib import Path

from rich.console import Console

from hutong.residency.evaluate import Met, missing
from hutong.residency.files import File, Place
from hutong.residency.markers import Control, Kind, Marker, Needle
from hutong.residency.report import Count, Finding, Report, phrase, show, size
from hutong.residency.scanner import Scanned
from hutong.residency.stream import Hit

FINDING = Finding("ru", "logs", "ru/logs/hutong.log, line 4", "a name, in clear, of a person whose home is cn", "logs")


def test_findings_go_before_problems_and_both_before_clean() -> None:
    assert Report("data").status == 0
    assert Report("data", problems=["a file cannot be read"]).status == 2
    assert Report("data", problems=["a file cannot be read"], findings=[FINDING]).status == 1


def test_a_report_of_a_leak() -> None:
    report = Report("data", seconds=3, files=1_204, columns=321, findings=[FINDING])
    report.read = Counter({("ru", Place.LOGS): 3_400_000, ("ru", Place.DATABASE): 812_000_000, ("", Place.OTHER): 63})
    report.controls = {"ru": Count(markers=41, met=41, records=20)}
    said = StringIO()
    show(report, Console(file=said, width=120, highlight=False))
    first, *others = [" ".join(line.split()) for line in said.getvalue().splitlines()]
    assert first.startswith("Read every byte at rest: 815 MB in 1,204 files, 3 s. Also decoded 0 B of what was")
    assert others == [
        "region place read opened by the vault at home in clear",
        "ru PostgreSQL 812 MB 41 of 41 markers 0",
        "ru logs 3.4 MB - 1 ✗",
        "(beside) other 63 B - 0",
        "Structure: 321 columns checked against their declarations; 0 findings",
        "✗ 1 finding",
        "1 ru/logs/hutong.log, line 4: a name, in clear, of a person whose home is cn",
        "Why it matters: docs/residency.md#logs Next: hutong audit explain 1",
    ]


def test_a_report_that_is_no_proof_says_so() -> None:
    said = StringIO()
    show(Report("data", problems=["region ru: the scan cannot be trusted."]), Console(file=said, width=120))
    assert "! region ru: the scan cannot be trusted." in said.getvalue()
    assert "This is no proof" in said.getvalue()


def test_sizes() -> None:
    assert [size(count) for count in (63, 999, 17_135, 812_000_000, 2_700_000_000)] == [
        "63 B", "999 B", "17.1 kB", "812 MB", "2.7 GB",
    ]  # fmt: skip


def test_a_leak_in_words() -> None:
    assert phrase(Kind.USER_ID, "in clear", ("base64", "gzip"), "cn", {Kind.USER_ID: 2, Kind.CONTENT: 3}) == (
        "2 user ids, in clear, within gzip, within base64, of people whose home is cn (also 3 parts of content)"
    )
    assert phrase(Kind.ROOT_KEY, "hex", (), "cn", {Kind.ROOT_KEY: 1}) == "a root key, hex, of cn"
    assert phrase(Kind.GIVEN, "in clear", (), "cn", {Kind.GIVEN: 1}) == "a string given by the operator, in clear"


def met(*hits: Hit, region: str = "ru", shown: str = "ru/x.log", path: Path = Path("/nowhere")) -> Met:
    markers = [
        Marker(Kind.USER_ID, "cn", b"@li:cn.localhost"),
        Marker(Kind.CONTENT, "cn", b"under the old plum"),
        Marker(Kind.ROOT_KEY, "cn", bytes(32)),
        Marker(Kind.SEALED, "cn", b"s" * 16),
    ]
    found = Met()
    needles = [[Needle(number, "in clear")] for number in range(len(markers))]
    found.add(Scanned(File(path, shown, region, Place.LOGS, 9), hits=list(hits)), needles, markers)
    return found


def test_one_finding_for_each_file_and_home_with_its_most_telling_string() -> None:
    (finding,) = met(Hit(1, (), 3), Hit(0, ("gzip",), 40), Hit(0, (), 90)).findings({})
    assert finding.what == "a user id, in clear, of a person whose home is cn (also a part of content)"
    assert finding.where == "ru/x.log, byte 90"


def test_a_sealed_record_is_proof_at_home_and_a_finding_abroad() -> None:
    at_home = met(Hit(3, (), 0), region="cn")
    assert (at_home.pieces, at_home.findings({})) == ({b"s" * 16}, [])
    (finding,) = met(Hit(3, (), 0)).findings({})
    assert finding.topic == "sealed-copies"


def test_a_root_key_belongs_into_its_own_file_alone() -> None:
    assert met(Hit(2, (), 0), region="cn", shown="cn/root.key").findings({}) == []
    for region, shown in (("ru", "ru/root.key"), ("cn", "cn/old/root.key"), ("", "cn.root.key")):
        (finding,) = met(Hit(2, (), 0), region=region, shown=shown).findings({})
        assert finding.topic == "root-keys"


def test_a_relation_is_named_also_in_its_later_segments() -> None:
    for shown in ("ru/postgres/base/16384/16400", "ru/postgres/base/16384/16400.2"):
        (finding,) = met(Hit(0, (), 9_000), shown=shown).findings({"ru": {"base/16384/16400": "letters"}})
        assert finding.where == f"{shown}, page 1 of letters"


def test_a_line_is_named_in_a_text(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes("Zeile eins für alle\nline two\nand @li:cn.localhost\n".encode())
    (finding,) = met(Hit(0, (), 34), path=tmp_path / "x.log").findings({})
    assert finding.where == "ru/x.log, line 3"


def test_a_marker_is_proved_by_any_of_its_records() -> None:
    first, second = (Control(bytes((number,)) * 16, "content", "body", bytes(16)) for number in (1, 2))
    marker = Marker(Kind.NAME, "cn", b"Li of the old plum tree", (first, second))
    assert missing([marker], {second.piece}) == []
    assert missing([marker], set()) == [marker]
    assert missing([Marker(Kind.ROOT_KEY, "cn", bytes(32))], set()) == []
