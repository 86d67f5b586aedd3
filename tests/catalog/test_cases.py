"""Every code of the check by its cases: the wrong example gives it at its place, the right one gives nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from uici.catalog import Problem, UniversalConfigLoader
from uici.catalog.reference import cases, codes

BASE = Path(__file__).parent.parent / "cases" / "catalog" / "base"
CASES = [case for case in cases() if "wrong" in case]


def written(folder: Path, case: dict[str, Any], which: str) -> list[Problem]:
    shutil.copytree(BASE, folder, dirs_exist_ok=True)
    for name in case.get("without", ()):
        shutil.rmtree(folder / name)
    for name, text in case.get("with", {}).items():
        (folder / name).write_text(text)
    name = case.get("right_file", case["file"]) if which == "right" else case["file"]
    (folder / name).write_bytes(case[which].encode(case.get("encoding", "utf-8")))
    return UniversalConfigLoader(folder).check()


@pytest.mark.parametrize("case", CASES, ids=[case["code"] for case in CASES])
def test_wrong(case: dict[str, Any], tmp_path: Path) -> None:
    problems = written(tmp_path, case, "wrong")
    found = [problem for problem in problems if problem.code not in case.get("also", ())]
    assert {problem.code for problem in found} == {case["code"]}, problems
    line, column = map(int, case["at"].split(":"))
    assert (found[0].file, found[0].line, found[0].column) == (
        str(tmp_path / case.get("in", case["file"])),
        line,
        column,
    ), str(found[0])
    assert case.get("says", "") in f"{found[0].message}; {found[0].hint}"


@pytest.mark.parametrize("case", CASES, ids=[case["code"] for case in CASES])
def test_right(case: dict[str, Any], tmp_path: Path) -> None:
    problems = written(tmp_path, case, "right")
    assert [problem for problem in problems if problem.code not in case.get("right_also", ())] == []


def test_every_code_has_its_case_and_no_case_lacks_a_code() -> None:
    assert {case["code"] for case in cases()} == codes()
