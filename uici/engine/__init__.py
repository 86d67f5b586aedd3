"""The engine: validate, locate, authorise, translate, guard, run, verify, undo; the one ordered function is ``execute``.

Pure where it decides (``authorise``, ``guard``), ordered where it acts (``execute``), and the only holder of executors.
"""

from uici.engine.facts import gather
from uici.engine.interface import UniversalInfrastructureInterface, library_origin
from uici.engine.library import Connection, SynchronousInterface, connect

__all__ = [
    "Connection",
    "SynchronousInterface",
    "UniversalInfrastructureInterface",
    "connect",
    "gather",
    "library_origin",
]
