"""A new room: its first events, by preset, as one chain that is written whole or not at all.

Source: Client-Server API v1.19, "Creation" and POST /createRoom.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from hutong.cells.append import CreateOp
from hutong.cells.cell import Cell
from hutong.cells.drafts import SealedContent
from hutong.cells.messages import Draft, RefReply
from hutong.cells.records import Member, Words, pack
from hutong.cells.view import room_id_text
from hutong.directory.alias import Alias
from hutong.directory.aliases import Aliases
from hutong.directory.opening import Opening
from hutong.errors import BadJson, BadParam, Forbidden, MatrixError
from hutong.ids import AccountNo, DeviceNo, RoomNo, bucket_of, home_no, new_id, room_no
from hutong.rooms import structural
from hutong.rooms.event_types import STRUCTURAL, code_of
from hutong.rooms.posting import Said, check_size, draft_of
from hutong.rooms.projection import Version
from hutong.rooms.structural import is_user_id, parse_version

DEFAULT_VERSION = "12"
VERSIONS = ("10", "11", "12")
INVITES_MAX = 100
INITIAL_STATE_MAX = 50
NAME_BYTES_MAX = 10_000
_json = msgspec.json.Encoder().encode
Content = dict[str, Any]


class StateEvent(Struct, frozen=True):
    type: str
    content: Content
    state_key: str = ""


class CreateRoom(Struct, frozen=True, kw_only=True):
    """The body of POST /createRoom."""

    preset: str | None = None
    visibility: str = "private"
    name: str | None = None
    topic: str | None = None
    room_version: str = DEFAULT_VERSION
    room_alias_name: str | None = None
    invite: list[str] = field(default_factory=list)
    invite_3pid: list[Content] = field(default_factory=list)
    initial_state: list[StateEvent] = field(default_factory=list)
    creation_content: Content = field(default_factory=dict)
    power_level_content_override: Content | UnsetType = UNSET
    is_direct: bool = False


class Preset(Struct, frozen=True):
    join_rule: str
    history_visibility: str
    guest_access: str
    invite_level: int
    trusted: bool = False


PRESETS = {
    "private_chat": Preset("invite", "shared", "can_join", 0),
    "trusted_private_chat": Preset("invite", "shared", "can_join", 0, trusted=True),
    "public_chat": Preset("public", "shared", "forbidden", 50),
}
_EVENT_LEVELS = {
    "m.room.name": 50,
    "m.room.avatar": 50,
    "m.room.canonical_alias": 50,
    "m.room.power_levels": 100,
    "m.room.history_visibility": 100,
    "m.room.server_acl": 100,
    "m.room.encryption": 100,
    "m.room.tombstone": 100,
}


@dataclass(frozen=True)
class Creator:
    account: AccountNo
    device: DeviceNo
    user_id: str


class Creation:
    """`profile`: the public profile of an account, for the creator's own m.room.member."""

    def __init__(
        self, cell: Cell, aliases: Aliases, opening: Opening, profile: Callable[[AccountNo], Awaitable[Content]]
    ) -> None:
        self._cell = cell
        self._aliases = aliases
        self._opening = opening
        self._profile = profile

    async def create(self, creator: Creator, body: CreateRoom) -> str:
        """A new room, at home in the creator's cell; its id.

        Raises: BadParam, BadJson naming the field; MatrixError `M_ROOM_IN_USE` for an alias that is taken,
        `M_INVALID_ROOM_STATE` for what the room's own rules refuse; RegionAway when somebody invited lives in a region
        that cannot be asked. Then nothing was written.
        Cost: one statement for the whole room, and one call per other cell with people who are named; five more for
        an alias.
        """
        preset = _checked(body, creator)
        version = parse_version(body.room_version)
        alias = None if body.room_alias_name is None else self._opening.alias(body.room_alias_name)
        cell = self._cell
        event_id = new_id(cell.minute, cell.random)
        raw = event_id if version >= 12 else new_id(cell.minute, cell.random)
        room = room_no(raw)
        room_id = room_id_text(raw, version, cell.region.server_name)
        # Before anybody is given a ref in a room that never comes to be.
        create, join, *rest = [
            *self._first(creator, await self._profile(creator.account), body, preset, version),
            *await self._state(creator, body, preset, version, room_id, alias),
        ]
        own = await cell.own_member(creator.account, _localpart(creator.user_id), room)
        cell.names.keep(room, own.ref, creator.user_id)
        join = replace(join, target=RefReply(own.ref, own.home))
        invitations = self._invitations(body, await self._refs(body.invite, room))
        drafts = self._sealed(creator, own, [create, join, *rest, *invitations], event_id)
        home = home_no(cell.region.number, bucket_of(own.home))
        op = CreateOp(home=cell.home, room=room, room_id=raw, room_home=home, version=version, drafts=drafts)
        public = body.visibility == "public"
        async with self._opening.of(creator.account, raw, version, home, alias, public=public):
            try:
                await cell.writer.submit(op)
            except Forbidden as refused:
                raise MatrixError(
                    f"the room cannot begin like this: {refused.message}", errcode="M_INVALID_ROOM_STATE"
                ) from None
        return room_id

    async def _refs(self, invite: list[str], room: RoomNo) -> dict[str, RefReply]:
        for place, user_id in enumerate(invite):
            if self._cell.directory.region_of_user(user_id) is None:
                server = user_id.partition(":")[2]
                raise BadParam(
                    f"invite[{place}]", f"{server} is another server; only people of this one can be invited"
                )
        refs = await self._cell.refs(invite, room) if invite else {}
        for place, user_id in enumerate(invite):
            if user_id not in refs:
                raise BadParam(f"invite[{place}]", "there is no such person")
        return {user_id: refs[user_id] for user_id in dict.fromkeys(invite)}

    def _first(
        self, creator: Creator, profile: Content, body: CreateRoom, preset: Preset, version: Version
    ) -> list[Said]:
        create = {**body.creation_content, "room_version": str(version)}
        create.pop("creator", None)
        if version < 11:
            create["creator"] = creator.user_id
        if version >= 12 and preset.trusted and body.invite:
            named = create.get("additional_creators", [])
            if isinstance(named, list):  # else it is refused when it is read
                create["additional_creators"] = [
                    *named,
                    *(each for each in dict.fromkeys(body.invite) if each not in named),
                ]
        member = {
            "membership": "join",
            **{key: profile[key] for key in ("displayname", "avatar_url") if profile.get(key)},
        }
        levels = _power_levels(creator, body, preset, version)
        _well_formed("creation_content", "m.room.create", create, version)
        _well_formed("power_level_content_override", "m.room.power_levels", levels, version)
        return [
            _said("m.room.create", create),
            _said("m.room.member", member, creator.user_id),
            _said("m.room.power_levels", levels),
        ]

    async def _state(
        self, creator: Creator, body: CreateRoom, preset: Preset, version: Version, room_id: str, alias: Alias | None
    ) -> list[Said]:
        """What follows the power levels, in the order of the specification.

        The client's own events stand for the preset's, and `name` and `topic` for those of the client's.
        """
        after: dict[str, Content] = {}
        if body.name is not None:
            after["m.room.name"] = {"name": body.name}
        if body.topic is not None:
            text = {"body": body.topic, "mimetype": "text/plain"}
            after["m.room.topic"] = {"topic": body.topic, "m.topic": {"m.text": [text]}}
        said = [] if alias is None else [_said("m.room.canonical_alias", {"alias": str(alias)})]
        listed = {event.type for event in body.initial_state if not event.state_key}
        said += [_said(type, content) for type, content in _by_preset(preset).items() if type not in listed]
        for place, event in enumerate(body.initial_state):
            if event.type in after and not event.state_key:
                continue
            field = f"initial_state[{place}].content"
            _well_formed(field, event.type, event.content, version)
            if event.type == "m.room.canonical_alias" and not event.state_key:
                with _within(field):
                    await self._aliases.check_canonical(room_id, event.content, [] if alias is None else [alias])
            own = event.state_key == creator.user_id
            said.append(_said(event.type, event.content, event.state_key, own_state_key=own))
        return [*said, *(_said(type, content) for type, content in after.items())]

    def _invitations(self, body: CreateRoom, refs: dict[str, RefReply]) -> list[Said]:
        # Nobody's name or picture: those are the invited person's words, and stay in their home.
        content: Content = {"membership": "invite", **({"is_direct": True} if body.is_direct else {})}
        return [_said("m.room.member", content, user_id, target=reply) for user_id, reply in refs.items()]

    def _sealed(
        self, creator: Creator, own: Member, said: list[Said], first_id: bytes
    ) -> list[tuple[Draft, SealedContent | None]]:
        cell = self._cell
        drafts: list[tuple[Draft, SealedContent | None]] = []
        for place, each in enumerate(said):
            event_id = first_id if place == 0 else new_id(cell.minute, cell.random)
            words = Words(int(cell.now() * 1000), each.type, each.state_key, each.json)
            draft = draft_of(event_id, own, each, words, cell)
            sealed = cell.vault.seal(creator.account, event_id, pack(words))
            drafts.append((draft, SealedContent(creator.account, sealed)))
        return drafts


def _said(
    type: str, content: Content, state_key: str = "", *, target: RefReply | None = None, own_state_key: bool = False
) -> Said:
    said = Said(
        type=type, json=_json(content), content=content, state_key=state_key, target=target, own_state_key=own_state_key
    )
    check_size(said)
    return said


def _by_preset(preset: Preset) -> dict[str, Content]:
    return {
        "m.room.join_rules": {"join_rule": preset.join_rule},
        "m.room.history_visibility": {"history_visibility": preset.history_visibility},
        "m.room.guest_access": {"guest_access": preset.guest_access},
    }


@contextmanager
def _within(field: str) -> Iterator[None]:
    """Let an error about a content say where in the request it stands."""
    try:
        yield
    except MatrixError as error:
        if error.status == 400:
            error.message = f"{field}.{error.message}"
        raise


def _well_formed(field: str, type: str, content: Content, version: Version) -> None:
    """Raises: BadJson naming `field` for a content that cannot govern a room. Refs and hashes do not matter here."""
    code = code_of(type)
    if code in STRUCTURAL:
        with _within(field):
            structural.check(version, code, content)


def _power_levels(creator: Creator, body: CreateRoom, preset: Preset, version: int) -> Content:
    # In version 12 creators stand above all levels and may not be listed.
    users = {} if version >= 12 else {creator.user_id: 100}
    if preset.trusted and version < 12:
        users |= dict.fromkeys(body.invite, 100)
    content: Content = {
        "users": users,
        "users_default": 0,
        "events": dict(_EVENT_LEVELS) | ({"m.room.tombstone": 150} if version >= 12 else {}),
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": preset.invite_level,
    }
    if body.power_level_content_override is not UNSET:
        content |= body.power_level_content_override
    return content


def _checked(body: CreateRoom, creator: Creator) -> Preset:
    if body.visibility not in ("public", "private"):
        raise BadParam("visibility", "is neither public nor private")
    if body.preset is not None and body.preset not in PRESETS:
        raise BadParam("preset", f"is none of {', '.join(PRESETS)}")
    if body.invite_3pid:
        raise Forbidden(
            "invite_3pid: this server has no identity server; invite by user id", errcode="M_THREEPID_DENIED"
        )
    if len(body.invite) > INVITES_MAX:
        raise BadParam("invite", f"has more than {INVITES_MAX} people; invite the others afterwards")
    if len(body.initial_state) > INITIAL_STATE_MAX:
        raise BadParam("initial_state", f"has more than {INITIAL_STATE_MAX} events")
    for place, user_id in enumerate(body.invite):
        if not is_user_id(user_id):
            raise BadParam(f"invite[{place}]", "is not a user id")
        if user_id == creator.user_id:
            raise BadParam(f"invite[{place}]", "is yourself; who creates a room is in it")
    for name in ("name", "topic"):
        if len((getattr(body, name) or "").encode()) > NAME_BYTES_MAX:
            raise BadParam(name, f"has more than {NAME_BYTES_MAX:,} bytes")
    for place, event in enumerate(body.initial_state):
        if event.type in ("m.room.create", "m.room.member"):
            raise BadJson(f"initial_state[{place}].type: {event.type} is made by the server")
        if event.state_key and code_of(event.type) in STRUCTURAL:
            raise BadParam(f"initial_state[{place}].state_key", f"must be empty for {event.type}")
        if event.state_key.startswith("@") and event.state_key != creator.user_id:
            raise BadParam(f"initial_state[{place}].state_key", "is somebody else's user id, who sets such state alone")
    preset = body.preset or ("public_chat" if body.visibility == "public" else "private_chat")
    return PRESETS[preset]


def _localpart(user_id: str) -> str:
    return user_id[1:].partition(":")[0]
