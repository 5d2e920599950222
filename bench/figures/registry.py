"""Every figure by the name that `--figures` knows it under, in the order in which they are measured."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.figures import Figure
from bench.figures.chat import Chat
from bench.figures.entering import Joins, Logins
from bench.figures.reading import InitialSync, InitialSyncAfterRestart, ManyRooms, Pages
from bench.figures.sending import Deliveries, FanOut, Sends, WaitingRoom
from bench.figures.waiting import Waiting
from bench.generator import Generator


@dataclass(frozen=True)
class Sizes:
    """How large the worlds are that the figures are taken in."""

    at_once: int
    """Sends under way."""
    rooms: int
    """The rooms that they go to."""
    members: tuple[int, ...]
    """Of each room in which everybody waits."""
    groups: int
    """Of ten, in the chat mix."""
    synced_rooms: int
    """Of a first sync."""
    pages: int
    """Of a hundred events, of each room that is paged through."""
    joined_rooms: int
    """Public rooms that accounts join."""
    waiting: tuple[int, ...]
    """Clients that only wait."""
    accounts: int
    events: int
    """Of the past that is there when all is measured again."""


FULL = Sizes(
    at_once=64,
    rooms=20,
    members=(200, 1_000),
    groups=20,
    synced_rooms=100,
    pages=20,
    joined_rooms=20,
    waiting=(2_000, 10_000),
    accounts=100_000,
    events=1_000_000,
)
SMALL = Sizes(
    at_once=64,
    rooms=20,
    members=(50,),
    groups=5,
    synced_rooms=20,
    pages=5,
    joined_rooms=5,
    waiting=(200,),
    accounts=1_000,
    events=20_000,
)
PEER_WAITING_MAX = 2_000
"""To register and join more clients takes the peer a quarter of an hour."""
SYNCED_EVENTS = 20
PAGED_ROOMS = 3
JOINERS = 24
"""Accounts that join every room, in each window."""
LOGGING_IN = 16
AT_ONCE = 8
"""Readers of pages, joins and logins under way."""


def _sends(sizes: Sizes) -> list[Figure]:
    return [Sends(sizes.at_once, min(sizes.rooms, sizes.at_once))]


def _deliveries(sizes: Sizes) -> list[Figure]:
    saturation: dict[Generator, int] = {}
    rooms = [WaitingRoom(members) for members in sorted(sizes.members)]
    return [figure for room in rooms for figure in (FanOut(room), Deliveries(room, saturation))]


def _initial_syncs(sizes: Sizes) -> list[Figure]:
    world = ManyRooms(sizes.synced_rooms, SYNCED_EVENTS)
    return [InitialSync(world), InitialSyncAfterRestart(world)]


REGISTRY: dict[str, Callable[[Sizes], list[Figure]]] = {
    "sends": _sends,
    "deliveries": _deliveries,
    "chat": lambda sizes: [Chat(sizes.groups)],
    "initial-syncs": _initial_syncs,
    "pages": lambda sizes: [Pages(PAGED_ROOMS, sizes.pages, AT_ONCE)],
    "joins": lambda sizes: [Joins(sizes.joined_rooms, JOINERS, AT_ONCE)],
    "logins": lambda _: [Logins(LOGGING_IN, AT_ONCE)],
    "waiting": lambda sizes: [Waiting(clients, has_peer=clients <= PEER_WAITING_MAX) for clients in sizes.waiting],
}
