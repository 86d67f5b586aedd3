"""What the command line shows of a request that a daemon runs: each piece once, of a very long one too."""

from __future__ import annotations

from typing import Any

from uici.cli.remote import later
from uici.engine import execution as bounds
from uici.engine.execution import keep
from uici.model import Evidence


def test_each_piece_is_shown_once_when_the_middle_is_left_out() -> None:
    evidence: list[Evidence] = []
    told: list[str] = []
    last: Any = None
    for number in range(3 * bounds.EVIDENCE):
        keep(evidence, Evidence(kind="sample", name=str(number), verdict="holds", at=str(number), data={}))
        if number % 7 == 0:
            for seen in later([one.to_json() for one in evidence[-20:]], last):
                told.append(seen["name"])
                last = seen
    assert told == [str(number) for number in range(len(told))]
    assert len(told) > 2 * bounds.EVIDENCE
