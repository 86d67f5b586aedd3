"""What the shipped policies protect on Kubernetes, whoever asks; and that they leave the rest alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.test_decisions import AT, OPERATION, environment, resource
from uici.engine.authorise import Question, authorise
from uici.engine.guard import Surroundings, guard
from uici.executor import Identity
from uici.model import Call, Operation, Origin, Pinned, Policies, Request, Risk, Touch

WIDE = """
    APIService ClusterRole ClusterRoleBinding CustomResourceDefinition MutatingWebhookConfiguration Namespace PersistentVolume
    PriorityClass RuntimeClass StorageClass ValidatingAdmissionPolicy ValidatingWebhookConfiguration VolumeAttachment CSINode
    DeviceClass CertificateSigningRequest
"""


@pytest.fixture(scope="module")
def policies() -> Policies:
    starter = Path(__file__).parents[2] / "infrastructure/config/policies.yml"
    return Policies.parse(yaml.safe_load(starter.read_text()))


PROTECTED: list[tuple[dict[str, Any], bool]] = [
    *(({"kind": kind, "name": "any"}, True) for kind in WIDE.split()),
    ({"kind": "Deployment", "name": "any", "namespace": "kube-system"}, True),
    ({"kind": "ConfigMap", "name": "any", "namespace": "kube-system"}, True),
    ({"kind": "Deployment", "name": "coredns", "namespace": "dns"}, True),
    ({"kind": "StatefulSet", "name": "prometheus-k8s", "namespace": "monitoring"}, True),
    ({"kind": "Pod", "name": "x", "namespace": "m", "labels": {"app.kubernetes.io/name": "alertmanager"}}, True),
    ({"kind": "Deployment", "name": "kube-state-metrics", "namespace": "monitoring"}, True),
    ({"kind": "Deployment", "name": "uici", "namespace": "ops"}, True),
    ({"kind": "Deployment", "name": "web", "namespace": "shop"}, False),
    ({"kind": "Role", "name": "web", "namespace": "shop"}, False),
    ({"kind": "Node", "name": "node-1"}, False),
    ({"kind": "Deployment", "name": "web", "namespace": "kube-shop"}, False),
]


@pytest.mark.parametrize(("one", "protected"), PROTECTED, ids=[f"{one['kind']} {one['name']}" for one, _ in PROTECTED])
def test_protected(policies: Policies, one: dict[str, Any], protected: bool) -> None:
    call = Call(on=None, path="X.patch", arguments={}, risk=Risk.CHANGE)
    refusal = guard(
        Pinned(call=call, touches=(Touch(resource=resource(one)),)),
        Risk.CHANGE,
        request=Request(operation="restart_service", confirm=True),
        origin=Origin("human", "anna"),
        operation=OPERATION,
        target=None,
        around=Surroundings(
            environment=environment(), names=["prod"], identity=Identity(shows="a test"), policies=policies
        ),
    )
    assert (refusal is not None and refusal[0].value == "protected") is protected


@pytest.mark.parametrize(
    ("operation", "allowed"),
    [
        ("cordon_node", True),
        ("uncordon_node", True),
        ("drain_node", True),
        ("restart_service", False),
        ("delete_node", False),
    ],
)
def test_nodes_are_only_cordoned_and_drained(policies: Policies, operation: str, allowed: bool) -> None:
    question = Question(
        request=Request(operation=operation, confirm=True),
        origin=Origin("human", "anna"),
        environment=environment(autonomy="destroy"),
        operation=Operation.parse(operation, {"summary": "X.", "risk": "change", "parameters": {"type": "object"}}),
        risk=Risk.CHANGE,
        target=None,
        policies=policies,
        touched=(resource({"kind": "Node", "name": "node-1"}),),
        at=AT,
        now="2026-01-01T00:00:00.000000000Z",
    )
    last = authorise(question)[-1]
    assert (last.status is None) is allowed
    assert allowed or "nodes-are-only-cordoned-and-drained" in last.message
