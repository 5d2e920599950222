"""`/pushrules/`: the default rules, to be read. Client-Server API v1.19, "Push Rules: API"."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from falcon.asgi import Request, Response

from hutong.errors import BadParam, NotFound
from hutong.http.request import Caller, caller
from hutong.push.rules import KINDS, Rule, default_rules, ruleset

PATH = "/_matrix/client/v3/pushrules"

UserIdOf = Callable[[Caller], Awaitable[str]]


@dataclass(frozen=True)
class AllRulesEndpoint:
    user_id: UserIdOf

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.data = ruleset(await self.user_id(caller(req)))


@dataclass(frozen=True)
class GlobalRulesEndpoint:
    user_id: UserIdOf

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.data = msgspec.json.encode(default_rules(await self.user_id(caller(req))))


@dataclass(frozen=True)
class RuleEndpoint:
    """One rule, or with `part` one of its fields."""

    user_id: UserIdOf
    part: str = ""

    async def on_get(self, req: Request, resp: Response, kind: str, rule_id: str) -> None:
        rule = find(default_rules(await self.user_id(caller(req))), kind, rule_id)
        resp.data = msgspec.json.encode({self.part: rule[self.part]} if self.part else rule)


def find(rules: dict[str, list[Rule]], kind: str, rule_id: str) -> Rule:
    """Raises: BadParam for a kind that the specification does not know, NotFound."""
    if kind not in rules:
        raise BadParam("kind", f"is none of {', '.join(KINDS)}")
    for rule in rules[kind]:
        if rule["rule_id"] == rule_id:
            return rule
    raise NotFound(f"ruleId: no rule of kind {kind} has this id")


def routes(user_id: UserIdOf) -> list[tuple[str, object]]:
    """`user_id`: who calls, as a full user id."""
    rule = f"{PATH}/global/{{kind}}/{{rule_id}}"
    return [
        (f"{PATH}/", AllRulesEndpoint(user_id)),
        (PATH, AllRulesEndpoint(user_id)),
        (f"{PATH}/global/", GlobalRulesEndpoint(user_id)),
        (rule, RuleEndpoint(user_id)),
        (f"{rule}/enabled", RuleEndpoint(user_id, "enabled")),
        (f"{rule}/actions", RuleEndpoint(user_id, "actions")),
    ]
