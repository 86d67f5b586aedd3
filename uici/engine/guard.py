"""Guard: the last look at one pinned call before its intent. Pure: self, protected, managed elsewhere, blast radius.

It fails closed: what ``resolve`` could not tell is refused, and so is every change on an engine where UICI cannot tell
what of it is its own. It must not be asked about ``observe`` calls, and it knows no origin that it would let through.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import field

from uici.executor import Identity
from uici.model import Environment, Operation, Origin, Pinned, Policies, Reason, Request, Resource, Risk
from uici.model.record import dataclass

Refusal = tuple[Reason, str]

#: Kinds that are in a namespace or outside of every one. Others (a network, an image, a path of the host) may belong to
#: all of them, and what they are used by is touched under its own name.
_NAMESPACED = frozenset({"container", "compose_service", "process", "service"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the guard compares with.

    ``identity``: the union over every environment. ``names``: all the environments that address this same engine.
    ``taken``: healthy replicas of each owner that *other* commands take at this time; ``own``: that earlier calls of this
    command took and that are not back (a drain is summed over all its calls).
    """

    environment: Environment
    names: Sequence[str]
    identity: Identity
    policies: Policies
    taken: Mapping[str, int] = field(default_factory=dict)
    own: Mapping[str, int] = field(default_factory=dict)


def guard(
    pinned: Pinned,
    risk: Risk,
    *,
    request: Request,
    origin: Origin,
    operation: Operation,
    target: Resource | None,
    around: Surroundings,
) -> Refusal | None:
    """Why the call must not run, or None."""
    for look in (_unresolved, _self):
        if refusal := look(pinned, around):
            return refusal
    # A service is touched with whatever of it is: it may bear another name than its containers.
    whole = [target] if target is not None and any(one.resource.key == target.key for one in pinned.touches) else []
    if refusal := _protected(pinned, [*(touch.resource for touch in pinned.touches), *whole], around):
        return refusal
    for look in (_namespaces, _managed):
        if refusal := look(pinned, around):
            return refusal
    return _blast_radius(pinned, risk, request, origin, operation, target, around)


def _unresolved(pinned: Pinned, around: Surroundings) -> Refusal | None:
    if pinned.unknown is None:
        return None
    return (
        Reason.UNRESOLVED,
        f"{pinned.call.path}: what it would touch cannot be told ({pinned.unknown}); declare `touches:` in its translation",
    )


def _self(pinned: Pinned, around: Surroundings) -> Refusal | None:
    if around.identity.unknown is not None:
        return (
            Reason.SELF,
            f"{pinned.call.path}: UICI cannot tell what of this engine is its own ({around.identity.unknown}), so nothing is "
            "changed there",
        )
    own = {(one.engine, one.kind, one.id) for one in around.identity.resources}
    for touch in pinned.touches:
        one = touch.resource
        if (one.engine, one.kind, one.id) in own:
            return (
                Reason.SELF,
                f"{pinned.call.path} would touch {one.kind} {one.name}, which UICI is or needs ({around.identity.shows}); "
                "UICI never does that to itself: do it by hand",
            )
    return None


def _protected(pinned: Pinned, touched: Sequence[Resource], around: Surroundings) -> Refusal | None:
    for one in touched:
        answers_to = {one.name, one.id, *one.names}
        for rule in around.policies.protected:
            if not any(fnmatch.fnmatchcase(name, rule.environment) for name in around.names):
                continue
            if rule.kind is not None and rule.kind != one.kind:
                continue
            if rule.name is not None and not any(
                fnmatch.fnmatchcase(name.casefold(), rule.name.casefold()) for name in answers_to
            ):
                continue
            if rule.namespace is not None and not fnmatch.fnmatchcase(one.namespace or "", rule.namespace):
                continue
            if any(one.labels.get(label) != value for label, value in rule.labels.items()):
                continue
            return (
                Reason.PROTECTED,
                f"{pinned.call.path} would touch {one.kind} {one.name}, which policies.yml protects; whoever asks, UICI "
                "does not touch it",
            )
    return None


def _namespaces(pinned: Pinned, around: Surroundings) -> Refusal | None:
    for touch in pinned.touches:
        one = touch.resource
        if one.namespace is None and one.kind not in _NAMESPACED:
            continue
        if not around.environment.admits(one.namespace):
            where = f"in {one.namespace}" if one.namespace is not None else "in no namespace"
            return (
                Reason.UNKNOWN_TARGET,
                f"{pinned.call.path} would touch {one.kind} {one.name} {where}, outside the namespaces of "
                f"{around.environment.name}",
            )
    return None


def _managed(pinned: Pinned, around: Surroundings) -> Refusal | None:
    if around.environment.managed == "override":
        return None
    for touch in pinned.touches:
        if touch.managed_by is not None:
            return (
                Reason.MANAGED_ELSEWHERE,
                f"{pinned.call.path} would change what {touch.managed_by} manages on {touch.resource.name}; change it "
                "there, or say `managed: override` in environments.yml",
            )
    return None


def _blast_radius(
    pinned: Pinned,
    risk: Risk,
    request: Request,
    origin: Origin,
    operation: Operation,
    target: Resource | None,
    around: Surroundings,
) -> Refusal | None:
    by_owner: dict[str, tuple[int, int, str]] = {}
    for touch in pinned.touches:
        takes, desired, name = by_owner.get(touch.resource.key, (0, 0, touch.resource.name))
        by_owner[touch.resource.key] = (takes + touch.takes, max(desired, touch.desired), name)
    effective = max(risk, operation.risk)
    for key, (takes, desired, name) in by_owner.items():
        if takes == 0:
            continue
        # A person's confirmed destroy is not measured on its own target, but on all else that it touches.
        if effective is Risk.DESTROY and origin.person and request.confirm and target is not None and key == target.key:
            continue
        for touch in pinned.touches:
            if touch.resource.key == key and touch.spare is not None and takes > touch.spare:
                return (
                    Reason.BLAST_RADIUS,
                    f"{pinned.call.path} would make {takes} healthy of {desired} replicas of {name} unavailable at one "
                    f"time; {touch.spare_by or 'its engine'} lets {touch.spare} go now",
                )
        total = takes + around.taken.get(key, 0) + around.own.get(key, 0)
        for limit in around.policies.blast_radius:
            if effective < limit.min_risk:
                continue
            allowed = int(desired * limit.at_most + 1e-9)  # 29 % of 100 are 29
            if effective is Risk.CHANGE:
                allowed = max(allowed, limit.always_allow)
            if total > allowed:
                return (
                    Reason.BLAST_RADIUS,
                    f"{pinned.call.path} would make {total} healthy of {desired} replicas of {name} unavailable at one "
                    f"time; policies.yml allows {allowed}",
                )
    return None
