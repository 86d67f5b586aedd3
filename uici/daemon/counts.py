"""What ``/metrics`` tells, and what each durable entry means for it and for the log. Counting only."""

from __future__ import annotations

import os
import resource
import time
from collections import Counter as Tally
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uici import __version__
from uici.daemon import metrics
from uici.daemon.logs import logger
from uici.journal import KINDS, Entry
from uici.model import UNENDED, Incident, IncidentState

_APPEND_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_PAGE = os.sysconf("SC_PAGE_SIZE")


#: Read at the scrape, by ``status``: name -> what it tells.
GAUGES = {
    "uici_outbox_waiting": "Escalations that wait for delivery.",
    "uici_alerts_waiting": "Alerts and open incidents that wait.",
    "uici_closed_targets": "Targets closed to automation.",
    "uici_requests_running": "Requests of the API that run.",
    "uici_journal_seq": "The last entry's seq.",
    "uici_journal_ok": "0 after an append failed.",
    "uici_ready": "1 when able to work, but for what engines say.",
    "uici_warnings": "What /readyz warns of, but for engines.",
    "uici_paused": "1 where automation is paused; * is everywhere.",
    "uici_environment_up": "1 where the engine answers.",
}


class Counts:
    """Fed by ``seen`` with each durable entry, and by the doors with what they refused before there was one."""

    def __init__(self) -> None:
        self.alerts = metrics.Counter(
            "uici_alerts_total", "Alerts received, by verdict and reason.", ("verdict", "reason")
        )
        self.requests = metrics.Counter(
            "uici_requests_total", "Requests that ended, by status and reason.", ("operation", "status", "reason")
        )
        self.incidents_ended = metrics.Counter(
            "uici_incidents_ended_total", "Incidents that reached resolved or escalated.", ("state",)
        )
        self.escalations = metrics.Counter("uici_escalations_total", "Escalations written to the outbox.", ("reason",))
        self.deliveries = metrics.Counter("uici_deliveries_total", "Attempts to deliver an escalation.", ("ok",))
        self.reloads = metrics.Counter("uici_catalog_reloads_total", "Reloads of the catalog.", ("ok",))
        self.entries = metrics.Counter("uici_journal_entries_total", "Entries made durable, by kind.", ("kind",))
        self.append = metrics.Histogram(
            "uici_journal_append_seconds", "From an entry's append until it is durable.", _APPEND_BOUNDS
        )
        self.responses = metrics.Counter("uici_http_responses_total", "Answers of the HTTP doors.", ("door", "status"))
        self.refusals = metrics.Counter(
            "uici_http_refusals_total", "What a door refused before it was a request.", ("door", "code")
        )
        self._states: dict[str, str] = {}
        self._began = time.time()
        self.gauges: dict[str, Callable[[], metrics.Values]] = {}
        self._log = logger()
        self._handlers: dict[str, Callable[[Entry, Any], None] | None] = {
            kind: getattr(self, f"_on_{kind}", None) for kind in KINDS
        }

    def seed(self, unended: list[Incident]) -> None:
        """The open matters that were there before this process."""
        self._states.update((incident.id, incident.state.value) for incident in unended)

    def seen(self, entry: Entry) -> None:
        self.entries.add(entry.kind)
        handler = self._handlers[entry.kind]
        if handler is not None:
            handler(entry, entry.data)

    def _on_alert(self, entry: Entry, data: Any) -> None:
        self.alerts.add("accepted", "")

    def _on_alert_refused(self, entry: Entry, data: Any) -> None:
        self.alerts.add("refused", str(data.get("reason") or ""))
        self._log.warning("alert refused", path=data.get("path"), problem=data.get("message"))

    def _on_incident(self, entry: Entry, data: Any) -> None:
        id, state = data["id"], data["state"]
        before = self._states.get(id)
        if state in UNENDED:
            self._states[id] = state
        else:
            self._states.pop(id, None)
        if before != state:
            if state in (IncidentState.RESOLVED, IncidentState.ESCALATED):
                self.incidents_ended.add(state)
            self._log.info(
                "incident",
                incident=id,
                state=state,
                environment=data.get("environment"),
                target=(data.get("target") or {}).get("name"),
                runbook=data.get("runbook"),
                reason=data.get("reason"),
                message=data.get("message"),
            )

    def _on_result(self, entry: Entry, data: Any) -> None:
        result = data["result"]
        # A refused Request may name any operation at all; only those that the catalog knows become a label.
        name = result["operation"] if result["reason"] != "unknown_operation" else ""
        self.requests.add(name, result["status"], result["reason"] or "")
        self._log.info(
            "request",
            incident=entry.incident,
            request=entry.request or result["id"],
            operation=result["operation"][:128],
            environment=result["environment"],
            origin=result["origin"],
            status=result["status"],
            reason=result["reason"],
            verification=result["verification"],
            message=result["message"],
        )

    def _on_intent(self, entry: Entry, data: Any) -> None:
        self._log.info(
            "call", incident=entry.incident, request=entry.request, path=data["call"]["path"], risk=data.get("risk")
        )

    def _on_escalation(self, entry: Entry, data: Any) -> None:
        self.escalations.add(str(data.get("reason") or ""))
        self._log.warning(
            "escalated",
            incident=data.get("incident") or entry.incident,
            request=data.get("request") or entry.request,
            reason=data.get("reason"),
            title=data.get("title"),
            message=data.get("message"),
        )

    def _on_delivery(self, entry: Entry, data: Any) -> None:
        self.deliveries.add("true" if data.get("ok") else "false")
        if not data.get("ok"):
            self._log.warning(
                "escalation not delivered", id=data.get("id"), attempt=data.get("attempt"), message=data.get("message")
            )

    def _on_catalog(self, entry: Entry, data: Any) -> None:
        self.reloads.add("true" if data.get("ok") else "false")

    def _on_closed(self, entry: Entry, data: Any) -> None:
        self._log.warning("closed to automation", key=data.get("key"), reason=data.get("reason"))

    def _on_paused(self, entry: Entry, data: Any) -> None:
        self._log.warning("paused", environment=data.get("environment"), by=data.get("by"))

    def _on_resumed(self, entry: Entry, data: Any) -> None:
        self._log.info("resumed", environment=data.get("environment"), by=data.get("by"))

    def _incidents(self) -> metrics.Values:
        tally = Tally(self._states.values())
        return {(state.value,): float(tally[state.value]) for state in sorted(UNENDED)}

    def text(self, *more: metrics.Counter | metrics.Gauge | metrics.Histogram) -> bytes:
        """One scrape."""
        began = self._began
        return metrics.text(
            [
                metrics.Gauge("uici_build_info", "The version.", lambda: {(__version__,): 1}, ("version",)),
                self.alerts,
                self.requests,
                metrics.Gauge(
                    "uici_incidents", "Incidents that have not ended, by state.", self._incidents, ("state",)
                ),
                self.incidents_ended,
                self.escalations,
                self.deliveries,
                self.reloads,
                self.entries,
                self.append,
                self.responses,
                self.refusals,
                *more,
                metrics.Gauge("process_start_time_seconds", "When the daemon began.", lambda: {(): began}),
                metrics.Gauge("process_cpu_seconds_total", "CPU time used.", _cpu, kind="counter"),
                metrics.Gauge("process_resident_memory_bytes", "Memory held.", _resident),
            ]
        )


def _cpu() -> metrics.Values:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {(): usage.ru_utime + usage.ru_stime}


def _resident() -> metrics.Values:
    try:
        return {(): float(Path("/proc/self/statm").read_text().split()[1]) * _PAGE}
    except OSError:  # not Linux: the peak is what there is
        return {(): float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)}
