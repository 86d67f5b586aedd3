"""A change that a gateway gave up on and that the API server still works on, through the whole engine: it is waited for, and neither
done again nor said not to have happened. What becomes of one after its deadline is in test_deadline."""

from __future__ import annotations

import pytest

from tests.engines.kubernetes import BUSYBOX, images
from tests.executors.kubernetes.place import Place
from uici.executor import Outcome, Unknown
from uici.model import Call, Status, Verification

pytestmark = pytest.mark.engine("kubernetes")

PATCH, LOOK = "AppsV1Api.patch_namespaced_deployment", "AppsV1Api.read_namespaced_deployment"


@pytest.mark.parametrize("operation", ["set_image", "deploy_service"])
async def test_what_is_still_under_way_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    place.workload("web")
    place.up("web")
    opened = await place.interface._core.environments.get("kubernetes")
    run = opened.executor.run
    changes: list[Call] = []
    looks: list[str] = []

    async def late(call: Call) -> Outcome:
        if call.path == PATCH:
            changes.append(call)
            if len(changes) == 1:
                return Unknown(message="Kubernetes answered 504: gateway timeout; it may have been done")
        if call.path == LOOK and changes:
            image = place.container("web")["image"]
            looks.append(image)
            if len(looks) == 3:
                await run(changes[0])
        return await run(call)

    monkeypatch.setattr(opened.executor, "run", late)
    result = await place.do(operation, service="web", image=images.PAUSE)
    assert (result.status, result.verification) == (Status.DONE, Verification.RECOVERED), result.message
    assert looks[:3] == [BUSYBOX] * 3, "it was looked for before it was there"
    assert len(changes) == 1
    assert place.container("web")["image"] == images.PAUSE
