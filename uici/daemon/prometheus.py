"""What a Prometheus knows of an alert: its rule's expression, its ``for``, and whether the expression stays empty.

Optional (``monitoring.prometheus`` in platform.yml), read only, and never in the way: what it cannot tell is None, which
counts as nothing. A metric without fresh samples proves nothing: a dead exporter makes an expression empty too.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from uici.model import Alert, Clock, duration
from uici.model.record import dataclass

if TYPE_CHECKING:
    from aiohttp import ClientSession

#: Prometheus' own defaults, where it does not say: ``query.lookback-delta`` and ``global.evaluation_interval``.
LOOKBACK, INTERVAL = 300.0, 60.0
#: Seconds that one question may take, for which the rules are believed, and before one that did not tell them is asked again.
LIMIT, RULES_AGE, AGAIN = 5.0, 30.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An alerting rule. Times in seconds."""

    expression: str
    for_: float = 0.0
    interval: float = INTERVAL


class Prometheus:
    """``url``: its base address. ``close`` at the end."""

    def __init__(self, url: str, *, clock: Clock = time.time) -> None:
        self.url = url
        self._clock = clock
        self._session: ClientSession | None = None
        self._rules: list[tuple[str, Rule]] = []
        self._lookback = LOOKBACK
        self._rules_at = self._silent_at = float("-inf")
        self._reading = asyncio.Lock()

    async def window(self, alert: Alert) -> float:
        """Seconds after which this alert would have gone if its cause had: ``for`` + lookback + one evaluation; 0: unknown."""
        rule = await self._rule(alert)
        return rule.for_ + self._lookback + rule.interval if rule else 0.0

    async def stayed_empty(self, alert: Alert) -> bool | None:
        """Whether the alert's expression was empty for its whole window, with fresh samples of every series that it reads.

        None: nobody can tell (not reachable, no such rule, no samples).
        """
        rule = await self._rule(alert)
        if rule is None:
            return None
        now = self._clock()
        step = max(1.0, min(rule.interval, 15.0))
        window = rule.for_ + self._lookback + rule.interval
        ranged = {"query": rule.expression, "start": f"{now - window:.3f}", "end": f"{now:.3f}", "step": f"{step:.3f}"}
        data = await self._ask("/api/v1/query_range", ranged)
        if data is None:
            return None
        for series in data.get("result", ()):
            if _same(series.get("metric", {}), alert.labels):
                return False
        fresh = [await self._fresh(selector, alert, now - self._lookback) for selector in selectors(rule.expression)]
        return True if fresh and all(fresh) else None

    async def _fresh(self, selector: str, alert: Alert, after: float) -> bool:
        """Whether a series of the selector that shares the alert's labels has a sample that young."""
        asked = {"query": f"timestamp({selector})", "time": f"{self._clock():.3f}"}
        data = await self._ask("/api/v1/query", asked)
        for series in (data or {}).get("result", ()):
            try:
                at = float(series["value"][1])
            except (KeyError, IndexError, TypeError, ValueError):
                continue
            if at > after and _same(series.get("metric", {}), alert.labels):
                return True
        return False

    async def _rule(self, alert: Alert) -> Rule | None:
        """Of the rules it has, else (another Prometheus' alert) of the alert's own link, without a known ``for``."""
        async with self._reading:
            # One that hangs is not waited for by each alert of each incident.
            if self._clock() - self._rules_at > RULES_AGE and self._clock() - self._silent_at > AGAIN:
                await self._read_rules()
        linked = expression_of(alert)
        named = [rule for name, rule in self._rules if name == alert.name]
        exact = [rule for rule in named if rule.expression == linked]
        if exact or len(named) == 1:
            return (exact or named)[0]
        return Rule(expression=linked) if linked and not named else None

    async def _read_rules(self) -> None:
        data = await self._ask("/api/v1/rules", {"type": "alert"})
        if data is None:
            self._silent_at = self._clock()
            return
        self._rules = [
            (
                str(rule.get("name")),
                Rule(
                    expression=str(rule.get("query", "")),
                    for_=float(rule.get("duration", 0)) + float(rule.get("keepFiringFor", 0)),
                    interval=float(group.get("interval", INTERVAL)),
                ),
            )
            for group in data.get("groups", ())
            for rule in group.get("rules", ())
        ]
        flags = await self._ask("/api/v1/status/flags", {})
        try:
            self._lookback = duration(str((flags or {}).get("query.lookback-delta", "5m")))
        except ValueError:
            self._lookback = LOOKBACK
        self._rules_at = self._clock()

    async def _ask(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any] | None:
        import aiohttp  # here, because only a daemon with a Prometheus needs a client

        if self._session is None:
            # Its own context: see ``imports.web``.
            trust = ssl.create_default_context() if self.url.startswith("https:") else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trust), timeout=aiohttp.ClientTimeout(total=LIMIT)
            )
        try:
            async with self._session.get(self.url.rstrip("/") + path, params=parameters) as answer:
                body = await answer.json()
        except (TimeoutError, aiohttp.ClientError, ValueError):
            return None
        data = body.get("data") if isinstance(body, dict) and body.get("status") == "success" else None
        return data if isinstance(data, dict) else None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def expression_of(alert: Alert) -> str:
    """The expression in an alert's generatorURL (``…/graph?g0.expr=up+%3D%3D+0``), or ""."""
    try:
        return parse_qs(urlsplit(alert.generator_url).query).get("g0.expr", [""])[0]
    except ValueError:
        return ""


def _same(series: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether they agree in all labels that both have."""
    return all(labels.get(name, value) == value for name, value in series.items() if name != "__name__")


_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<other>\S)|\s+""",
    re.ASCII,
)
_WORDS = frozenset(
    "by without on ignoring group_left group_right bool offset and or unless inf nan atan2 start end "
    "sum min max avg group stddev stdvar count count_values bottomk topk quantile limitk limit_ratio".split()
)
_LABEL_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})


def selectors(expression: str) -> list[str]:
    """The vector selectors of a PromQL expression (``up{job="x"}``), each once, without ranges and modifiers."""
    return list(dict.fromkeys(_selectors(expression)))


def _selectors(expression: str) -> Iterator[str]:
    tokens = [match for match in _TOKEN.finditer(expression) if not match[0].isspace()]
    index = 0
    while index < len(tokens):
        token = tokens[index]
        following = tokens[index + 1][0] if index + 1 < len(tokens) else ""
        index += 1
        if token[0] == "{":
            end = _close(tokens, index)
            yield expression[token.start() : tokens[end - 1].end()]
            index = end
        elif token["other"] == "[":
            while index < len(tokens) and tokens[index - 1][0] != "]":
                index += 1
        elif token["other"] and token[0].isdigit():
            # A number or a duration (5m, 1e3): its letters are no metric.
            while index < len(tokens) and tokens[index].start() == tokens[index - 1].end() and _numeric(tokens[index]):
                index += 1
        elif token["name"]:
            word = token[0].lower()
            if word in _LABEL_LISTS and following == "(":
                while index < len(tokens) and tokens[index][0] != ")":
                    index += 1
            elif following == "(" or word in _WORDS:
                continue
            elif following == "{":
                end = _close(tokens, index + 1)
                yield expression[token.start() : tokens[end - 1].end()]
                index = end
            else:
                yield token[0]


def _numeric(token: re.Match[str]) -> bool:
    return bool(token["name"]) or token[0].isdigit() or token[0] == "."


def _close(tokens: list[re.Match[str]], index: int) -> int:
    """Index after the brace that ends the matchers."""
    while index < len(tokens) and tokens[index][0] != "}":
        index += 1
    return min(index + 1, len(tokens))
