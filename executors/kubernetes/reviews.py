"""What the cluster itself says that this login may do. It asks, and must not try anything out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from uici.executor import Permission
from uici.model import UnreachableError
from uici_executors.kubernetes.connection import AnswerError, Server
from uici_executors.kubernetes.permissions import review, right_of

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
#: Questions at one time.
_AT_ONCE = 16


async def missing(server: Server, permissions: Sequence[Permission]) -> list[Permission]:
    """Those that are denied, in the order given. Raises UnreachableError."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def denied(permission: Permission) -> bool:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": review(right_of(permission)),
        }
        async with gate:
            try:
                answer = await server.ask("POST", _REVIEWS, body=body)
            except AnswerError as error:
                raise UnreachableError(f"{server.address} does not say what this login may do: {error}") from error
        return not (answer.get("status") or {}).get("allowed")

    verdicts = await asyncio.gather(*(denied(one) for one in permissions))
    return [one for one, no in zip(permissions, verdicts, strict=True) if no]
