"""What an alert is about: environment, target and runbook, or why nothing may be tried. It asks engines, changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uici.daemon import incidents
from uici.model import Alert, Environment, Incident, Reason, Resource, Runbook
from uici.model.record import dataclass
from uici.planners import choose

if TYPE_CHECKING:
    from uici.engine import UniversalInfrastructureInterface

#: Labels that say in which namespace an alert's target lies; one that names another place is not believed to mean this.
NAMESPACE_LABELS = ("namespace", "container_label_com_docker_compose_project", "com_docker_compose_project")
#: Where a Prometheus keeps its own labels, those of what was scraped are these: `namespace` is the exporter's own then.
EXPORTED_NAMESPACES = ("exported_namespace", "dest_namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What an alert is about. ``reason`` set: nothing may be tried, with why."""

    environment: str | None = None
    target: Resource | None = None
    runbook: str | None = None
    last: Incident | None = None
    reason: str | None = None
    message: str = ""


async def place_of(infrastructure: UniversalInfrastructureInterface, alert: Alert) -> Placed:
    """Environment, target and runbook. Raises UnreachableError and ConfigurationError."""
    catalog = infrastructure.catalog
    environment = incidents.environment_of(alert, catalog.environments)
    if incidents.about_uici(alert):
        name = environment.name if isinstance(environment, Environment) else None
        return Placed(environment=name, reason=Reason.SELF.value, message="an alert about UICI itself")
    if not isinstance(environment, Environment):
        several = (
            "the `alerts` of several environments match"
            if environment is Reason.AMBIGUOUS_ENVIRONMENT
            else ("no environment's `alerts` match")
        )
        return Placed(reason=environment.value, message=f"{several} {_labels(alert)}; exactly one must")
    runbook = choose(alert, catalog.runbooks)
    if runbook is None:
        return Placed(
            environment=environment.name,
            reason=Reason.NOT_OFFERED.value,
            message=f"no runbook matches {_labels(alert)}",
        )
    target, ambiguous = await _target(infrastructure, alert, environment.name, runbook)
    place = Placed(environment=environment.name, target=target, runbook=runbook.name)
    if ambiguous:
        return Placed(
            environment=environment.name,
            runbook=runbook.name,
            reason=Reason.AMBIGUOUS_TARGET.value,
            message=f"several things in {environment.name} answer to it: {ambiguous}",
        )
    own = await infrastructure.why_self(environment.name, target) if target is not None else None
    if own is not None:
        return Placed(
            environment=environment.name,
            target=target,
            runbook=runbook.name,
            reason=Reason.SELF.value,
            message=f"{own}, so nothing is done to it; a person has to look",
        )
    return place


async def _target(
    infrastructure: UniversalInfrastructureInterface, alert: Alert, environment: str, runbook: Runbook
) -> tuple[Resource | None, str]:
    """The one thing that the first label names which names any, and else, where only several were found, their names.

    A later label may tell which of several is meant, and so may the alert's own namespace.
    """
    spaces = {alert.labels[name] for name in EXPORTED_NAMESPACES if alert.labels.get(name)} or {
        alert.labels[name] for name in NAMESPACE_LABELS if alert.labels.get(name)
    }
    several: list[Resource] = []
    for label in runbook.target:
        name = alert.labels.get(label)
        if not name:
            continue
        found = await infrastructure.locate(environment, runbook.kind, name)
        if spaces:
            found = [one for one in found if one.namespace is None or one.namespace in spaces]
        if several:
            found = [one for one in found if one in several]
        if len(found) == 1:
            return found[0], ""
        several = several or found
    return None, ", ".join(f"{one.namespace or '-'}/{one.name}" for one in several[:10])


def _labels(alert: Alert) -> str:
    text = ", ".join(f'{name}="{value[:60]}"' for name, value in sorted(alert.labels.items())[:12])
    return f"{{{text}}}"
