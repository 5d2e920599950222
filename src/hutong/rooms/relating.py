"""What a relation counts as, once the event that it points at is known. No I/O, no clock.

Decided once, when the event is numbered, so that no reader has to look at the parent, or into the words, to know
whether an edit is valid.

Source: Client-Server API v1.19, "Validity of replacement events", "Validation of m.thread relationships".
"""

from dataclasses import dataclass

from hutong.cells.records import Envelope
from hutong.errors import MatrixError
from hutong.ids import MemberRef, TypeCode
from hutong.rooms.event_types import Relation


class NoThreadRoot(MatrixError):
    """A thread cannot begin at an event that itself relates to another. The specification has no code for it."""


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
