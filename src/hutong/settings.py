"""Settings by section and key, from a TOML file, the environment and the command line, with errors that teach.

`Section` hands out typed values and remembers what was asked for, so that a key nobody asks for is refused with the
nearest one that exists. Nothing here knows what the settings of hutong are.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

Choice = TypeVar("Choice", bound=str)

PREFIX = "HUTONG_"
OTHER_VARIABLES = ("HUTONG_CONFIG", "HUTONG_TEST_", "HUTONG_BENCH_", "HUTONG_SOAK")
"""Variables, or beginnings of them, that are not settings."""
_HEADER = re.compile(r"\s*\[(\[?)\s*([^\]]+?)\s*\]")
_PLAIN = re.compile(r"-?[0-9.]+|true|false")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"'-]+)\s*=")


class ConfigError(Exception):
    """What an operator must mend, said with file, line, key and what would be valid."""


@dataclass
class _Sources:
    file: Path | None
    text: str
    env: Mapping[str, str]
    flags: Mapping[str, Any]
    asked: dict[str, object] = field(default_factory=dict)
    variables: dict[str, None] = field(default_factory=dict)

    def where(self, path: str) -> str:
        """`hutong.toml line 14: `, or nothing when the file does not say it."""
        line = _line_of(self.text, path)
        return "" if self.file is None else f"{self.file} line {line}: " if line else f"{self.file}: "


def open_settings(path: Path | None, env: Mapping[str, str], flags: Mapping[str, Any]) -> "Section":
    """The outermost section of the file at `path`, under `env` and `flags` (keys of the outermost section).

    Raises: ConfigError when the file cannot be read or is no TOML.
    """
    text = ""
    table: dict[str, Any] = {}
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
            table = tomllib.loads(text)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}. Nothing was started.") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path}: is not UTF-8 text. Nothing was started.") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: is not TOML: {error}. Nothing was started.") from None
    return Section(_Sources(path, text, env, flags), "", table)


class Section:
    """One table of the settings. Each getter takes the key and what holds without it; None: it must be given."""

    def __init__(self, sources: _Sources, path: str, table: Mapping[str, Any]) -> None:
        self._sources = sources
        self._path = path
        self._table = table

    # What is there

    def names(self) -> tuple[str, ...]:
        """The keys that the file has here."""
        return tuple(self._table)

    def section(self, key: str) -> "Section":
        path = self._ask(key)
        table = self._table.get(key, {})
        if not isinstance(table, dict):
            raise self.wrong(key, table, f"it is a table: [{path}]")
        return Section(self._sources, path, table)

    def tables(self, key: str) -> list["Section"]:
        path = self._join(key)
        self._sources.asked.setdefault(path, [])
        tables = self._table.get(key, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self.wrong(key, tables, f"it is a list of tables: [[{path}]]")
        return [Section(self._sources, f"{path}.{index}", table) for index, table in enumerate(tables)]

    # Typed values

    def text(self, key: str, default: str | None) -> str:
        value = self._value(key, default)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, value, "it is a text")
        return value

    def matching(self, key: str, default: str | None, pattern: str, valid: str) -> str:
        value = self.text(key, default)
        if not re.fullmatch(pattern, value):
            raise self.wrong(key, value, valid)
        return value

    def choice(self, key: str, default: Choice, choices: tuple[Choice, ...]) -> Choice:
        value = self._value(key, default)
        if value not in choices:
            raise self.wrong(key, value, f"it can be {_listed(choices)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self._value(key, default)
        if isinstance(value, str) and value.lower() in ("true", "false") and self._from_env(key):
            value = value.lower() == "true"
        if not isinstance(value, bool):
            raise self.wrong(key, value, f"{self._unquoted(key, value)}it can be true or false")
        return value

    def integer(self, key: str, default: int | None, low: int, high: int) -> int:
        value = self._value(key, default)
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value) and not self._from_file(key):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, value, f"{self._unquoted(key, value)}it can be {low:,} to {high:,}")
        return value

    def number(self, key: str, default: float, low: float, high: float) -> float:
        value = self._value(key, default)
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", value) and not self._from_file(key):
            value = float(value)
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(key, value, f"{self._unquoted(key, value)}it can be {low:,} to {high:,}")
        return float(value)

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self._value(key, list(default))
        if isinstance(value, str) and self._from_env(key):
            value = [part.strip() for part in value.split(",")]
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.wrong(key, value, 'it is a list of texts, like ["eu.example.org"]')
        if not value and default:
            raise self.wrong(key, value, 'it is a list of texts, like ["eu.example.org"], and not empty')
        return tuple(value)

    def pair(self, key: str, default: tuple[int, int], low: int, high: int) -> tuple[int, int]:
        value = self._value(key, list(default))
        if (
            not isinstance(value, list)
            or len(value) != 2
            or not all(type(item) is int and low <= item <= high for item in value)
        ):
            raise self.wrong(key, value, f"it is two numbers from {low:,} to {high:,}, like [{low}, {high}]")
        return value[0], value[1]

    def path(self, key: str, default: Path) -> Path:
        """A path in the file counts from the file's folder, any other from where the command is run."""
        value = Path(self.text(key, str(default)))
        if self._from_file(key) and self._sources.file is not None:
            return self._sources.file.absolute().parent / value
        return value.absolute()

    def optional_text(self, key: str) -> str | None:
        return None if self._value(key, "") == "" else self.text(key, None)

    def optional_integer(self, key: str, low: int, high: int, default: int | None = None) -> int | None:
        return default if self._value(key, "") == "" else self.integer(key, None, low, high)

    def optional_path(self, key: str) -> Path | None:
        return None if self._value(key, "") == "" else self.path(key, Path())

    # What is wrong

    def wrong(self, key: str, value: object, valid: str) -> ConfigError:
        """The error to raise when `key` is `value`, and `valid` says what it could be."""
        path = self._join(key)
        if value is None and key not in self._flags and not self._from_env(key):
            return ConfigError(f"{self._sources.where(self._path)}{path} is missing; {valid}. Nothing was started.")
        return self.unfit(key, f"is {_shown(value)}; {valid}")

    def unfit(self, key: str, why: str) -> ConfigError:
        """The same, without the value: `why` is said of `key`, wherever it was given."""
        if key in self._flags:
            name = f"--{key}"
        elif self._from_env(key):
            name = self._variable(key)
        else:
            path = self._join(key)
            name = f"{self._sources.where(path)}{path}"
        return ConfigError(f"{name} {why}. Nothing was started.")

    def _unquoted(self, key: str, value: object) -> str:
        """A hint for the file, where a text is no number, though it looks like one."""
        quoted = self._from_file(key) and isinstance(value, str)
        return "write it without quotes; " if quoted and _PLAIN.fullmatch(str(value)) else ""

    def check_name(self, key: str, pattern: str, valid: str) -> None:
        """Refuse a key of the operator's own choice that does not match."""
        if not re.fullmatch(pattern, key):
            path = self._join(key)
            raise ConfigError(
                f'{self._sources.where(path)}{path}: a name here is {valid}, not "{key}". Nothing was started.'
            )

    def refuse_unknown(self) -> None:
        """Refuse what nobody has asked for, in the file and in the environment. To be called last, outermost."""
        known = {_plain(path): None for path in self._sources.asked}
        for path in _leaves(self._table, ""):
            if path not in self._sources.asked:
                line, name = self._sources.where(path), _plain(path)
                raise ConfigError(f"{line}there is no setting {name}{_nearest(name, known)} Nothing was started.")
        for variable in self._sources.env:
            if (
                variable.startswith(PREFIX)
                and variable not in self._sources.variables
                and not variable.startswith(OTHER_VARIABLES)
            ):
                nearest = _nearest(variable, self._sources.variables)
                raise ConfigError(f"environment: there is no setting {variable}{nearest} Nothing was started.")

    # How a value is found

    @property
    def _flags(self) -> Mapping[str, Any]:
        return {} if self._path else self._sources.flags

    def _join(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def _variable(self, key: str) -> str:
        return PREFIX + re.sub(r"[^A-Z0-9]", "_", self._join(key).upper())

    def _from_env(self, key: str) -> bool:
        return key not in self._flags and self._variable(key) in self._sources.env

    def _from_file(self, key: str) -> bool:
        return key in self._table and key not in self._flags and self._variable(key) not in self._sources.env

    def _ask(self, key: str) -> str:
        path = self._join(key)
        self._sources.asked[path] = None
        return path

    def _value(self, key: str, default: object) -> object:
        self._sources.asked.setdefault(self._join(key), default)
        self._sources.variables[self._variable(key)] = None
        if key in self._flags:
            return self._flags[key]
        if self._from_env(key):
            return self._sources.env[self._variable(key)]
        return self._table.get(key, default)


def _leaves(table: Mapping[str, Any], path: str) -> list[str]:
    """The path of every value, and of every empty table, of `table`."""
    found: list[str] = []
    for key, value in table.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:
            found += _leaves(value, here)
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for index, item in enumerate(value):
                found += _leaves(item, f"{here}.{index}")
        else:
            found.append(here)
    return found


def _line_of(text: str, path: str) -> int | None:
    """The line on which the file gives `path`, or the nearest table around it. tomllib does not say."""
    wanted = path.split(".")
    table: list[str] = []
    counts: dict[str, int] = {}
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            table = _parts(header[2])
            if header[1]:
                name = ".".join(table)
                counts[name] = counts.get(name, -1) + 1
                table.append(str(counts[name]))
            here = table
        else:
            key = _KEY.match(line)
            if key is None:
                continue
            here = table + _parts(key[1])
        if here == wanted[: len(here)] and (best is None or len(here) > best[0]):
            best = (len(here), number)
    return best[1] if best else None


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]


def _plain(path: str) -> str:
    """Without the numbers of list items, as an operator writes it."""
    return ".".join(part for part in path.split(".") if not part.isdigit())


def _nearest(name: str, known: Mapping[str, None]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; there are {_listed(sorted(known)[:12])} ..."


def _listed(words: tuple[str, ...] | list[str]) -> str:
    quoted = [f'"{word}"' for word in words]
    return " or ".join(quoted) if len(quoted) < 3 else ", ".join(quoted)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
