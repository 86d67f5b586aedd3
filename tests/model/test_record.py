"""``record.dataclass`` behaves as ``dataclasses.dataclass`` does, seen from outside."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from uici.model import record


def classes(dataclass: Callable[..., Any]) -> dict[str, Any]:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Frozen:
        name: str
        labels: dict[str, int] = field(default_factory=dict)
        size: float = 1.0
        note: str = field(default="", repr=False, compare=False)

    @dataclass(frozen=True, slots=True)
    class Single:
        name: str

    @dataclass(slots=True)
    class Open:
        name: str
        count: int = field(default=3, init=False)
        seen: list[int] = field(default_factory=list, init=False)
        size: int = 1

        def __post_init__(self) -> None:
            self.size += 1

    @dataclass(frozen=True, slots=True, eq=False)
    class Same:
        name: str

    @dataclass(frozen=True, slots=True)
    class Own:
        name: str

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    @dataclass(frozen=True, slots=True)
    class Empty:
        pass

    @dataclass(frozen=True, slots=True)
    class More(Single):
        size: int = 0

    return {one.__name__: one for one in (Frozen, Single, Open, Same, Own, Empty, More)}


OURS, THEIRS = classes(record.dataclass), classes(dataclasses.dataclass)

#: What is done with the classes; an answer or an error must be the same for both.
CASES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "built by name": lambda of: repr(of["Frozen"](name="a", labels={"b": 1})),
    "by place": lambda of: repr(of["Single"]("a")),
    "by place where names are wanted": lambda of: of["Frozen"]("a"),
    "nothing given": lambda of: of["Frozen"](),
    "an unknown name": lambda of: of["Single"](name="a", more=1),
    "twice": lambda of: [repr(of["Single"](one)) for one in "ab"],
    "defaults are not shared": lambda of: of["Frozen"](name="a").labels is of["Frozen"](name="a").labels,
    "after init": lambda of: repr(of["Open"]("a", size=4)),
    "what init does not take": lambda of: of["Open"]("a", count=4),
    "equal": lambda of: of["Frozen"](name="a", note="b") == of["Frozen"](name="a", note="c"),
    "unequal": lambda of: of["Frozen"](name="a") == of["Frozen"](name="b"),
    "of another class": lambda of: of["Single"]("a") == of["Same"]("a"),
    "of a subclass": lambda of: of["Single"]("a") == of["More"]("a"),
    "the same only": lambda of: of["Same"]("a") == of["Same"]("a"),
    "hash": lambda of: hash(of["Single"]("a")) == hash(("a",)) == hash(of["Single"]("a")),
    "hash of what cannot be": lambda of: hash(of["Frozen"](name="a")),
    "hash of what changes": lambda of: hash(of["Open"]("a")),
    "own methods": lambda of: (repr(of["Own"]("a")), of["Own"]("a") == 3, hash(of["Own"]("a"))),
    "empty": lambda of: (repr(of["Empty"]()), of["Empty"]() == of["Empty"](), hash(of["Empty"]())),
    "a subclass": lambda of: repr(of["More"]("a", 4)),
    "set": lambda of: setattr(of["Single"]("a"), "name", "b"),
    "delete": lambda of: delattr(of["Single"]("a"), "name"),
    "set what is open": lambda of: setattr(of["Open"]("a"), "name", "b"),
    "copied": lambda of: (copy.copy(of["More"]("a", 4)), copy.deepcopy(of["Frozen"](name="a", labels={"b": 1}))),
    "replaced": lambda of: dataclasses.replace(of["Frozen"](name="a"), size=2.0),
    "as a dict": lambda of: dataclasses.asdict(of["Frozen"](name="a")),
    "fields": lambda of: [(one.name, one.type, one.kw_only) for one in dataclasses.fields(of["Frozen"])],
    "matched": lambda of: of["More"].__match_args__,
    "no dict": lambda of: hasattr(of["Single"]("a"), "__dict__"),
}


def outcome(case: Callable[[dict[str, Any]], Any], of: dict[str, Any]) -> str:
    try:
        return repr(case(of))
    except Exception as error:  # noqa: BLE001 - whatever the original raises
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("case", CASES)
def test_as_the_original(case: str) -> None:
    assert outcome(CASES[case], OURS) == outcome(CASES[case], THEIRS)


@record.dataclass(frozen=True, slots=True)
class Importable:
    name: str


def test_pickled() -> None:
    assert pickle.loads(pickle.dumps(Importable("a"))) == Importable("a")  # noqa: S301 - our own


def test_nothing_more_can_be_set() -> None:
    """Where ``dataclasses`` of Python 3.11 raises an unrelated TypeError."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Importable("a").more = 1  # type: ignore[attr-defined]
