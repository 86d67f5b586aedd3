"""Redaction: what an engine prints loses its secrets once, here, before anything is journaled, logged or shown.

Two ways: the values that the settings' references gave, wherever they appear; and fields whose name says that they hold
a secret (``DB_PASSWORD=…`` in a container's environment, ``{name: DB_PASSWORD, value: …}`` in a Pod's), in JSON that is
kept as a text too. Must not be the only protection: reads that hand out
secrets are ``destroy``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

import orjson

from uici.model import Resource

HIDDEN = "[redacted]"

_NAME = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credentials?|authorization|cookie|dsn)"
    r"(\]\.value)?$"  # the place of such a field in a list of them: `env[DB_PASSWORD].value`
)
#: It begins where a name begins, and nowhere within: a line like ``a-a-a-…`` would be searched once for each of its dashes.
_ASSIGNMENT = re.compile(
    r"(?i)(?<![a-z0-9_.-])([a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credential)(?:\]\.value)?)"
    r"(\s*[=:]\s*)(\"(?:[^\"\\]|\\.)*(?:\"|\Z)|'[^']*'|[^\s,;&\"']+)"
)
#: An argument of a command line whose value is the next word.
_FLAG_NAME = r"--?[a-z0-9_.-]*(?:password|passwd|passphrase|requirepass|masterauth|secret|token|api[-_]?key|access[-_]?key|private[-_]?key)"
_FLAG = re.compile(rf"(?i)\A{_FLAG_NAME}\Z")
_FLAGS = re.compile(rf"(?i)(?<![a-z0-9_.-])({_FLAG_NAME})(\s+)(?!-)(\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)")
#: The same in JSON that cannot be read as such: cut off, or in the middle of a line. Quotes may be escaped, once or more.
_IN_JSON = re.compile(
    r"(?i)((?:pass(?:word|wd|phrase)?|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credentials?|authorization"
    r"|cookie|dsn)(?:\\*[\"']\s*:\s*|\\*[\"']\s*,\s*\\*[\"']value\\*[\"']\s*:\s*))"
    r"(\\*)([\"'])(?:(?!\2\3)(?:\\.|[^\\]))*(?:\2\3|\Z)",
    re.DOTALL,
)
#: Of a pair, what it is called and what it is worth (a variable, a label, a JSON Patch, a line of a preview).
_CALLED, _WORTH = ("name", "key", "path", "Name", "Key"), ("value", "before", "after", "Value")
#: What a Resource is called is no secret, whatever else is the same text; and by its key locks, brakes and a restart find
#: it again. Its labels are hidden like everything else.
_RESOURCE = frozenset(field.name for field in fields(Resource))
#: One of these is in every text that ``_ASSIGNMENT`` finds something in; asking for them first costs a tenth of it.
_SIGNS = ("passw", "passphrase", "requirepass", "masterauth", "secret", "token", "key", "credential")
_SIGNS_IN_JSON = ("pass", "secret", "token", "key", "credential", "authorization", "cookie", "dsn")
#: Headers that a service prints; how else one logs in than by ``_BEARER``'s two, and what keeps somebody logged in.
_HEADER = re.compile(
    r"(?i)\b(authorization[\"']?\s*[:=]\s*[\"']?(?!bearer\b|basic\b|\[redacted)(?:[a-z][a-z0-9-]{0,30}\s+)?)(?=\S*\d)([^\s,;\"']{6,})"
    r"|\b((?:set-)?cookie\s*:\s*)([^\r\n\"']+)"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9+/_.~=-]{8,}")
_URL_LOGIN = re.compile(r"(?i)([a-z][a-z0-9+.-]{0,30}://)[^/\s:@]*:[^/\s]+@")  # to the last @ before a slash
#: The rest of a private key that is printed line by line: alone in its line, or behind what a logger puts before it.
_KEY_BODY = re.compile(
    r"\A[A-Za-z0-9+/]*={0,2}\s*\Z|(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{16,}={0,2}\W*\Z|(?:Proc-Type|DEK-Info):"
)
#: Lines of the longest private key.
_KEY_LINES = 400
#: Characters of a line of a known value of several lines that is hidden by itself.
_OWN_LINE = 16
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


class Redactor:
    """``values``: secrets that are known by value. Inside of a text those under 4 characters are left alone, they would
    blank ordinary words; a text that is nothing else is hidden all the same."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        given = frozenset(values) - {""}
        lines = {line for value in given if "\n" in value for line in value.splitlines() if len(line) >= _OWN_LINE}
        self._values = given | lines
        known = sorted((value for value in self._values if len(value) >= 4), key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(value) for value in known)) if known else None

    def hiding(self, values: Iterable[str]) -> Redactor:
        """One that hides these too; the very same where that is no more."""
        more = self._values | (frozenset(values) - {""})
        return self if more == self._values else Redactor(more)

    def text(self, text: str) -> str:
        if text in self._values:
            return HIDDEN
        if self._known:
            text = self._known.sub(HIDDEN, text)
        if ":" in text and ("{" in text or "[" in text):
            text = self._json(text)
        if "=" in text or ":" in text or " " in text:
            if "://" in text:
                text = _URL_LOGIN.sub(rf"\1{HIDDEN}@", text)
            if "PRIVATE KEY" in text:
                text = _PEM.sub(HIDDEN, text)
            folded = text.casefold()  # lower() would leave letters that the expressions take for s and k
            if "bearer" in folded or "basic" in folded:
                text = _BEARER.sub(rf"\1 {HIDDEN}", text)
            if "authorization" in folded or "cookie" in folded:
                text = _HEADER.sub(lambda found: f"{found[1] or found[3]}{HIDDEN}", text)
            if any(sign in folded for sign in _SIGNS):
                text = _ASSIGNMENT.sub(rf"\1\2{HIDDEN}", text)
                if "-" in text:
                    text = _FLAGS.sub(rf"\1\2{HIDDEN}", text)
        return text

    def _json(self, text: str) -> str:
        """A text that is JSON, or holds some (``kubectl.kubernetes.io/last-applied-configuration``)."""
        folded = text.casefold()
        if not any(sign in folded for sign in _SIGNS_IN_JSON):
            return text
        if text.lstrip()[:1] in ("{", "["):
            try:
                held = orjson.loads(text)
                clean = self.data(held)
                return text if clean is held else orjson.dumps(clean).decode() + ("\n" if text.endswith("\n") else "")
            except RecursionError:
                return HIDDEN  # nobody writes so deep but to get something past this
            except (orjson.JSONDecodeError, orjson.JSONEncodeError):
                pass  # it only begins like JSON
        return _IN_JSON.sub(rf"\1\2\3{HIDDEN}\2\3", text)

    def data(self, data: Any) -> Any:
        """The same data without secrets; the very same object where nothing was hidden in it."""
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, dict):
            if data.keys() == _RESOURCE:
                labels = self.data(data["labels"])
                return data if labels is data["labels"] else {**data, "labels": labels}
            changed: dict[Any, Any] = {}
            named = any(_is_secret(data[one]) for one in _CALLED if one in data)
            for key, value in data.items():
                secret = _is_secret(key) or (named and key in _WORTH)
                clean = HIDDEN if value and isinstance(value, str) and secret else self.data(value)
                if clean is not value:
                    changed[key] = clean
            return {**data, **changed} if changed else data
        if isinstance(data, list | tuple):
            items = [self.data(item) for item in _without_flags(_without_key_lines(data))]
            return data if all(new is old for new, old in zip(items, data, strict=True)) else items
        if self._values and isinstance(data, int | float) and not isinstance(data, bool) and str(data) in self._values:
            return HIDDEN
        return data


class KeyLines:
    """Tells, of one stream, the lines of a private key that is printed line by line."""

    def __init__(self) -> None:
        self._left = 0

    def holds(self, line: str) -> bool:
        """Whether a line lies within one, to its end; the first line is for ``Redactor.text``."""
        if "PRIVATE KEY-----" in line:
            inside, begins, ends = self._left > 0, line.rfind("-----BEGIN "), line.rfind("-----END ")
            self._left = _KEY_LINES if begins > ends else 0
            return inside or begins < 0 <= ends
        self._left = max(0, self._left - 1)
        return self._left > 0 and _KEY_BODY.search(line) is not None


def _without_key_lines(data: Sequence[Any]) -> Sequence[Any]:
    """Lines, without those of a private key; the very same where none is among them."""
    if not any(isinstance(one, str) and "PRIVATE KEY-----" in one and "\n" not in one for one in data):
        return data
    found, key = list(data), KeyLines()
    for at, line in enumerate(data):
        if not isinstance(line, str):
            continue
        found[at] = _PEM.sub(HIDDEN, line)
        if key.holds(line):
            found[at] = HIDDEN
            back = at - 1  # of one whose beginning was cut off
            while (
                back >= 0 and isinstance(found[back], str) and found[back] != HIDDEN and _KEY_BODY.search(found[back])
            ):
                found[back] = HIDDEN
                back -= 1
    return found


def _without_flags(data: Sequence[Any]) -> Sequence[Any]:
    """A command's words, without the value after each argument that says that it is a secret."""
    flags = [at for at, one in enumerate(data[:-1]) if isinstance(one, str) and one[:1] == "-" and _FLAG.match(one)]
    if not flags:
        return data
    found = list(data)
    for at in flags:
        value = data[at + 1]
        if isinstance(value, str) and value and not value.startswith("-"):
            found[at + 1] = HIDDEN
    return found


def without_keys(data: Any) -> Any:
    """What was printed, before anything is made of its lines, without private keys: a text, lines, or several of them."""
    if isinstance(data, str):
        return "\n".join(_without_key_lines(data.split("\n"))) if "PRIVATE KEY-----" in data else data
    if isinstance(data, list) and data and isinstance(data[0], str | list):
        return _without_key_lines([without_keys(one) for one in data])
    if isinstance(data, Mapping) and isinstance(data.get("lines"), list):
        return {**data, "lines": without_keys(data["lines"])}
    return data


#: Characters of the longest text that is taken for a name.
_LONGEST = 512


@lru_cache(maxsize=4096)
def _says_secret(key: str) -> bool:
    """Of a field, by its name: there are few, and each is met thousands of times."""
    return _NAME.search(key) is not None


def _is_secret(key: Any) -> bool:
    return isinstance(key, str) and len(key) <= _LONGEST and _says_secret(key)


def holds_hidden(data: Any) -> bool:
    """Whether something in the data was hidden: it is no longer what the engine said."""
    if isinstance(data, str):
        return HIDDEN in data
    if isinstance(data, Mapping):
        return any(holds_hidden(value) for value in data.values())
    if isinstance(data, list | tuple):
        return any(holds_hidden(item) for item in data)
    return False
