"""The accounts of a cell, their sessions and their end, without HTTP."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from hutong.accounts.model import State
from hutong.accounts.service import UserInUse
from hutong.accounts.sessions import ACCESS_SECONDS
from hutong.errors import MatrixError, NotFound, UnknownToken
from hutong.http.request import Caller
from hutong.ids import AccountNo
from hutong.vault.blind import BlindIndex
from hutong.vault.pages import Slot
from hutong.vault.vault import Gone
from tests.unit.accounts.conftest import PASSWORD, ROOT, Lane

WORDS = {
    "name": "wei-the-carpenter",
    "password": "a very particular password",
    "next password": "another rather particular one",
    "device": "SUSPICIOUSDEVICEID",
    "device name": "Grandmother's tablet in the kitchen",
    "renamed device": "The tablet that fell into the soup",
    "display name": "卫先生的木工作坊在胡同里",
    "field": "org.example.favourite_dumpling",
    "value": "pork and chives with vinegar",
    "filter": "org.example.secret.event.type",
}


async def test_no_word_is_ever_a_parameter_of_a_statement(lane: Lane) -> None:
    """Rule R1: whatever PostgreSQL writes anywhere, it has never been told a word."""
    account = await lane.accounts.register(WORDS["name"], WORDS["password"])
    login = await lane.sessions.start(account, WORDS["device"], WORDS["device name"], refreshable=True)
    await lane.sessions.resolve(login.access_token)
    assert login.refresh_token is not None
    later = await lane.sessions.refresh(login.refresh_token)
    await lane.sessions.resolve(later.access_token)
    await lane.sessions.rename(account, WORDS["device"], WORDS["renamed device"])
    await lane.profiles.set(account, "displayname", WORDS["display name"])
    await lane.profiles.set(account, WORDS["field"], WORDS["value"])
    await lane.filters.put(account, b'{"room":{"state":{"types":["%s"]}}}' % WORDS["filter"].encode())
    await lane.accounts.prove(WORDS["name"], WORDS["password"])
    await lane.accounts.set_password(account, WORDS["next password"])
    await lane.erasure.erase(account)
    assert BlindIndex(ROOT).name(WORDS["name"]) in lane.statements, "the parameters are not being listened to"
    for parameter in flat(lane.statements):
        if isinstance(parameter, str):
            assert parameter.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "TRUNCATE")), parameter
        else:
            raw = bytes(parameter) if isinstance(parameter, bytes) else str(parameter).encode()
            for word in WORDS.values():
                assert word.encode() not in raw
            assert login.access_token.encode() not in raw


def flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from flat(value)
        else:
            yield value.strip() if isinstance(value, str) else value


# --- finding ---


async def test_a_person_is_found_by_name_while_living(lane: Lane) -> None:
    wei = await lane.accounts.register("wei", PASSWORD)
    assert await lane.accounts.find("wei") == wei
    assert await lane.accounts.find("Wei") is None
    assert await lane.accounts.user_ids([wei, AccountNo(999)]) == {wei: "@wei:ru.localhost"}
    assert await (await lane.restarted()).accounts.user_ids([wei]) == {wei: "@wei:ru.localhost"}
    assert await lane.accounts.profile("wei") == {}
    assert await lane.accounts.profile("nobody") is None
    with pytest.raises(NotFound):
        await lane.accounts.user_id(AccountNo(999))


async def test_a_bucket_is_the_home(lane: Lane) -> None:
    wei = await lane.accounts.register("wei", PASSWORD)
    account = await lane.accounts.account(wei)
    assert account is not None
    assert lane.accounts.home_of("wei") == lane.region.number * 4_096 + account.bucket


async def test_profiles_tell_the_rooms_of_what_rooms_show_and_of_changes_only(lane: Lane) -> None:
    wei = await lane.accounts.register("wei", PASSWORD)
    for _ in range(2):
        await lane.profiles.set(wei, "displayname", "Wei")
    await lane.profiles.set(wei, "m.tz", "Asia/Shanghai")
    assert lane.changed == [wei]
    assert await lane.accounts.profile_of(wei) == {"displayname": "Wei", "m.tz": "Asia/Shanghai"}
    assert await lane.accounts.profile_of(AccountNo(999)) == {}
    await lane.profiles.delete(wei, "displayname")
    await lane.profiles.delete(wei, "displayname")
    assert lane.changed == [wei, wei]


async def test_a_profile_changed_from_two_sides_keeps_both_changes(lane: Lane) -> None:
    wei = await lane.accounts.register("wei", PASSWORD)
    keys = [f"org.example.f{number}" for number in range(5)]
    await asyncio.gather(*(lane.profiles.set(wei, key, key) for key in keys))
    assert await lane.accounts.profile("wei") == {key: key for key in keys}


# --- who calls ---


async def test_a_token_is_in_memory_after_the_first_call_and_dead_at_once_after_logout(lane: Lane) -> None:
    wei = await lane.accounts.register("wei", PASSWORD)
    login = await lane.sessions.start(wei, "PHONE", None, refreshable=False)
    assert lane.sessions.resolve_cached(login.access_token) is None
    caller = await lane.sessions.resolve(login.access_token)
    assert (caller.account, caller.cell) == (wei, lane.region.cells[0].number)
    assert lane.sessions.resolve_cached(login.access_token) == caller
    ended: list[Caller] = []
    lane.sessions.ended.append(ended.append)
    await lane.sessions.end(wei, [caller.device])
    assert ended == [caller]
    assert lane.sessions.resolve_cached(login.access_token) is None
    with pytest.raises(UnknownToken):
        await lane.sessions.resolve(login.access_token)


async def test_a_look_up_under_way_during_logout_brings_no_token_back(lane: Lane) -> None:
    wei = await lane.accounts.register("wei", PASSWORD)
    login = await lane.sessions.start(wei, "PHONE", None, refreshable=False)
    real, found, go_on = lane.store.resolve, asyncio.Event(), asyncio.Event()

    async def slow(*asked: Any) -> Any:
        row = await real(*asked)
        found.set()
        await go_on.wait()
        return row

    object.__setattr__(lane.store, "resolve", slow)
    look_up = asyncio.create_task(lane.sessions.resolve(login.access_token))
    await found.wait()
    await lane.sessions.end_all(wei)
    go_on.set()
    await look_up  # this request was on its way before the logout; no later one may pass
    object.__setattr__(lane.store, "resolve", real)
    assert lane.sessions.resolve_cached(login.access_token) is None
    with pytest.raises(UnknownToken):
        await lane.sessions.resolve(login.access_token)


async def test_an_access_token_expires_softly_also_when_cached(lane: Lane) -> None:
    wei = await lane.accounts.register("wei", PASSWORD)
    login = await lane.sessions.start(wei, "PHONE", None, refreshable=True)
    await lane.sessions.resolve(login.access_token)
    lane.clock.seconds += ACCESS_SECONDS
    assert lane.sessions.resolve_cached(login.access_token) is None
    with pytest.raises(UnknownToken) as raised:
        await lane.sessions.resolve(login.access_token)
    assert raised.value.extra == {"soft_logout": True}
    assert login.refresh_token is not None
    fresh = await lane.sessions.refresh(login.refresh_token)
    assert (await lane.sessions.resolve(fresh.access_token)).account == wei


async def test_a_device_was_seen_to_the_hour(lane: Lane) -> None:
    wei = await lane.accounts.register("wei", PASSWORD)
    login = await lane.sessions.start(wei, "PHONE", None, refreshable=False)
    await lane.sessions.resolve(login.access_token)
    first = (await lane.sessions.device(wei, "PHONE")).seen
    assert first % 60 == 0
    lane.clock.seconds += 2 * 3_600
    await lane.sessions.resolve(login.access_token)
    assert (await lane.sessions.device(wei, "PHONE")).seen == first + 120


# --- the end of an account ---


async def erasable(lane: Lane) -> tuple[AccountNo, bytes, str]:
    """An account with something of everything, a record sealed under its key, and its token."""
    wei = await lane.accounts.register("wei", PASSWORD)
    login = await lane.sessions.start(wei, "PHONE", "Red phone", refreshable=False)
    await lane.profiles.set(wei, "displayname", "Wei")
    await lane.filters.put(wei, b"{}")
    await lane.sessions.resolve(login.access_token)
    return wei, lane.vault.seal(wei, bytes(16), b"words"), login.access_token


async def rows(lane: Lane, table: str) -> int:
    return int(await lane.pool.fetchval(f"SELECT count(*) FROM {table}"))


async def assert_erased(lane: Lane, wei: AccountNo, sealed: bytes) -> None:
    assert lane.keystore.state(wei) is Slot.DESTROYED
    with pytest.raises(Gone):
        lane.vault.open(wei, bytes(16), sealed)
    account = await lane.accounts.account(wei)
    assert account is not None
    assert (account.state, account.person) == (State.ERASED, None)
    assert await lane.accounts.user_ids([wei]) == {}
    assert [await rows(lane, table) for table in ("accounts", "devices", "tokens", "filters")] == [1, 0, 0, 0]
    with pytest.raises(UserInUse):
        await lane.accounts.register("wei", PASSWORD)
    assert await lane.store.unfinished() == []


async def test_erasing_goes_through_every_step_in_order(lane: Lane) -> None:
    wei, sealed, token = await erasable(lane)
    await lane.erasure.deactivate(wei, erase=True)
    assert lane.rooms.steps == ["leave_rooms", "delete_content", "announce_erased"]
    with pytest.raises(UnknownToken):
        await lane.sessions.resolve(token)
    await assert_erased(lane, wei, sealed)


@pytest.mark.parametrize("failing", ["leave_rooms", "delete_content", "announce_erased", "keystore", "clear", "finish"])
async def test_an_erasure_that_stopped_anywhere_is_taken_up_after_a_restart(lane: Lane, failing: str) -> None:
    wei, sealed, token = await erasable(lane)

    async def fails(*_: Any) -> None:
        raise ConnectionError(failing)

    if failing == "keystore":
        lane.keystore.destroy = fails  # type: ignore[method-assign]
    elif failing in {"clear", "finish"}:
        object.__setattr__(lane.store, failing, fails)
    else:
        lane.rooms.failing = failing
    await lane.erasure.deactivate(wei, erase=True)
    assert await lane.accounts.find("wei") is None
    assert lane.sessions.resolve_cached(token) is None
    with pytest.raises(UnknownToken):
        await lane.sessions.resolve(token)

    again = await lane.restarted()
    again.rooms.failing = None
    assert await again.keystore.reconcile(await again.store.numbers()) == []
    assert await again.erasure.resume() == 0
    await assert_erased(again, wei, sealed)
    assert await again.erasure.resume() == 0


async def test_an_old_backup_of_the_database_brings_nobody_back(lane: Lane) -> None:
    wei, sealed, token = await erasable(lane)
    bao = await lane.accounts.register("bao", PASSWORD)
    bread = lane.vault.seal(bao, bytes(16), b"bread")
    tables = ("accounts", "devices", "tokens", "filters")
    backup = {table: await lane.pool.fetch(f"SELECT * FROM {table}") for table in tables}
    await lane.erasure.erase(wei)

    for table, kept in backup.items():
        await lane.pool.execute(f"TRUNCATE {table}")
        await lane.pool.copy_records_to_table(table, records=kept)
    restored = await lane.restarted()
    assert await restored.keystore.reconcile(await restored.store.numbers()) == []
    assert await restored.accounts.prove("wei", PASSWORD) is None  # also before anything was mended
    assert await restored.erasure.mark_destroyed() == [wei]
    assert await restored.accounts.find("wei") is None
    with pytest.raises(UnknownToken):
        await restored.sessions.resolve(token)
    with pytest.raises(Gone):
        restored.vault.open(wei, bytes(16), sealed)
    restored.rooms.gone = True
    assert await restored.erasure.resume() == 0
    assert await restored.accounts.user_ids([wei, bao]) == {bao: "@bao:ru.localhost"}
    assert restored.vault.open(bao, bytes(16), bread) == b"bread"
    assert await restored.accounts.prove("bao", PASSWORD) == bao
    assert await restored.erasure.mark_destroyed() == []


async def test_a_key_is_kept_for_the_grace_and_not_longer(lane: Lane) -> None:
    wei, sealed, _ = await erasable(lane)
    patient = lane.erasing(grace_hours=24)
    await patient.deactivate(wei, erase=True)
    assert lane.vault.open(wei, bytes(16), sealed) == b"words"
    assert await rows(lane, "devices") == 0
    lane.clock.seconds += 23 * 3_600
    assert await patient.resume() == 1
    assert lane.keystore.state(wei) is Slot.USED
    lane.clock.seconds += 2 * 3_600
    assert await patient.resume() == 0
    await assert_erased(lane, wei, sealed)


async def test_who_is_deactivated_without_erasure_stays_readable(lane: Lane) -> None:
    wei, sealed, token = await erasable(lane)
    await lane.erasure.deactivate(wei, erase=False)
    assert lane.rooms.steps == ["leave_rooms"]
    assert lane.vault.open(wei, bytes(16), sealed) == b"words"
    assert await lane.accounts.user_ids([wei]) == {wei: "@wei:ru.localhost"}
    account = await lane.accounts.account(wei)
    assert account is not None
    assert account.person is not None
    assert (account.state, account.person.fields) == (State.CLOSED, {})
    assert await lane.accounts.prove("wei", PASSWORD) is None
    with pytest.raises(UnknownToken):
        await lane.sessions.resolve(token)
    await lane.erasure.erase(wei)  # the operator may erase them later
    await assert_erased(lane, wei, sealed)


async def test_a_profile_of_somebody_who_goes_is_not_changed(lane: Lane) -> None:
    wei, _, _ = await erasable(lane)
    await lane.erasure.mark(wei, erase=True)
    with pytest.raises(NotFound):
        await lane.profiles.set(wei, "displayname", "Wei again")
    with pytest.raises(NotFound):
        await lane.accounts.set_password(wei, "yet another password")
    assert await lane.accounts.profile("wei") is None


async def test_a_login_at_the_same_time_as_the_end_opens_nothing(lane: Lane) -> None:
    """The password was checked before, the tokens are written after: they must be dead all the same."""
    wei, _, _ = await erasable(lane)
    await lane.erasure.mark(wei, erase=True)
    login = await lane.sessions.start(wei, "LATE", None, refreshable=True)
    with pytest.raises(UnknownToken):
        await lane.sessions.resolve(login.access_token)
    assert login.refresh_token is not None
    with pytest.raises(UnknownToken):
        await lane.sessions.refresh(login.refresh_token)


# --- passwords ---


async def test_a_rush_of_logins_is_turned_away_before_it_piles_up(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hutong.accounts.passwords.WAITING_MAX", 3)
    answers = await asyncio.gather(*(lane.passwords.verify(None, "x") for _ in range(10)), return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, MatrixError)]
    assert answers.count(False) == 3
    assert {refusal.status for refusal in refusals} == {503}
    assert await lane.accounts.prove("nobody", "x") is None
