"""Cursors of lines with times: all different, and in the order of the lines."""

from __future__ import annotations

import pytest

from uici.executor.cursors import Cursors, since


@pytest.mark.parametrize(
    ("lines", "cursors"),
    [
        (
            [
                "2026-11-25T21:47:08.000000002Z a",
                "2026-11-25T21:47:08.000000001Z b",
                "2026-11-25T21:47:08.000000002Z c",
            ],
            ["08.000000002Z+000000", "08.000000002Z+000001", "08.000000002Z+000002"],
        ),
        (["2026-11-25T22:47:08.5+01:00 a", "2026-11-25T21:47:08Z "], ["08.500000000Z+000000", "08.500000000Z+000001"]),
        (["failed to try resolving symlinks", "2026-11-25T21:47:09.000000000Z x"], ["+000001", "09.000000000Z+000000"]),
    ],
    ids=["out of order", "another offset", "no time"],
)
def test_cursors_are_in_the_order_of_the_lines(lines: list[str], cursors: list[str]) -> None:
    numbers = Cursors()
    assert [numbers.of(line)[0].removeprefix("2026-11-25T21:47:") for line in lines] == cursors


def test_a_log_is_read_again_from_before_its_mark() -> None:
    assert since("2026-11-25T21:47:00.000000001Z+000003").isoformat() == "2026-11-25T21:46:59+00:00"
