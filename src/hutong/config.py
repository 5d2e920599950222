"""`hutong.toml`, the environment and the command line become one frozen, typed `Config`.

Without a file it is the demo: three regions, `cn`, `eu` and `ru`, all in this process, each with an embedded database.
A setting of the file is `section.key`; the same in the environment is `HUTONG_SECTION_KEY`, and goes before the file.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from hutong.ids import BUCKETS, CellNo, RegionNo, home_no
from hutong.settings import ConfigError, Section, open_settings

__all__ = ["Cell", "Config", "ConfigError", "Limits", "Log", "Metrics", "Passwords", "Rate", "Region", "Turn", "load"]

DEMO_REGIONS = {"cn": 1, "eu": 2, "ru": 3}
CELLS_MAX = 256
PORT_MAX = 65_535
REGION_NUMBER_MAX = 32_767
_REGION_NAME = r"[a-z][a-z0-9-]{0,15}"
_SERVER_NAME = r"[A-Za-z0-9.-]{1,230}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?"


@dataclass(frozen=True)
class Cell:
    """One cell: `database` is a DSN, or None for the embedded cluster of its region."""

    number: CellNo
    region: str
    index: int
    buckets: range
    database: str | None = field(default=None, repr=False)  # a DSN may hold a password

    @property
    def database_name(self) -> str:
        """The name of its database in an embedded cluster."""
        return f"cell{self.index}"


@dataclass(frozen=True)
class Region:
    """One jurisdiction. `local`: this process serves it."""

    name: str
    number: RegionNo
    server_name: str
    port: int | None
    hosts: tuple[str, ...]
    cells: tuple[Cell, ...]
    local: bool = True
    keystore_mirror: Path | None = None

    def cell_of(self, bucket: int) -> Cell:
        """The cell that serves `bucket`."""
        return next(cell for cell in self.cells if bucket in cell.buckets)


@dataclass(frozen=True)
class Rate:
    """A token bucket: `burst` at once, then `per_second`."""

    per_second: float
    burst: int


@dataclass(frozen=True)
class Limits:
    """What one client may ask for. `enabled` switches the rates; sizes and times always hold."""

    enabled: bool = True
    request_bytes_max: int = 1 << 20
    header_bytes_max: int = 32 << 10
    header_seconds_max: float = 10.0
    request_seconds_max: float = 60.0
    idle_seconds_max: float = 75.0
    connections_max: int = 100_000
    reads_max: int = 500
    writes_max: int = 500
    heavy_max: int = 64
    passwords_max: int = 64
    answer_seconds_max: float = 2.0
    send: Rate = Rate(20.0, 100)
    read: Rate = Rate(50.0, 200)
    join: Rate = Rate(2.0, 20)
    create_room: Rate = Rate(1.0, 10)
    login: Rate = Rate(0.2, 10)
    register: Rate = Rate(0.1, 20)


@dataclass(frozen=True)
class Passwords:
    """What a password's hash costs (Argon2id), and how many are worked out at once.

    `at_once`: 0 for one fewer than there are processors, at least one.
    """

    memory_kib: int = 19_456
    passes: int = 2
    at_once: int = 0
    chars_min: int = 8


@dataclass(frozen=True)
class Log:
    """`files`: also into DATA/<region>/logs/hutong.log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    files: bool = True


@dataclass(frozen=True)
class Metrics:
    """Where Prometheus may ask; no `port`, no listener."""

    host: str = "127.0.0.1"
    port: int | None = None


@dataclass(frozen=True)
class Turn:
    """A server that relays calls for those who hold a password made with `secret`, for `lifetime_s` each."""

    uris: tuple[str, ...]
    secret: str = field(repr=False)
    lifetime_s: int


@dataclass(frozen=True)
class Config:
    """All that an operator can set, checked."""

    data: Path
    host: str
    port: int
    regions: tuple[Region, ...]
    default_region: str
    registration: Literal["open", "closed"] = "open"
    public_url: str | None = None
    erasure_grace_hours: int = 0
    limits: Limits = Limits()
    passwords: Passwords = Passwords()
    log: Log = Log()
    metrics: Metrics = Metrics()
    turn: Turn | None = None
    file: Path | None = None

    @property
    def metrics_port(self) -> int | None:
        return self.metrics.port

    @property
    def local_regions(self) -> tuple[Region, ...]:
        """The regions that this process serves."""
        return tuple(region for region in self.regions if region.local)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell of every region, served here or not."""
        return tuple(cell for region in self.regions for cell in region.cells)

    def region(self, name: str) -> Region:
        """Raises: KeyError."""
        for region in self.regions:
            if region.name == name:
                return region
        raise KeyError(name)

    def region_dir(self, region: str) -> Path:
        """Everything at rest for `region` lies under this folder."""
        return self.data / region

    def root_key(self, region: str) -> Path:
        return self.data / region / "root.key"

    def postgres_dir(self, region: str) -> Path:
        return self.data / region / "postgres"

    def logs_dir(self, region: str) -> Path:
        return self.data / region / "logs"

    def keystore_dir(self, cell: Cell) -> Path:
        return self.data / cell.region / f"cell{cell.index}" / "keystore"

    def mirror_dir(self, cell: Cell) -> Path:
        """Where the keystore's mirror is: beside it, or where `regions.<name>.keystore_mirror` says."""
        mirror = self.region(cell.region).keystore_mirror
        if mirror is not None:
            return mirror / f"cell{cell.index}"
        return self.data / cell.region / f"cell{cell.index}" / "keystore-mirror"


def load(
    path: Path | None,
    env: Mapping[str, str],
    *,
    data: Path | None = None,
    host: str | None = None,
    port: int | str | None = None,
    region: str | None = None,
) -> Config:
    """Read `path` (or HUTONG_CONFIG, or nothing: the demo), then `env`, then what the command line says.

    `region`: serve only this one of the regions.

    Raises: ConfigError, saying file, line, key and what would be valid.
    """
    if path is None and env.get("HUTONG_CONFIG"):
        path = Path(env["HUTONG_CONFIG"])
    flags = {"data": str(data) if data is not None else None, "host": host, "port": port}
    top = open_settings(path, env, {key: value for key, value in flags.items() if value is not None})

    node_port = top.integer("port", 8008, 0, PORT_MAX)
    regions = _regions(top, node_port, serve_only=region)
    names = tuple(region.name for region in regions)
    config = Config(
        data=top.path("data", Path("data")),
        host=top.text("host", "127.0.0.1"),
        port=node_port,
        regions=regions,
        default_region=top.choice("default_region", region or names[0], names),
        registration=top.choice("registration", "open", ("open", "closed")),
        public_url=_public_url(top),
        erasure_grace_hours=top.integer("erasure_grace_hours", 0, 0, 24 * 90),
        limits=_limits(top.section("limits")),
        passwords=_passwords(top.section("passwords")),
        log=_log(top.section("log")),
        metrics=_metrics(top.section("metrics")),
        turn=_turn(top.section("turn")),
        file=path,
    )
    top.refuse_unknown()
    return config


def _public_url(top: Section) -> str | None:
    url = top.optional_text("public_url")
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise top.wrong("public_url", url, 'it is like "https://chat.example.org"')
    return url.rstrip("/")


def _limits(section: Section) -> Limits:
    plain = Limits()
    return Limits(
        enabled=section.flag("enabled", plain.enabled),
        request_bytes_max=section.integer("request_bytes_max", plain.request_bytes_max, 65_536, 64 << 20),
        header_bytes_max=section.integer("header_bytes_max", plain.header_bytes_max, 4_096, 1 << 20),
        header_seconds_max=section.number("header_seconds_max", plain.header_seconds_max, 0.1, 600),
        request_seconds_max=section.number("request_seconds_max", plain.request_seconds_max, 0.1, 600),
        idle_seconds_max=section.number("idle_seconds_max", plain.idle_seconds_max, 1, 3_600),
        connections_max=section.integer("connections_max", plain.connections_max, 10, 1_000_000),
        reads_max=section.integer("reads_max", plain.reads_max, 1, 1_000_000),
        writes_max=section.integer("writes_max", plain.writes_max, 1, 1_000_000),
        heavy_max=section.integer("heavy_max", plain.heavy_max, 1, 1_000_000),
        passwords_max=section.integer("passwords_max", plain.passwords_max, 1, 1_000_000),
        answer_seconds_max=section.number("answer_seconds_max", plain.answer_seconds_max, 0.1, 600),
        send=_rate(section, "send", plain.send),
        read=_rate(section, "read", plain.read),
        join=_rate(section, "join", plain.join),
        create_room=_rate(section, "create_room", plain.create_room),
        login=_rate(section, "login", plain.login),
        register=_rate(section, "register", plain.register),
    )


def _rate(limits: Section, key: str, plain: Rate) -> Rate:
    section = limits.section(key)
    return Rate(
        per_second=section.number("per_second", plain.per_second, 0.001, 1_000_000),
        burst=section.integer("burst", plain.burst, 1, 1_000_000),
    )


def _passwords(section: Section) -> Passwords:
    plain = Passwords()
    return Passwords(
        memory_kib=section.integer("memory_kib", plain.memory_kib, 8, 4 << 20),
        passes=section.integer("passes", plain.passes, 1, 100),
        at_once=section.integer("at_once", plain.at_once, 0, 64),
        chars_min=section.integer("chars_min", plain.chars_min, 1, 512),
    )


def _log(section: Section) -> Log:
    plain = Log()
    return Log(
        level=section.choice("level", plain.level, ("debug", "info", "warning", "error")),
        format=section.choice("format", plain.format, ("text", "json")),
        files=section.flag("files", plain.files),
    )


def _metrics(section: Section) -> Metrics:
    return Metrics(
        host=section.text("host", Metrics.host),
        port=section.optional_integer("port", 0, 65_535),
    )


def _turn(section: Section) -> Turn | None:
    uris = section.texts("uris", ())
    secret = section.optional_text("secret")
    lifetime_s = section.integer("lifetime_s", 86_400, 60, 7 * 86_400)
    for uri in uris:
        if not re.fullmatch(r"turns?:[A-Za-z0-9.:\[\]-]+(\?transport=(udp|tcp))?", uri):
            raise section.wrong("uris", uri, 'it is like "turn:turn.example.org:3478?transport=udp"')
    if bool(uris) != (secret is not None):
        raise section.wrong("uris", list(uris), "it is given together with turn.secret, or not at all")
    return Turn(uris, secret, lifetime_s) if secret is not None else None


def _regions(top: Section, node_port: int, *, serve_only: str | None) -> tuple[Region, ...]:
    listed = top.section("regions")
    demo = not listed.names()
    names = listed.names() or tuple(DEMO_REGIONS)
    if serve_only is not None and serve_only not in names:
        raise ConfigError(f'--region is "{serve_only}"; the regions are {", ".join(names)}')
    if demo and node_port > PORT_MAX - len(names):
        last = PORT_MAX - len(names)
        raise top.unfit(
            "port", f"is {node_port}; the demo also takes the {len(names)} after it: it can be 0 to {last:,}"
        )
    regions: list[Region] = []
    taken: dict[tuple[str, object], str] = {}
    for place, name in enumerate(names, 1):
        listed.check_name(name, _REGION_NAME, "small letters, digits and -, at most 16")
        section = listed.section(name)
        region = _region(section, name, place, node_port if demo else None, local=serve_only in (None, name))
        unique: list[tuple[str, object]] = [("number", region.number), ("server_name", region.server_name)]
        if region.port:
            unique.append(("port", region.port))
        for key, value in unique:
            if (key, value) in taken:
                raise section.wrong(key, value, f"that is {key} of region {taken[key, value]} already")
            taken[key, value] = name
        if region.port and region.port == node_port:
            raise section.wrong("port", region.port, "that is the node's own port")
        regions.append(region)
    return tuple(regions)


def _region(section: Section, name: str, place: int, demo_port: int | None, *, local: bool) -> Region:
    if demo_port is None:
        number = section.integer("number", None, 1, REGION_NUMBER_MAX)
        server_name = section.matching("server_name", None, _SERVER_NAME, 'it is like "eu.example.org"')
        port = section.optional_integer("port", 0, 65_535)
    else:
        number = section.integer("number", DEMO_REGIONS[name], 1, REGION_NUMBER_MAX)
        server_name = section.matching("server_name", f"{name}.localhost", _SERVER_NAME, 'it is like "eu.example.org"')
        port = section.optional_integer("port", 0, 65_535, demo_port + place if demo_port else 0)
    return Region(
        name=name,
        number=RegionNo(number),
        server_name=server_name,
        port=port,
        hosts=section.texts("hosts", (server_name.rpartition(":")[0] or server_name,)),
        cells=tuple(_cells(section, name, RegionNo(number))),
        local=local and section.flag("local", default=True),
        keystore_mirror=section.optional_path("keystore_mirror"),
    )


def _cells(region: Section, name: str, number: RegionNo) -> Iterator[Cell]:
    whole = _database(region)
    listed = region.tables("cells")
    if len(listed) > CELLS_MAX:
        raise region.wrong("cells", len(listed), f"a region has at most {CELLS_MAX} cells")
    if listed and whole is not None:
        raise region.wrong("database", "given", "with [[cells]] each cell names its own")
    if not listed:
        yield Cell(CellNo(number * CELLS_MAX), name, 0, range(BUCKETS), whole)
        return
    expected = 0
    for index, section in enumerate(listed):
        even = (BUCKETS * index // len(listed), BUCKETS * (index + 1) // len(listed))
        start, stop = section.pair("buckets", even, 0, BUCKETS)
        if start != expected or stop <= start:
            raise section.wrong("buckets", [start, stop], f"it starts at {expected} and ends later: [first, last + 1]")
        expected = stop
        yield Cell(CellNo(number * CELLS_MAX + index), name, index, range(start, stop), _database(section))
    if expected != BUCKETS:
        raise listed[-1].wrong("buckets", [start, stop], f"the last cell of a region ends at {BUCKETS}")
    assert home_no(number, BUCKETS - 1) // BUCKETS == number


def _database(section: Section) -> str | None:
    dsn = section.optional_text("database")
    if dsn is not None and not dsn.startswith(("postgres://", "postgresql://")):
        raise section.unfit("database", f'{_kind(dsn)}; it is like "postgresql://user@host:5432/name"')
    return dsn


def _kind(dsn: str) -> str:
    """What `dsn` is instead of one of PostgreSQL's. It is not shown: it may hold a password."""
    scheme, sign, _ = dsn.partition("://")
    return f"begins with {scheme}://, and hutong needs PostgreSQL" if sign and scheme.isalnum() else "is no DSN"
