"""What the check says of ``idempotent: true``: of several changes each says by ``unless`` what is there already."""

from __future__ import annotations

from typing import Any

import pytest

from tests.catalog.conftest import Make
from tests.catalog.test_check import GET, OPERATIONS, SCALE, STEPS, codes, files


class TestIdempotent:
    def test_one_change_needs_no_unless(self, make: Make, fake: Any) -> None:
        assert self.of(make, GET, "{call: thing.stop}") == []

    def test_several_do(self, make: Make, fake: Any) -> None:
        assert self.of(make, GET, "{call: thing.stop}", SCALE) == ["idempotent-without-unless"] * 2

    def test_each_is_several(self, make: Make, fake: Any) -> None:
        assert self.of(make, "{call: things.list, as: things}", '{each: "${things}", call: item.stop}') == [
            "idempotent-without-unless"
        ]
        assert (
            self.of(
                make,
                "{call: things.list, as: things}",
                '{each: "${things}", call: item.stop, unless: item.state == "down"}',
            )
            == []
        )

    @pytest.mark.parametrize(
        ("first", "second", "apart"),
        [
            ("target.kind == 'a'", "target.kind == 'b'", True),
            ("target.kind == 'a' && parameters.to > 1", "parameters.to > 1 && target.kind == 'b'", True),
            ("target.kind == 'a'", "target.kind != 'a'", True),
            ("target.kind in ['a', 'b']", "target.kind == 'c'", True),
            ("target.kind in ['a', 'b']", "target.kind == 'b'", False),
            ("target.kind in ['a', 'b']", "target.kind != 'b'", False),
            ("target.kind == 'a'", "target.kind == 'a'", False),
            ("target.kind == 'a'", "target.name == 'b'", False),
            ("target.kind == 'a' || parameters.to > 1", "target.kind == 'b'", False),
            ("target.kind != 'a'", "target.kind != 'b'", False),
            ("thing.id == 'a'", "thing.id == 'b'", False),  # what was asked may be asked again in between
        ],
    )
    def test_of_several_that_exclude_each_other_one_is_made(
        self, make: Make, fake: Any, first: str, second: str, apart: bool
    ) -> None:
        stop, scale = f'{{when: "{first}", call: thing.stop}}', f'{{when: "{second}", {SCALE[1:]}'
        assert self.of(make, GET, stop, scale) == ([] if apart else ["idempotent-without-unless"] * 2)
        assert len(self.of(make, GET, stop, scale, "{call: thing.stop}")) == 3

    def of(self, make: Make, *steps: str) -> list[str]:
        operations = OPERATIONS.replace("risk: RISK", "risk: change\n    idempotent: true").replace("MINIMUM", "1")
        translation = STEPS + "".join(f"        - {step}\n" for step in steps) + "      returns: {state: up}\n"
        return codes(make(files(operations, translation)).check())
