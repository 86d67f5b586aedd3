"""``uici plan``: what an alert would lead to. It acts on nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from uici.cli import options, told
from uici.model.errors import UICIError


@told.command(short_help="Say what an alert would lead to, without acting.")
@click.argument("alert", metavar="ALERT.json")
@options.config
@options.server
@options.as_json
def plan(alert: str, config: str | None, server: str | None, as_json: bool) -> int:
    """Say what an alert would lead to, without acting: its environment, target and runbook, and the first dry run.

    ALERT.json is what Alertmanager posts, a list of alerts (amtool alert -o json), or one alert with its labels;
    - reads it from standard input.
    """
    from uici.cli import show
    from uici.cli.door import door

    try:
        text = sys.stdin.read() if alert == "-" else Path(alert).read_text(encoding="utf-8")
        payload = json.loads(text)
    except OSError as error:
        raise UICIError(f"{alert}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UICIError(f"{alert}: is not JSON: {error}") from None
    if not isinstance(payload, list) and not (isinstance(payload, dict) and payload.keys() & {"alerts", "labels"}):
        raise UICIError(
            f"{alert}: holds no alert; save what Alertmanager posts, `amtool alert -o json`, or one with its labels"
        )
    plans = door(config, server).plan(payload)
    if as_json:
        show.as_json(plans)
        return 0
    for one in plans:
        _tell(one)
    return 0


def _tell(plan: Mapping[str, Any]) -> None:
    from uici.cli import show

    labels = plan["alert"]["labels"]
    target, conclusion = plan["target"] or {}, plan["conclusion"]
    click.echo(f"alert: {show.clean(labels.get('alertname', '(no alertname)'))}")
    click.echo(f"  environment: {plan['environment'] or 'none'}")
    click.echo(f"  runbook: {show.clean(plan['runbook'] or 'none')}")
    click.echo(f"  target: {show.clean(target.get('kind', ''))} {show.clean(target.get('name', 'none'))}".rstrip())
    for step in plan["steps"]:
        result = step["result"]
        click.echo(f"  {'would do' if step['changing'] else 'looked':<9} {show.clean(result['operation'])}: ", nl=False)
        click.echo(show.looked(result))
        if step["changing"]:
            for line in show.would(result):
                click.echo(f"    {line}")
    why = show.lines(conclusion["message"] or conclusion["reason"] or "", "    ")
    # A dry run is no verdict for a person: its message says what would be done.
    click.echo("  so: " + (why if conclusion["verdict"] == "dry_run" else f"{conclusion['verdict']}: {why}"))
