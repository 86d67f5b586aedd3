"""What may be asked: the operations by name, and whether parameters are such as an operation takes. Pure."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

from uici.catalog.problem import ParametersError, did_you_mean
from uici.model import Operation

_DEEPEST = 64


class OperationRegistry(Mapping[str, Operation]):
    """The catalog's operations. Schemas are compiled when first needed."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self._operations = dict(operations)
        self._validators: dict[str, Any] = {}
        self._contracts: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Operation:
        return self._operations[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._operations)

    def __len__(self) -> int:
        return len(self._operations)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._operations))

    def did_you_mean(self, name: str) -> str:
        """``did you mean 'restart_service'?`` or the list of what there is."""
        return did_you_mean(name, self._operations)

    def validate(self, operation: str | Operation, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters with the schema's defaults filled in; raises ParametersError, KeyError for no such operation."""
        of = operation if isinstance(operation, Operation) else self._operations[operation]
        plain = _plain(of.name, parameters, (), 0)
        filled: dict[str, Any] = with_defaults(of.parameters, plain)
        problems = parameter_problems(self._validator(of), of.parameters, filled)
        if problems:
            raise ParametersError(of.name, problems)
        return filled

    def answer_problems(self, operation: Operation, answer: Any) -> list[str]:
        """What in an answer breaks the operation's contract (``returns``); empty where it holds."""
        from uici.catalog.conformance import dotted, short

        contract = self._contracts.get(operation.name)
        if contract is None or self._operations.get(operation.name) is not operation:
            contract = self._contracts[operation.name] = compiled(operation.returns)
        return [f"{dotted(error.instance_path)}: {short(error.message)}" for error in contract.iter_errors(answer)]

    def with_copies(self, copies: Mapping[str, Operation]) -> OperationRegistry:
        """The same with a command's own copies in place of what a reload may have brought."""
        return OperationRegistry({**self._operations, **copies})

    def _validator(self, operation: Operation) -> Any:
        if self._operations.get(operation.name) is not operation:
            return compiled(operation.parameters)  # a command's own copy, from before a reload
        found = self._validators.get(operation.name)
        if found is None:
            found = self._validators[operation.name] = compiled(operation.parameters)
        return found


def compiled(schema: Mapping[str, Any]) -> Any:
    """A schema's validator, whose messages never show values where one of them is a secret (``writeOnly``)."""
    from uici.catalog.conformance import validator

    return validator(schema, mask="the value" if "'writeOnly': True" in str(schema) else None)


def parameter_problems(
    validator: Any, schema: Mapping[str, Any], parameters: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """(dotted path, what is wrong) of each; unknown parameters with what may have been meant."""
    from uici.catalog.conformance import dotted, short

    found = []
    for error in validator.iter_errors(parameters):
        path = dotted(error.instance_path)
        if error.kind.name == "additionalProperties" and not error.instance_path:
            known = schema.get("properties", {})
            found += [(short(name), f"is unknown; {did_you_mean(name, known)}") for name in error.kind.unexpected]
        elif error.kind.name == "required":
            found.append((dotted([*error.instance_path, error.kind.property]), "is required"))
        else:
            found.append((path, short(error.message)))
    return found


def with_defaults(schema: Any, value: Any) -> Any:
    """The value with the defaults of ``properties``, at every depth, filled in."""
    if not isinstance(schema, Mapping):
        return value
    if isinstance(value, dict):
        filled = dict(value)
        for name, inner in schema.get("properties", {}).items():
            if name in filled:
                filled[name] = with_defaults(inner, filled[name])
            elif isinstance(inner, Mapping) and "default" in inner:
                filled[name] = copy.deepcopy(inner["default"])
        return filled
    if isinstance(value, list) and "items" in schema:
        return [with_defaults(schema["items"], one) for one in value]
    return value


def _plain(operation: str, value: Any, path: tuple[str, ...], depth: int) -> Any:
    """A copy that is JSON and nothing else."""
    if depth > _DEEPEST:
        raise ParametersError(operation, [(".".join(path[:4]), f"is nested deeper than {_DEEPEST} levels")])
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ParametersError(operation, [(".".join(path), f"has the key {key!r}, which is not text")])
        return {key: _plain(operation, one, (*path, key), depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(operation, one, (*path, str(at)), depth + 1) for at, one in enumerate(value)]
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
            raise ParametersError(operation, [(".".join(path), "holds half of a surrogate pair, which is no text")])
        return str(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ParametersError(
        operation,
        [(".".join(path), f"is {value if isinstance(value, float) else type(value).__name__}, which JSON cannot say")],
    )
