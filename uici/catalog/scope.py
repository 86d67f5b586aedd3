"""What the checks share: the entries, their schemas, the executors, and how one operation asks for another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from uici.catalog import expressions
from uici.catalog.gather import Entry, Gathered
from uici.catalog.problem import did_you_mean
from uici.catalog.shapes import Misfit, Schema, Shapes, misfits
from uici.catalog.source import Trail
from uici.catalog.typed import Checker
from uici.executor import Executor, load, names
from uici.model import ConfigurationError, Environment

_PARAMETER = {
    "missing": "missing-parameter",
    "unknown": "unknown-parameter",
    "type": "wrong-parameter",
    "value": "wrong-parameter",
}


class Scope:
    """One check's state; nothing of it outlives the check."""

    def __init__(self, gathered: Gathered, *, used_only: bool) -> None:
        self.gathered = gathered
        self.used_only = used_only
        self.shapes = Shapes(Checker())
        self._executors: dict[str, Executor | str] = {}
        self._dialects: dict[str, Executor] | None = None
        self._offered: dict[str, frozenset[str]] = {}

    def operation(self, name: Any) -> Mapping[str, Any] | None:
        """The definition of an operation in which no error was found; None for every other."""
        entry = self.gathered.operations.get(name) if isinstance(name, str) else None
        return entry.definition if entry is not None and not entry.broken else None

    def returns(self, name: Any) -> Schema:
        """The schema of an operation's answer; open where it is not known."""
        found = self.operation(name)
        returns = found.get("returns", {}) if found else {}
        return returns if isinstance(returns, Mapping) else {}

    def before(self, definition: Mapping[str, Any]) -> Schema | None:
        """The schema of the answer that an operation captures before its first change; None where it captures none."""
        asks = definition.get("before")
        return self.returns(asks.get("operation")) if isinstance(asks, Mapping) else None

    def executor(self, name: str) -> Executor | str:
        """An executor without an engine, or why there is none."""
        found = self._executors.get(name)
        if found is None:
            try:
                found = load(name)()
            except ConfigurationError as error:
                found = str(error)
            self._executors[name] = found
        return found

    def speaker(self, dialect: str) -> Executor | None:
        """The executor of a dialect: of the environment that uses it, or the one of that name; None where there is none."""
        if self._dialects is None:
            self._dialects = {}
            for one in self.places():
                definition = one.definition
                executor = self.executor(definition["executor"])
                if not isinstance(executor, str):
                    self._dialects.setdefault(definition.get("dialect", definition["executor"]), executor)
        if dialect not in self._dialects:
            for name in [dialect] if dialect in names() else names():
                executor = self.executor(name)
                if not isinstance(executor, str) and dialect in executor.dialects:
                    self._dialects[dialect] = executor
        return self._dialects.get(dialect)

    def places(self) -> Iterator[Entry]:
        """The environments that can be looked at."""
        for one in self.gathered.environments.values():
            definition = one.definition
            words = (
                (definition.get("executor"), definition.get("dialect", "")) if isinstance(definition, dict) else (None,)
            )
            if all(isinstance(word, str) for word in words):
                yield one

    def used(self) -> frozenset[str]:
        """The dialects that some environment takes."""
        return frozenset(one.definition.get("dialect", one.definition["executor"]) for one in self.places())

    def dialect(self, place: Entry) -> str:
        """What an environment's executor is spoken to in."""
        said: str = place.definition.get("dialect", place.definition["executor"])
        return said

    def offered(self, place: Entry) -> frozenset[str]:
        """The operations that an environment offers, whose definition must not be broken."""
        found = self._offered.get(place.name)
        if found is None:
            environment = Environment.parse(place.name, {**place.definition, "alerts": []})
            found = self._offered[place.name] = frozenset(
                name
                for name, of in self.gathered.translations.items()
                if environment.dialect in of and name in self.gathered.operations and environment.offers(name)
            )
        return found

    def asks(
        self,
        entry: Entry,
        ask: Mapping[str, Any],
        at: Trail,
        roots: Mapping[str, Schema],
        *,
        observe: str = "",
        key: str = "operation",
    ) -> None:
        """Checks how ``entry`` asks for another operation, whose name lies under ``key``.

        ``observe``: what it is that may only be an observe operation.
        """
        name = ask["operation"]
        given = self.shapes.of(ask.get("parameters", {}), roots, entry.add, (*at, "parameters"))
        if name not in self.gathered.operations:
            hint = did_you_mean(name, self.gathered.operations)
            entry.add("unknown-operation", f"there is no operation {name!r}", hint, at=(*at, key))
            return
        called = self.operation(name)
        if called is None:
            return
        if observe and called["risk"] != "observe":
            message = f"{observe} is asked of {name!r}, whose risk is {called['risk']}"
            entry.add("not-observe", message, "ask an operation whose risk is observe", at=(*at, key))
        self.fits(entry, name, called, given, at)

    def judges(self, entry: Entry, source: Any, roots: Mapping[str, Schema], at: Trail) -> None:
        """Checks a condition on what was asked; one that does not look at the answer proves nothing."""
        self.shapes.condition(source, roots, entry.add, at)
        if not isinstance(source, str) or entry.document.is_broken((*entry.trail, *at)):
            return
        if "answer" not in expressions.reads(source):
            message = "does not look at `answer`, so that it is the same whatever there is"
            entry.add("reads-no-answer", message, 'compare a field of it, such as answer.state == "running"', at=at)

    def fits(self, entry: Entry, name: str, called: Mapping[str, Any], given: Mapping[str, Any], at: Trail) -> None:
        """Notes which parameters the called operation would refuse."""
        parameters = called["parameters"]
        filled = {
            key
            for key, one in parameters.get("properties", {}).items()
            if isinstance(one, Mapping) and "default" in one
        }
        namespace = (called.get("target") or {}).get("namespace")
        for misfit in misfits(given, parameters):
            if misfit.kind == "missing" and not misfit.at and _missing(misfit) in filled | {namespace}:
                continue
            of = f"of {name}" if not misfit.at else f"{'.'.join(map(str, misfit.at))} of {name}"
            key = misfit.kind == "unknown"
            where = (*at, "parameters", *misfit.at)
            entry.add(_PARAMETER[misfit.kind], f"parameter {of}: {misfit.message}", misfit.hint, at=where, key=key)


def _missing(misfit: Misfit) -> str:
    return misfit.message.split("'")[1]
