"""docs/api/matrix.md, made from the specification's OpenAPI files and the router: `make docs`.

What the router answers is looked up, never said here; only why something is not served stands below.
"""

import re
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hutong import config
from hutong.accounts.homes import Homes
from hutong.cells.link import InProcessLinks
from hutong.http import openapi
from hutong.http.app import METHODS
from hutong.node import Node
from tests.support.openapi import REPOSITORY, VARIABLE, Contract, Operation, specification

PAGE = REPOSITORY / "docs" / "api" / "matrix.md"
COMMAND = "make docs"
SPECIFICATION = "Client-Server API v1.19"
UNTAGGED = {
    "appservice_ping": "Application services",
    "refresh": "Session management",
    "room_summary": "Room discovery",
}
"""The module of the files whose operations name none."""
ROW = re.compile(r"^\| (?P<method>[A-Z]+) \| `(?P<path>[^`]+)` \| (?P<slice>.*?) \| (?P<status>[a-z ]+) \|")


class Status(StrEnum):
    SERVED = "served"
    NOT_YET = "not yet"
    REFUSED = "refused"


@dataclass(frozen=True)
class Why:
    """Why some operations are not served: of whole files of the specification, or of single ones of a file."""

    status: Status
    reason: str
    files: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()


_CLIENT = "/_matrix/client/v3"
UNSERVED = (
    Why(Status.NOT_YET, "comes with end-to-end encryption", ("key_backup", "to_device")),
    Why(Status.NOT_YET, "comes with media", ("content-repo", "authed-content-repo")),
    Why(Status.NOT_YET, "comes with push", ("pusher", "pushrules", "notifications")),
    Why(Status.NOT_YET, "comes with search", ("search",)),
    Why(Status.NOT_YET, "comes with previews of rooms", ("room_summary",)),
    Why(Status.NOT_YET, "comes with spaces", ("space_hierarchy",)),
    Why(Status.NOT_YET, "comes with reports to the operator", ("report_content",)),
    Why(Status.NOT_YET, "comes with bridges", ("appservice_ping", "appservice_room_directory")),
    Why(Status.NOT_YET, "comes with the operator's console", ("admin", "support")),
    Why(Status.NOT_YET, "nobody has asked for it", ("room_upgrades", "room_event_by_timestamp", "mutual_rooms")),
    Why(Status.NOT_YET, "a second device signs in with the password", ("login_token",)),
    Why(
        Status.REFUSED,
        "no e-mail addresses or telephone numbers are kept, so there are none to prove",
        ("administrative_contact",),
        (
            f"POST {_CLIENT}/account/password/email/requestToken",
            f"POST {_CLIENT}/account/password/msisdn/requestToken",
            f"POST {_CLIENT}/register/email/requestToken",
            f"POST {_CLIENT}/register/msisdn/requestToken",
        ),
    ),
    Why(Status.REFUSED, "addresses of clients are not kept", (), (f"GET {_CLIENT}/admin/whois/{{userId}}",)),
    Why(Status.REFUSED, "registration is open or closed by the configuration", ("registration_tokens",)),
    Why(Status.REFUSED, "one signs in at home, with a password", ("sso_login_redirect", "oauth_server_metadata")),
    Why(Status.REFUSED, "others would check the token server to server, where hutong serves nothing", ("openid",)),
    Why(Status.REFUSED, "there is no server to server API for a policy server to be asked in", ("policy_server",)),
    Why(Status.REFUSED, "long replaced by `/sync` and `/messages`", ("old_sync", "room_initial_sync")),
    Why(Status.REFUSED, "a world-readable room is read by `/messages`, without waiting", ("peeking_events",)),
    Why(
        Status.REFUSED,
        "deprecated: whoever knew the address could read it; `/_matrix/client/v1/media` asks who reads",
        (),
        (
            "GET /_matrix/media/v3/download/{serverName}/{mediaId}",
            "GET /_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}",
            "GET /_matrix/media/v3/preview_url",
            "GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}",
        ),
    ),
)


class Incomplete(Exception):
    """The table above does not say why something is not served."""


@dataclass(frozen=True)
class Row:
    """One operation. `slice`: the folder of `src/hutong` that answers, empty where none does."""

    module: str
    method: str
    path: str
    slice: str
    status: Status
    reason: str


@dataclass(frozen=True)
class Route:
    method: str
    template: str
    slice: str

    @property
    def key(self) -> tuple[str, str]:
        return self.method, nameless(self.template)


def nameless(template: str) -> str:
    """A path template without the names of its parameters, which differ between the specification and the router."""
    return re.sub(r"\{.*?\}", "{}", template).strip()


def key_of(operation: Operation) -> tuple[str, str]:
    """What the operation has in common with the `Route` that serves it."""
    return operation.method.upper(), nameless(operation.template)


def routes() -> list[Route]:
    """What the router of a node answers. No engine is started for it."""
    settings = config.load(None, {})
    node = Node(settings, InProcessLinks())
    found = openapi.with_document(node._routes(Homes(settings, {}), time.time, secrets.token_bytes))
    return list(told(found))


def told(table: Iterable[tuple[str, object]]) -> Iterator[Route]:
    """The routes of a router's table, method by method."""
    for template, resource in table:
        for method in METHODS:
            if hasattr(resource, f"on_{method.lower()}"):
                yield Route(method, template, type(resource).__module__.split(".")[1])


def rows(contract: Contract, served: Iterable[Route]) -> list[Row]:
    """One row for each operation of the specification, by module.

    Raises: Incomplete for an operation that is not served, and nobody says why.
    """
    by_key = {route.key: route for route in served}
    made = []
    for operation in contract.operations:
        file, method = Path(operation.document).stem, operation.method.upper()
        path = operation.template.strip()
        module = operation.tags[0] if operation.tags else UNTAGGED.get(file, file)
        route = by_key.get(key_of(operation))
        if route is not None:
            made.append(Row(module, method, path, route.slice, Status.SERVED, ""))
            continue
        _, why = _why(file, f"{method} {path}")
        made.append(Row(module, method, path, "", why.status, why.reason))
    return sorted(made, key=lambda row: (row.module.lower(), row.path.lower(), METHODS.index(row.method)))


def surplus(contract: Contract, served: Iterable[Route]) -> set[str]:
    """What UNSERVED says of nothing: it is served by now, or is not in the specification."""
    keys = {route.key for route in served}
    used = set()
    for operation in contract.operations:
        if key_of(operation) not in keys:
            name = f"{operation.method.upper()} {operation.template.strip()}"
            used.add(_why(Path(operation.document).stem, name)[0])
    return {entry for why in UNSERVED for entry in (*why.files, *why.operations)} - used


def _why(file: str, operation: str) -> tuple[str, Why]:
    """The entry of UNSERVED that speaks of an operation, and what it says."""
    for entry in (operation, file):
        for why in UNSERVED:
            if entry in (*why.files, *why.operations):
                return entry, why
    raise Incomplete(f"{operation} ({file}.yaml) is not served; say why in UNSERVED in {_here()}")


def _here() -> str:
    return str(Path(__file__).relative_to(REPOSITORY))


def page(contract: Contract, served: list[Route]) -> str:
    """The page, whole. Raises: Incomplete."""
    lines = [
        "# Which operations are served?",
        "",
        "Those marked *served* below; what is not answers 404 or 405 `M_UNRECOGNIZED`. These are all operations of the",
        f"{SPECIFICATION}, by its modules; *refused* is what hutong will not serve, and why. The tests try every row",
        "against a running node.",
        "",
        f"<!-- made by `{COMMAND}` from the specification's OpenAPI files and the router; do not edit -->",
    ]
    module = ""
    known = set()
    for row in rows(contract, served):
        if row.module != module:
            module = row.module
            lines += ["", f"## {module}", "", "| method | path | slice | answer | why not |", "|---|---|---|---|---|"]
        known.add((row.method, nameless(row.path)))
        lines.append(f"| {row.method} | `{row.path}` | {_link(row.slice)} | {row.status} | {row.reason} |")
    lines += [
        "",
        "## Beside the specification",
        "",
        "hutong's own services are described at `/hutong/openapi.json`; the others are shorter forms that clients use.",
        "",
        "| method | path | slice |",
        "|---|---|---|",
    ]
    beside = sorted(
        (route for route in served if route.key not in known), key=lambda route: (route.template, route.method)
    )
    lines += [f"| {route.method} | `{route.template}` | {_link(route.slice)} |" for route in beside]
    return "\n".join([*lines, "", "## Next", "", "[Add a feature](../add-a-feature.md) · [Operate](../operate.md)", ""])


def _link(slice: str) -> str:
    return f"[{slice}](../../src/hutong/{slice})" if slice else ""


def committed(text: str) -> list[Row]:
    """The rows of the page as it stands in the repository, which needs no specification."""
    found, module = [], ""
    for line in text.splitlines():
        if line.startswith("## "):
            module = line[3:]
        elif match := ROW.match(line):
            status = Status(match["status"])
            slice = re.sub(r"\[(.*?)\]\(.*", r"\1", match["slice"])
            found.append(Row(module, match["method"], match["path"], slice, status, line.split("|")[5].strip()))
    return found


def main(arguments: list[str]) -> int:
    """Write the page anew, or with `--check` only say whether it is stale."""
    folder = specification()
    if folder is None:
        print(
            f"docs/api/matrix.md: NOT looked at, no Matrix specification beside the repository; {VARIABLE} may name it"
        )
        return 0 if arguments == ["--check"] else 1
    contract, served = Contract(folder), routes()
    try:
        fresh, left = page(contract, served), surplus(contract, served)
    except Incomplete as error:
        print(error, file=sys.stderr)
        return 1
    if left:
        print(f"served by now, take out of UNSERVED in {_here()}: {', '.join(sorted(left))}", file=sys.stderr)
    if arguments == ["--check"]:
        stale = not PAGE.exists() or PAGE.read_text(encoding="utf-8") != fresh
        if stale:
            print(f"docs/api/matrix.md is stale: `{COMMAND}` writes it anew", file=sys.stderr)
        return int(stale or bool(left))
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
