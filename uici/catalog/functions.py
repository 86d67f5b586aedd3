"""What CEL has here beside its standard: extensions, ``quantity``, ``logPatterns`` and ``sum``. Pure functions of their input."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([eE][+-]?\d+)|(Ki|Mi|Gi|Ti|Pi|Ei|m|k|M|G|T|P|E))?", re.ASCII)
_SUFFIXES = {
    "m": Decimal("0.001"),
    **{name: Decimal(1000) ** power for power, name in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{name: Decimal(1024) ** power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}

#: Named patterns of what goes wrong, in the order in which they are tried; a line counts for the first that fits.
PATTERNS: tuple[tuple[str, str], ...] = (
    (
        "out_of_memory",
        r"(?i)out of memory|cannot allocate memory|oom[-_ ]?kill|outofmemoryerror|std::bad_alloc|heap out of memory",
    ),
    ("disk_full", r"(?i)no space left on device|disk (?:is )?full|enospc|disk quota exceeded"),
    ("port_in_use", r"(?i)address already in use|eaddrinuse|port (?:\d+ )?is already (?:in use|allocated)"),
    (
        "bad_release",
        r"(?i)modulenotfounderror|importerror|cannot find module|classnotfoundexception|nosuchmethod(?:error|exception)"
        r"|undefined symbol|exec format error|executable file not found|symbol lookup error|unknown (?:flag|option)"
        r"|unrecognized (?:arguments|option)|no such table|pending migrations?|unsupported (?:schema|config) version",
    ),
    (
        "connection_refused",
        r"(?i)connection refused|econnrefused|could not connect to|no route to host|connect: timed out",
    ),
    ("permission_denied", r"(?i)permission denied|eacces|operation not permitted|access is denied"),
    (
        "panic",
        r"(?i)\bpanic(?:ked)?\b|segmentation fault|sigsegv|core dumped|fatal (?:error|exception)|traceback \(most recent",
    ),
)

#: What an expression looks like that needs an extension.
_SIGNS = {
    "bindings": re.compile(r"\bcel\s*\."),
    "encoders": re.compile(r"\bbase64\s*\."),
    "math": re.compile(r"\bmath\s*\."),
    "optional": re.compile(
        r"[.\[{,]\s*\?|\boptional\b|\b(?:or|orValue|hasValue|optMap|optFlatMap|first|last|unwrap\w*)\b"
    ),
    "strings": re.compile(
        r"\bstrings\b|\b(?:charAt|format|indexOf|join|lastIndexOf|lowerAscii|quote|replace|reverse|split|substring|trim"
        r"|upperAscii)\b"
    ),
}

MOST_LINES = 2_000
LONGEST_LINE = 512


def quantity(text: str) -> int:
    """Bytes (or units) of a Kubernetes quantity, rounded up: ``128Mi``, ``1.5G``, ``100``; raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise ValueError(f"{text[:64]!r} is not a quantity such as 128Mi or 1.5G")
    number = Decimal(found[1] + (found[2] or ""))
    if number.adjusted() > 20:
        raise ValueError(f"{text[:64]!r} is more than 64 bits can hold")
    value = math.ceil(number * _SUFFIXES[found[3]] if found[3] else number)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{text[:64]!r} is more than 64 bits can hold")
    return value


def total(numbers: list[Any]) -> int:
    """The sum of a list of integers; raises ValueError where it is more than 64 bits can hold, or no integer is among them."""
    if not all(type(one) is int for one in numbers):
        raise ValueError("sum() adds integers, and there is something else in the list")
    value: int = sum(numbers)
    if not -(2**63) <= value < 2**63:
        raise ValueError("the sum is more than 64 bits can hold")
    return value


def log_patterns(lines: list[Any]) -> list[dict[str, Any]]:
    """What lines of a log say, most frequent first: ``{name, template, count}``.

    ``name``: of a named pattern (``PATTERNS``), or empty; ``template``: the common text of such lines. At most 2,000 lines
    of 512 characters are looked at, the newest (last) ones.
    """
    if not lines:
        return []  # without drain3, which takes a while to import
    from drain3 import TemplateMiner
    from drain3.template_miner_config import TemplateMinerConfig

    config = TemplateMinerConfig()
    config.profiling_enabled = False
    config.drain_max_clusters = 200
    miner = TemplateMiner(config=config)
    named = [(name, re.compile(pattern)) for name, pattern in PATTERNS]
    counts: dict[tuple[str, int], int] = {}
    for line in lines[-MOST_LINES:]:
        text = str(line)[:LONGEST_LINE].strip()
        if text:
            name = next((name for name, pattern in named if pattern.search(text)), "")
            key = (name, int(miner.add_log_message(text)["cluster_id"]))
            counts[key] = counts.get(key, 0) + 1
    templates = {cluster.cluster_id: cluster.get_template() for cluster in miner.drain.clusters}
    ordered = sorted(counts.items(), key=lambda one: (not one[0][0], -one[1], one[0]))
    return [
        {"name": name, "template": templates.get(cluster, ""), "count": count}
        for (name, cluster), count in ordered[:100]
    ]


@lru_cache(maxsize=8192)
def needed(source: str) -> frozenset[str]:
    """The extensions that an expression may use; each costs milliseconds and megabytes, and most expressions need none."""
    return frozenset(name for name, sign in _SIGNS.items() if sign.search(source))


@cache
def extension(name: str) -> Any:
    """One extension of CEL, imported when it is first needed."""
    module = import_module(f"cel_expr_python.ext.ext_{name}")
    return getattr(module, f"Ext{name.capitalize()}")()


@cache
def cel() -> Any:
    """CEL's module, imported here, so that nothing pays that does not ask."""
    return import_module("cel_expr_python.cel")


@cache
def added() -> tuple[Any, ...]:
    """Declarations of ``quantity``, ``logPatterns`` and ``sum``, which is called as Kubernetes' CEL library calls it."""
    kinds, overload, declare = cel().Type, cel().Overload, cel().FunctionDecl
    patterns = kinds.List(kinds.Map(kinds.STRING, kinds.DYN))
    lines = kinds.List(kinds.STRING)
    return (
        declare(
            "quantity",
            [overload("quantity_string", return_type=kinds.INT, parameters=[kinds.STRING], impl=quantity)],
        ),
        declare(
            "logPatterns",
            [overload("log_patterns_list", return_type=patterns, parameters=[lines], impl=log_patterns)],
        ),
        declare(
            "sum",
            [
                overload(
                    "list_int_sum",
                    return_type=kinds.INT,
                    parameters=[kinds.List(kinds.INT)],
                    is_member=True,
                    impl=total,
                )
            ],
        ),
    )
