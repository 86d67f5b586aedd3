"""``uici demo``: a recovery in front of you. Real services, the real daemon, the posts that Alertmanager would send.

Everything it claims is looked at before it is said; one claim that does not hold ends it with exit status 1. It leaves
nothing running, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click

from uici.cli.client import Client
from uici.cli.demo_docker import Containers
from uici.cli.demo_kubernetes import IMAGE, Deployed
from uici.cli.demo_place import KEEPER, Act, DemoError, Supervised, answers, free_port, tail, wait, write_catalog
from uici.model.errors import DaemonError, UICIError

_SECONDS = 120.0
#: Characters of an argument that are shown.
_WIDTH = 120


def run(environment: str = "supervisor", image: str = IMAGE) -> int:
    """Plays it; gives the exit status: 0 when everything claimed was seen, 1 when not, 130 when interrupted. ``image``: of the
    service on Kubernetes."""
    kinds: dict[str, Callable[[Path], Supervised]] = {
        "supervisor": Supervised,
        "docker": Containers,
        "kubernetes": lambda folder: Deployed(folder, image),
    }
    if environment not in kinds:
        raise click.UsageError(f"there is no demo for {environment!r}; choose one of: {', '.join(kinds)}")
    ends = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, _interrupted) for number in ends]
    folder = Path(tempfile.mkdtemp(prefix="uici-demo-"))
    place: Supervised | None = None
    status = 1
    try:
        place = kinds[environment](folder)
        _play(place, folder)
        status = 0
    except KeyboardInterrupt:
        click.echo("\ninterrupted; cleaning up …", err=True)
        status = 130
    except (UICIError, OSError) as error:
        _failed(str(error))
        if log := tail(folder / f"{KEEPER}.log", 1500):
            click.echo(f"the daemon's log ends with:\n{log}", err=True)
    finally:
        # From here on a second Ctrl-C would leave things running.
        for number in (signal.SIGINT, *ends):
            signal.signal(number, signal.SIG_IGN)
        status = _clean(place, folder, status)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, handler in zip(ends, before, strict=True):
            signal.signal(number, handler)
    return status


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _clean(place: Supervised | None, folder: Path, status: int) -> int:
    try:
        if place is not None:
            place.stop()
    except (UICIError, OSError) as error:
        _failed(str(error))
        status = status or 1
    shutil.rmtree(folder, ignore_errors=True)
    if status == 0:
        click.echo("Everything was stopped and removed; nothing is left running.")
    return status


def _play(place: Supervised, folder: Path) -> None:
    port = free_port()
    config, tokens = write_catalog(folder, place, port)
    _title("Setting the stage")
    _say(f"Starting {place.what}, and UICI's daemon under that supervisord …")
    place.start(config)
    here = f"http://127.0.0.1:{port}"
    wait("UICI's daemon to answer", lambda: _lives(place, here), 60)
    story = _Story(place, Client(here, tokens["you"]), Client(here, tokens["alertmanager"]))
    story.ready()
    acts = place.acts()
    for act in acts:
        story.break_and_heal(act)
    story.refuses_itself(len(acts) + 1)
    story.refuses_the_unknown(len(acts) + 2)
    _title("Seen with your own eyes")
    for claim in story.proven:
        click.echo(f"  {click.style('✓', fg='green')} {claim}")


def _lives(place: Supervised, here: str) -> bool:
    if place.info(KEEPER)["statename"] not in ("RUNNING", "STARTING"):
        raise DemoError("UICI's daemon ended at its start")
    return answers(f"{here}/healthz")


class _Story:
    """Tells what happens, as it happens, and keeps what was proven."""

    def __init__(self, place: Supervised, you: Client, alertmanager: Client) -> None:
        self.place, self.you, self.alertmanager = place, you, alertmanager
        self.proven: list[str] = []
        self.began = time.monotonic()

    def claim(self, holds: bool, words: str) -> None:
        """Raises DemoError where it does not hold."""
        if not holds:
            raise DemoError(f"this did not hold: {words}")
        self.proven.append(words)

    def ready(self) -> None:
        wait("UICI to be ready to work", self._has_started, 30)
        names = ", ".join(self.place.services)
        self.claim(
            all(self.place.answers(name) for name in self.place.services),
            f"{names} answered before anything was broken",
        )
        verb = "answers" if len(self.place.services) == 1 else "answer"
        _say(f"{names} {verb}. UICI listens at {self.you.name} and knows the starter catalog.")

    def _has_started(self) -> bool:
        try:
            return any(one["name"] == "demo" for one in self.you.get("api/v1/environments")["environments"])
        except DaemonError:
            return False

    def break_and_heal(self, act: Act) -> None:
        _title(act.title)
        service, was = act.service, self.place.identity(act.service)
        _say(f"{service} is {was}. Breaking it: {act.harm()}.")
        wait(f"{service} to stop answering", lambda: not self.place.answers(service), 20)
        if act.alive:
            self.claim(self.place.alive(service), act.alive)
        else:
            wait(f"{service} to be dead", lambda: not self.place.alive(service))
        _say(act.seen)
        labels = self.place.labels(service)
        alert = _alert(act.alertname, labels, f"{service} {act.trouble}")
        told = ", ".join(f"{name}={value}" for name, value in labels.items())
        _say(f"Posting what Alertmanager would send: {act.alertname}, {told} …")
        incident, result = self._until_over(alert)
        self.claim(
            result is not None and result["status"] == "done" and result["verification"] == "recovered",
            f"{service}: the {act.cure} was verified as recovered",
        )
        self.claim(
            self.place.answers(service), f"{service} answers again ({was} became {self.place.identity(service)})"
        )
        self.claim(self.place.identity(service) != was, f"{service} is a new process")
        self.proven.pop()  # told by the line before
        if incident["state"] == "watching":
            _say("The alert has gone; Alertmanager would say so: posting it as resolved …")
            incident = self._resolve(alert)
        self.claim(
            incident["state"] == "resolved", f"{service}: its incident is resolved, the whole story in the journal"
        )

    def _until_over(self, alert: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Posts the alert and tells what comes of it, until the incident waits for its alert to go, or has ended."""
        changed: dict[str, Any] | None = None
        with self._events() as events:
            self._post(alert)
            for entry in events:
                _tell(entry)
                data = entry["data"]
                if entry["kind"] == "result" and data.get("changed"):
                    changed = data["result"]
                if entry["kind"] == "incident" and data["state"] in ("watching", "resolved", "escalated"):
                    if data["state"] == "escalated":
                        raise DemoError(
                            f"UICI escalated instead of healing: {data.get('reason')}: {data.get('message')}"
                        )
                    return data, changed
        raise DemoError("the daemon's events ended before the incident did")

    def _resolve(self, alert: Mapping[str, Any]) -> dict[str, Any]:
        with self._events() as events:
            self._post({**alert, "status": "resolved", "endsAt": _now()})
            for entry in events:
                _tell(entry)
                if entry["kind"] == "incident" and entry["data"]["state"] in ("resolved", "escalated"):
                    data: dict[str, Any] = entry["data"]
                    return data
        raise DemoError("the daemon's events ended before the incident did")

    @contextlib.contextmanager
    def _events(self) -> Iterator[Iterator[Mapping[str, Any]]]:
        stream = self.you.events()
        next(stream)  # connected: nothing that comes from now on is missed
        deadline = time.monotonic() + _SECONDS

        def entries() -> Iterator[Mapping[str, Any]]:
            for entry in stream:
                if time.monotonic() > deadline:
                    raise DemoError(f"nothing came to an end within {_SECONDS:.0f} s")
                if entry is not None:
                    yield entry

        try:
            yield entries()
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()

    def _post(self, alert: Mapping[str, Any]) -> None:
        self.alertmanager.post("webhooks/alertmanager", _payload(alert))

    def _ask(self, operation: str, environment: str, **parameters: Any) -> dict[str, Any]:
        body = {"operation": operation, "environment": environment, "parameters": parameters, "reason": "the demo asks"}
        answer: dict[str, Any] = self.you.post("api/v1/requests?wait=30s", body)
        return answer

    def refuses_itself(self, number: int) -> None:
        _title(f"{number}. UICI is asked to restart itself")
        pid = self.place.info(KEEPER)["pid"]
        _say(
            f"The daemon runs as the process {KEEPER!r} (pid {pid}). You, a person, ask for restart_service {KEEPER} …"
        )
        result = self._ask("restart_service", self.place.keeper_environment, service=KEEPER)
        _refusal(result)
        self.claim(
            result["status"] == "refused" and result["reason"] == "self",
            f"a restart of UICI itself was refused ({result['reason']})",
        )
        self.claim(self.place.info(KEEPER)["pid"] == pid, f"UICI's daemon is still pid {pid}")

    def refuses_the_unknown(self, number: int) -> None:
        _title(f"{number}. UICI is asked for what its catalog lacks")
        _say("You ask for format_disk …")
        result = self._ask("format_disk", "demo", disk="/dev/sda")
        _refusal(result)
        self.claim(
            result["status"] == "refused" and result["reason"] == "unknown_operation",
            f"an operation that the catalog lacks was refused ({result['reason']})",
        )


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _alert(name: str, labels: Mapping[str, str], summary: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": name, "severity": "critical", **labels},
        "annotations": {"summary": summary},
        "startsAt": _now(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": os.urandom(8).hex(),
    }


def _payload(alert: Mapping[str, Any]) -> dict[str, Any]:
    """A post of Alertmanager's webhook, version 4."""
    labels = alert["labels"]
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{labels["alertname"]}"}}',
        "truncatedAlerts": 0,
        "status": alert["status"],
        "receiver": "uici",
        "groupLabels": {"alertname": labels["alertname"]},
        "commonLabels": dict(labels),
        "commonAnnotations": dict(alert["annotations"]),
        "externalURL": "",
        "alerts": [dict(alert)],
    }


# --- telling ---------------------------------------------------------------------------------------------------------


def _title(text: str) -> None:
    click.echo(f"\n{click.style(text, bold=True)}")


def _say(text: str) -> None:
    click.echo(f"  {text}")


def _failed(text: str) -> None:
    click.echo(f"\n{click.style('The demo failed:', fg='red', bold=True)} {text}", err=True)


def _refusal(result: Mapping[str, Any]) -> None:
    click.echo(f"  {click.style(result['status'], fg='yellow')} ({result['reason']}): {result['message']}")


def _tell(entry: Mapping[str, Any]) -> None:
    line = _line(entry["kind"], entry["data"])
    if line:
        click.echo(f"    {click.style(entry['at'][11:23], dim=True)}  {line}")


def _line(kind: str, data: Mapping[str, Any]) -> str:
    """One entry of the journal in plain words; empty for what says nothing new."""
    match kind:
        case "alert":
            name, status = data["alert"]["labels"].get("alertname"), data["alert"]["status"]
            return f"alert: {name} ({status}), written down before it was answered with 2xx"
        case "incident":
            return f"incident: {click.style(data['state'], bold=True)}{_because(data)}"
        case "request":
            name, risk = data["request"]["operation"], data.get("risk", "")
            target = (data.get("target") or {}).get("name", "")
            if risk == "observe":
                return f"look: {name} {target}".rstrip()
            return f"request: {name} {target} (risk: {risk}), let in by the catalog, the policies and the brakes"
        case "before":
            return "before: how it was is written down, so that a doubt can be settled later"
        case "intent":
            call = data["call"]
            arguments = ", ".join(f"{name}={_short(value)}" for name, value in call["arguments"].items())
            return f"the guards let it pass; intent written down, then the call: {call['path']}({arguments})"
        case "outcome":
            return f"outcome: {data['status']}"
        case "result":
            return _result(data["result"])
        case "escalation":
            return f"a person is told: {data.get('title', '')}"
    return ""


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


def _because(data: Mapping[str, Any]) -> str:
    words = [f"runbook {data['runbook']}"] if data["state"] == "acting" and data.get("runbook") else []
    if data.get("message"):
        words.append(str(data["message"]).splitlines()[0])
    return f" ({'; '.join(words)})" if words else ""


def _result(result: Mapping[str, Any]) -> str:
    answer = result["answer"] if isinstance(result["answer"], Mapping) else {}
    if result["status"] != "done":
        return f"{result['operation']}: {result['status']} ({result['reason']}): {result['message']}"
    if result["verification"]:
        word = click.style(result["verification"], fg="green" if result["verification"] == "recovered" else "red")
        samples = sum(1 for seen in result["evidence"] if seen["kind"] == "sample")
        return f"{result['operation']}: done, and verified as {word} by {samples} looks"
    if "cause" in answer:
        return f"look: {result['operation']} says {answer['cause']}: {_short(answer.get('message', ''))}"
    if "rollback_to" in answer:
        return f"look: {result['operation']} says that revision {answer['rollback_to']} was seen to work"
    if "health" in answer:
        return f"look: {result['operation']} says {answer['state']}, {answer['health']}"
    if "patterns" in answer:
        named = [one["name"] for one in answer["patterns"] if one["name"]]
        told = f", which tell of {', '.join(named)}" if named else ""
        return f"look: {result['operation']} has {len(answer['lines'])} lines{told}"
    return f"{result['operation']}: done"
