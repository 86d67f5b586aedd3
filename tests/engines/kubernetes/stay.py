"""Keeps one test cluster running while tests are written: prints the line that makes the tests use it, ends with Ctrl-C."""

from __future__ import annotations

import contextlib
import signal

from tests.engines.kubernetes import kubernetes

if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    with kubernetes() as cluster, contextlib.suppress(KeyboardInterrupt):
        print(f"export UICI_TEST_KUBECONFIG={cluster.kubeconfig}", flush=True)  # noqa: T201  a command's own words
        signal.pause()
