"""The tables whose rows have a place in a log or a timeline. Their SQL is in this package and nowhere else.

Every id is random or a counter; a word stands only in a sealed column. docs/residency.md is made from these tables.
"""

from hutong.engines.tables import Table

ROOMS = Table(
    "rooms",
    key="room",
    # from_seq: the timeline is complete here from this seq on; 0 at the room's home.
    envelope="room int8, room_id uuid, home int4, version int2, from_seq int8, proj bytea",
)
EVENTS = Table(
    "events",
    key="room, seq",
    # home, sender: of the content; value: the typed value of structural state (a membership, a visibility ...);
    # thread: the seq of its root, null in the main timeline; loud: see `Loud`; notes, shouts: how many events of the
    # main timeline up to this one notify, and highlight for everybody; prev_seq: the state event that it replaces.
    envelope=(
        "room int8, seq int8, pos int8, event_id uuid, home int4, sender int8, skey int8 null, value int2 null, "
        "rel_seq int8 null, thread int8 null, minute int4, loud int2, notes int4, shouts int4, prev_seq int8 null, "
        "redacted_by int8 null"
    ),
    hashed="type int8, rel_type int8 null",
    indexes=(
        "CREATE UNIQUE INDEX events_by_id ON events (event_id)",
        "CREATE INDEX events_by_pos ON events (room, pos)",
        # What relates to an event, by kind and in order; what one member annotated; a room's threads, latest first.
        "CREATE INDEX events_by_relation ON events (room, rel_seq, rel_type, seq) WHERE rel_seq IS NOT NULL",
        "CREATE INDEX events_by_annotator ON events (room, rel_seq, sender, seq) WHERE rel_type = 1",
        "CREATE INDEX events_in_threads ON events (room, seq) WHERE rel_type = 4",
        # What is in threads, also by way of another event, latest first.
        "CREATE INDEX events_beside_main ON events (room, seq) WHERE thread IS NOT NULL",
        # The history of every piece of state: "state at seq" is the last row at or before it.
        "CREATE INDEX events_of_state ON events (room, type, skey, seq) WHERE skey IS NOT NULL",
    ),
)
STATE = Table(
    "state",
    key="room, type, skey",
    # Current state, without m.room.member, which `members` holds.
    envelope="room int8, skey int8, seq int8",
    hashed="type int8",
)
MEMBERS = Table(
    "members",
    key="room, ref",
    # account: null when the person lives in another cell; membership 0: a ref that was given out and never used.
    envelope="room int8, ref int8, account int8 null, home int4, membership int2, seq int8, forgotten bool",
    indexes=("CREATE UNIQUE INDEX members_by_account ON members (account, room) WHERE account IS NOT NULL",),
)
ROOM_CELLS = Table("room_cells", key="room, cell", envelope="room int8, cell int4, role int2, from_seq int8")
LOG = Table("log", key="pos", envelope="pos int8, kind int2, room int8, a int8, b int8")
OUT = Table(
    "out",
    key="dest, n",
    # minute: when it was written; what is older than 30 days is swept, see `retention`.
    envelope="dest int4, minute int4, n int8, room int8, seq int8, kind int2, a int8, b int8, thread int8",
)
# The highest number counts. One row, updated at every commit, would slow down without bound beside an open snapshot.
IN_CURSOR = Table("in_cursor", key="src, n", envelope="src int4, n int8")
VOIDED = Table("voided", key="event_id", envelope="event_id uuid, minute int4")
CONTENT = Table(
    "content",
    key="id",
    # body: header (ms, type, state key) and the JSON as it was sent, sealed for `id` under the account's key.
    envelope="id uuid, account int8, state int2, room int8, room_home int4",
    home="body bytea",
    indexes=("CREATE INDEX content_unsettled ON content (id) WHERE state <> 2",),
)
LEAVING = Table(
    "leaving",
    key="room, ref",
    # A leaving that the room's home has not heard of. seq: the last one of the room that the leaver may know of, ends:
    # that of their m.room.member until then.
    envelope="room int8, ref int8, account int8, event_id uuid, seq int8, ends int8, pos int8, minute int4",
)
CUTS = Table("cuts", key="cell", envelope="cell int4, minute int4")
HEALS = Table("heals", key="room", envelope="room int8, pos int8")
TXNS = Table(
    "txns",
    key="account, device, txn",
    envelope="account int8, event_id uuid, minute int4",
    hashed="device int8, txn bytea",
)
ACCOUNT_DATA = Table(
    "account_data",
    key="account, room, type_key",
    # room 0: global. body: the type, a zero byte, the JSON.
    envelope="account int8, room int8, pos int8, id uuid",
    hashed="type_key bytea",
    home="body bytea",
    indexes=("CREATE INDEX account_data_by_pos ON account_data (account, pos)",),
)
RECEIPTS = Table(
    "receipts",
    key="room, ref, rtype, thread",
    # Moved in place, again and again.
    envelope="room int8, ref int8, rtype int2, thread int8, seq int8, minute int4, pos int8",
    fillfactor=70,
)
HIGHLIGHTS = Table("highlights", key="account, room, seq", derived="account int8, room int8, seq int8")
REV = Table(
    "rev",
    key="cell",
    # restored, restored_pos: the minute of the last restore (0: never) and the head of the log that it came with.
    region="cell int4, gen int8, schema int4, restored int4, restored_pos int8",
)

ALL = (
    ROOMS,
    EVENTS,
    STATE,
    MEMBERS,
    ROOM_CELLS,
    LOG,
    OUT,
    IN_CURSOR,
    VOIDED,
    CONTENT,
    LEAVING,
    CUTS,
    HEALS,
    TXNS,
    ACCOUNT_DATA,
    RECEIPTS,
    HIGHLIGHTS,
    REV,
)
