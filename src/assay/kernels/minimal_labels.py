"""The lowest labels that suffice: a search downward over sets of restrictions, with few calls of a dear score.

A label is an integer whose bits are restrictions (`assay.labels.lattice`). Item i has the label `items[i]`; only joins
of items' labels over a `bottom` matter, since any other label keeps the items of one of those. The `score` of a label
says how much is lost when only items at or below it are kept; a label is *similar* when it loses at most `lam`.

Scores of many labels are asked for at once, none twice, and at most `max_calls` in all. A budget that is spent leaves
the best that was found, which is always similar. A loss that is not a number counts as infinite.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

Score = Callable[[list[int]], Sequence[float]]
"""Losses (m,) of labels (m,), in the unit of `lam`."""


def kept(items: Sequence[int], label: int) -> tuple[int, ...]:
    """Positions of the items that may flow to a label, in order.

    >>> kept([0b01, 0b10, 0b11], 0b10)
    (1,)
    """
    return tuple(at for at, one in enumerate(items) if one & ~label == 0)


def children(items: Iterable[int], label: int, bottom: int = 0) -> list[int]:
    """The highest joins of items' labels that lie strictly below a join `label`, ascending.

    Whatever lies below lacks one of the label's restrictions, and so lies below the join of all items without that
    restriction. A join over items that are not above the highest one, which is the obvious way, misses children: of
    {a}, {b} and {a, b} it would find none below {a, b}.

    >>> [bin(child) for child in children([0b001, 0b010, 0b011, 0b100], 0b011)]
    ['0b1', '0b10']
    """
    below = {one | bottom for one in items if (one | bottom) & ~label == 0}
    found, left = set(), label & ~bottom
    while left:
        restriction = left & -left
        left &= ~restriction
        found.add(joined((one for one in below if not one & restriction), bottom))
    return lowest_or_highest(found, highest=True)


def lowest_or_highest(labels: Iterable[int], highest: bool = False) -> list[int]:
    """The labels with none below them among `labels` (with `highest`, none above), ascending.

    >>> lowest_or_highest([0b11, 0b01, 0b100]), lowest_or_highest([0b11, 0b01, 0b100], highest=True)
    ([1, 4], [3, 4])
    """
    chosen: list[int] = []
    for label in sorted(set(labels), key=int.bit_count, reverse=highest):
        if not any((label & ~other if highest else other & ~label) == 0 for other in chosen):
            chosen.append(label)
    return sorted(chosen)


def joined(labels: Iterable[int], bottom: int = 0) -> int:
    """The join of labels over a bottom."""
    return reduce(or_, labels, bottom)


@dataclass
class Tried:
    """The labels that were scored.

    Attributes
    ----------
    losses : label -> loss, in the order in which they were asked for; the start, which loses nothing, is not asked.
    rounds : times that the score was called; a round scores many labels.
    spent : whether the budget kept a label from being scored.
    minimal : the labels found: similar, with no similar one below them that the search came to; ascending.
    """

    score: Score
    lam: float
    max_calls: int
    losses: dict[int, float] = field(default_factory=dict)
    rounds: int = 0
    spent: bool = False
    minimal: list[int] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Number of labels scored."""
        return len(self.losses)

    def ask(self, labels: Iterable[int]) -> None:
        """Score those labels that were not scored before, as many as the budget allows, in one round."""
        new = [label for label in dict.fromkeys(labels) if label not in self.losses]
        room = self.max_calls - self.calls
        self.spent |= len(new) > room
        if new := new[:room]:
            self.rounds += 1
            for label, loss in zip(new, self.score(new), strict=True):
                self.losses[label] = float(loss) if math.isfinite(loss) else math.inf

    def similar(self, labels: Iterable[int]) -> list[int]:
        """Those of the labels that were scored and lose at most `lam`, the least loss first, then by `order`."""
        losses = {label: self.losses.get(label, math.inf) for label in labels}
        found = [label for label, loss in losses.items() if loss <= self.lam and loss < math.inf]
        return sorted(found, key=lambda label: (self.losses[label], *order(label)))


def order(label: int) -> tuple[int, int]:
    """Fewest restrictions first, then a fixed order."""
    return label.bit_count(), label


def exact(tried: Tried, items: Sequence[int], top: int, bottom: int, batch: int) -> None:
    """All minimal labels that similar labels lead down to, the deepest node first.

    Under a budget it has gone straight down before it looks aside, so that a low label is there early. Children of
    several nodes are scored together until a round has `batch` labels.
    """
    heap, seen = [(*order(top), top)], {top}
    while heap and not tried.spent:
        nodes: list[list[int]] = []
        asked: set[int] = set()
        while heap and len(asked) < batch:
            nodes.append(children(items, heapq.heappop(heap)[-1], bottom))
            asked.update(label for label in nodes[-1] if label not in tried.losses)
        tried.ask(label for node in nodes for label in node)
        for node in nodes:
            for child in tried.similar(node):
                if child not in seen:
                    seen.add(child)
                    heapq.heappush(heap, (*order(child), child))
    tried.minimal = lowest_or_highest(seen)


def greedy(tried: Tried, items: Sequence[int], top: int, bottom: int, batch: int) -> None:
    """One locally minimal label: always the similar child that loses least. At most n (n + 1) / 2 calls."""
    del batch
    label, below = top, [top]
    while below:
        label = below[0]
        below = children(items, label, bottom)
        tried.ask(below)
        below = tried.similar(below)
    tried.minimal = [label]


def leave_one_out(tried: Tried, items: Sequence[int], top: int, bottom: int, batch: int) -> None:
    """Greedy, from the join of what cannot be left out alone, where that is similar; else from the top.

    Where few items matter that takes n + 3 or so calls. Two items that stand in for each other can both be left out
    alone, so the shortcut is tried, never trusted.
    """
    first = children(items, top, bottom)
    tried.ask(first)
    needed = [child for child in first if not tried.similar([child])]
    start = joined((one for one in items if any(one & ~child for child in needed)), bottom)
    tried.ask([start] if start != top else [])
    greedy(tried, items, start if tried.similar([start]) else top, bottom, batch)


def exhaustive(tried: Tried, items: Sequence[int], top: int, bottom: int, batch: int, first: bool = False) -> None:
    """All minimal labels of all joins, whether similar ones lead to them or not: upward from the bottom.

    With `first`, only until a level (number of restrictions) holds a similar label, which then has as few restrictions
    as can be.
    """
    del batch
    heap, seen = [(*order(bottom), bottom)], {bottom}
    found: list[int] = []
    while heap and not tried.spent and not (found and first):
        level: list[int] = []
        while heap and (not level or heap[0][0] == level[0].bit_count()):
            label = heapq.heappop(heap)[-1]
            if label != top and not any(low & ~label == 0 for low in found):
                level.append(label)
        tried.ask(level)
        found += tried.similar(level)
        for label in level:
            for above in {label | one for one in items} - seen:
                seen.add(above)
                heapq.heappush(heap, (*order(above), above))
    tried.minimal = sorted(found) or [top]


def upward(tried: Tried, items: Sequence[int], top: int, bottom: int, batch: int) -> None:
    """The minimal labels with the fewest restrictions of all: from the bottom, until there is one."""
    exhaustive(tried, items, top, bottom, batch, first=True)


def conservative(tried: Tried, items: Sequence[int], top: int, bottom: int, batch: int) -> None:
    """The join of all, without a look: the baseline."""
    del items, bottom, batch
    tried.minimal = [top]


SEARCHES = {
    "exact": exact,
    "greedy": greedy,
    "leave-one-out": leave_one_out,
    "upward": upward,
    "exhaustive": exhaustive,
    "conservative": conservative,
}


def minimal_labels(
    items: Sequence[int],
    score: Score,
    lam: float,
    *,
    bottom: int = 0,
    search: str = "exact",
    max_calls: int = 256,
    batch: int = 16,
) -> Tried:
    """Search for the lowest labels that lose at most `lam`.

    Parameters
    ----------
    items : (n,) labels.
    score : losses of labels against the join of all.
    lam : the loss allowed, 0 or more.
    bottom : the lowest label there can be; the join of all is taken over it.
    search : one of `SEARCHES`.
    max_calls : most labels scored.
    batch : labels that a round of `exact` aims at.

    Examples
    --------
    Three sources, of which the second holds what is needed:

    >>> tried = minimal_labels([1, 2, 4], lambda labels: [0.0 if label & 2 else 3.0 for label in labels], 0.1)
    >>> tried.minimal, tried.calls
    ([2], 7)
    """
    tried = Tried(score, lam, max_calls)
    SEARCHES[search](tried, items, joined(items, bottom), bottom, batch)
    return tried


def enough_within(
    items: Sequence[int], score: Score, lam: float, limit: int, *, bottom: int = 0, max_calls: int = 256
) -> Tried:
    """Whether what may flow to a limit is enough: one label is scored, and the join of all is what is left otherwise.

    >>> enough_within([1, 2, 4], lambda labels: [0.0 for _ in labels], 0.1, limit=0b011).minimal
    [3]
    """
    tried, top = Tried(score, lam, max_calls), joined(items, bottom)
    within = joined((items[at] for at in kept(items, limit)), bottom)
    if within & ~limit == 0 and within != top:
        tried.ask([within])
    tried.minimal = tried.similar([within]) or [top]
    return tried
