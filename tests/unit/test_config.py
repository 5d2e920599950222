"""The demo without a file, and an error for every mistake that says where it is and what would be valid."""

import re
from pathlib import Path
from typing import Any

import pytest

from hutong import config
from hutong.config import ConfigError, Rate, Turn, load
from hutong.ids import BUCKETS
from hutong.settings import Section, open_settings

TWO = """\
data = "store"
registration = "closed"

[regions.eu]
number = 7
server_name = "eu.example.org"
port = 8100
database = "postgresql://hutong:secret@10.0.0.1/eu"

[regions.cn]
number = 3
server_name = "cn.example.org:8448"

[[regions.cn.cells]]
database = "postgresql://a/one"
buckets = [0, 1000]

[[regions.cn.cells]]
database = "postgresql://b/two"
buckets = [1000, 4096]

[limits]
enabled = false
send.per_second = 3
"""


DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
ROW = re.compile(r"^\| `([a-z_.<>]+)` \| (.*?) \|", re.MULTILINE)


def test_every_setting_is_documented_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Section] = []

    def spy(*arguments: Any) -> Section:
        opened.append(open_settings(*arguments))
        return opened[0]

    monkeypatch.setattr(config, "open_settings", spy)
    load(None, {})
    there = {
        re.sub(r"^regions\.[a-z]+", "regions.<name>", path): default
        for path, default in opened[0]._sources.asked.items()
        if default is not None  # a section
    }
    documented = dict(ROW.findall(DOCS.read_text()))
    assert documented.keys() == there.keys()
    for path, default in documented.items():
        if default.startswith("`") and path != "data":
            assert default.strip("`") == (
                str(there[path]).lower() if type(there[path]) is bool else str(there[path])
            ), path


def test_the_example_in_the_docs_is_valid(tmp_path: Path) -> None:
    example = DOCS.read_text().split("```toml\n")[1].split("```")[0]
    assert [region.name for region in load(_written(tmp_path, example), {}).regions] == ["eu", "cn"]


def _written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "hutong.toml"
    file.write_text(text)
    return file


def test_without_a_file_it_is_the_demo() -> None:
    config = load(None, {}, port=8008)
    assert [(r.name, r.number, r.server_name, r.port, r.hosts) for r in config.regions] == [
        ("cn", 1, "cn.localhost", 8009, ("cn.localhost",)),
        ("eu", 2, "eu.localhost", 8010, ("eu.localhost",)),
        ("ru", 3, "ru.localhost", 8011, ("ru.localhost",)),
    ]
    assert [(cell.number, cell.database, cell.buckets) for cell in config.cells] == [
        (number * 256, None, range(BUCKETS)) for number in (1, 2, 3)
    ]
    assert (config.registration, config.default_region, config.limits.enabled) == ("open", "cn", True)


def test_port_nought_asks_the_system_for_every_port() -> None:
    config = load(None, {}, port=0)
    assert [region.port for region in config.regions] == [0, 0, 0]


def test_a_file_is_read_in_full(tmp_path: Path) -> None:
    config = load(_written(tmp_path, TWO), {})
    assert config.data == tmp_path / "store"
    cn, eu = config.region("cn"), config.region("eu")
    assert (eu.number, eu.port, eu.cells[0].database) == (7, 8100, "postgresql://hutong:secret@10.0.0.1/eu")
    assert cn.hosts == ("cn.example.org",)
    assert [(cell.number, cell.buckets) for cell in cn.cells] == [(768, range(1000)), (769, range(1000, BUCKETS))]
    assert cn.cell_of(999).index == 0
    assert cn.cell_of(1000).index == 1
    assert config.limits.send == Rate(3.0, 100)
    assert not config.limits.enabled
    assert "secret" not in repr(config)


def test_the_environment_goes_before_the_file_and_the_command_line_before_both(tmp_path: Path) -> None:
    file = _written(tmp_path, TWO)
    env = {
        "HUTONG_CONFIG": str(file),
        "HUTONG_PORT": "9001",
        "HUTONG_LIMITS_ENABLED": "true",
        "HUTONG_LIMITS_SEND_BURST": "5",
        "HUTONG_REGIONS_EU_HOSTS": "a.example, b.example",
        "HUTONG_TEST_SEED": "1",
        "HOME": "/",
    }
    config = load(None, env)
    assert (config.port, config.limits.enabled, config.limits.send) == (9001, True, Rate(3.0, 5))
    assert config.region("eu").hosts == ("a.example", "b.example")
    assert load(None, env, port=9002).port == 9002


def test_one_region_of_several_can_be_served_alone() -> None:
    config = load(None, {}, region="ru")
    assert [region.name for region in config.local_regions] == ["ru"]
    assert len(config.regions) == 3
    assert config.default_region == "ru"


def test_everything_at_rest_for_a_region_is_under_its_folder(tmp_path: Path) -> None:
    config = load(None, {}, data=tmp_path)
    cell = config.region("ru").cells[0]
    places = (
        config.root_key("ru"),
        config.postgres_dir("ru"),
        config.logs_dir("ru"),
        config.keystore_dir(cell),
        config.mirror_dir(cell),
    )
    assert all(place.is_relative_to(tmp_path / "ru") for place in places)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"closed"', '"shut"', ' line 2: registration is "shut"; it can be "open" or "closed". Nothing was started.'),
        ("port = 8100", "port = 81000", " line 7: regions.eu.port is 81000; it can be 0 to 65,535."),
        ("port = 8100", 'port = "8100"', ' regions.eu.port is "8100"; write it without quotes; it can be 0 to 65,535.'),
        ("port = 8100", 'port = "x"', ' regions.eu.port is "x"; it can be 0 to 65,535.'),
        ("port = 8100", "prot = 8100", " line 7: there is no setting regions.eu.prot; did you mean regions.eu.port?"),
        ("number = 7\n", "", " line 4: regions.eu.number is missing; it can be 1 to 32,767."),
        ("number = 7", "number = 3", " line 11: regions.cn.number is 3; that is number of region eu already."),
        ("port = 8100", "port = 8008", " line 7: regions.eu.port is 8008; that is the node's own port."),
        ("[1000, 4096]", "[1001, 4096]", " line 20: regions.cn.cells.1.buckets is [1001, 4096]; it starts at 1000"),
        ("[1000, 4096]", "[1000, 4000]", " the last cell of a region ends at 4096."),
        ("enabled = false", 'enabled = "no"', ' line 23: limits.enabled is "no"; it can be true or false.'),
        (
            "[limits]",
            "[limit]",
            " line 23: there is no setting limit.enabled; did you mean limits.enabled? Nothing was",
        ),
        (
            "[regions.eu]",
            "[regions.EU]",
            " line 4: regions.EU: a name here is small letters, digits and -, at most 16, no",
        ),
        ("postgresql://hutong:secret@", "mysql://hutong:secret@", ' it is like "postgresql://user@host:5432/name".'),
        ("postgresql://hutong:", "mysql://hutong:", " begins with mysql://, and hutong needs PostgreSQL; it is like"),
        ("postgresql://hutong:", "hutong:", " regions.eu.database is no DSN; it is like"),
        ('"store"', "store", ": is not TOML: "),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TWO
    with pytest.raises(ConfigError) as raised:
        load(_written(tmp_path, TWO.replace(old, new, 1)), {})
    assert f"hutong.toml{message}" in str(raised.value) or message in str(raised.value)
    assert str(raised.value).endswith("Nothing was started.")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"HUTONG_PORT": "65533"}, "HUTONG_PORT is 65533; the demo also takes the 3 after it: it can be 0 to 65,532."),
        ({"HUTONG_PORT": "eighty"}, 'HUTONG_PORT is "eighty"; it can be 0 to 65,535. Nothing was started.'),
        (
            {"HUTONG_LIMIT_ENABLED": "true"},
            "there is no setting HUTONG_LIMIT_ENABLED; did you mean HUTONG_LIMITS_ENABLED? Nothing was started.",
        ),
        ({"HUTONG_CONFIG": "/nowhere.toml"}, "/nowhere.toml: cannot be read: No such file or directory."),
        ({"HUTONG_PUBLIC_URL": "chat"}, 'HUTONG_PUBLIC_URL is "chat"; it is like "https://chat.example.org".'),
        ({"HUTONG_TURN_SECRET": "hush"}, "it is given together with turn.secret, or not at all. Nothing was started."),
        (
            {"HUTONG_TURN_URIS": "stun:a", "HUTONG_TURN_SECRET": "hush"},
            '"stun:a"; it is like "turn:turn.example.org:3478?transport=udp". Nothing was started.',
        ),
        ({"HUTONG_DEFAULT_REGION": "us"}, 'HUTONG_DEFAULT_REGION is "us"; it can be "cn", "eu", "ru".'),
    ],
)
def test_a_mistake_in_the_environment_is_named(env: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(None, env)
    assert message in str(raised.value)
    assert "hush" not in str(raised.value)


def test_relays_for_calls_may_be_several() -> None:
    env = {"HUTONG_TURN_URIS": "turn:a.example:3478, turns:a.example?transport=tcp", "HUTONG_TURN_SECRET": "hush"}
    found = load(None, env)
    assert found.turn == Turn(("turn:a.example:3478", "turns:a.example?transport=tcp"), "hush", 86_400)
    assert "hush" not in repr(found)


def test_a_region_that_does_not_exist_cannot_be_served() -> None:
    with pytest.raises(ConfigError, match='--region is "us"; the regions are cn, eu, ru'):
        load(None, {}, region="us")
