"""A label of a lattice, and what every lattice of labels can do.

What is derived from several things carries the join of their labels: the lowest label that all of them may flow to.
Every lattice here is finite and distributive, so each of its labels is a set of *restrictions* (Birkhoff): `a <= b`
is a subset, the join a union, the meet an intersection. `assay.labels.lattices` has the lattices.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from assay.errors import InputError


@dataclass(frozen=True, slots=True)
class Label:
    """One element of a lattice.

    `a <= b`: what carries `a` may flow to where `b` is allowed. `a | b` is the join, `a & b` the meet.

    Parameters
    ----------
    lattice : the lattice.
    bits : its restrictions, bit i for restriction i of the lattice.
    """

    lattice: Lattice
    bits: int

    def __le__(self, other: Label) -> bool:
        return self.bits & ~self._met(other).bits == 0

    def __or__(self, other: Label) -> Label:
        return Label(self.lattice, self.bits | self._met(other).bits)

    def __and__(self, other: Label) -> Label:
        return Label(self.lattice, self.bits & self._met(other).bits)

    def _met(self, other: Label) -> Label:
        if self.lattice != other.lattice:
            raise InputError(
                f"Labels of two lattices cannot meet: {self} is of {self.lattice.kind} {self.lattice.fingerprint}, "
                f"{other} of {other.lattice.kind} {other.lattice.fingerprint}."
            )
        return other

    @property
    def n_restrictions(self) -> int:
        """How many restrictions the label holds: 0 for the bottom, which may flow anywhere."""
        return self.bits.bit_count()

    @property
    def value(self) -> Any:
        """The label as JSON: a name, a list of names, or an object."""
        return self.lattice.show(self.bits)

    def __str__(self) -> str:
        return self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)


class Lattice(ABC):
    """A finite distributive lattice whose labels are sets of restrictions, all of which together make its top."""

    kind: str

    @property
    @abstractmethod
    def n_restrictions(self) -> int:
        """Number of restrictions of the top, the length of its longest chain less one."""

    @abstractmethod
    def bits_of(self, value: Any) -> int:
        """Restrictions of a label as people write it; raises `InputError` for one that is unknown."""

    @abstractmethod
    def show(self, bits: int) -> Any:
        """The label with these restrictions, as people write it (JSON)."""

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """What `lattice_of` makes this lattice of again (JSON)."""

    @property
    def bottom(self) -> Label:
        """The label that may flow anywhere."""
        return Label(self, 0)

    @property
    def top(self) -> Label:
        """The label that everything may flow to."""
        return Label(self, (1 << self.n_restrictions) - 1)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with the kind, the names and their order."""
        text = json.dumps(self.spec(), ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def label(self, value: Any, row: int | None = None) -> Label:
        """The label that a value stands for: a `Label`, a name, a list, an object, or any of them as JSON text.

        Raises
        ------
        InputError : a value that is no label of this lattice; `row` is named.
        """
        if isinstance(value, Label):
            if value.lattice != self:
                raise InputError(f"The label {value} is of another lattice, {value.lattice.fingerprint}.", row=row)
            return value
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise InputError(f"The label {value!r} is no JSON: {error}.", row=row) from None
        try:
            return Label(self, self.bits_of(value))
        except InputError as error:
            raise InputError(str(error), row=row) from None

    def join(self, labels: Iterable[Label]) -> Label:
        """The lowest label that all of `labels` may flow to; the bottom for none."""
        joined = self.bottom
        for one in labels:
            joined = joined | one
        return joined
