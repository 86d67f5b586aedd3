"""A check in a copy of a process that has just begun: said, seen and ended like any other process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uici.catalog import UniversalConfigLoader

pytestmark = pytest.mark.skipif(
    sys.platform != "linux",
    reason="a process is copied on Linux alone; elsewhere it is begun anew",
)

_BEGIN = """
import json, os, signal, sys, threading, time
from uici.daemon.copied import copied
def say(text): sys.stdout.write(text)
"""
_TELL = """
print(json.dumps([one.returncode, said.decode(), trouble.decode(), one.communicate() == (b"", b"")]))
one.kill()
"""


def _told(program: str) -> Any:
    """What a program of its own prints as JSON: a test's own process has threads."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_what_it_says_is_read_and_its_end_is_seen() -> None:
    status, said, trouble, empty = _told(
        f"{_BEGIN}one = copied(lambda text: (say(text), sys.stderr.write('e' * 200_000)), 'o' * 200_000)\n"
        f"said, trouble = one.communicate(){_TELL}"
    )
    assert (status, said, trouble, empty) == (0, "o" * 200_000, "e" * 200_000, True)


def test_what_it_fails_with_is_told_as_at_the_end_of_a_process() -> None:
    status, said, trouble, _ = _told(
        f"{_BEGIN}def fail(text): say(text); raise ValueError('no such thing')\n"
        f"one = copied(fail, 'so far')\nsaid, trouble = one.communicate(){_TELL}"
    )
    assert (status, said) == (1, "so far")
    assert trouble.strip().endswith("ValueError: no such thing")


def test_it_can_be_ended() -> None:
    status, said, trouble, _ = _told(
        f"{_BEGIN}one = copied(lambda text: (say(text), sys.stdout.flush(), time.sleep(600)), 'begun\\n')\n"
        f"first = one.stdout.readline()\none.kill()\nsaid, trouble = one.communicate()\nsaid = first + said{_TELL}"
    )
    assert (status, said, trouble) == (-9, "begun\n", "")


def test_a_process_with_threads_is_not_copied() -> None:
    program = f"{_BEGIN}threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    assert _told(f"{program}print(json.dumps(copied(say, 'x')))") is None


def test_a_catalog_proven_in_a_copy_is_the_one_that_was_checked(catalog: Callable[..., Path]) -> None:
    folder = catalog()
    kind, digest = _told(
        "import json, sys\nfrom uici.daemon.proof import Proof\n"
        f"proof = Proof({str(folder)!r}, alone=True)\nkind = type(proof._process).__name__\n"
        "print(json.dumps([kind, proof.catalog().digest]))"
    )
    assert (kind, digest) == ("Copy", UniversalConfigLoader(folder).load().digest)
