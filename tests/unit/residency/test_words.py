"""Which words an audit takes out of opened records."""

import json

from msgspec import json as encoding

from hutong.accounts.model import Person
from hutong.cells.records import Words, pack
from hutong.engines.tables import Placement, Table
from hutong.residency.markers import Kind
from hutong.residency.records import id_column
from hutong.residency.software import of_the_software
from hutong.residency.words import Word, words
from hutong.schema import TABLES


def test_of_an_event_its_type_state_key_keys_and_texts() -> None:
    content = {"body": "Nine o'clock", "m.relates_to": {"event_id": "$" + "a" * 22}, "name": "Courtyard", "n": 7}
    plain = pack(Words(1, "org.example.plum", "under the tree", json.dumps(content).encode()))
    found = set(words("content", "body", plain, "cn.localhost"))
    assert found == {
        Word(Kind.CONTENT, "org.example.plum"),
        Word(Kind.CONTENT, "under the tree"),
        Word(Kind.CONTENT, "body"),
        Word(Kind.CONTENT, "Nine o'clock"),
        Word(Kind.CONTENT, "m.relates_to"),
        Word(Kind.CONTENT, "event_id"),  # and not the id itself, which says nothing about anybody
        Word(Kind.CONTENT, "name"),
        Word(Kind.NAME, "Courtyard"),
        Word(Kind.CONTENT, "n"),
    }


def test_of_a_person_the_user_id_and_the_names() -> None:
    plain = encoding.encode(Person(localpart="li", fields={"displayname": "Li of the old plum tree"}))
    found = set(words("accounts", "person", plain, "cn.localhost"))
    assert {Word(Kind.USER_ID, "@li:cn.localhost"), Word(Kind.NAME, "Li of the old plum tree")} <= found


def test_of_a_password_the_hash_and_not_the_recipe() -> None:
    plain = b"$argon2id$v=19$m=1024,t=1,p=1$c2FsdA$aGFzaA"
    assert list(words("accounts", "password", plain, "cn.localhost")) == [Word(Kind.CONTENT, "aGFzaA")]


def test_of_account_data_the_type_and_the_texts() -> None:
    found = set(words("account_data", "body", b'org.example.notes\0{"words": ["one", {"two": "three"}]}', "x"))
    assert {word.text for word in found} == {"org.example.notes", "words", "one", "two", "three"}


def test_of_any_other_bytes_their_printable_runs() -> None:
    assert [word.text for word in words("letters", "body", b"\x01{not json\x00but words\xff", "x")] == [
        "{not json", "but words",
    ]  # fmt: skip


def test_every_sealed_column_of_the_product_can_be_opened() -> None:
    for table in TABLES:
        for column in table.placed(Placement.HOME):
            assert id_column(table, column.name) in {"id", f"{column.name}_id"}


def test_a_column_has_its_own_id_or_that_of_its_row() -> None:
    table = Table(
        "letters", key="id", home="body bytea, note bytea", envelope="id uuid, note_id uuid, account int8"
    )  # fmt: skip
    assert (id_column(table, "body"), id_column(table, "note")) == ("id", "note_id")


def test_words_of_the_software_are_told_from_those_of_people() -> None:
    texts = [b"m.room.history_visibility", b"shutting down because", b"Li of the old plum tree, no. 1"]
    assert of_the_software(texts) & {texts[0], texts[2]} == {texts[0]}
    assert of_the_software([]) == set()
