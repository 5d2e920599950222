"""The OpenAPI document of what hutong serves beside the Matrix API, made of what each resource says of itself."""

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, ClassVar

import msgspec

from hutong.http.request import Request, Response

OWN = "/hutong/"
PATH = "/hutong/openapi.json"

_ERROR = {
    "description": "What went wrong, in the error shape of the Matrix Client-Server API.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["errcode", "error"],
                "properties": {
                    "errcode": {"type": "string", "examples": ["M_INVALID_PARAM"]},
                    "error": {"type": "string", "examples": ["amount: is below 1"]},
                },
            }
        }
    },
}


def document(routes: Iterable[tuple[str, object]]) -> dict[str, Any]:
    """OpenAPI 3.1 for those of `routes` that have a class attribute `openapi`: operations by lower-case method.

    Raises: ValueError for a route under `/hutong/` that says nothing of itself.
    """
    paths: dict[str, Any] = {}
    for template, resource in routes:
        operations = getattr(resource, "openapi", None)
        if operations is None:
            if template.startswith(OWN):
                raise ValueError(f"{template}: {type(resource).__name__} needs an `openapi` that describes its methods")
            continue
        paths[template] = {method: _operation(template, resource, operations[method]) for method in operations}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hutong",
            "version": version("hutong"),
            "summary": "hutong's own services, beside the Matrix Client-Server API.",
            "description": "They take the access tokens of the Matrix Client-Server API, and answer errors as it does.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"access_token": {"type": "http", "scheme": "bearer"}},
            "responses": {"error": _ERROR},
        },
    }


def _operation(template: str, resource: object, said: dict[str, Any]) -> dict[str, Any]:
    names = [part[1:-1] for part in template.split("/") if part.startswith("{")]
    operation = dict(said)
    operation["responses"] = {**said["responses"], "default": {"$ref": "#/components/responses/error"}}
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    if parameters:
        operation["parameters"] = [*parameters, *said.get("parameters", ())]
    if getattr(resource, "auth", True) is True:
        operation["security"] = [{"access_token": []}]
    return operation


class OpenApiEndpoint:
    auth = False
    openapi: ClassVar[dict[str, Any]] = {
        "get": {
            "summary": "This document",
            "responses": {"200": {"description": "OpenAPI 3.1", "content": {"application/json": {}}}},
        }
    }

    def __init__(self) -> None:
        self._encoded = b""

    def describe(self, routes: Iterable[tuple[str, object]]) -> None:
        self._encoded = msgspec.json.encode(document(routes))

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.data = self._encoded


def with_document(routes: Iterable[tuple[str, object]]) -> list[tuple[str, object]]:
    """`routes` and one more, which serves the document of them all."""
    endpoint = OpenApiEndpoint()
    all_routes = [*routes, (PATH, endpoint)]
    endpoint.describe(all_routes)
    return all_routes
