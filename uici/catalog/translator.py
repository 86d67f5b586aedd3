"""How each executor says an operation. Pure: the engine drives the steps, because later ones see earlier answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from uici.catalog import expressions
from uici.model import Call, Environment, ExpressionError, Risk, Step, Translation


class CommandTranslator:
    """The catalog's translations, by operation and dialect."""

    def __init__(self, translations: Mapping[str, Mapping[str, Translation]]) -> None:
        self._translations = {name: dict(dialects) for name, dialects in translations.items()}

    def translation(self, operation: str, environment: Environment) -> Translation | None:
        """The one that the environment uses; None where it offers none (not translated, or left out by ``operations``)."""
        if not environment.offers(operation):
            return None
        return self._translations.get(operation, {}).get(environment.dialect)

    def with_copies(self, copies: Mapping[str, Mapping[str, Translation]]) -> CommandTranslator:
        """The same with a command's own copies in place of what a reload may have brought."""
        merged = {
            **self._translations,
            **{name: {**self._translations.get(name, {}), **of} for name, of in copies.items()},
        }
        return CommandTranslator(merged)

    def dialects(self, operation: str) -> tuple[str, ...]:
        """The dialects that have a translation of the operation."""
        return tuple(sorted(self._translations.get(operation, ())))

    def offered(self, environment: Environment) -> tuple[str, ...]:
        """The operations that an environment offers."""
        return tuple(sorted(name for name in self._translations if self.translation(name, environment)))

    def calls(self, environment: Environment) -> tuple[Call, ...]:
        """Every call that the offered operations may make, each once, with its arguments as they are written (``${…}`` and
        all): what rights they need can be told from that. Never to be run."""
        found: dict[str, Call] = {}
        for _, call in self.callers(environment):
            found.setdefault(f"{call.path} {call.arguments!r}", call)
        return tuple(found.values())

    def callers(self, environment: Environment) -> Iterator[tuple[str, Call]]:
        """Each of these calls as often as it is written, with the operation that makes it."""
        for name in self.offered(environment):
            of = self._translations[name][environment.dialect]
            for step in (*of.steps, *of.confirm, *of.revert, *of.cancel, *of.logs):
                yield name, Call(on=None, path=step.call, arguments=dict(step.arguments), risk=Risk.DESTROY)

    def items(self, step: Step, roots: Mapping[str, Any]) -> list[Any]:
        """The elements of a step's ``each``; raises ExpressionError where it gives no list."""
        many = expressions.render(step.each, roots)
        if not isinstance(many, list):
            raise ExpressionError(f"each of {step.call} did not give a list; write one, such as ${{containers}}")
        return many

    def arguments(self, step: Step, roots: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a step's call; raises ExpressionError."""
        return {name: expressions.render(value, roots) for name, value in step.arguments.items()}

    def answer(self, translation: Translation, roots: Mapping[str, Any]) -> Any:
        """The operation's answer, by the template ``returns``; raises ExpressionError."""
        return expressions.render(translation.returns, roots)
