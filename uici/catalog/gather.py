"""A configuration folder as entries: reads the files and what they include, and says which entry holds. No cross-checks.

An own entry replaces an included one of the same name whole; of two includes the first wins. In lists own entries come
first, and those without a name add up. A translation is an entry for each dialect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from uici.catalog import folder as folders
from uici.catalog import schemas
from uici.catalog.conformance import conform
from uici.catalog.problem import Problem, did_you_mean
from uici.catalog.source import Document, Trail, read
from uici.executor import points
from uici.model import ConfigurationError
from uici.model.record import dataclass

GROUP = "uici.catalogs"
REQUIRED = ("environments", "operations", "command_translations")
_POLICIES = ("protected", "blast_radius", "brakes", "rules")


@dataclass(slots=True)
class Entry:
    """One named thing of the catalog and where it stands. ``source``: empty for an own one, else the name of the include
    that it stands in."""

    name: str
    definition: Any
    document: Document
    trail: Trail
    source: str = ""

    @property
    def broken(self) -> bool:
        return self.document.is_broken(self.trail)

    def add(self, code: str, message: str, hint: str = "", *, at: Trail = (), **more: Any) -> None:
        """Notes a problem at a trail within the entry."""
        self.document.add(code, message, hint, at=(*self.trail, *at), **more)


@dataclass(slots=True)
class Gathered:
    """Everything that a folder and its includes say. ``unreadable``: some file could not be read at all."""

    path: Path
    documents: list[Document] = field(default_factory=list)
    read: list[tuple[str, str, list[Document]]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    platform: dict[str, Entry] = field(default_factory=dict)
    default: Entry | None = None
    environments: dict[str, Entry] = field(default_factory=dict)
    operations: dict[str, Entry] = field(default_factory=dict)
    translations: dict[str, dict[str, Entry]] = field(default_factory=dict)
    runbooks: list[Entry] = field(default_factory=list)
    policies: dict[str, list[Entry]] = field(default_factory=lambda: {name: [] for name in _POLICIES})
    replaced: list[str] = field(default_factory=list)

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Each folder and section that was looked at, also where there was no file."""
        return [(place, section) for place, section, _ in self.read]

    @property
    def texts(self) -> str:
        """A digest of what exactly was read, comments and all: ``folder.digest`` of ``sections`` at that moment."""
        return folders.digest_of(
            (place, section, [(one.file, one.digest) for one in found]) for place, section, found in self.read
        )

    def definitions(self) -> dict[str, Any]:
        """What the entries say, as plain data that ``built.build`` takes; of entries that were found right."""
        return {
            "platform": {name: entry.definition for name, entry in self.platform.items()},
            "environments": {name: entry.definition for name, entry in self.environments.items()},
            "operations": {name: entry.definition for name, entry in self.operations.items()},
            "translations": {
                name: {dialect: resolved(of, dialect) for dialect in of} for name, of in self.translations.items()
            },
            "runbooks": [entry.definition for entry in self.runbooks],
            "policies": {name: [entry.definition for entry in entries] for name, entries in self.policies.items()},
            "default": self.default.definition if self.default else None,
        }

    @property
    def unreadable(self) -> bool:
        return any(not document.readable for document in self.documents) or any(
            problem.code == "missing-file" for problem in self.problems
        )

    def found(self) -> list[Problem]:
        """Every problem noted so far, in order of file and line."""
        return sorted({*self.problems, *(one for document in self.documents for one in document.problems)})


@dataclass(slots=True)
class _File:
    document: Document
    source: str


def resolved(of: Mapping[str, Entry], dialect: str) -> Any:
    """A translation's definition with ``same_as`` followed; None where that leads in a circle or nowhere."""
    seen: set[str] = set()
    while dialect in of and dialect not in seen:
        seen.add(dialect)
        definition = of[dialect].definition
        if not isinstance(definition, dict) or "same_as" not in definition:
            return definition
        dialect = definition["same_as"]
    return None


def gather(path: Path) -> Gathered:
    """Reads a folder; raises ConfigurationError only where there is no such folder."""
    if path.is_file():
        raise ConfigurationError(f"{path}: is a file; give the folder that it lies in: {path.parent}")
    if not path.is_dir():
        raise ConfigurationError(f"{path}: there is no such folder; give --config the folder that `uici init` wrote")
    gathered = Gathered(path)
    _strangers(gathered)
    for name in schemas.FILES:
        read_before = len(gathered.documents)
        files = list(_files(gathered, path, name, "", set()))
        there = len(gathered.documents) > read_before
        if name == "policies" and not there:
            files = list(_files(gathered, starter(), name, "starter", set()))
        elif name in REQUIRED and not there:
            gathered.problems.append(
                Problem(str(path / f"{name}.yml"), 0, 0, "missing-file", "does not exist", _missing(path, name))
            )
        _take(gathered, name, files)
    return gathered


def starter() -> Path:
    """The folder of the starter catalog."""
    import uici_infrastructure

    return Path(next(iter(uici_infrastructure.__path__))) / "config"


def catalogs(*wanted: Any) -> dict[str, Path]:
    """What ``include`` may name: the starter, and each installed plugin of the group ``uici.catalogs``, without importing
    any; the plugin's package (or the folder that its ``package:folder`` names) holds the files. ``wanted``: names that
    may have been installed just now."""
    found = {"starter": starter()}
    from importlib.util import find_spec

    new = next((name for name in wanted if isinstance(name, str) and name not in found), None)
    for point in points(GROUP, new):
        spec = find_spec(point.module)
        places = list(spec.submodule_search_locations or ()) if spec else []
        if places:
            found[point.name] = Path(places[0], *point.attr.split(".")) if point.attr else Path(places[0])
    return found


def _missing(path: Path, name: str) -> str:
    others = [one.name for one in sorted(path.iterdir()) if one.suffix in folders.SUFFIXES or one.is_dir()]
    close = did_you_mean(f"{name}.yml", others)
    return close if close.startswith("did") else "write it, with `version: 1` and `include: [starter]`"


def _strangers(gathered: Gathered) -> None:
    for found in sorted(gathered.path.iterdir()):
        section = found.stem if found.suffix in folders.SUFFIXES and found.is_file() else found.name
        if section in schemas.FILES or not (section != found.name or _holds_files(found)):
            continue
        hint = did_you_mean(section, schemas.FILES)
        if section == "agents":
            hint = "this version plans with runbooks alone"
        what = "file" if section != found.name else "folder"
        message = f"is not read: it is no {what} of the catalog"
        gathered.problems.append(Problem(str(found), 0, 0, "unknown-file", message, hint, "warning"))


def _holds_files(folder: Path) -> bool:
    """Not of a hidden one: a ConfigMap's files lie in such folders beside the links to them."""
    if folder.name.startswith(".") or not folder.is_dir():
        return False
    try:
        return any(one.suffix in folders.SUFFIXES and one.is_file() for one in folder.iterdir())
    except OSError:
        return False  # one that may not be looked into is none of ours


#: Where a key that begins with ``x-`` may be, be it written with an escape: most files have none.
_OWNERS = re.compile(r"(?<![\w-])x-|\\[xuU]")


def _files(gathered: Gathered, folder: Path, name: str, source: str, seen: set[Path]) -> Iterator[_File]:
    """The documents of one section: own ones first, then what they include; each folder once."""
    if folder in seen:
        return
    seen.add(folder)
    found: list[Document] = []
    gathered.read.append((str(folder), name, found))
    included: list[tuple[str, Path]] = []
    for path in folders.files(folder, name):
        document = read(path)
        gathered.documents.append(document)
        found.append(document)
        if not document.readable:
            continue
        schema = schemas.schema(name)
        if _OWNERS.search(document.text):
            schemas.without_owners(document.data, schema)
        if document.data is not None:
            conform(document, schema, document.data)
        if not isinstance(document.data, dict):
            continue
        yield _File(document, source)
        included += _included(document)
    for other, place in included:
        yield from _files(gathered, place, name, other, seen)


def _included(document: Document) -> Iterator[tuple[str, Path]]:
    names = document.data.get("include")
    if not isinstance(names, list) or document.is_broken(("include",)):
        return
    known = catalogs(*names)
    for index, name in enumerate(names):
        if name in known:
            yield name, known[name]
        else:
            document.add(
                "unknown-include", f"no catalog {name!r} is installed", did_you_mean(name, known), at=("include", index)
            )


def _take(gathered: Gathered, name: str, files: list[_File]) -> None:
    for file in files:
        data = file.document.data
        if name == "platform":
            for key in schemas.PLATFORM:
                if key in data:
                    _keep(
                        gathered,
                        gathered.platform,
                        "platform",
                        Entry(key, data[key], file.document, (key,), file.source),
                    )
        elif name == "environments":
            if "default" in data:
                default = Entry("default", data["default"], file.document, ("default",), file.source)
                if gathered.default is None:
                    gathered.default = default
                elif gathered.default.source == default.source:
                    _collision(gathered, "the key", gathered.default, default)
            for entry in _named(file, "environments"):
                _keep(gathered, gathered.environments, "environment", entry)
        elif name == "operations":
            for entry in _named(file, "operations"):
                _keep(gathered, gathered.operations, "operation", entry)
        elif name == "command_translations":
            for entry in _named(file, "translations"):
                if isinstance(entry.definition, dict):
                    of = gathered.translations.setdefault(entry.name, {})
                    for dialect, definition in entry.definition.items():
                        one = Entry(dialect, definition, file.document, (*entry.trail, dialect), file.source)
                        _keep(gathered, of, f"translation {entry.name} for", one)
        elif name == "runbooks":
            _add(gathered, gathered.runbooks, "runbook", _listed(file, "runbooks"))
        else:
            for section in _POLICIES:
                what = f"policy {section}" if section in ("brakes", "rules") else ""
                _add(gathered, gathered.policies[section], what, _listed(file, section))
    if name == "policies" and files and not any(file.source or "include" in file.document.data for file in files):
        for section in ("protected", "blast_radius", "brakes"):
            if not any(section in file.document.data for file in files):
                cure = f"write {section}: [] for none, or include: [starter]"
                files[0].document.add("missing-key", f"stands alone and does not say {section!r}", cure)


def _named(file: _File, section: str) -> Iterator[Entry]:
    found = file.document.data.get(section)
    if isinstance(found, dict):
        for name, definition in found.items():
            yield Entry(name, definition, file.document, (section, name), file.source)


def _listed(file: _File, section: str) -> Iterator[Entry]:
    found = file.document.data.get(section)
    if isinstance(found, list):
        for index, definition in enumerate(found):
            name = definition.get("name", "") if isinstance(definition, dict) else ""
            yield Entry(name if isinstance(name, str) else "", definition, file.document, (section, index), file.source)


def _keep(gathered: Gathered, kept: dict[str, Entry], what: str, entry: Entry) -> None:
    first = kept.get(entry.name)
    if first is None:
        kept[entry.name] = entry
    else:
        _collision(gathered, what, first, entry)


def _add(gathered: Gathered, kept: list[Entry], what: str, entries: Iterator[Entry]) -> None:
    """``what`` empty: entries of this list have no names of their own, and add up."""
    for entry in entries:
        first = next((one for one in kept if one.name == entry.name), None) if what and entry.name else None
        if first is None:
            kept.append(entry)
        else:
            _collision(gathered, what, first, entry)


def _collision(gathered: Gathered, what: str, first: Entry, entry: Entry) -> None:
    if entry.source and entry.source != first.source:
        by = first.source or "its own"
        gathered.replaced.append(f"{what} {entry.name} of {entry.source} by {by}")
    else:
        line = first.document.place(first.trail, key=True)[0]
        where = f"{first.document.file}:{line}"
        entry.add(
            "duplicate-name",
            f"{what} {entry.name!r} is defined twice",
            f"the first is at {where}; remove one",
            key=True,
        )
