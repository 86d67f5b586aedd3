"""The causes of trouble that are told apart, as a table: which signs mean which cause. Data; ``diagnosis`` reads it.

A rule looks at one fact (a container, a Pod, an event, a workload, a Service, a node) and holds where each of its fields
matches. The first rule that holds for any fact names the cause, so that the order is from what explains most to what is
only its consequence. Texts are Kubernetes' own, of kubelet, scheduler, controllers and containerd; nothing here is guessed
from a log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """``about``: what kind of fact. ``signs``: field -> what it must match (search, without regard to case)."""

    cause: str
    about: str
    signs: Mapping[str, re.Pattern[str]]

    def holds(self, fact: Mapping[str, str]) -> bool:
        return fact["about"] == self.about and all(
            field in fact and sign.search(fact[field]) for field, sign in self.signs.items()
        )


def _rule(cause: str, about: str, **signs: str) -> Rule:
    return Rule(cause, about, {field: re.compile(sign, re.IGNORECASE) for field, sign in signs.items()})


_PULL = "^(ErrImagePull|ImagePullBackOff|RegistryUnavailable)$"
_AUTH = (
    r"\b401\b|\b403\b|unauthorized|access (is )?denied|denied:|no basic auth|authentication required|authorization failed"
    r"|insufficient_scope|forbidden"
)
_NOT_FOUND = r"not found|manifest unknown|name unknown|does not exist|no such (image|manifest)|no match for platform"
_AWAY = (
    r"connection refused|no such host|i/o timeout|timed? ?out|deadline exceeded|no route to host|network is unreachable"
    r"|server misbehaving|tls|x509|\b50\d\b|toomanyrequests|\b429\b|EOF"
)
_NO_PROGRAM = r"no such file or directory|executable file not found|exec format error|permission denied|not a directory|is a directory"
_UNFIT = r"no claim|node\(s\)|nodes? are available"

RULES: tuple[Rule, ...] = (
    # Its node is gone: whatever its Pods say is old.
    _rule("node_down", "node", ready="^(False|Unknown)$"),
    _rule("node_down", "pod", reason="^(NodeLost|NodeUnreachable)$"),
    _rule("node_down", "event", ready="^false$", reason="^NodeNotReady$"),
    # Its Pods are not even made. An event tells of the past: it counts while there are fewer Pods than wanted.
    _rule("quota", "workload", failure=r"exceeded quota|quota"),
    _rule(
        "quota",
        "event",
        on="^(replicaset|statefulset|daemonset|job)/",
        short="^true$",
        reason="^FailedCreate$",
        message="exceeded quota|quota",
    ),
    _rule("account_missing", "workload", failure=r"service ?account .*not found"),
    _rule(
        "account_missing",
        "event",
        on="^(replicaset|statefulset|daemonset|job)/",
        short="^true$",
        reason="^FailedCreate$",
        message=r"service ?account .*not found",
    ),
    _rule("admission_denied", "workload", failure=r"."),
    _rule(
        "admission_denied",
        "event",
        on="^(replicaset|statefulset|daemonset|job)/",
        short="^true$",
        reason="^FailedCreate$",
    ),
    # Its image cannot be had.
    _rule("image_invalid", "container", waiting="^(InvalidImageName|ImageInspectError)$"),
    _rule("image_missing", "container", waiting="^ErrImageNeverPull$"),
    _rule("image_auth", "container", waiting=_PULL, said=_AUTH),
    _rule("image_auth", "event", ready="^false$", reason="^Failed$", message=rf"pull.*({_AUTH})"),
    _rule("image_unreachable", "container", waiting=_PULL, said=_AWAY),
    _rule("image_not_found", "container", waiting=_PULL, said=_NOT_FOUND),
    _rule("image_unreachable", "event", ready="^false$", reason="^Failed$", message=rf"pull.*({_AWAY})"),
    _rule("image_not_found", "event", ready="^false$", reason="^Failed$", message=rf"pull.*({_NOT_FOUND})"),
    _rule("image_unavailable", "container", waiting=_PULL),
    # It was killed for want of memory.
    _rule("out_of_memory", "container", ready="^false$", ended="^OOMKilled$"),
    _rule("out_of_memory", "pod", reason="^OOMKilled$"),
    # What its containers need is not there.
    _rule(
        "security_context",
        "container",
        waiting="^CreateContainer(Config)?Error$",
        said="runAsNonRoot|securityContext|non-root|non-numeric user",
    ),
    _rule("config_missing", "container", waiting="^CreateContainerConfigError$"),
    _rule(
        "volume_mount",
        "event",
        ready="^false$",
        reason="^(FailedMount|FailedAttachVolume|FailedMapVolume|VolumeFailedDelete|FailedBinding|ProvisioningFailed)$",
    ),
    # It cannot be started from its image, or ends at once.
    _rule(
        "bad_image",
        "container",
        ready="^false$",
        waiting="^(RunContainerError|CreateContainerError)$",
        said=_NO_PROGRAM,
    ),
    _rule("bad_image", "container", ready="^false$", ended="^(StartError|ContainerCannotRun)$"),
    _rule("bad_image", "container", ready="^false$", exit_code="^(126|127)$"),
    _rule(
        "container_start",
        "container",
        waiting="^(RunContainerError|CreateContainerError|PreCreateHookError|PostStartHookError)$",
    ),
    # It was ended because its probe failed. The exit code is only what it said to the kill.
    _rule(
        "probe_failing",
        "event",
        ready="^false$",
        reason="^Unhealthy$",
        message="^(Liveness|Startup) probe",
        restarted="^true$",
    ),
    _rule("crash_exit", "container", ready="^false$", waiting="^CrashLoopBackOff$"),
    _rule(
        "crash_exit",
        "container",
        ready="^false$",
        ended="^(Error|ContainerStatusUnknown|DeadlineExceeded)$",
        exit_code="^[1-9]",
    ),
    _rule("crash_exit", "container", ready="^false$", ended="^Completed$", restarted="^true$"),
    # It has no place to run.
    _rule(
        "unschedulable_volume",
        "pod",
        unschedulable=r"persistentvolumeclaim|volume (node affinity|zone)|unbound|max volume count",
    ),
    _rule("unschedulable_cpu", "pod", unschedulable=r"insufficient cpu"),
    _rule("unschedulable_memory", "pod", unschedulable=r"insufficient memory"),
    _rule("unschedulable_resources", "pod", unschedulable=r"insufficient |too many pods"),
    _rule("unschedulable_taint", "pod", unschedulable=r"taint|were unschedulable|node\.kubernetes\.io"),
    _rule("unschedulable_affinity", "pod", unschedulable=r"affinity|selector|topology|free ports"),
    _rule("unschedulable", "pod", unschedulable=r"."),
    # It was put out.
    _rule("evicted", "pod", reason="^(Evicted|Preempting|Terminated|Shutdown)$"),
    _rule("sandbox", "event", ready="^false$", reason="^FailedCreatePodSandBox$"),
    _rule("stuck_terminating", "pod", terminating="^overdue$"),
    # It runs and is not ready.
    _rule(
        "probe_failing", "event", ready="^false$", reason="^Unhealthy$", message="^(Readiness|Startup|Liveness) probe"
    ),
    # A Service that leads nowhere.
    _rule("no_endpoints_selector", "service", selected="^0$", workloads="^0$"),
    _rule("scaled_to_zero", "service", selected="^0$", wanted="^0$"),
    _rule("no_endpoints_port", "service", ready="^0$", port_missing="."),
    _rule("no_endpoints_not_ready", "service", ready="^0$"),
    # What happened lately, to containers that run again. How one ended longer ago is no fact (pods.last_end).
    _rule("out_of_memory", "container", ready="^true$", ended="^OOMKilled$"),
    _rule("crash_exit", "container", ready="^true$", ended="^Error$", exit_code="^[1-9]"),
    _rule("node_pressure", "node", pressure="."),
    # What is only the consequence, where nothing above explains it.
    _rule("not_ready", "pod", ready="^false$", phase="^Running$"),
    _rule("starting", "pod", phase="^Pending$"),
    _rule("rollout_paused", "workload", paused="^true$"),
    _rule("scaled_to_zero", "workload", wanted="^0$"),
    _rule("progress_deadline", "workload", progress="^ProgressDeadlineExceeded$"),
)

#: What each cause means, in words for people.
MEANINGS: Mapping[str, str] = {
    "none": "nothing is wrong that shows in its objects and events",
    "node_down": "the node is not ready, so that nothing is known of what runs there",
    "quota": "a ResourceQuota refuses its Pods",
    "account_missing": "its service account does not exist, so that no Pod is made",
    "admission_denied": "the API server refuses its Pods",
    "image_invalid": "the image's name is none",
    "image_missing": "the image is not on the node, and it may not be pulled",
    "image_auth": "the registry does not give the image to this login",
    "image_unreachable": "the registry does not answer",
    "image_not_found": "the registry has no such image",
    "image_unavailable": "the image cannot be pulled",
    "out_of_memory": "a container was killed for want of memory",
    "security_context": "the image may not run as the Pod's security context says",
    "config_missing": "a ConfigMap, a Secret or a key of one is missing",
    "volume_mount": "a volume cannot be mounted",
    "bad_image": "the image cannot be run: its program is missing, of another architecture or may not be executed",
    "container_start": "a container cannot be started",
    "probe_failing": "a probe fails",
    "crash_exit": "a container ends again and again",
    "unschedulable_volume": "no node fits: of the volumes that it claims",
    "unschedulable_cpu": "no node has the CPU that it requests",
    "unschedulable_memory": "no node has the memory that it requests",
    "unschedulable_resources": "no node has the resources that it requests",
    "unschedulable_taint": "the nodes have taints that it does not tolerate, or are cordoned",
    "unschedulable_affinity": "no node fits its selectors, affinities and ports",
    "unschedulable": "no node fits",
    "evicted": "its Pod was put out of its node",
    "sandbox": "the node cannot set up the Pod's network or sandbox",
    "stuck_terminating": "a Pod does not end, long after it was told to",
    "no_endpoints_selector": "the Service's selector matches no Pod and no workload",
    "no_endpoints_port": "no Pod has the port that the Service names",
    "no_endpoints_not_ready": "none of the Pods behind the Service is ready",
    "scaled_to_zero": "it is scaled to zero",
    "node_pressure": "the node is short of memory, disk or processes",
    "not_ready": "a Pod runs and is not ready",
    "starting": "a Pod is on its way",
    "rollout_paused": "its rollout is paused",
    "progress_deadline": "its rollout made no progress in time",
}
