"""Security labels: who may see a document, and how far it may be trusted. Policies, which flow with what is derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError
from assay.labels.checks import Bools, Ints, as_integers, as_rows, of_kind, same_length
from assay.labels.container import Container
from assay.labels.lattices import Chain, Label, Product, Sources
from assay.labels.records import Source
from assay.labels.spaces import Kind, Space


@dataclass(frozen=True, slots=True, eq=False)
class Security(Container):
    """One element of a lattice a row. What comes from two rows carries the join of their labels.

    Parameters
    ----------
    space : the categories (need-to-know compartments), at most 64, of kind lattice.
    secrecy : `(n,)` int8, higher = fewer may see it. The join takes the higher.
    integrity : `(n,)` int8, higher = trusted more. The join takes the lower.
    categories : `(n,)` uint64, bit i = category i of the space. The join takes the union.
    """

    space: Space
    secrecy: Ints
    integrity: Ints
    categories: npt.NDArray[np.uint64]

    def __post_init__(self) -> None:
        of_kind(self.space, "Security labels", Kind.LATTICE)
        if self.space.n_classes > 64:
            raise InputError(f"Security labels hold at most 64 categories, got {self.space.n_classes}.")
        secrecy = as_integers(self.secrecy, "Secrecy", dtypes=(np.int8,))
        integrity = as_integers(self.integrity, "Integrity", dtypes=(np.int8,))
        bits = 2**self.space.n_classes
        categories = as_integers(self.categories, "Category bits", dtypes=(np.uint64,), high=bits)
        same_length("security labels", len(secrecy), integrity=integrity, categories=categories)
        object.__setattr__(self, "secrecy", secrecy)
        object.__setattr__(self, "integrity", integrity)
        object.__setattr__(self, "categories", categories)

    @property
    def n_rows(self) -> int:
        """Number of rows, n."""
        return len(self.secrecy)

    def below(self, other: Security) -> Bools:
        """Whether each label `(n,)` may flow to the other: no more secret, no less trusted, no further category."""
        self.space.require(other.space)
        same_length("security labels", self.n_rows, other=other.secrecy)
        spare = (self.categories & ~other.categories) == 0
        flows: Any = (self.secrecy <= other.secrecy) & (self.integrity >= other.integrity) & spare
        return np.asarray(flows)

    def take(self, rows: npt.ArrayLike) -> Security:
        """Return the labels of the chosen rows."""
        at = as_rows(rows, self.n_rows)
        return Security(self.space, self.secrecy[at], self.integrity[at], self.categories[at])


def join_security(one: Security, other: Security) -> Security:
    """Label what is derived from both, row by row: the lowest label that both may flow to."""
    one.space.require(other.space)
    same_length("security labels", one.n_rows, other=other.secrecy)
    secrecy = np.maximum(one.secrecy, other.secrecy)
    integrity = np.minimum(one.integrity, other.integrity)
    return Security(one.space, secrecy, integrity, one.categories | other.categories)


def declassify(labels: Security, to: Security, *, by: Source) -> Security:
    """Return the labels `to`, wherever they lie; only a trusted source may lower a label."""
    row = None if by.trusted else int(np.argmin(labels.below(to)))
    if row is not None and not labels.below(to)[row]:
        raise InputError(f"The source {by.id!r} is not trusted and may not lower a label.", row=row)
    return to


def security_lattice(space: Space) -> Product:
    """The lattice whose elements `Security` holds as columns: secrecy up, integrity down, a set of categories."""
    levels = tuple(str(level) for level in range(128))
    parts = {"secrecy": Chain(levels), "integrity": Chain(levels[::-1]), "categories": Sources(space.names)}
    return Product.of(parts)


def lattice_labels(labels: Security) -> list[Label]:
    """Each row (n,) as a label of `security_lattice`."""
    lattice, names = security_lattice(labels.space), labels.space.names
    rows = zip(labels.secrecy.tolist(), labels.integrity.tolist(), labels.categories.tolist(), strict=True)
    return [
        lattice.label(
            {
                "secrecy": str(secrecy),
                "integrity": str(integrity),
                "categories": [name for at, name in enumerate(names) if bits >> at & 1],
            }
        )
        for secrecy, integrity, bits in rows
    ]


def from_lattice(space: Space, labels: Sequence[Label]) -> Security:
    """Labels (n,) of `security_lattice` as columns."""
    lattice = security_lattice(space)
    rows = [lattice.label(label, row).value for row, label in enumerate(labels)]
    bits = [sum(1 << space.names.index(name) for name in row["categories"]) for row in rows]
    secrecy, integrity = (np.array([int(row[part]) for row in rows], np.int8) for part in ("secrecy", "integrity"))
    return Security(space, secrecy, integrity, np.array(bits, np.uint64))
