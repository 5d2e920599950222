import msgspec
import pytest

from hutong.errors import BadParam, NotFound
from hutong.push.api import find
from hutong.push.rules import KINDS, default_rules, ruleset

ME = '@al"ice:ru.localhost'


def test_the_ready_made_bytes_say_what_the_rules_say() -> None:
    assert msgspec.json.decode(ruleset(ME)) == {"global": default_rules(ME)}


def test_every_kind_is_there_and_every_rule_id_only_once() -> None:
    rules = default_rules(ME)
    assert tuple(rules) == KINDS
    ids = [rule["rule_id"] for kind in KINDS for rule in rules[kind]]
    assert len(ids) == len(set(ids)) == 15
    assert all(id.startswith(".m.rule.") for id in ids)


def test_master_comes_first_and_is_off() -> None:
    master = default_rules(ME)["override"][0]
    assert (master["rule_id"], master["enabled"]) == (".m.rule.master", False)


def test_a_rule_is_found_by_kind_and_id() -> None:
    rules = default_rules(ME)
    assert find(rules, "underride", ".m.rule.message")["actions"] == ["notify"]
    with pytest.raises(NotFound):
        find(rules, "override", ".m.rule.message")
    with pytest.raises(BadParam, match="kind: is none of override"):
        find(rules, "overrule", ".m.rule.message")
