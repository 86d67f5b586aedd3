"""``dataclass`` as ``dataclasses`` has it, for classes with slots, at a tenth of what it takes to define one.

A process that starts defines a hundred of them and uses a third. ``dataclasses`` compiles six methods for each, here only
``__init__`` is compiled, when it is first called (``docs/decisions/0019``). Type checkers see ``dataclasses.dataclass``
itself, and ``fields``, ``replace`` and ``asdict`` work. It must not mean anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses
    import reprlib
    from operator import attrgetter

    def dataclass(*, frozen=False, slots, kw_only=False, eq=True):
        """``dataclasses.dataclass(slots=True, …)``; what a class defines itself stays."""
        if not slots:
            raise TypeError("a record has slots")

        def made(cls):
            own = frozenset(cls.__dict__)
            cls.__doc__ = cls.__doc__ or cls.__name__  # or a signature would be made for it
            cls = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(cls)
            methods = {"__init__": _first_init(cls), "__repr__": _repr(cls)}
            if eq:
                values = _values([one.name for one in dataclasses.fields(cls) if one.compare])
                methods |= {"__eq__": _eq(values), "__hash__": _hash(cls) if frozen else None}
            if frozen:
                methods |= {"__setattr__": _set, "__delattr__": _delete, "__setstate__": _restore}
            for name, method in methods.items():
                if name not in own:
                    if method is not None:
                        method.__qualname__ = f"{cls.__qualname__}.{name}"
                    setattr(cls, name, method)
            return cls

        return made

    def _first_init(cls):
        def __init__(self, *given, **named):  # noqa: N807
            made = cls.__init__ = _init(cls)
            made(self, *given, **named)

        return __init__

    def _init(cls):
        """Fields are set by their slots, past ``__setattr__``."""
        names = {"MISSING": dataclasses.MISSING}
        taken, named, body = [], [], []
        for one in dataclasses.fields(cls):
            name = one.name
            names[f"set_{name}"] = cls.__dict__[name].__set__ if name in cls.__dict__ else getattr(cls, name).__set__
            names[f"default_{name}"] = one.default
            names[f"make_{name}"] = one.default_factory
            value = name
            if one.default_factory is not dataclasses.MISSING:
                value = f"make_{name}() if {name} is MISSING else {name}" if one.init else f"make_{name}()"
            elif not one.init:
                value = f"default_{name}"
            if one.init:
                needed = one.default is one.default_factory  # both missing
                (named if one.kw_only else taken).append(name if needed else f"{name}=default_{name}")
            elif one.default is one.default_factory:
                continue
            body.append(f" set_{name}(self, {value})")
        if hasattr(cls, "__post_init__"):
            body.append(" self.__post_init__()")
        words = ", ".join(["self", *taken, *(["*", *named] if named else [])])
        exec(f"def __init__({words}):\n" + "\n".join(body or [" pass"]), names)  # noqa: S102 - as dataclasses does; of names alone
        made = names["__init__"]
        made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
        return made

    def _values(names):
        """All of them as a tuple."""
        if len(names) > 1:
            return attrgetter(*names)
        return (lambda one: (getattr(one, names[0]),)) if names else (lambda one: ())

    def _eq(values):
        def __eq__(self, other):  # noqa: N807
            return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

        return __eq__

    def _hash(cls):
        values = _values(
            [one.name for one in dataclasses.fields(cls) if (one.compare if one.hash is None else one.hash)]
        )

        def __hash__(self):  # noqa: N807
            return hash(values(self))

        return __hash__

    def _repr(cls):
        shown = [one.name for one in dataclasses.fields(cls) if one.repr]

        def __repr__(self):  # noqa: N807
            return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

        return reprlib.recursive_repr()(__repr__)

    def _set(self, name, value):
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def _delete(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def _restore(self, state):
        """``copy`` and ``pickle`` set what they find."""
        for name, value in state[1].items():
            object.__setattr__(self, name, value)


__all__ = ["dataclass"]
