"""Writes what in docs/reference, infrastructure/schema and the chart is generated from the code and the starter catalog.

``make reference``, or ``python -m docs.generate``; tests say when a page is stale. Of no use in an installed package.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from docs import generate_chart
from docs.generate_doors import api_page, cli_page

CHECKOUT = Path(__file__).parent.parent
CONFIG = CHECKOUT / "infrastructure" / "config"
REFERENCE = CHECKOUT / "docs" / "reference"
_NOTE = "<!-- Generated from infrastructure/config by `make reference`; a test says when it is stale. -->"


def operations() -> dict[str, Any]:
    """The starter's operations, as they are written."""
    found: dict[str, Any] = _read(CONFIG / "operations.yml")["operations"]
    return found


def executors() -> dict[str, dict[str, Any]]:
    """Each dialect of the starter: what it translates, and what it says of the rest."""
    return {path.stem: _read(path) for path in sorted((CONFIG / "command_translations").glob("*.yml"))}


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return data


def translated(dialect: str, document: Mapping[str, Any], operation: str) -> bool:
    return dialect in document["translations"].get(operation, {})


def matrix() -> str:
    """Operation by executor; a cell that does not apply says why."""
    known = executors()
    lines = [
        "# What each executor can be asked",
        "",
        _NOTE,
        "",
        "The starter catalog's operations and where they apply. *Risk* is the most that an operation may do; a person or the "
        "environment's `autonomy` has to cover it. What does not apply is refused as `not_offered`.",
        "",
        f"| operation | risk | {' | '.join(known)} |",
        f"|---|---|{'---|' * len(known)}",
    ]
    notes: list[str] = []
    for name, operation in operations().items():
        cells = []
        for dialect, document in known.items():
            if translated(dialect, document, name):
                note = document.get("x-notes", {}).get(name)
                if note:
                    notes.append(f"{len(notes) + 1}. `{name}`, {dialect}: {note}")
                cells.append(f"yes ({len(notes)})" if note else "yes")
            else:
                cells.append(f"no: {document['x-not-applicable'][name]}")
        lines.append(f"| [`{name}`](operations.md#{name}) | {operation['risk']} | {' | '.join(cells)} |")
    lines += [
        "",
        *notes,
        "",
        f"`run_command_in_service` is off in the starter: its environments say `operations: {_off()}`.",
    ]
    return "\n".join(lines) + "\n"


def _off() -> str:
    environments = _read(CONFIG / "environments.yml")["environments"]
    written = {str(one["operations"]) for one in environments.values()}
    return " or ".join(sorted(written)).replace("'", '"')


def operations_page() -> str:
    """Each operation: what it does, takes and answers, how it is proven and taken back."""
    known = executors()
    lines = [
        "# Operations of the starter catalog",
        "",
        _NOTE,
        "",
        "Each is defined in `infrastructure/config/operations.yml`; [matrix.md](matrix.md) says where it applies. Ask with "
        "`uici run OPERATION name=value … -e ENVIRONMENT`.",
        "",
    ]
    for name, one in operations().items():
        where = [dialect for dialect, document in known.items() if translated(dialect, document, name)]
        lines += [f"## {name}", "", one["summary"], ""]
        facts = [f"risk `{one['risk']}`", f"on {', '.join(where) or 'no executor of the starter'}"]
        if "target" in one:
            facts.append(f"its target is named by `{one['target']['parameter']}`")
        if one.get("idempotent"):
            facts.append("may be done again when it is known not to have happened")
        facts.append(f"its calls may take {one.get('timeout', '60s')}")
        lines += [f"{'; '.join(facts)[:1].upper()}{'; '.join(facts)[1:]}.", ""]
        lines += _fields("Takes", one["parameters"])
        lines += _fields("Answers", one.get("returns", {}))
        if verify := one.get("verify"):
            stable = f", and that for {verify['stable_for']}" if "stable_for" in verify else ""
            lines += [f"Verified by `{verify['operation']}`, within {verify.get('within', '60s')}{stable}:", ""]
            lines += ["```cel", verify["expect"], "```", ""]
        if undo := one.get("undo"):
            given = ", ".join(f"{key}: {value}" for key, value in undo.get("parameters", {}).items())
            lines += [f"Taken back, where it did not help, by `{undo['operation']}` ({given}).", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _fields(title: str, schema: Mapping[str, Any]) -> list[str]:
    properties = schema.get("properties", {})
    if not properties:
        return []
    required = schema.get("required", ())
    lines = [f"| {title.lower()} | what | |", "|---|---|---|"]
    for name, one in properties.items():
        must = "always" if title == "Answers" else "needed"
        words = [*([must] if name in required else []), *_rest(one)]
        lines.append(f"| `{name}` | {_what(one)} | {'; '.join(words)} |")
    return [*lines, ""]


def _what(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "anything")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if kind == "array":
        items = schema.get("items", {})
        inner = items.get("properties")
        text = f"list of {{{', '.join(inner)}}}" if inner else f"list of {_what(items)}"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        text += f", {low} to {high}"
    return text


def _rest(schema: Mapping[str, Any]) -> list[str]:
    words = []
    if "default" in schema:
        words.append(f"default `{schema['default']}`")
    if "description" in schema:
        words.append(schema["description"].replace("|", "\\|"))
    return words


PAGES = {"matrix.md": matrix, "operations.md": operations_page, "cli.md": cli_page, "api.md": api_page}


def main() -> None:
    from uici.catalog import reference

    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    reference.main()
    for name, made in generate_chart.FILES.items():
        (generate_chart.CHART / "files" / name).write_text(made(), encoding="utf-8")


if __name__ == "__main__":
    main()
