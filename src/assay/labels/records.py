"""Records: who said what about which item. The long, append-only form that every container is a view of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from assay.errors import InputError


class SourceKind(StrEnum):
    """Who makes observations."""

    HUMAN = "human"
    MODEL = "model"
    RULE = "rule"
    SENSOR = "sensor"
    POLICY = "policy"


class Granularity(StrEnum):
    """What an item is."""

    ITEM = "item"
    BAG = "bag"
    PAIR = "pair"
    TOKEN = "token"
    PIXEL = "pixel"
    NODE = "node"
    DOCUMENT = "document"


@dataclass(frozen=True, slots=True)
class Source:
    """A person, model, rule, sensor or policy that makes observations.

    Parameters
    ----------
    id : name of the source, not empty.
    kind : what it is.
    trusted : whether its word may be taken as the truth (`gold`).
    accuracy : share of its observations that are right, 0 to 1, when known.
    price : cost of one observation, in the unit of the budget, when known.
    """

    id: str
    kind: SourceKind = SourceKind.HUMAN
    trusted: bool = False
    accuracy: float | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise InputError("A source needs a name.")
        object.__setattr__(self, "kind", SourceKind(self.kind))
        if self.accuracy is not None and not 0 <= self.accuracy <= 1:
            raise InputError(f"The accuracy of the source {self.id!r} must lie in 0..1, got {self.accuracy}.")
        if self.price is not None and not (math.isfinite(self.price) and self.price >= 0):
            raise InputError(f"The price of the source {self.id!r} must be a number >= 0, got {self.price}.")


@dataclass(frozen=True, slots=True)
class Item:
    """What a label is about.

    Parameters
    ----------
    id : name of the item, not empty.
    granularity : what it is.
    parents : the items that it is a part of or is made from: a token's text, an instance's bag, a pair's two items.
        Splits into training and test sets must keep them together.
    payload : where the content is (path, row, address), when it is not the id.
    """

    id: str
    granularity: Granularity = Granularity.ITEM
    parents: tuple[str, ...] = ()
    payload: str | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise InputError("An item needs a name.")
        object.__setattr__(self, "granularity", Granularity(self.granularity))
        object.__setattr__(self, "parents", tuple(self.parents))
        if self.granularity is Granularity.PAIR and len(self.parents) != 2:
            raise InputError(f"The pair {self.id!r} must name its two items, got {len(self.parents)}.")


@dataclass(frozen=True, slots=True)
class Observation:
    """One statement of one source about one item.

    Parameters
    ----------
    item : id of the item.
    space : fingerprint of the label space that the value lives in.
    value : what was said, as text; None is an abstention.
    source : who said it.
    weight : how much it counts.
    confidence : how sure the source says it is, on its own scale; calibrate before comparing sources.
    cost : what it cost.
    time : seconds since the epoch.
    derived_from : ids of the observations that it was computed from; they are not independent of it.
    method, version : what computed it.
    gold : the truth itself. Only a trusted source can say so, and never about what it derived.
    """

    item: str
    space: str
    value: str | None
    source: Source
    weight: float = 1.0
    confidence: float | None = None
    cost: float | None = None
    time: float | None = None
    derived_from: tuple[str, ...] = ()
    method: str | None = None
    version: str | None = None
    gold: bool = False

    def __post_init__(self) -> None:
        if self.gold and not self.source.trusted:
            raise InputError(
                f"The source {self.source.id!r} cannot set gold on item {self.item!r}: it is not marked trusted."
            )
        if self.gold and (self.derived_from or self.method):
            raise InputError(f"The label of item {self.item!r} was computed: a computed label is never gold.")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InputError(f"The weight on item {self.item!r} must be a number >= 0, got {self.weight}.")
