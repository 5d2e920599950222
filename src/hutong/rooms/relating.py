"""What a relation counts as, once the event that it points at is known. No I/O, no clock.

Decided once, when the event is numbered, so that no reader has to look at the parent, or into the words, to know
whether an edit is valid.

Source: Client-Server API v1.19, "Validity of replacement events", "Validation of m.thread relationships".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hutong.cells.records import Envelope
from hutong.errors import MatrixError
from hutong.ids import MemberRef, TypeCode, event_id_bytes
from hutong.rooms.event_types import Relation


class NoThreadRoot(MatrixError):
    """A thread cannot begin at an event that itself relates to another. The specification has no code for it."""


def relation_of(content: Mapping[str, Any]) -> tuple[bytes | None, str | None]:
    """The id of the event that a content relates to, and what it calls that; both None where it does not."""
    relation = content.get("m.relates_to")
    if not isinstance(relation, dict):
        return None, None
    rel_type, related = relation.get("rel_type"), relation.get("event_id")
    if not isinstance(rel_type, str) or not isinstance(related, str):
        return None, None
    raw = event_id_bytes(related)
    return (None, None) if raw is None else (raw, rel_type)


@dataclass(frozen=True)
class Child:
    """The event that points at another. `edits`: it has new content, or is encrypted and may have."""

    sender: MemberRef
    type: TypeCode
    is_state: bool
    edits: bool


def counts_as(relation: Relation, child: Child, parent: Envelope | None) -> Relation:
    """How the relation stands in the envelope. `parent` is None for an event that is not in this room.

    Raises: NoThreadRoot (400).
    """
    if relation is Relation.THREAD and parent is not None and _is_child(parent):
        raise NoThreadRoot("m.relates_to: a thread cannot begin at an event that has an m.relates_to of its own")
    if relation is Relation.REPLACE and (parent is None or not _edits(child, parent)):
        return Relation.NO_EDIT
    return relation


def _is_child(env: Envelope) -> bool:
    """Whether the event says that it relates to another. A redaction takes that away with the other words."""
    return env.rel_type not in {None, Relation.REDACTION} and env.redacted_by is None


def _edits(child: Child, parent: Envelope) -> bool:
    return (
        child.edits
        and child.sender == parent.sender
        and child.type == parent.type
        and not child.is_state
        and not parent.is_state
        and parent.rel_type not in {Relation.REPLACE, Relation.NO_EDIT}
    )
