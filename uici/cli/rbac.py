"""``uici rbac``: the least rights that an environment's operations need at its engine, in the engine's own form. It asks no
engine and grants nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uici.cli import options, told

if TYPE_CHECKING:
    from uici.model import Environment

Manifests = list[dict[str, Any]]
#: What a rule may be told apart by: kind of role and namespace, then group, resource, name, verb.
Right = tuple[str, ...]
#: A namespace of no cluster, in the place of UICI's own, which only the chart's release knows.
_RELEASE = "(release)"


@told.command(short_help="Print the rights that an environment needs.")
@options.environment("Whose. Else the default one.")
@click.option("--name", default="uici", show_default=True, metavar="NAME", help="Of the roles.")
@click.option(
    "--own", default="", metavar="NAMESPACE", help="The namespace that UICI itself runs in there, if it does."
)
@click.option(
    "--format", "form", type=click.Choice(["manifests", "chart"]), default="manifests", show_default=True,
    help="Roles as they are applied, or the chart's `rbac.rules`.",
)  # fmt: skip
@click.option(
    "--compare",
    metavar="FILE",
    help="Say where the roles or rules in this file are wider or narrower; 2 where they are.",
)
@options.config
@options.as_json
def rbac(
    environment: str | None, name: str, own: str, form: str, compare: str | None, config: str | None, as_json: bool
) -> int:
    """Print the rights that an environment needs: what its operations call, and what UICI itself reads there.

    No more, no less. Exit status of --compare: 0 the same, 2 wider or narrower.
    """
    import yaml

    from uici.cli import show

    manifests = roles(config, environment, name, own)

    def chart() -> dict[str, Any]:
        return of_chart(roles(config, environment, name, _RELEASE))

    if compare is None:
        documents = [chart()] if form == "chart" else manifests
        if as_json:
            show.as_json(documents[0] if form == "chart" else documents)
        else:
            click.echo(yaml.safe_dump_all(documents, sort_keys=False, default_flow_style=None, width=120), nl=False)
        return 0
    differences = compared(manifests, chart, _read(compare))
    if as_json:
        show.as_json(differences)
    for line in () if as_json else differences:
        click.echo(line)
    if not differences and not as_json:
        click.echo(f"{compare}: the very rights that are needed")
    return 2 if differences else 0


def roles(config: str | None, environment: str | None, name: str = "uici", own: str = _RELEASE) -> Manifests:
    """The manifests for an environment of the catalog. ``own``: the namespace of UICI itself; empty: it runs elsewhere.
    Raises ConfigurationError, UsageError."""
    from uici.cli import where
    from uici.executor import load
    from uici.executor.grants import Grants

    catalog = where.loader(config).load()
    named = environment if environment is not None else catalog.default
    if named is None or named not in catalog.environments:
        raise click.UsageError(
            (f"there is no environment {named!r}" if named else "no environment is the default here")
            + f"; name one with -e: {', '.join(catalog.environments)}"
        )
    place: Environment = catalog.environments[named]
    executor = load(place.executor)()
    if not isinstance(executor, Grants):
        raise click.UsageError(f"{named}: {place.executor} knows no roles; who may reach its engine may do all of it")
    try:
        return executor.roles(place, catalog.translator.calls(place), name, own)
    except ValueError as error:
        raise click.UsageError(f"{named}: {error}") from error


def of_chart(manifests: Manifests) -> dict[str, Any]:
    """The same as the chart's ``rbac.rules``: what lies in no namespace, in every one that UICI works in, and in its own.

    Raises UsageError where a call names a namespace itself: the chart knows no rights for one of them alone.
    """
    by_place: dict[str, list[Any]] = {}
    for one in manifests:
        by_place.setdefault(str(one["metadata"].get("namespace", "")), []).extend(one["rules"])
    cluster, own = by_place.pop("", []), by_place.pop(_RELEASE, [])
    places = sorted(by_place)
    for other in places[1:]:
        if _rights(by_place[other]) != _rights(by_place[places[0]]):
            raise click.UsageError(
                f"the rights in the namespaces {places[0]} and {other} are not the same, as a call of the catalog names one "
                "of them itself, and the chart gives the same in each; apply what `uici rbac` prints without --format chart "
                "and set rbac.create to false"
            )
    return {"cluster": cluster, "namespaced": by_place[places[0]] if places else [], "own": own}


def _read(path: str) -> list[Any]:
    import yaml

    from uici.model.errors import ConfigurationError

    try:
        found = [one for one in yaml.safe_load_all(Path(path).read_text(encoding="utf-8")) if one is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    for number, one in enumerate(found, 1):
        chart = isinstance(one, Mapping) and {"cluster", "namespaced"} <= one.keys()
        parts = [one[name] for name in ("cluster", "namespaced", "own") if name in one] if chart else [_rules_of(one)]
        if not all(_are_rules(part) for part in parts):
            raise ConfigurationError(
                f"{path}: document {number} holds no rules as Kubernetes writes them; compare with what `uici rbac` prints"
            )
    return found


def _rules_of(document: Any) -> Any:
    """Of a Role or ClusterRole; none of another kind, which is let be."""
    if not isinstance(document, Mapping) or document.get("kind") not in ("Role", "ClusterRole"):
        return []
    return document.get("rules") if isinstance(document.get("metadata", {}), Mapping) else ""


def _are_rules(rules: Any) -> bool:
    return rules is None or (
        isinstance(rules, list)
        and all(isinstance(rule, Mapping) and all(_are_words(words) for words in rule.values()) for rule in rules)
    )


def _are_words(words: Any) -> bool:
    return words is None or (isinstance(words, list) and all(isinstance(one, str) for one in words))


def compared(manifests: Manifests, of_the_chart: Callable[[], Mapping[str, Any]], given: list[Any]) -> list[str]:
    """A line for each right that the file has and needs not, or needs and has not."""
    if len(given) == 1 and isinstance(given[0], Mapping) and {"cluster", "namespaced"} <= given[0].keys():
        chart = of_the_chart()
        needed = {(place, *one) for place in chart for one in _rights(chart[place])}
        found = {(place, *one) for place in chart for one in _rights(given[0].get(place) or ())}
    else:
        needed, found = _of_manifests(manifests), _of_manifests(given)
    return [f"wider: {' '.join(filter(None, one))}" for one in sorted(found - needed)] + [
        f"narrower: {' '.join(filter(None, one))} is missing" for one in sorted(needed - found)
    ]


def _of_manifests(manifests: Iterable[Any]) -> set[Right]:
    return {
        (one["kind"], str(one.get("metadata", {}).get("namespace", "")), *right)
        for one in manifests
        if isinstance(one, Mapping) and one.get("kind") in ("Role", "ClusterRole")
        for right in _rights(one.get("rules") or ())
    }


def _rights(rules: Iterable[Mapping[str, Any]]) -> set[Right]:
    return {
        (group or ("core" if "resources" in rule else ""), what, name, verb)
        for rule in rules
        for group in rule.get("apiGroups") or [""]
        for what in [*(rule.get("resources") or ()), *(rule.get("nonResourceURLs") or ())]
        for name in rule.get("resourceNames") or [""]
        for verb in rule.get("verbs") or ()
    }
