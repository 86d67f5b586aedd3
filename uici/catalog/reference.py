"""What is generated from the code: docs/reference/problems.md and infrastructure/schema/. ``python -m uici.catalog.reference``

writes them in a checkout; a test says when they are stale. Of no use in an installed package.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import yaml

from uici.catalog import schemas

CHECKOUT = Path(__file__).parent.parent.parent
CASES = CHECKOUT / "tests" / "cases" / "catalog"
PAGE = CHECKOUT / "docs" / "reference" / "problems.md"
SCHEMAS = CHECKOUT / "infrastructure" / "schema"
_TITLES = {
    "1_reading": "Reading the files",
    "2_operations": "Operations",
    "3_expressions": "Expressions",
    "4_translations": "Translations",
    "5_places_and_runbooks": "Environments and runbooks",
}
_CODE = re.compile(r"[a-z]+(-[a-z]+)+")
_NO_CODES = {"utf-8", "same-as"}


def cases(stem: str = "*") -> list[dict[str, Any]]:
    """The examples, of one file or of all."""
    found: list[dict[str, Any]] = []
    for path in sorted(CASES.glob(f"{stem}.yml")):
        found += yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def codes() -> set[str]:
    """Every code that the source can give, and the executors' as the check spells them."""
    found = {"unknown-call", "unknown-argument", "missing-argument", "wrong-argument", "unknown-error", "not-a-stream"}
    for path in Path(__file__).parent.glob("*.py"):
        if path.name not in ("schemas.py", "reference.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and _CODE.fullmatch(node.value):
                    found.add(node.value)
    return found - _NO_CODES


def page() -> str:
    """The page of all problems, from the cases."""
    lines = [
        "# Problems that `uici check` finds",
        "",
        "<!-- Generated from tests/cases/catalog by `python -m uici.catalog.reference`; a test says when it is stale. -->",
        "",
        "Each has a code that stays. `uici check` exits with 2 where there is an error; a warning alone stops nothing.",
        "",
    ]
    for stem, title in _TITLES.items():
        lines += [f"## {title}", ""]
        for case in cases(stem):
            lines += [f"### `{case['code']}`", "", case["about"], ""]
            if "wrong" in case:
                lines += [f"Wrong, in `{case['file']}`:", "", "```yaml", case["wrong"].rstrip("\n"), "```", ""]
                name = case.get("right_file")
                lines += [
                    f"Right{f', in `{name}`' if name else ''}:",
                    "",
                    "```yaml",
                    case["right"].rstrip("\n"),
                    "```",
                    "",
                ]
    return "\n".join(lines).rstrip("\n") + "\n"


def schema_text(name: str) -> str:
    """The published schema of one file."""
    import json

    return json.dumps(schemas.schema(name), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMAS.mkdir(parents=True, exist_ok=True)
    for name in schemas.FILES:
        (SCHEMAS / f"{name}.json").write_text(schema_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
