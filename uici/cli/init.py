"""``uici init``: a catalog to start from. It never overwrites a file."""

from __future__ import annotations

from pathlib import Path

import click

from uici.cli import told
from uici.model.errors import UICIError

_FIRST = "# yaml-language-server: $schema=.schema/{name}.json\n"


@told.command(short_help="Start a catalog in a folder.")
@click.argument("directory", metavar="DIR")
@click.option("--full", is_flag=True, help="Copy the whole starter catalog instead of including it.")
@click.option(
    "--executor",
    metavar="NAME",
    help="Where operations run: docker, supervisor, kubernetes, or another that is installed. Else what this machine is.",
)
def init(directory: str, full: bool, executor: str | None) -> int:
    """Start a catalog in a folder: short files that include the starter, ready for `uici check` and `uici serve`.

    It looks whether this machine is a Docker host or runs a supervisord, and writes it down as the only environment. For
    kubernetes that is the current context of your kubeconfig, by its name: another one that becomes current later changes nothing.
    """
    folder = Path(directory)
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise UICIError(f"{folder} is there already and not empty; name another folder")
    chosen, settings, found = _place(executor)
    files = _full() if full else _short()
    files["environments"] = _environments(chosen, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = folder / f"{name}.yml"
            path.parent.mkdir(parents=True, exist_ok=True)
            kind = name.partition("/")[0]
            above = "../" * name.count("/")
            path.write_text(_FIRST.format(name=kind).replace("=.schema", f"={above}.schema") + text, encoding="utf-8")
    except OSError as error:
        raise UICIError(
            f"{folder}: cannot be written: {error.strerror}; name a folder that this user may make"
        ) from error
    from uici.cli.schema import write_all

    write_all(folder / ".schema")
    where = "" if found else " (not found on this machine; see its settings)"
    if settings.get("context"):
        where = f" (the context {settings['context']} of your kubeconfig)"
    click.echo(f"{folder}: a catalog for {chosen}{where}")
    click.echo(f"next: uici check {folder} && uici serve --config {folder}")
    return 0


def _place(executor: str | None) -> tuple[str, dict[str, object], bool]:
    """The executor, its settings, and whether this machine is such a place."""
    from uici.executor import load, names

    if executor is not None:
        return executor, *_detected(executor)
    for name in sorted(names(), key=lambda one: (one != "docker", one != "supervisor", one)):
        try:
            settings = load(name)().detect()
        except UICIError:
            continue
        if settings is not None:
            return name, dict(settings), True
    return "supervisor", _detected("supervisor")[0], False


def _detected(name: str) -> tuple[dict[str, object], bool]:
    from uici.executor import load

    settings = load(name)().detect()
    if settings is not None:
        return dict(settings), True
    if name == "kubernetes" and (context := _context()):
        return {"context": context}, False
    return dict(_GUESSES.get(name, {})), False


def _context() -> str:
    """The current context of the user's kubeconfig; empty: there is none."""
    import os

    import yaml

    named = os.environ.get("KUBECONFIG") or "~/.kube/config"
    for one in named.split(os.pathsep):
        try:
            found = yaml.safe_load(Path(one).expanduser().read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        if isinstance(found, dict) and found.get("current-context"):
            return str(found["current-context"])
    return ""


_GUESSES: dict[str, dict[str, object]] = {
    "docker": {"base_url": "unix:///var/run/docker.sock"},
    "supervisor": {"url": "unix:///run/supervisor.sock"},
}


def _yaml(settings: dict[str, object]) -> str:
    import json

    return "{" + ", ".join(f"{name}: {json.dumps(value)}" for name, value in settings.items()) + "}"


def _environments(executor: str, settings: dict[str, object]) -> str:
    # As in the starter: the embedded default is `local`, another is called as its executor is.
    name = "local" if executor == "supervisor" else executor
    return f"""version: 1
default: {name}
environments:
  {name}:
    executor: {executor}
    settings: {_yaml(settings)}
    operations: ["*", "!run_command_in_service"]
    stage: sandbox
    autonomy: change        # what runbooks may do without a person: none | observe | change | destroy
    dry_run: false          # true: look and record, touch nothing (recommended for the first week in production)
"""


def _short() -> dict[str, str]:
    return {
        "platform": """version: 1
server:
  listen: 127.0.0.1:8080
  # Others reach the daemon only with tokens:
  # tokens:
  #   alertmanager: {token: "${env:UICI_ALERTMANAGER_TOKEN}", may: [alerts]}
# escalate_to: ["${env:ONCALL_URL}"]    # whom to tell when a person is needed: any apprise URL
""",
        "operations": """version: 1
include: [starter]
# Your own operations, or one of the starter's under the same name to replace it:
# operations: {}
""",
        "command_translations": """version: 1
include: [starter]
""",
        "runbooks": """version: 1
include: [starter]
# Your own come first:
# runbooks: []
""",
        "policies": """version: 1
include: [starter]
# protected:
#   - {environment: "*", name: "postgres*"}    # never touched, whoever asks
""",
    }


def _full() -> dict[str, str]:
    """Every file of the starter, but the environments."""
    from importlib.resources import as_file, files

    texts: dict[str, str] = {}
    with as_file(files("uici_infrastructure") / "config") as starter:
        for path in sorted(starter.rglob("*.yml")):
            name = str(path.relative_to(starter).with_suffix(""))
            if name.partition("/")[0] != "environments":
                text = path.read_text(encoding="utf-8")
                lines = text.splitlines(keepends=True)
                texts[name] = "".join(line for line in lines if not line.startswith("# yaml-language-server:"))
    return texts
