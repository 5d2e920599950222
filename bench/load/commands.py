"""What the runner tells the load generator on its standard input, and what it hears: one JSON object a line."""

from enum import StrEnum

import msgspec

from bench.load.window import Result


class PrepareSends(msgspec.Struct, frozen=True, tag=True):
    """Make the world of the sends: `at_once` accounts in `rooms` rooms."""

    rooms: int
    at_once: int


class MeasureSends(msgspec.Struct, frozen=True, tag=True):
    warm_s: float
    seconds: float


class PrepareDeliveries(msgspec.Struct, frozen=True, tag=True):
    """Make the world of the deliveries: one room of `members`."""

    members: int


class RampDeliveries(msgspec.Struct, frozen=True, tag=True):
    """Find how many messages under way saturate a server."""

    members: int
    seconds: float


class MeasureDeliveries(msgspec.Struct, frozen=True, tag=True):
    members: int
    under_way: int
    seconds: float


class PrepareFirstSyncs(msgspec.Struct, frozen=True, tag=True):
    """Make `rooms` rooms of `events` messages, and the account who is in all of them."""

    rooms: int
    events: int


class LogIn(msgspec.Struct, frozen=True, tag=True):
    """New devices for the account of the first syncs, one for each first sync of the next window."""

    devices: int


class PreparePages(msgspec.Struct, frozen=True, tag=True):
    """Make `rooms` rooms of `pages` full pages, and `at_once` accounts who read them."""

    rooms: int
    pages: int
    at_once: int


class PrepareJoins(msgspec.Struct, frozen=True, tag=True):
    """Make `rooms` public rooms, and `group` accounts for each of `windows`."""

    rooms: int
    windows: int
    group: int
    at_once: int


class PrepareLogins(msgspec.Struct, frozen=True, tag=True):
    people: int
    at_once: int


class PrepareChat(msgspec.Struct, frozen=True, tag=True):
    """Make `groups` groups of ten."""

    groups: int


class SearchChat(msgspec.Struct, frozen=True, tag=True):
    """Find the highest rate of messages that a server keeps up with."""

    seconds: float


class HoldChat(msgspec.Struct, frozen=True, tag=True):
    """Measure around that `rate`: the best window that is kept up with counts."""

    rate: float
    seconds: float


class PrepareWaiting(msgspec.Struct, frozen=True, tag=True):
    """Make `clients` accounts that will wait, and `guests` that do before them."""

    clients: int
    guests: int


class MeasureWaiting(msgspec.Struct, frozen=True, tag=True):
    clients: int


class Places(msgspec.Struct, frozen=True):
    """On which of a node's ports people register, which says in which region they are at home."""

    senders: int
    rooms: int
    readers: int


class PrepareAcross(msgspec.Struct, frozen=True, tag=True):
    """Make `rooms` rooms, `at_once` accounts who send into them, and `readers` in each who only wait."""

    places: Places
    rooms: int
    at_once: int
    readers: int


class Fill(msgspec.Struct, frozen=True, tag=True):
    """Make `accounts` accounts in small rooms, and about `events` events. There is nothing to measure in it."""

    accounts: int
    events: int


class World(StrEnum):
    """What has a world of its own and is measured by a closed loop."""

    FIRST_SYNCS = "first syncs"
    PAGES = "pages"
    JOINS = "joins"
    LOGINS = "logins"
    ACROSS = "across"


class MeasureWorld(msgspec.Struct, frozen=True, tag=True):
    world: World
    seconds: float


Command = (
    PrepareSends
    | MeasureSends
    | PrepareDeliveries
    | RampDeliveries
    | MeasureDeliveries
    | PrepareFirstSyncs
    | LogIn
    | PreparePages
    | PrepareJoins
    | PrepareLogins
    | PrepareChat
    | SearchChat
    | HoldChat
    | MeasureWorld
    | PrepareWaiting
    | MeasureWaiting
    | PrepareAcross
    | Fill
)


class Progressed(msgspec.Struct, frozen=True, tag=True):
    """So much of `what` is there."""

    what: str
    done: int
    total: int


class Began(msgspec.Struct, frozen=True, tag=True):
    """A measured window opened just now: read the processor times."""

    concurrency: int


class Closed(msgspec.Struct, frozen=True, tag=True):
    """The measured window closed just now: read the processor times. What is under way is still waited for."""


class Ended(msgspec.Struct, frozen=True, tag=True):
    """What the window counted, and what was missing after it."""

    result: Result


class Done(msgspec.Struct, frozen=True, tag=True):
    """The command is carried out. `saturation`: what a ramp found; `rate`: what a search found, per second."""

    saturation: int = 0
    rate: float = 0.0


class Failed(msgspec.Struct, frozen=True, tag=True):
    why: str


Report = Progressed | Began | Closed | Ended | Done | Failed
