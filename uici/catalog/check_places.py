"""What environments and the platform prove: executors that are installed, settings that they take, references in place."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from typing import Any

from uici.catalog.conformance import conform
from uici.catalog.gather import Entry, resolved
from uici.catalog.problem import did_you_mean
from uici.catalog.scope import Scope
from uici.catalog.secret_references import misspelt, references
from uici.catalog.source import Trail
from uici.executor import Executor, names
from uici.model import Matcher

#: What makes a name a pattern.
WILD = frozenset("*?[")
_URL = re.compile(r"https?://[^\s/?#]+[^\s]*|\$\{(env|file):[^}]+\}.*")


def environments(scope: Scope) -> None:
    """Every environment, and the default."""
    for entry in scope.places():
        _environment(scope, entry, entry.definition)
    default = scope.gathered.default
    if default is not None and not default.broken:
        known = scope.gathered.environments
        if default.definition not in known and default.definition != "auto":
            hint = did_you_mean(default.definition, [*known, "auto"])
            default.add("unknown-environment", f"there is no environment {default.definition!r}", hint)
    _alerts(scope)


def offered(scope: Scope) -> None:
    """What an operation asks on its way is offered wherever it is: otherwise a change would be made and then be in doubt."""
    for entry in scope.places():
        if entry.broken:
            continue
        there = scope.offered(entry)
        lacking: dict[str, list[tuple[str, str]]] = {}
        for name in sorted(there):
            operation = scope.operation(name)
            for key, asked in _asked(scope, entry, name, operation) if operation is not None else ():
                if asked not in there and asked in scope.gathered.operations:
                    lacking.setdefault(asked, []).append((name, key))
        at: Trail = ("operations",) if "operations" in entry.definition else ()
        for asked, by in lacking.items():
            message, hint = _lacking(scope, entry, asked, by)
            entry.add("not-offered", message, hint, at=at, key=not at)


def platform(scope: Scope) -> None:
    """Addresses, and what the guard is told to protect."""
    found = scope.gathered.platform
    for name, one in found.items():
        if not one.broken and name != "depends_on":
            _misspelt(one, one.definition, ())
    journal = found.get("journal")
    if journal is not None and not journal.broken and "url" in journal.definition:
        url = journal.definition["url"]
        if not url.startswith(("sqlite:////", "postgresql://", "postgres://", "${")):
            hint = "write sqlite:////absolute/path, or postgresql://…"
            journal.add("wrong-form", f"{url!r} is no journal's address", hint, at=("url",))
    server = found.get("server")
    if server is not None and not server.broken and "listen" in server.definition:
        port = int(server.definition["listen"].rpartition(":")[2])
        if port > 65535:
            server.add("wrong-form", f"there is no port {port}", "the highest is 65535", at=("listen",))
    monitoring = found.get("monitoring")
    if monitoring is not None and not monitoring.broken:
        _url(monitoring, monitoring.definition.get("prometheus"), ("prometheus",))
    needs = found.get("depends_on")
    if needs is not None and not needs.broken:
        for index, one in enumerate(needs.definition):
            place = one.get("environment")
            if place is not None and place not in scope.gathered.environments:
                hint = did_you_mean(place, scope.gathered.environments)
                needs.add("unknown-environment", f"there is no environment {place!r}", hint, at=(index, "environment"))
            if not one.keys() & {"name", "id"}:
                needs.add("missing-key", "names nothing", "give its name or id", at=(index,))
            unfilled(needs, one, (index,))


def matchers(entry: Entry, texts: Any, at: Trail) -> tuple[Matcher, ...]:
    """The matchers of a list; wrong ones are said."""
    found = []
    for index, text in enumerate(texts if isinstance(texts, list) else ()):
        if isinstance(text, str):
            try:
                found.append(Matcher.parse(text))
            except ValueError as error:
                message, _, cure = str(error).partition("; ")
                entry.add("bad-matcher", message, cure, at=(*at, index))
    return tuple(found)


def unfilled(entry: Entry, value: Any, at: Trail, *, severity: str = "error") -> None:
    """Says each text with a ``${`` where nothing fills it in: it would be compared as it is written, and never be met."""
    if isinstance(value, str) and "${" in value:
        message = "has a ${ that nothing fills in here: it stays this very text"
        entry.add("not-filled-in", message, "write the value itself", at=at, severity=severity)
    elif isinstance(value, (Mapping, list)):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            unfilled(entry, inner, (*at, key), severity=severity)


def _alerts(scope: Scope) -> None:
    """An alert is about exactly one place: one that takes every alert leaves none to the others."""
    if not any(
        isinstance(one.definition, dict) and one.definition.get("enabled", True) for one in scope.gathered.runbooks
    ):
        return
    there = [one for one in scope.places() if not one.broken]
    for one in there:
        others = [other.name for other in there if other is not one]
        if others and not one.definition.get("alerts") and not one.source:
            message = (
                f"takes every alert, those of {others[0]!r} too: what is about two places is escalated as ambiguous"
            )
            hint = f"say with alerts which are about it, such as alerts: ['cluster=\"{one.name}\"']"
            one.add("takes-every-alert", message, hint, key=True, severity="warning")


def _environment(scope: Scope, entry: Entry, definition: Mapping[str, Any]) -> None:
    matchers(entry, definition.get("alerts"), ("alerts",))
    for key in ("alerts", "namespaces"):
        unfilled(entry, definition.get(key), (key,))
    namespaces = definition.get("namespaces")
    for index, one in enumerate(namespaces if isinstance(namespaces, list) else ()):
        if isinstance(one, str) and one.startswith("!"):
            hint = "name those that are let in; what lies in another is protected with protected: [{namespace: …}]"
            entry.add(
                "wrong-form", f"{one!r} leaves nothing out: no namespace is called so", hint, at=("namespaces", index)
            )
    executor = scope.executor(definition["executor"])
    if isinstance(executor, str):
        if definition["executor"] in names():
            message, _, hint = executor.partition("; ")
            entry.add("executor-not-installed", message, hint, at=("executor",))
        else:
            message, hint = (
                f"no executor {definition['executor']!r} is installed",
                did_you_mean(definition["executor"], names()),
            )
            entry.add("unknown-executor", message, hint, at=("executor",))
    else:
        _settings(entry, executor, definition)
    for key in ("variables", "inventory"):
        for reference in sorted(references(definition.get(key, {}))):
            message = f"{reference} is a secret's reference, and expressions would see it"
            entry.add("secret-reference-here", message, "secrets belong in settings and platform.yml", at=(key,))
        if not references(definition.get(key, {})):
            # A variable may be meant for a shell somewhere; what is compared may not.
            severity = "warning" if key == "variables" else "error"
            unfilled(entry, definition.get(key), (key,), severity=severity)
    _operations(scope, entry, definition)
    inventory = definition.get("inventory")
    if isinstance(inventory, Mapping):
        _inventory(scope, entry, inventory)


def _settings(entry: Entry, executor: Executor, definition: Mapping[str, Any]) -> None:
    dialect = definition.get("dialect", definition["executor"])
    if dialect not in executor.dialects:
        at: Trail = ("dialect",) if "dialect" in definition else ("executor",)
        message = f"{definition['executor']} does not speak {dialect!r}"
        entry.add("unknown-dialect", message, did_you_mean(dialect, executor.dialects), at=at)
    settings = definition.get("settings", {})
    if not isinstance(settings, dict):
        return
    _misspelt(entry, settings, ("settings",))
    trail = (*entry.trail, "settings")
    if "settings" in definition:
        conform(entry.document, _lenient(executor.settings, settings), settings, trail)
    elif executor.settings.get("required"):
        needed = ", ".join(executor.settings["required"])
        entry.add("missing-key", f"{definition['executor']} needs the settings {needed}", "write them under settings")
    for name, about in executor.settings.get("properties", {}).items():
        if isinstance(about, Mapping) and about.get("writeOnly") and name in settings and not _refers(settings[name]):
            hint = "write ${env:NAME} or ${file:PATH}"
            entry.add(
                "secret-in-plain-text", f"{name!r} is a secret and stands here as text", hint, at=("settings", name)
            )


def _lenient(schema: Mapping[str, Any], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The executor's schema, in which a secret's reference fits everywhere: its value is not known yet."""
    referring = {name for name, value in settings.items() if _refers(value)}
    if not referring:
        return schema
    properties = {name: {} if name in referring else one for name, one in schema.get("properties", {}).items()}
    return {**schema, "properties": properties}


def _refers(value: Any) -> bool:
    """Also where it is misspelt, which is said by itself."""
    return bool(references(value)) or any(True for _ in misspelt(value))


def _misspelt(entry: Entry, data: Any, at: Trail) -> None:
    for inner in misspelt(data):  # the text is not shown: it may hold a secret
        message = "has a ${ that begins no secret's reference, and would be taken as this very text"
        hint = "write ${env:NAME} or ${file:PATH}; $${ for the text"
        entry.add("bad-secret-reference", message, hint, at=(*at, *inner))


def _operations(scope: Scope, entry: Entry, definition: Mapping[str, Any]) -> None:
    wanted = definition.get("operations")
    dialect = definition.get("dialect", definition["executor"])
    patterns = [one for one in wanted if isinstance(one, str)] if isinstance(wanted, list) else []
    if patterns and all(one.startswith("!") for one in patterns):
        hint = 'begin with "*", which lets all others in'
        entry.add("wrong-value", "only leaves out, and lets nothing in", hint, at=("operations",))
    for index, pattern in enumerate(wanted if isinstance(wanted, list) else ()):
        name = pattern.removeprefix("!") if isinstance(pattern, str) else ""
        at = ("operations", index)
        if WILD & set(name) and name != "*" and not fnmatch.filter(scope.gathered.operations, name):
            entry.add(
                "unknown-operation", f"no operation is like {name!r}", "check the pattern", at=at, severity="warning"
            )
        if not name or WILD & set(name):
            continue
        if name not in scope.gathered.operations:
            hint = did_you_mean(name, scope.gathered.operations)
            entry.add("unknown-operation", f"there is no operation {name!r}", hint, at=at)
        elif not pattern.startswith("!") and dialect not in scope.gathered.translations.get(name, {}):
            message = f"{name!r} has no translation for {dialect}"
            entry.add("not-translated", message, "translate it, or leave it out here", at=at)


def _asked(scope: Scope, entry: Entry, name: str, operation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, operation) of all that an operation asks in this environment; an own ``revert`` is used before ``undo``."""
    for key in ("before", "verify", "undo"):
        if key in operation and not (key == "undo" and _reverts(scope, name, scope.dialect(entry))):
            yield key, operation[key]["operation"]


def _reverts(scope: Scope, name: str, dialect: str) -> bool:
    said = resolved(scope.gathered.translations[name], dialect)
    return bool(isinstance(said, Mapping) and said.get("revert"))


def _lacking(scope: Scope, entry: Entry, asked: str, by: list[tuple[str, str]]) -> tuple[str, str]:
    """Once for all that ask it: an operation such as ``service_status`` is asked by most."""
    (name, key), others = by[0], len({one for one, _ in by}) - 1
    dialect, wants = scope.dialect(entry), f"{entry.name!r} offers {name}, whose {key} asks {asked}"
    out = f"leave {name} out with '!{name}'" + (f", and {others} more that ask it" if others else "")
    if dialect not in scope.gathered.translations.get(asked, {}):
        return f"{wants}, which has no translation for {dialect}", f"translate {asked}, or {out}"
    return f"{wants}, which its operations leave out", f"add {asked} to them, or {out}"


def _inventory(scope: Scope, entry: Entry, inventory: Mapping[str, Any]) -> None:
    name = inventory.get("from")
    if isinstance(name, str):
        scope.asks(entry, {"operation": name}, ("inventory",), {}, observe="an inventory", key="from")
        dialect = entry.definition.get("dialect", entry.definition["executor"])
        if name in scope.gathered.operations and dialect not in scope.gathered.translations.get(name, {}):
            message = f"{name!r} has no translation for {dialect}"
            entry.add("not-translated", message, "translate it, or list the services here", at=("inventory", "from"))
    if inventory.get("only") == "listed" and not inventory.keys() & {"from", "services"}:
        hint = "list services, or give from: an operation that lists them"
        entry.add("missing-key", "nothing is listed, so that nothing can be a target", hint, at=("inventory", "only"))
    services = inventory.get("services")
    for service, one in services.items() if isinstance(services, dict) else ():
        if isinstance(one, Mapping):
            _url(entry, one.get("probe"), ("inventory", "services", service, "probe"))


def _url(entry: Entry, url: Any, at: Trail) -> None:
    if isinstance(url, str) and not _URL.fullmatch(url):
        entry.add("wrong-form", f"{url!r} is no address", "write http://host:port/path", at=at)
