"""What the steps of a translation recorded becomes an answer, and nobody else waits for that."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, cast

import pytest

from uici.catalog import CommandTranslator
from uici.engine.steps import Steps
from uici.model import Translation


@pytest.mark.parametrize(
    ("recorded", "aside"),
    [
        ({"lines": ["short"], "one": {"a": 1}}, False),
        ({"lines": ["x" * 10_001]}, True),
        ({"text": "x" * 10_001}, True),
        ({"many": list(range(101))}, True),
    ],
)
async def test_an_answer_of_much_is_built_in_a_thread(recorded: dict[str, Any], aside: bool) -> None:
    class Noting(CommandTranslator):
        def answer(self, translation: Translation, roots: Mapping[str, Any]) -> Any:
            self.thread = threading.current_thread()
            return roots

    translator = Noting({})
    steps = Steps(cast("Any", None), translator, "rehearsal", recorded)
    assert await steps.built(cast("Any", None)) == recorded
    assert (translator.thread is not threading.current_thread()) is aside
