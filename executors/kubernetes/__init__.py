"""The Kubernetes executor, a plugin like any other: it is reached through the entry point and imports no engine of UICI's."""

import importlib.util

if importlib.util.find_spec("kubernetes") is None:
    # The client itself is imported when a cluster is first asked; that it is there has to be known at once.
    raise ImportError("No module named 'kubernetes'", name="kubernetes")

from uici_executors.kubernetes.executor import KubernetesExecutor

__all__ = ["KubernetesExecutor"]
