"""Push rules: the default ones are told, and what cannot be changed yet says so."""

import pytest

from hutong.push.rules import default_rules
from tests.support.client import Client, path


async def test_the_default_rules_are_told_whole_and_one_by_one(alice: Client) -> None:
    rules = default_rules(alice.user_id)
    assert await alice.ok("GET", "/pushrules/") == {"global": rules}
    assert await alice.ok("GET", "/pushrules/global/") == rules
    for kind, each in rules.items():
        for rule in each[::4]:
            where = path("pushrules", "global", kind, rule["rule_id"])
            assert await alice.ok("GET", where) == rule
            assert await alice.ok("GET", where + "/enabled") == {"enabled": rule["enabled"]}
            assert await alice.ok("GET", where + "/actions") == {"actions": rule["actions"]}


@pytest.mark.parametrize("part", ["", "/enabled", "/actions"])
async def test_no_such_rule(alice: Client, part: str) -> None:
    answer = await alice.get("/pushrules/global/override/.m.rule.message" + part)
    assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND"), "it is an underride"
    answer = await alice.get("/pushrules/global/elsewhere/.m.rule.message" + part)
    assert (answer.status, answer.errcode) == (400, "M_INVALID_PARAM")
    assert "kind" in answer.error


async def test_what_is_not_served_yet_is_answered_with_an_error_of_matrix(alice: Client) -> None:
    rule = "/pushrules/global/override/.m.rule.master"
    for method, where, body in (
        ("PUT", "/pushrules/global/content/mine", {"pattern": "tea", "actions": ["notify"]}),
        ("DELETE", rule, None),
        ("PUT", rule + "/enabled", {"enabled": True}),
        ("PUT", rule + "/actions", {"actions": []}),
        ("GET", "/notifications", None),
    ):
        answer = await alice.request(method, where, body)
        assert (answer.status in {404, 405}, answer.errcode) == (True, "M_UNRECOGNIZED"), (method, where, answer)
    assert await alice.ok("GET", "/pushrules/global/") == default_rules(alice.user_id)
