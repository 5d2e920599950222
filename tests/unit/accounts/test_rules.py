"""What needs no database: names, tokens, sessions of authentication, the shape of account data."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hutong import config
from hutong.accounts import tokens
from hutong.accounts.account_data import pack, unpack
from hutong.accounts.interactive import (
    SESSION_SECONDS,
    AttemptFailed,
    Auth,
    AuthenticationRequired,
    Interactive,
    Stage,
)
from hutong.accounts.model import TokenKind
from hutong.accounts.names import BadUsername, UserId, fold, parse_user_id, registrable
from hutong.accounts.passwords import Passwords
from hutong.accounts.tokens import TokenCache
from hutong.errors import BadParam, Forbidden, MatrixError
from hutong.http.request import Caller
from hutong.ids import AccountNo, CellNo, DeviceNo
from tests.unit.accounts.conftest import CHEAP, Clock

REGIONS = {region.name: region for region in config.load(None, {}, data=Path("unused")).regions}

# --- names ---


@given(st.text())
def test_a_registered_name_keeps_the_grammar_whatever_was_asked_for(username: str) -> None:
    try:
        name = registrable(username, "ru.localhost")
    except BadUsername:
        return
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._=/+-")
    assert len(f"@{name}:ru.localhost".encode()) <= 255
    assert registrable(name, "ru.localhost") == name
    assert parse_user_id(f"@{name}:ru.localhost") == UserId(name, "ru.localhost")


@given(st.text(alphabet="aAzZ09._=/+-\u0130\u212a\u00c5éＡ"))
def test_only_ascii_capitals_are_folded(name: str) -> None:
    folded = fold(name)
    assert len(folded) == len(name)
    assert all(a == b or (a.isascii() and a.lower() == b) for a, b in zip(name, folded, strict=True))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("@alice:cn.localhost", ("alice", "cn.localhost")),
        ("@alice:localhost:8448", ("alice", "localhost:8448")),
        ("@:cn.localhost", ("", "cn.localhost")),
        ("@Älice with spaces:cn.localhost", ("Älice with spaces", "cn.localhost")),
    ],
)
def test_user_ids_of_every_age_are_read(text: str, parts: tuple[str, str]) -> None:
    assert parse_user_id(text) == parts


@pytest.mark.parametrize(
    "text", ["", "alice", "@alice", "@alice:", "alice:cn", "@a\0b:cn", "@" + "x" * 250 + ":cn.localhost"]
)
def test_what_is_no_user_id_is_refused_by_the_fields_name(text: str) -> None:
    with pytest.raises(BadParam, match="sender: "):
        parse_user_id(text, "sender")


# --- tokens ---


@pytest.mark.parametrize("kind", TokenKind)
def test_a_token_names_its_cell_and_its_kind(kind: TokenKind) -> None:
    token = tokens.make(kind, "ru", 0, os.urandom)
    assert tokens.cell_of(token, kind, REGIONS) == REGIONS["ru"].cells[0].number
    other = TokenKind.ACCESS if kind is TokenKind.REFRESH else TokenKind.REFRESH
    assert tokens.cell_of(token, other, REGIONS) is None
    assert tokens.make(kind, "ru", 0, os.urandom) != token
    assert len(tokens.fingerprint(token)) == 32


@given(st.text(alphabet="h.r0123-²cneu", max_size=40) | st.text())
def test_no_text_breaks_the_reading_of_tokens(text: str) -> None:
    assert tokens.cell_of(text, TokenKind.ACCESS, REGIONS) in {None, *(r.cells[0].number for r in REGIONS.values())}


def a_caller(number: int) -> Caller:
    return Caller(cell=CellNo(1), account=AccountNo(number), device=DeviceNo(1), token=b"%d" % number)


def test_the_cache_is_bounded_and_forgets_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CACHED_MAX", 3)
    clock = Clock()
    cache = TokenCache(clock)
    for number in range(5):
        cache.put(a_caller(number), None, cache.epoch)
    assert [cache.get(b"%d" % number) is not None for number in range(5)] == [False, False, True, True, True]
    cache.put(a_caller(9), clock() + 5, cache.epoch)
    clock.seconds += 5
    assert cache.get(b"9") is None
    assert cache.get(b"4") is not None
    clock.seconds += tokens.CACHED_SECONDS
    assert cache.get(b"4") is None


def test_the_cache_takes_nothing_from_before_a_logout() -> None:
    cache = TokenCache(Clock())
    epoch = cache.epoch
    assert cache.drop([b"1"]) == []
    cache.put(a_caller(1), None, epoch)
    assert cache.get(b"1") is None


# --- authentication in steps ---


class Door:
    """An operation behind `m.login.password`, which counts how often it was done."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.interactive = Interactive(self.clock, os.urandom)
        self.done = 0
        self.broken = False

    async def knock(self, auth: Auth | None, operation: str = "open", what: bytes = b"door") -> bytes:
        async def check(given: Auth) -> None:
            if given.password != "sesame":
                raise AttemptFailed("auth.password: wrong")

        async def work() -> bytes:
            if self.broken:
                raise MatrixError("the hinge is stuck", status=503)
            self.done += 1
            return b"%d" % self.done

        return await self.interactive.run(operation, what, Stage.PASSWORD, auth, check, work)

    async def session(self) -> str:
        with pytest.raises(AuthenticationRequired) as asked:
            await self.knock(None)
        return str(asked.value.body()["session"])


def word(session: str | None, password: str = "sesame") -> Auth:
    return Auth(type=Stage.PASSWORD, session=session, password=password)


async def test_the_right_word_opens_once_and_a_repeat_gets_the_same_answer() -> None:
    door = Door()
    session = await door.session()
    assert await door.knock(word(session)) == b"1"
    assert await door.knock(word(session)) == b"1"
    assert await door.knock(Auth(session=session)) == b"1"
    assert await door.knock(word(None)) == b"2"


async def test_a_wrong_word_may_be_followed_by_the_right_one() -> None:
    door = Door()
    session = await door.session()
    with pytest.raises(AuthenticationRequired) as asked:
        await door.knock(word(session, "rice"))
    body = asked.value.body()
    assert (asked.value.status, body["errcode"], body["session"]) == (401, "M_FORBIDDEN", session)
    assert await door.knock(word(session)) == b"1"


@pytest.mark.parametrize(("operation", "what"), [("close", b"door"), ("open", b"safe")])
async def test_a_session_opens_nothing_else(operation: str, what: bytes) -> None:
    door = Door()
    session = await door.session()
    for auth in (word(session), word(session, "rice"), Auth(session=session)):
        with pytest.raises(Forbidden):
            await door.knock(auth, operation, what)
    assert await door.knock(word(session)) == b"1"
    with pytest.raises(Forbidden):
        await door.knock(word(session), operation, what)
    assert door.done == 1


async def test_a_session_ends_in_time() -> None:
    door = Door()
    session = await door.session()
    door.clock.seconds += SESSION_SECONDS + 1
    with pytest.raises(AuthenticationRequired) as asked:
        await door.knock(word(session))
    assert asked.value.body()["session"] != session
    assert door.done == 0


async def test_what_failed_behind_the_door_can_be_tried_again() -> None:
    door = Door()
    session = await door.session()
    door.broken = True
    with pytest.raises(MatrixError, match="hinge"):
        await door.knock(word(session))
    door.broken = False
    assert await door.knock(word(session)) == b"1"


async def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hutong.accounts.interactive.SESSIONS_MAX", 5)
    door = Door()
    sessions = [await door.session() for _ in range(8)]
    with pytest.raises(AuthenticationRequired, match="not known any more"):
        await door.knock(word(sessions[0]))
    assert await door.knock(word(sessions[7])) == b"1"


# --- passwords ---


async def test_a_password_is_checked_against_its_hash_only() -> None:
    passwords = Passwords(CHEAP)
    kept = await passwords.hash("a lane that joins")
    assert b"lane" not in kept
    assert kept.startswith(b"$argon2id$")
    assert await passwords.verify(kept, "a lane that joins")
    assert not await passwords.verify(kept, "a lane that joins ")
    assert not await passwords.verify(None, "nobody's password")
    assert not await passwords.verify(b"rubbish", "a lane that joins")
    assert not await passwords.verify(kept, "x" * 10_000)
    passwords.close()


# --- account data ---


@given(type=st.text(min_size=1).filter(lambda text: "\0" not in text), content=st.binary())
def test_account_data_is_sealed_with_its_type_and_untouched(type: str, content: bytes) -> None:
    assert unpack(pack(type, content)) == (type, content)
