"""The generated pages are those of the starter catalog as it is, and the starter catalog is what it promises to be."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from docs import generate
from uici.catalog import Catalog, UniversalConfigLoader
from uici.executor import names
from uici.model import Alert, Risk
from uici.planners.runbook import choose

STARTER = (
    "list_services, service_status, service_logs, service_metrics, start_service, stop_service, restart_service, "
    "unpause_service, scale_service, deploy_service, rollback_service, update_memory_limit, remove_service, "
    "run_command_in_service, list_unhealthy_services, environment_health, prune_unused, "
    "list_unhealthy_workloads, identify_error_pods, identify_oom_pods, check_resource_constraints, "
    "describe_workload, diagnose_workload, diagnose_endpoints, list_revisions, get_events, pod_logs, pod_status, "
    "node_status, rollback_deployment, rollback_to_revision, set_image, increase_memory_limit, restart_error_pods, "
    "pause_rollout, resume_rollout, cordon_node, uncordon_node, drain_node, delete_stuck_pod, job_status, run_job"
).split(", ")


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The starter, with its default named: what this machine happens to run makes no difference to a test."""
    folder = tmp_path_factory.mktemp("starter") / "config"
    shutil.copytree(generate.CONFIG, folder)
    environments = folder / "environments.yml"
    environments.write_text(environments.read_text().replace("default: auto", "default: local"))
    return UniversalConfigLoader(Path(folder)).load()


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_current(name: str) -> None:
    written = (generate.REFERENCE / name).read_text(encoding="utf-8")
    assert written == generate.PAGES[name](), "stale; run: make reference"


def test_every_cell_of_the_matrix_says_yes_or_why_not() -> None:
    for dialect, document in generate.executors().items():
        assert dialect in names()
        reasons = document["x-not-applicable"]
        for operation in generate.operations():
            translated = generate.translated(dialect, document, operation)
            assert translated != (operation in reasons), f"{operation} on {dialect}"
        assert set(reasons) | set(document.get("x-notes", {})) <= set(generate.operations())


def test_the_starter_has_its_operations_and_no_problem(catalog: Catalog) -> None:
    assert UniversalConfigLoader(generate.CONFIG).check() == []
    assert sorted(catalog.operations) == sorted(STARTER)
    destroying = {name for name, one in catalog.operations.items() if one.risk is Risk.DESTROY}
    assert destroying == {
        "stop_service",
        "remove_service",
        "run_command_in_service",
        "prune_unused",
        "rollback_to_revision",
        "drain_node",
        "delete_stuck_pod",
    }
    for environment in catalog.environments.values():
        assert not environment.offers("run_command_in_service"), "off by default"
        assert environment.offers("restart_service")


def alert(**labels: str) -> Alert:
    return Alert(labels=labels, starts_at="2026-11-25T18:00:00.000000000Z", fingerprint="f")


@pytest.mark.parametrize(
    ("name", "runbook"),
    [
        # awesome-prometheus-alerts: cAdvisor, blackbox exporter, node exporter
        ("ContainerKilled", "down"),
        ("ContainerAbsent", "down"),
        ("ContainerHighMemoryUsage", "high-memory"),
        ("ContainerVolumeUsage", "disk-full"),
        ("ContainerLowMemoryUsage", "last-resort"),
        ("ContainerHighCpuUtilization", "last-resort"),
        ("BlackboxProbeFailed", "unhealthy"),
        ("BlackboxProbeHttpFailure", "unhealthy"),
        ("BlackboxSlowProbe", "last-resort"),
        ("BlackboxSslCertificateExpired", "last-resort"),
        ("HostOutOfDiskSpace", "disk-full"),
        ("HostDiskWillFillIn24Hours", "disk-full"),
        ("HostOutOfInodes", "disk-full"),
        ("HostUnusualDiskWriteRate", "last-resort"),
        ("HostUnusualDiskReadLatency", "last-resort"),
        ("HostFilesystemDeviceError", "last-resort"),
        ("HostOutOfMemory", "last-resort"),
        ("HostOomKillDetected", "last-resort"),
        ("HostHighCpuLoad", "last-resort"),
        # awesome-prometheus-alerts: what only sounds like something else
        ("LokiProcessTooManyRestarts", "crash-loop"),
        ("ContainerTooManyRestarts", "crash-loop"),
        ("too_many_restarts", "crash-loop"),
        ("PostgresqlTooManyConnections", "last-resort"),
        ("RabbitmqTooManyMessagesInQueue", "last-resort"),
        ("MongodbReplicationHeadroom", "last-resort"),
        ("TempoDistributorUnhealthy", "unhealthy"),
        ("RabbitmqOutOfMemory", "out-of-memory"),
        ("ContainerOOMKilled", "out-of-memory"),
        ("container_oom_events", "out-of-memory"),
        ("oomkilled", "out-of-memory"),
        ("pod_not_ready", "kubernetes-workload"),
        ("PODNotReady", "kubernetes-workload"),
        ("kubepodcrashlooping", "kubernetes-workload"),
        # monitoring/prometheus/rules/services.yml
        ("ServiceDown", "down"),
        ("ContainerUnhealthy", "unhealthy"),
        ("ContainerRestartingOften", "crash-loop"),
        ("ContainerOomKilled", "out-of-memory"),
        ("SupervisorProcessDown", "down"),
        # what is usual beside them
        ("InstanceDown", "down"),
        ("TargetDown", "down"),
        ("service_down", "down"),
        ("ContainerPaused", "paused"),
        ("ContainerNotResponding", "unhealthy"),
        ("KubePodCrashLooping", "kubernetes-workload"),
        ("NodeFilesystemSpaceFillingUp", "disk-full"),
        ("KubePersistentVolumeFillingUp", "disk-full"),
        ("Watchdog", "last-resort"),
        ("", "last-resort"),
    ],
)
def test_the_alerts_that_people_have_meet_their_runbook(name: str, runbook: str, catalog: Catalog) -> None:
    found = choose(alert(alertname=name, severity="warning"), catalog.runbooks)
    assert found is not None
    assert found.name == runbook


def test_every_runbook_that_changes_something_looks_first(catalog: Catalog) -> None:
    for runbook in catalog.runbooks:
        changing = [step for step in runbook.steps if catalog.operations[step.operation].risk > Risk.OBSERVE]
        assert bool(changing) == (runbook.only_if is not None), runbook.name
    last: Any = catalog.runbooks[-1]
    assert last.match == (), "the last resort matches everything"
