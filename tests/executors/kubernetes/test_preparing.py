"""What takes long the first time, the client's import, is done before anybody waits for it, and never on the loop. Without a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uici.executor import Rejected
from uici.model import Call, Environment, Risk
from uici_executors.kubernetes import KubernetesExecutor, calls
from uici_executors.kubernetes.connection import Server


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Nothing is imported yet, as far as calls know; what is, with the thread that does it."""
    real: Callable[[str], Any] = calls._imported
    by: dict[str, str] = {}

    def noted(name: str) -> Any:
        by[name] = threading.current_thread().name
        return real(name)

    monkeypatch.setattr(calls, "_CLASSES", {})
    monkeypatch.setattr(calls, "_imported", noted)
    return by


async def test_an_environment_that_is_opened_prepares_its_client(imported: dict[str, str], tmp_path: Path) -> None:
    executor = KubernetesExecutor()
    settings = {"kubeconfig": str(tmp_path / "none")}
    await executor.open(Environment.parse("k", {"executor": "kubernetes", "settings": settings}))
    for thread in threading.enumerate():
        if thread.name == "uici-kubernetes-client":
            thread.join(60)
    await executor.close()
    assert {"AppsV1Api", "CoreV1Api"} <= calls._CLASSES.keys()
    assert set(imported.values()) == {"uici-kubernetes-client"}


async def test_no_call_imports_on_the_loop(
    imported: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server({"kubeconfig": str(tmp_path / "none")})

    async def client() -> object:
        return object()

    monkeypatch.setattr(server, "client", client)
    call = Call(on=None, path="AppsV1Api.read_namespaced_deployment", arguments={}, risk=Risk.OBSERVE, timeout=60.0)
    outcome = await calls.run(server, call)
    assert isinstance(outcome, Rejected), "it lacks its arguments"
    assert imported.keys() == {"AppsV1Api"}
    assert threading.main_thread().name not in imported.values()
