"""The inventory of an environment: what environments.yml lists, and what its ``from`` operation answers, added to it.

``from`` names an observing operation whose answer has ``services``: a list with ``service`` and, where it knows them,
``id``, ``labels``, ``depends_on`` and ``probe``. Own entries win. Asked at most every ``AGE`` seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uici.engine.core import Core
from uici.engine.environments import OpenEnvironment
from uici.engine.execution import Execution
from uici.engine.roots import inventory_root, listed_service
from uici.model import Origin, Request

#: Seconds that a listing may be old.
AGE = 30.0


async def inventory_of(core: Core, place: OpenEnvironment, execution: Execution | None = None) -> Mapping[str, Any]:
    """Name -> ``{id, labels, depends_on, probe}``, what is known of them. Raises what asking raises: a place that must
    be listed to be a target is none while the listing cannot be had."""
    from uici.engine.asking import ask  # asking needs the inventory too

    environment = place.environment
    own = inventory_root(environment)
    if environment.inventory_from is None:
        return own
    if place.listing is None or not 0 <= core.clock() - place.listed_at < AGE:
        asker = core.execution(
            id=execution.id if execution else core.new_id(),
            request=Request(operation=environment.inventory_from),
            origin=execution.origin if execution else Origin("library", "uici"),
            catalog=execution.catalog if execution else core.catalog,
            place=place,
        )
        asker.progress = None
        asked_at = core.clock()
        answer = await ask(core, asker, environment.inventory_from, {}, {}, inventory=own)
        listed = answer.get("services", ()) if isinstance(answer, Mapping) else ()
        place.listing = {
            str(one["service"]): listed_service(
                one.get("id"), one.get("labels") or {}, one.get("depends_on") or (), one.get("probe")
            )
            for one in listed
            if isinstance(one, Mapping) and "service" in one
        }
        place.listed_at = asked_at
    return {**place.listing, **own}
