"""Every answer of a node is held against the Client-Server API's own OpenAPI files.

The files refer to one another by relative `$ref`. They are read once, all references of a response are put in their
place, and the result is compiled once per operation and status, so that a check costs what its body costs.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

REPOSITORY = Path(__file__).parents[2]
VARIABLE = "HUTONG_MATRIX_SPEC"
API = Path("data/api/client-server")
ERROR = "definitions/errors/error.yaml"
METHODS = ("get", "put", "post", "delete", "head", "patch")
STATE_WITHOUT_KEY = re.compile(r".*/rooms/[^/]+/state/[^/]+/?")
"""The one path that may be shortened: without its last part the state key is empty."""
OURS = re.compile(r"^/_matrix/client/(unstable|.*/org\.matrix\.)")
"""Paths that no released version of the specification describes."""


class Violation(AssertionError):
    """An answer that the specification does not allow."""


@dataclass(frozen=True)
class Operation:
    """One method of one path template; `document` and `responses` say where its responses are written."""

    method: str
    template: str
    document: str
    responses: dict[str, Any]
    tags: tuple[str, ...] = ()


def specification() -> Path | None:
    """The folder of the specification, or None where it is not on this machine."""
    folder = Path(os.environ.get(VARIABLE) or REPOSITORY.parent / "shared" / "matrix-spec")
    return folder if (folder / API).is_dir() else None


class Contract:
    """The Client-Server API as `folder` describes it."""

    def __init__(self, folder: Path) -> None:
        self._base = (folder / API).resolve().as_uri() + "/"
        self._documents: dict[str, Any] = {}
        self._schemas: dict[str, Any] = {}
        self._validators: dict[tuple[str, str, str], Draft202012Validator | None] = {}
        self._operations: list[tuple[re.Pattern[str], str, Operation]] = []
        for file in sorted((folder / API).glob("*.yaml")):
            self._read(file.resolve().as_uri())
        # The template with more literal text comes first: /rooms/{id}/state is not /rooms/{id}/{verb}.
        self._operations.sort(key=lambda each: -len(re.sub(r"\{.*?\}", "", each[1])))
        error = self._schema(urljoin(self._base, ERROR))
        self._error = Draft202012Validator(error)

    @property
    def operations(self) -> list[Operation]:
        return [operation for _, _, operation in self._operations]

    def described(self, operation: Operation) -> Any:
        """What a request of `operation` is made of, in OpenAPI with nothing referred to: parameters and JSON body."""
        base = self._document(operation.document)["servers"][0]["variables"]["basePath"]["default"]
        template = operation.template[len(base.rstrip("/")) :]
        said = self._document(operation.document)["paths"][template][operation.method]
        made = {"parameters": self._inline(said.get("parameters", []), operation.document, ()), "responses": {}}
        body = self._inline(said.get("requestBody", {}), operation.document, ())
        if "application/json" in body.get("content", {}):
            made["requestBody"] = {**body, "content": {"application/json": body["content"]["application/json"]}}
        return made

    def match(self, method: str, path: str) -> Operation | None:
        """The operation that a request is for; `path` is percent-encoded and has no query."""
        if STATE_WITHOUT_KEY.fullmatch(path):
            path = path.rstrip("/") + "/-"
        for pattern, _, operation in self._operations:
            if operation.method == method.lower() and pattern.fullmatch(path):
                return operation
        return None

    def check(self, method: str, path: str, status: int, body: Any) -> None:
        """Hold one answer against the specification. `body` is parsed JSON, None where there was none.

        Raises: Violation, which names the operation and the place in the body.
        """
        operation = self.match(method, path)
        if operation is None:
            if status < 300 and path.startswith("/_matrix/") and method != "OPTIONS" and not OURS.match(path):
                raise Violation(f"{method} {path} answered {status}, and the specification has no such operation")
            if path.startswith("/_matrix/") and status >= 400:
                self._hold(self._error, f"{method} {path} -> {status}", body)
            return
        where = f"{method} {operation.template} -> {status}"
        if status >= 400 and not (status == 401 and isinstance(body, dict) and "flows" in body):
            self._hold(self._error, where, body)  # a 401 with flows asks to authenticate, any other is an error
            if status == 401:
                return
        validator = self._validator(operation, str(status))
        if validator is not None:
            self._hold(validator, where, body)

    def _hold(self, validator: Draft202012Validator, where: str, body: Any) -> None:
        if validator.is_valid(body):
            return
        error = best_match(validator.iter_errors(body))
        assert error is not None
        raise Violation(f"{where}: at {error.json_path}: {error.message[:600]}")

    def _validator(self, operation: Operation, status: str) -> Draft202012Validator | None:
        key = (operation.method, operation.template, status)
        if key not in self._validators:
            response = operation.responses.get(status) or operation.responses.get("default")
            schema = self._response_schema(operation.document, response) if response else None
            self._validators[key] = None if schema is None else Draft202012Validator(schema)
        return self._validators[key]

    def _response_schema(self, document: str, response: Any) -> Any | None:
        if "$ref" in response:
            target = urljoin(document, response["$ref"])
            document = urldefrag(target).url
            response = self._at(target)
        content = response.get("content", {}).get("application/json")
        return None if content is None or "schema" not in content else self._inline(content["schema"], document, ())

    def _read(self, uri: str) -> None:
        document = self._document(uri)
        base = document["servers"][0]["variables"]["basePath"]["default"]
        for template, methods in document.get("paths", {}).items():
            full = base.rstrip("/") + template
            pattern = re.compile(re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(full)))
            for method in METHODS:
                if method in methods:
                    said = methods[method]
                    operation = Operation(method, full, uri, said.get("responses", {}), tuple(said.get("tags") or ()))
                    self._operations.append((pattern, full, operation))

    def _document(self, uri: str) -> Any:
        if uri not in self._documents:
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
            path = Path(uri.removeprefix("file://"))
            self._documents[uri] = yaml.load(path.read_text(), loader)
        return self._documents[uri]

    def _at(self, target: str) -> Any:
        uri, pointer = urldefrag(target)
        value = self._document(uri)
        for part in _parts(pointer):
            value = value[int(part)] if isinstance(value, list) else value[part]
        return value

    def _schema(self, target: str, above: tuple[str, ...] = ()) -> Any:
        if target in above:
            return True  # a schema within itself: the first turn was checked, deeper ones are let pass
        if target not in self._schemas:
            self._schemas[target] = self._inline(self._at(target), urldefrag(target).url, (*above, target))
        return self._schemas[target]

    def _inline(self, schema: Any, document: str, above: tuple[str, ...]) -> Any:
        if isinstance(schema, list):
            return [self._inline(each, document, above) for each in schema]
        if not isinstance(schema, dict):
            return schema
        kept = {
            key: self._inline(value, document, above)
            for key, value in schema.items()
            if key not in ("$ref", "$schema", "description", "example", "examples", "title")
            or (key in ("description", "title") and isinstance(value, dict))  # a property of that name
        }
        if "oneOf" in kept:  # the files say so where both may be: a state event is also an object
            kept["anyOf"] = kept.pop("oneOf")
        if "$ref" not in schema:
            return kept
        target = self._schema(urljoin(document, schema["$ref"]), above)
        return {"allOf": [target, kept]} if kept else target


def _parts(pointer: str) -> Iterator[str]:
    for part in pointer.split("/")[1:]:
        yield part.replace("~1", "/").replace("~0", "~")
