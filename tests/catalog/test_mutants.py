"""Whatever people write in a catalog, the check says what is wrong with it: it never fails itself."""

from __future__ import annotations

import contextlib
import copy
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from uici.catalog import CatalogError, UniversalConfigLoader

BASE = Path(__file__).parent.parent / "cases" / "catalog"
DATA: dict[str, Any] = {
    **{str(path.relative_to(BASE / "base")): yaml.safe_load(path.read_text()) for path in BASE.rglob("base/*/*.yml")},
    **yaml.safe_load((BASE.parent / "mutants.yml").read_text()),
}
SCALARS = (
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "x",
    "${",
    "${x}",
    "${parameters.x",
    "a.b",
    "*",
    "0s",
    "${env:X}",
    "\0",
    "9" * 400,
)
WORDS = ("observe", "destroy", "service_status", "restart_service", "docker", "x-y")
SHAPES: tuple[Any, ...] = (
    [],
    [1],
    [[]],
    ["a", {"b": []}],
    {},
    {"a": 1},
    {"each": 1, "item": 2},
    {"operation": "restart_service"},
)
SCHEMAS = ({"type": "object"}, {"$ref": "#"}, {"same_as": "docker"})
VALUES = st.sampled_from([*SCALARS, *WORDS, *SHAPES, *SCHEMAS])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(inner, (*path, key))
    return found


PLACES = [(name, path) for name, data in DATA.items() for path in places(data) if path]


MUTATIONS = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(["replace", "replace", "remove", "rename"]), VALUES),
    min_size=1,
    max_size=4,
)


def mutated(mutations: list[tuple[tuple[str, tuple[Any, ...]], str, Any]]) -> dict[str, Any]:
    data = copy.deepcopy(DATA)
    for (name, path), what, value in mutations:
        at = data[name]
        # An earlier mutation may have taken that place away.
        with contextlib.suppress(KeyError, IndexError, TypeError, AttributeError):
            for key in path[:-1]:
                at = at[key]
            if what == "replace":
                at[path[-1]] = copy.deepcopy(value)
            elif what == "remove":
                del at[path[-1]]
            else:
                at[f"{path[-1]}x"] = at.pop(path[-1])
    return data


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(MUTATIONS)
def test_the_check_never_fails_itself_and_what_it_passes_can_be_built(
    mutations: list[tuple[tuple[str, tuple[Any, ...]], str, Any]],
) -> None:
    data = mutated(mutations)
    folder = Path(tempfile.mkdtemp(prefix="uici-mutant-"))
    try:
        for name, content in data.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(yaml.safe_dump(content, sort_keys=False))
        loader = UniversalConfigLoader(folder)
        problems = loader.check()
        assert all(problem.message and problem.code for problem in problems)
        if any(problem.severity == "error" for problem in problems):
            with pytest.raises(CatalogError):
                loader.load()
        else:
            loader.load()
    finally:
        shutil.rmtree(folder)
