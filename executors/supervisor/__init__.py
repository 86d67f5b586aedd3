"""The supervisor executor: processes under a real supervisord, over its XML-RPC socket. The embedded default.

It needs no root and no Docker. It must not start, configure or replace a supervisord, or decide what may run.
"""

from uici_executors.supervisor.executor import SupervisorExecutor

__all__ = ["SupervisorExecutor"]
