"""The docker executor: containers and Compose services of one Docker engine, over docker-py.

Reached only through the entry point ``docker`` of ``uici.executors``. It must not import anything of ``uici`` but the
contract and the words.
"""

from uici_executors.docker.executor import DockerExecutor

__all__ = ["DockerExecutor"]
