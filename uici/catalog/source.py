"""Reading one YAML file: libyaml's events to plain data, with the place of every key and value. It knows no schema.

Refused here, all at once: duplicate keys, aliases, anchors, tags, YAML 1.1's ``no``/``on``, keys that are not text, numbers
that YAML versions read differently, documents too deep, too big, or more than one, and bad encodings.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import yaml
from yaml import events
from yaml.cyaml import CParser  # type: ignore[attr-defined] # the stubs leave libyaml's parser out

from uici.catalog.problem import Problem
from uici.model.record import dataclass

MOST_BYTES = 16 * 1024 * 1024
DEEPEST = 64
#: What a plain scalar that may be something other than text begins with.
_NOT_TEXT = frozenset("~nNtTfFyYoO+-.0123456789")
Key = str | int
Trail = tuple[Key, ...]

_PLAIN = re.compile(
    r"(?P<null>~|null|Null|NULL|)|(?P<bool>true|True|TRUE|false|False|FALSE)"
    r"|(?P<old>yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)"
    r"|(?P<odd>[-+]?0[0-9_]+|[-+]?0b[01_]+|[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?|[-+]?[0-9]+_[0-9_]*)"
    r"|(?P<int>[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)|(?P<special>[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
)


#: What ends a line to libyaml, whose numbers of lines are told.
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(slots=True)
class _Mark:
    """Of one mapping or list: its own place, and for each key the places of key and value and the value's style."""

    line: int
    column: int
    entries: dict[Key, tuple[int, int, int, int, str]] = field(default_factory=dict)


@dataclass(slots=True)
class Document:
    """One file. ``data`` is plain; ``broken`` are the trails (keys and indexes) at which errors were found; ``digest`` is
    the SHA-256 of its bytes.

    ``readable`` is false where the text is no YAML at all or empty, so that what it would define is not known.
    """

    file: str
    text: str = ""
    digest: str = ""
    data: Any = None
    readable: bool = True
    problems: list[Problem] = field(default_factory=list)
    broken: set[Trail] = field(default_factory=set)
    marks: dict[int, _Mark] = field(default_factory=dict, repr=False)
    _above: set[Trail] = field(default_factory=set, repr=False)
    _lines: list[str] | None = field(default=None, repr=False)

    def add(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        at: Sequence[Key] = (),
        key: bool = False,
        offset: int = 0,
        severity: str = "error",
    ) -> None:
        """Notes a problem at a trail; ``key``: at the key rather than the value; ``offset``: characters into its text."""
        line, column = self.place(at, key=key, offset=offset)
        self.problems.append(Problem(self.file, line, column, code, message, hint, severity))
        if severity == "error":
            self.mark_broken(tuple(at))

    def mark_broken(self, trail: Trail) -> None:
        """Notes that an error was found there."""
        self.broken.add(trail)
        self._above.update(trail[:depth] for depth in range(len(trail) + 1))

    def is_broken(self, trail: Trail) -> bool:
        """Whether an error was found at or below that trail."""
        return trail in self._above

    def place(self, at: Sequence[Key], *, key: bool = False, offset: int = 0) -> tuple[int, int]:
        """Line and column of a trail, or of the deepest part of it that there is."""
        container, found = self.data, self.marks.get(id(self.data))
        line, column = (found.line, found.column) if found else (1, 1)
        for depth, name in enumerate(at):
            entry = found.entries.get(name) if found else None
            if entry is None:
                break
            last = depth == len(at) - 1
            line, column = entry[:2] if last and key else entry[2:4]
            container = container[name]
            if last and not key and offset and isinstance(container, str):
                return self._inside(container, line, column, entry[4], offset)
            found = self.marks.get(id(container)) if isinstance(container, (dict, list)) else None
        return line, column

    def _inside(self, value: str, line: int, column: int, style: str, offset: int) -> tuple[int, int]:
        if self._lines is None:
            self._lines = _BREAK.split(self.text)
        if style in ("|", ">"):
            row = value.count("\n", 0, offset)
            begin = value.rfind("\n", 0, offset) + 1
            end = value.find("\n", begin)
            text = value[begin : end if end >= 0 else len(value)]
            if line + row < len(self._lines):
                source = self._lines[line + row]
                indent = source.find(text)
                if indent >= 0 and style == "|":
                    return line + row + 1, indent + (offset - begin) + 1
            return line, column
        start = column - 1 + (1 if style else 0)
        if self._lines[line - 1].startswith(value, start):
            return line, start + offset + 1
        return line, column


def read(path: Path, name: str | None = None) -> Document:
    """The document of a file; ``name``: how it is called in problems. Never raises for what a file can hold."""
    document = Document(name or str(path))
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        return _unreadable(
            document, "unreadable-file", f"cannot be read: {error.strerror}", "check its name and rights"
        )
    document.digest = hashlib.sha256(raw).hexdigest()
    if len(raw) > MOST_BYTES:
        return _unreadable(
            document,
            "file-too-large",
            f"is larger than {MOST_BYTES // 1024 // 1024} MiB",
            "split it into a folder of the same name",
        )
    return parse(raw, document)


def parse(raw: bytes, document: Document) -> Document:
    """Fills in the document of a file's bytes."""
    try:
        text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        other = "it looks like UTF-16; " if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        return _unreadable(document, "bad-encoding", "is not UTF-8", f"{other}save it as UTF-8", line, column)
    document.text = text
    builder = _Builder(document)
    try:
        builder.build(_events(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ": ".join(part for part in (error.context, error.problem) if part)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return _unreadable(document, "yaml-syntax", f"is not YAML: {said}", _cure(said), line, column)
    except yaml.reader.ReaderError as error:
        at = error.position if isinstance(error.position, int) else 0
        before = raw[:at].decode("utf-8", "ignore")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        said = f"is not YAML: {error.reason}"
        return _unreadable(
            document, "yaml-syntax", said, "remove the character, or write it as \\u… in quotes", line, column
        )
    except _TooDeepError as error:
        hint = f"at most {DEEPEST} levels are read"
        return _unreadable(document, "too-deep", "is nested too deep", hint, error.line, error.column)
    return document


def _unreadable(document: Document, code: str, message: str, hint: str, line: int = 0, column: int = 0) -> Document:
    document.problems.append(Problem(document.file, line, column, code, message, hint))
    document.readable = False
    return document


def _cure(said: str) -> str:
    if "cannot start any token" in said:
        return "put the text in quotes"
    if "mapping values are not allowed" in said:
        return "put text that holds ': ' in quotes, or check the indentation"
    if "expected ','" in said:
        return "between { } or [ ], text that holds one of , [ ] { } stands in quotes; check the brackets, too"
    if "alias" in said or "anchor" in said:
        return "put text that begins with * or & in quotes"
    return "check quotes, brackets and indentation near there"


def _events(text: str) -> Iterator[Any]:
    parser = CParser(text)
    try:
        yield from iter(parser.get_event, None)
    finally:
        parser.dispose()


class _TooDeepError(Exception):
    def __init__(self, line: int, column: int) -> None:
        self.line, self.column = line, column


@dataclass(slots=True)
class _Frame:
    """One open mapping or list. ``name``: under which it lies; ``waiting``: a mapping's key that has no value yet;
    ``is_key``: it stands, wrongly, where a key should."""

    container: Any
    mark: _Mark
    name: Key
    is_list: bool
    waiting: tuple[str, int, int] | None = None
    is_key: bool = False

    @property
    def wants_key(self) -> bool:
        return self.waiting is None and not self.is_list

    @property
    def current(self) -> tuple[Key, ...]:
        """The name of what is being read in it."""
        if self.is_list:
            return (len(self.container),)
        return (self.waiting[0],) if self.waiting else ()


class _Builder:
    """Events to data, without recursion."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.stack: list[_Frame] = []

    def build(self, stream: Iterator[Any]) -> None:
        documents = 0
        for event in stream:
            kind = type(event)
            if kind is events.ScalarEvent:
                self._scalar(event)
            elif kind is events.MappingStartEvent or kind is events.SequenceStartEvent:
                self._start(event, kind is events.SequenceStartEvent)
            elif kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
                ended = self.stack.pop()
                if ended.is_key:
                    self._placeholder(ended.mark.line, ended.mark.column)
            elif kind is events.AliasEvent:
                self._alias(event)
            elif kind is events.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    line, column = self._at(event)
                    self._say("several-documents", "a second document begins", "one file holds one", line, column)
                    return
        if self.document.data is None and not self.document.problems:
            self._say("empty-file", "is empty", "begin it with: version: 1", 1, 1)
            self.document.readable = False  # what it would define is not known: others that name it are not wrong

    def _start(self, event: Any, is_list: bool) -> None:
        stack, (line, column) = self.stack, self._at(event)
        if len(stack) >= DEEPEST:
            raise _TooDeepError(line, column)
        if event.anchor or event.tag:
            self._decorations(event, line, column)
        container: Any = [] if is_list else {}
        above = stack[-1] if stack else None
        is_key = above is not None and above.wants_key
        name = above.current[0] if above is not None and not is_key else ""
        if is_key:
            self._say("key-not-text", "a mapping or list stands as a key", "keys are text", line, column)
        else:
            self._put(above, container, line, column, "")
        frame = _Frame(container, _Mark(line, column), name, is_list, None, is_key)
        self.document.marks[id(container)] = frame.mark
        stack.append(frame)

    def _alias(self, event: Any) -> None:
        line, column = self._at(event)
        self._say("yaml-alias", f"is an alias (*{event.anchor})", "write it out, or use same_as", line, column)
        above = self.stack[-1] if self.stack else None
        if above is not None and above.wants_key:
            self._placeholder(line, column)
        else:
            self._put(above, None, line, column, "")

    def _placeholder(self, line: int, column: int) -> None:
        self.stack[-1].waiting = (f"\0{line}:{column}", line, column)

    def _scalar(self, event: Any) -> None:
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        if event.anchor or event.tag:
            self._decorations(event, line, column)
        style, value = event.style or "", event.value
        frame = self.stack[-1] if self.stack else None
        plain = not style and (not value or value[0] in _NOT_TEXT)
        if frame is not None and not frame.is_list:
            if frame.waiting is None:
                if plain or value in frame.container:
                    self._check_key(frame, value, plain, line, column)
                frame.waiting = (value, line, column)
                return
            key, key_line, key_column = frame.waiting
            if not plain and key not in frame.container:  # as most are
                frame.container[key] = value
                frame.mark.entries[key] = (key_line, key_column, line, column, style)
                frame.waiting = None
                return
        self._put(frame, self._resolve(value, line, column) if plain else value, line, column, style)

    def _check_key(self, frame: _Frame, text: str, plain: bool, line: int, column: int) -> None:
        if plain and _PLAIN.fullmatch(text):
            cure = f'write it in quotes: "{text}"'
            self._say("key-not-text", f"the key {text or 'null'} is not text", cure, line, column)
        if text in frame.container:
            frame.waiting = (text, line, column)
            first = frame.mark.entries[text]
            cure = f"the first is at line {first[0]}; remove one"
            self._say("duplicate-key", f"the key {text!r} stands here twice", cure, line, column)

    def _put(self, frame: _Frame | None, value: Any, line: int, column: int, style: str) -> None:
        if frame is None:
            self.document.data = value
        elif frame.is_list:
            frame.mark.entries[len(frame.container)] = (line, column, line, column, style)
            frame.container.append(value)
        elif frame.waiting is not None:
            key, key_line, key_column = frame.waiting
            if key not in frame.container:
                frame.container[key] = value
                frame.mark.entries[key] = (key_line, key_column, line, column, style)
            frame.waiting = None

    def _resolve(self, text: str, line: int, column: int) -> Any:
        """A plain scalar by YAML 1.2's core schema; what YAML 1.1 reads otherwise is refused."""
        found = _PLAIN.fullmatch(text)
        if not found:
            return text
        kind = found.lastgroup
        if kind == "null":
            return None
        if kind == "bool":
            return text[0] in "tT"
        if kind == "int" and len(text) < 25:
            number = int(text, 0) if text.startswith(("0o", "0x")) else int(text)
            if -(2**63) <= number < 2**63:
                return number
        if kind == "float" and abs(float(text)) != float("inf"):
            return float(text)
        if not self._owners():
            if kind == "old":
                cure = f'write true or false, or "{text}" in quotes'
                self._say("yaml-boolean", f"{text} is a boolean to YAML 1.1 and text to YAML 1.2", cure, line, column)
            else:
                cure = f'write "{text[:40]}" in quotes for the text, or a decimal number'
                said = (
                    "is read differently by YAML versions"
                    if kind == "odd"
                    else "is no number that JSON and 64 bits hold"
                )
                self._say("ambiguous-number", f"{text[:40]} {said}", cure, line, column)
        return text

    def _owners(self) -> bool:
        """Whether this lies inside an ``x-`` key, which is the owner's."""
        return any(frame.waiting and frame.waiting[0].startswith("x-") for frame in self.stack[-1:]) or any(
            isinstance(frame.name, str) and frame.name.startswith("x-") for frame in self.stack
        )

    def _decorations(self, event: Any, line: int, column: int) -> None:
        if event.anchor:
            self._say(
                "yaml-alias", f"is given an anchor (&{event.anchor})", "write it out, or use same_as", line, column
            )
        if event.tag:
            self._say("yaml-tag", f"has a tag ({event.tag})", "remove it; text is written in quotes", line, column)

    def _say(self, code: str, message: str, hint: str, line: int, column: int) -> None:
        self.document.problems.append(Problem(self.document.file, line, column, code, message, hint))
        trail = [frame.name for frame in self.stack[1:]]
        self.document.mark_broken((*trail, *(self.stack[-1].current if self.stack else ())))

    @staticmethod
    def _at(event: Any) -> tuple[int, int]:
        mark = event.start_mark
        return mark.line + 1, mark.column + 1
