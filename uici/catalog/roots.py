"""What each kind of expression sees, as JSON Schemas: the table of docs (roots of expressions). Data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from uici.catalog.checked import NAMESPACES
from uici.model import Reason, Risk, Status, Verification

Schema = Mapping[str, Any]
TEXT: Schema = {"type": "string"}
MAYBE: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ANY: Schema = {}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}


def record(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties}


def listed(items: Schema) -> Schema:
    return {"type": "array", "items": items}


TARGET = record(
    engine=TEXT, kind=TEXT, id=TEXT, name=TEXT, namespace=MAYBE, names=listed(TEXT), labels=TEXTS, owner=TEXT
)
ENVIRONMENT = record(name=TEXT, variables={"type": "object"})
INVENTORY: Schema = {
    "type": "object",
    "additionalProperties": record(id=MAYBE, labels=TEXTS, depends_on=listed(TEXT), probe=MAYBE),
}
COMMAND = record(id=TEXT)
ALERT = record(
    labels=TEXTS,
    annotations=TEXTS,
    status={"enum": ["firing", "resolved"]},
    starts_at=TEXT,
    ends_at=MAYBE,
    fingerprint=TEXT,
    generator_url=TEXT,
)
REQUEST = record(
    operation=TEXT, parameters={"type": "object"}, environment=TEXT, reason=TEXT, dry_run=FLAG, confirm=FLAG
)
_RISK: Schema = {"enum": [risk.value for risk in Risk]}
POLICY: Mapping[str, Schema] = {
    "request": REQUEST,
    "operation": record(name=TEXT, risk=_RISK, summary=TEXT),
    "environment": record(
        name=TEXT,
        stage={"enum": ["sandbox", "staging", "production"]},
        executor=TEXT,
        dialect=TEXT,
        autonomy={"enum": ["none", *_RISK["enum"]]},
        variables={"type": "object"},
    ),
    "target": TARGET,
    "origin": record(kind={"enum": ["human", "runbook", "llm", "mcp", "library"]}, name=TEXT, person=FLAG),
    "history": record(attempts=COUNT, recovered=COUNT, not_recovered=COUNT, inconclusive=COUNT, last_at=MAYBE),
    "now": TEXT,
}


def policy(operations: Iterable[str], environments: Iterable[str]) -> Mapping[str, Schema]:
    """What a rule sees where these are all that there are: one that names another would never match."""
    asked, places = ({"enum": [*names]} if names else TEXT for names in (tuple(operations), tuple(environments)))
    return {
        **POLICY,
        "request": _with(POLICY["request"], operation=asked),
        "operation": _with(POLICY["operation"], name=asked),
        "environment": _with(POLICY["environment"], name=places),
    }


def _with(schema: Schema, **properties: Any) -> Schema:
    return {**schema, "properties": {**schema["properties"], **properties}}


#: Names that no ``as`` may take: the roots, and what CEL keeps for itself.
RESERVED = frozenset(
    {"parameters", "target", "environment", "inventory", "command", "now", "item", "before", "answer", "alert"}
    | {"request", "operation", "origin", "history"}
    | NAMESPACES
    | {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"}
    | {"let", "loop", "package", "namespace", "return", "var", "void", "while"}
    | {"int", "uint", "double", "bool", "string", "bytes", "list", "map", "type", "dyn", "size", "has", "timestamp"}
    | {"duration", "matches", "quantity", "logPatterns"}
)


def result(answer: Any) -> Schema:
    """A runbook's ``as``: a Result whose answer is of that schema."""
    return record(
        id=TEXT,
        operation=TEXT,
        environment=MAYBE,
        origin=TEXT,
        target=ANY,
        risk={"enum": [*_RISK["enum"], None]},
        dry_run=FLAG,
        status={"enum": [status.value for status in Status]},
        reason={"enum": [*(reason.value for reason in Reason), None]},
        message=TEXT,
        answer=answer,
        verification={"enum": [*(one.value for one in Verification), None]},
        undo=ANY,
        approval=ANY,
        started_at=TEXT,
        ended_at=TEXT,
        evidence=listed(ANY),
    )


def of_operation(definition: Mapping[str, Any], before: Any = None) -> dict[str, Schema]:
    """The roots of an operation's own expressions and translations. ``before``: schema of that answer, None without one."""
    found: dict[str, Schema] = {
        "parameters": definition["parameters"],
        "environment": ENVIRONMENT,
        "command": COMMAND,
        "now": TEXT,
    }
    if definition.get("target"):
        found["target"] = TARGET
    if before is not None:
        found["before"] = before
    return found
