"""The bodies of the directory's requests, as typed records."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from hutong.http.request import Int53

TERM_CHARS_MAX = 255
ROOM_TYPES_MAX = 50
Visibility = Literal["private", "public"]


class AliasBody(Struct, frozen=True):
    room_id: str


class VisibilityBody(Struct, frozen=True):
    visibility: Visibility = "public"


class ListFilter(Struct, frozen=True):
    generic_search_term: Annotated[str, Meta(max_length=TERM_CHARS_MAX)] | None = None
    room_types: Annotated[list[str | None], Meta(max_length=ROOM_TYPES_MAX)] | None = None


class ListBody(Struct, frozen=True):
    limit: Int53 | None = None
    since: str | None = None
    filter: ListFilter | None = None
    include_all_networks: bool = False
    third_party_instance_id: str | None = None
