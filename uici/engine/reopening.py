"""What a person reopens: the target of an incident, or of a Request that ended in doubt, and all else that it closed.

It only finds the keys; giving them back to automation is the engine's ``reopen``.
"""

from __future__ import annotations

from uici.journal import Journal


async def keys_of(journal: Journal, id: str) -> tuple[str, ...]:
    """Keys of an incident's or a Request's id, its target's first; empty where the journal knows neither."""
    incident = await journal.incident(id)
    if incident is not None:
        own = [incident.target.key if incident.target else incident.key]
        closed = await journal.entries(kinds=("closed",), incident=id)
    else:
        own = []
        closed = await journal.entries(kinds=("closed",), request=id)
    return tuple(dict.fromkeys([*own, *(str(entry.data["key"]) for entry in closed)]))
