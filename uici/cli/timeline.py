"""An incident as a story, line by line, oldest first. It shows what the journal says and adds nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from uici.cli.show import clean, coloured, lines, looked


def tell(incident: Mapping[str, Any]) -> None:
    target = incident.get("target") or {}
    click.echo(f"incident {incident['id']}: {coloured(incident['state'])}")
    click.echo(f"  environment: {incident['environment'] or 'unknown'}")
    if target:
        click.echo(f"  target: {target['kind']} {clean(target['name'])}")
    if incident.get("runbook"):
        click.echo(f"  runbook: {clean(incident['runbook'])}")
    for alert in incident.get("alerts", ()):
        labels = ", ".join(f"{clean(name)}={clean(value)[:80]}" for name, value in sorted(alert["labels"].items()))
        click.echo(f"  alert: {alert['status']} {labels}")
    if incident.get("message"):
        click.echo(f"  {lines(incident['message'], '  ')}")
    if incident.get("previous"):
        click.echo(f"  follows: {incident['previous']}")
    click.echo("")
    for entry in incident.get("entries", ()):
        line = line_of(entry)
        if line:
            click.echo(f"  {entry['at'][11:23]}  {line}")


def line_of(entry: Mapping[str, Any]) -> str | None:
    """One entry as one line; None for what says nothing to a person."""
    kind, data = entry["kind"], entry["data"]
    if kind == "incident":
        # Only its first line: what it found stands above.
        why = " ".join(filter(None, [data.get("reason"), clean((data.get("message") or "").partition("\n")[0])]))
        return f"{coloured(data['state'])}  {why}".rstrip()
    if kind == "joined":
        return "alert joined"
    if kind == "request":
        target = (data.get("target") or {}).get("name", "")
        return f"request {data['request']['operation']} {clean(target)} by {data['origin']}"
    if kind == "intent":
        return f"  call {clean(data['call']['path'])} ({data.get('risk')})" + (" again" if data.get("redo") else "")
    if kind == "outcome":
        return f"  outcome {data['status']} {clean(data.get('message') or '')}".rstrip()
    if kind == "settled":
        return f"  doubt settled: {data['verdict']} {clean(data.get('message') or '')}".rstrip()
    if kind == "result":
        return f"result {data['result']['operation']}: {looked(data['result'])}"
    if kind == "escalation":
        return f"{coloured('escalated')}  {clean(data.get('title') or '')}"
    if kind == "delivery":
        return f"told on-call: {'yes' if data.get('ok') else 'not yet'} {clean(data.get('message') or '')}".rstrip()
    if kind == "closed":
        return f"closed to automation: {clean(data.get('message') or data.get('reason') or '')}"
    if kind == "reopened":
        return f"reopened by {clean(data.get('by'))}"
    if kind == "cancel":
        return f"cancelled by {clean(data.get('by'))}"
    return None
