"""Lattices of security labels: chains, sets of sources, sets of readers, and products of them.

chain       public < internal < secret          one restriction a step up
sources     {} < {mail} < {mail, web}           one restriction a source that took part
readers     {ann, bob} < {ann} < {}             one restriction a reader who is kept out: fewer readers, higher
product     {"integrity": ..., "readers": ...}  those of its parts
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.errors import InputError
from assay.labels.lattice import Label, Lattice

__all__ = ["CONFIDENTIALITY", "INTEGRITY", "Chain", "Label", "Lattice", "Product", "Readers", "Sources", "lattice_of"]


@dataclass(frozen=True)
class Chain(Lattice):
    """Levels in a row, the lowest first: what is public before what is secret, what is trusted before what is not.

    >>> secrecy = Chain(("public", "internal", "secret"))
    >>> str(secrecy.label("internal") | secrecy.label("public")), secrecy.label("secret") <= secrecy.label("internal")
    ('internal', False)
    """

    levels: tuple[str, ...]
    kind = "chain"

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", _names(self.levels, "levels", 1))

    @property
    def n_restrictions(self) -> int:
        """Steps from the lowest level to the highest."""
        return len(self.levels) - 1

    def bits_of(self, value: Any) -> int:
        """Restrictions of a level."""
        return (1 << _position(value, self.levels, "level")) - 1

    def show(self, bits: int) -> str:
        """Name of the level."""
        return self.levels[bits.bit_length()]

    def spec(self) -> dict[str, Any]:
        """JSON of the lattice."""
        return {"kind": self.kind, "levels": list(self.levels)}


@dataclass(frozen=True)
class Sources(Lattice):
    """Sets of sources (a powerset): the join names everybody who took part. A single name stands for its set.

    >>> sources = Sources(("mail", "web", "wiki"))
    >>> (sources.label("web") | sources.label(["mail"])).value
    ['mail', 'web']
    """

    names: tuple[str, ...]
    kind = "sources"

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _names(self.names, self.kind, 0))
        object.__setattr__(self, "_where", {name: at for at, name in enumerate(self.names)})

    _where: Mapping[str, int] = field(init=False, repr=False, compare=False)

    @property
    def n_restrictions(self) -> int:
        """Number of names."""
        return len(self.names)

    def bits_of(self, value: Any) -> int:
        """Restrictions of a set of names."""
        named = [value] if isinstance(value, str) else value
        if not isinstance(named, list | tuple | set | frozenset):
            raise InputError(f"A label of {self.kind} is a name or a list of names, got {value!r}.")
        return sum(1 << at for at in {_position(name, self.names, self.kind, self._where) for name in named})

    def show(self, bits: int) -> list[str]:
        """Names in the order of the lattice."""
        return [name for at, name in enumerate(self.names) if bits >> at & 1]

    def spec(self) -> dict[str, Any]:
        """JSON of the lattice."""
        return {"kind": self.kind, "names": list(self.names)}


@dataclass(frozen=True)
class Readers(Sources):
    """Sets of readers (a powerset upside down): the join is who may read all of it. "*" stands for everybody.

    >>> readers = Readers(("ann", "bob", "eve"))
    >>> (readers.label(["ann", "bob"]) | readers.label(["bob", "eve"])).value, readers.bottom.value
    (['bob'], ['ann', 'bob', 'eve'])
    """

    kind = "readers"

    def bits_of(self, value: Any) -> int:
        """Restrictions of a set of readers: those who are not in it."""
        return self.top.bits & ~super().bits_of(self.names if value == "*" else value)

    def show(self, bits: int) -> list[str]:
        """Readers in the order of the lattice."""
        return super().show(~bits)


@dataclass(frozen=True)
class Product(Lattice):
    """Several lattices beside each other; a label is an object with a label in every part.

    >>> both = Product.of({"integrity": INTEGRITY, "readers": Readers(("ann", "bob"))})
    >>> one, other = both.label('{"integrity": "trusted", "readers": ["ann"]}'), both.top
    >>> (one & other).value, other <= one
    ({'integrity': 'trusted', 'readers': ['ann']}, False)
    """

    names: tuple[str, ...]
    parts: tuple[Lattice, ...]
    kind = "product"

    @classmethod
    def of(cls, parts: Mapping[str, Lattice]) -> Product:
        """The product of named lattices."""
        return cls(_names(parts, "parts", 1), tuple(parts.values()))

    @property
    def n_restrictions(self) -> int:
        """Sum over the parts."""
        return sum(part.n_restrictions for part in self.parts)

    def bits_of(self, value: Any) -> int:
        """Restrictions of an object that names every part: one left out has no safe meaning."""
        if not isinstance(value, Mapping) or set(value) != set(self.names):
            raise InputError(f"A label here is an object with the parts {', '.join(self.names)}, got {value!r}.")
        bits, shift = 0, 0
        for name, part in zip(self.names, self.parts, strict=True):
            bits |= part.label(value[name]).bits << shift
            shift += part.n_restrictions
        return bits

    def show(self, bits: int) -> dict[str, Any]:
        """The label of each part."""
        shown = {}
        for name, part in zip(self.names, self.parts, strict=True):
            shown[name] = part.show(bits & part.top.bits)
            bits >>= part.n_restrictions
        return shown

    def spec(self) -> dict[str, Any]:
        """JSON of the lattice."""
        parts = zip(self.names, self.parts, strict=True)
        return {"kind": self.kind, "parts": {name: part.spec() for name, part in parts}}


def lattice_of(spec: Any) -> Lattice:
    """The lattice of a JSON value: "integrity", "confidentiality", or what `Lattice.spec` gives.

    >>> lattice_of({"kind": "readers", "names": ["ann", "bob"]}).top.value
    []
    """
    known = {"integrity": INTEGRITY, "confidentiality": CONFIDENTIALITY}
    kinds = {"chain": (Chain, "levels"), "sources": (Sources, "names"), "readers": (Readers, "names")}
    if isinstance(spec, str) and spec in known:
        return known[spec]
    if isinstance(spec, Mapping):
        kind = spec.get("kind")
        if kind == "product" and isinstance(spec.get("parts"), Mapping):
            return Product.of({name: lattice_of(part) for name, part in spec["parts"].items()})
        if isinstance(kind, str) and kind in kinds and isinstance(spec.get(kinds[kind][1]), list):
            make, names = kinds[kind]
            return make(tuple(spec[names]))
    raise InputError(
        f'No lattice: {spec!r}. Give "integrity", "confidentiality", {{"kind": "chain", "levels": [...]}} (lowest '
        'first), {"kind": "sources" or "readers", "names": [...]} or {"kind": "product", "parts": {name: lattice}}.'
    )


def _names(names: Iterable[Any], what: str, fewest: int) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InputError(f"The {what} are a sequence of names, got the single text {names!r}.")
    found = tuple(names)
    named = all(isinstance(name, str) and name for name in found)
    if not named or len(set(found)) < len(found) or len(found) < fewest:
        raise InputError(f"The {what} are at least {fewest} different names that are not empty, got {found!r}.")
    return found


def _position(name: Any, names: tuple[str, ...], what: str, where: Mapping[str, int] | None = None) -> int:
    try:
        return names.index(name) if where is None else where[name]
    except (ValueError, KeyError, TypeError):
        shown = ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        raise InputError(f"Unknown {what} {name!r}: known are {shown or 'none'}.") from None


INTEGRITY = Chain(("trusted", "untrusted"))
"""What is untrusted may not flow to where trust is needed."""
CONFIDENTIALITY = Chain(("public", "secret"))
"""What is secret may not flow to the public."""
