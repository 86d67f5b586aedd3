"""What the house promises: an import costs little and loads no SDK."""

from __future__ import annotations

import subprocess
import sys


def test_importing_uici_loads_no_sdk_and_no_server() -> None:
    heavy = (
        "docker",
        "kubernetes",
        "aiohttp",
        "apprise",
        "rich",
        "jsonschema",
        "drain3",
        "cel_expr_python",
        "supervisor",
    )
    program = f"import sys, uici; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
