"""What is left out at import fails closed, and nothing else of the process is changed."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ssl
from uici.daemon import imports
imports.web()
from aiohttp import connector
for context in (connector._SSL_CONTEXT_VERIFIED, ssl.create_default_context()):
    print(context.verify_mode.name, context.check_hostname, context.cert_store_stats()["x509_ca"] > 0)
"""


def test_aiohttps_client_trusts_nobody_by_default_and_verifies_all_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    default, own = done.stdout.splitlines()
    assert default == "CERT_REQUIRED True False"
    assert own.startswith("CERT_REQUIRED True")
