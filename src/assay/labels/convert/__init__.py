"""The conversion lattice: every way from one type of label to another, and what is lost on it.

A lossless conversion is undone by its inverse. A lossy one has a keyword without a default, its policy: the caller
says how the loss is to happen, or Python refuses the call. No conversion makes a label gold: what is computed is not
observed.
"""

from __future__ import annotations

from typing import NamedTuple

from assay.labels.convert.classes import (
    candidates_from_complementary,
    candidates_from_hard,
    candidates_from_intervals,
    complementary_from_candidates,
    complementary_from_hard,
    hard_from_candidates,
    hard_from_soft,
    hard_from_tags,
    hard_hidden,
    intervals_from_candidates,
    noisy_from_hard,
    positive_from_tags,
    soft_from_candidates,
    soft_from_hard,
    tags_from_hard,
    tags_hidden,
)
from assay.labels.convert.groups import (
    counts_from_shares,
    hard_from_clusters,
    hard_from_masks,
    hard_from_proportions,
    hard_from_votes,
    masks_from_hard,
    proportions_from_hard,
    scores_from_masks,
    shares_from_counts,
    soft_from_proportions,
    soft_from_votes,
    votes_from_hard,
)
from assay.labels.convert.numbers import (
    censored_at,
    censored_between,
    exact_from_censored,
    preferences_from_ranking,
    preferences_from_scores,
    ranking_from_preferences,
    scores_from_preferences,
    time_event_from_censored,
)
from assay.labels.security import declassify, join_security


class Edge(NamedTuple):
    """One conversion.

    Parameters
    ----------
    start, end : what it reads and what it gives, in words.
    function : its name, here or as a method of a container.
    lossy : whether something is lost; then `policy` is the keyword that says how, and `choices` its values (empty when
        it is an array or a number).
    inverse : the function that undoes it, when it is lossless.
    """

    start: str
    end: str
    function: str
    lossy: bool
    policy: str = ""
    choices: tuple[str, ...] = ()
    inverse: str = ""


LATTICE: list[Edge] = [
    Edge("hard", "soft", "soft_from_hard", False, inverse="hard_from_soft"),
    Edge("soft", "hard", "hard_from_soft", True, "ties", ("abstain", "seeded")),
    Edge("hard", "votes", "votes_from_hard", False, inverse="hard_from_votes"),
    Edge("votes", "hard", "hard_from_votes", True, "ties", ("abstain", "seeded")),
    Edge("votes", "soft", "soft_from_votes", True, "how", ("share", "laplace")),
    Edge("hard", "candidates", "candidates_from_hard", False, inverse="hard_from_candidates"),
    Edge("candidates", "hard", "hard_from_candidates", True, "larger", ("abstain", "refuse")),
    Edge("candidates", "soft", "soft_from_candidates", True, "prior", ("uniform",)),
    Edge("hard", "complementary", "complementary_from_hard", True, "random_state"),
    Edge(
        "complementary", "candidates", "candidates_from_complementary", False, inverse="complementary_from_candidates"
    ),
    Edge("intervals", "candidates", "candidates_from_intervals", False, inverse="intervals_from_candidates"),
    Edge("hard", "tags", "tags_from_hard", False, inverse="hard_from_tags"),
    Edge("tags", "hard", "hard_from_tags", True, "several", ("abstain", "refuse")),
    Edge("tags", "partial tags", "tags_hidden", True, "hide"),
    Edge("tags", "positive-only tags", "positive_from_tags", True, "forget", ("negatives",)),
    Edge("hard", "noisy hard", "noisy_from_hard", True, "transition"),
    Edge("hard", "unlabelled", "hard_hidden", True, "hide"),
    Edge("clusters", "hard", "hard_from_clusters", True, "unmatched", ("abstain", "majority")),
    Edge("hard", "proportions", "proportions_from_hard", True, "missing", ("refuse", "drop")),
    Edge("proportions", "hard", "hard_from_proportions", True, "mixed", ("abstain", "refuse")),
    Edge("proportions", "soft", "soft_from_proportions", True, "how", ("share",)),
    Edge("counts of bags", "shares of bags", "shares_from_counts", False, inverse="counts_from_shares"),
    Edge("shares of bags", "counts of bags", "counts_from_shares", True, "rounding", ("exact", "largest-remainder")),
    Edge("hard", "masks", "masks_from_hard", False, inverse="hard_from_masks"),
    Edge("masks", "hard", "hard_from_masks", True, "how", ("unanimous", "majority")),
    Edge("masks", "scores", "scores_from_masks", True, "how", ("sum", "mean")),
    Edge("numbers", "censored", "Censored.exact", False, inverse="exact_from_censored"),
    Edge("time and event", "censored", "Censored.from_time_event", False, inverse="time_event_from_censored"),
    Edge("censored", "censored", "censored_at", True, "end"),
    Edge("censored", "censored", "censored_between", True, "visits"),
    Edge("scores", "preferences", "preferences_from_scores", True, "ties"),
    Edge("preferences", "scores", "scores_from_preferences", True, "ridge"),
    Edge("ranking", "preferences", "preferences_from_ranking", False, inverse="ranking_from_preferences"),
    Edge("security", "security", "declassify", True, "by"),
]


def lattice_table() -> str:
    """The lattice as a Markdown table, for the docs."""
    lines = ["| from | to | function | loses | say how |", "|---|---|---|---|---|"]
    for edge in LATTICE:
        how = f"`{edge.policy}=`" + " or ".join(f"`{choice!r}`" for choice in edge.choices) if edge.lossy else ""
        loss = "yes" if edge.lossy else f"no: `{edge.inverse}` undoes it"
        lines.append(f"| {edge.start} | {edge.end} | `{edge.function}` | {loss} | {how} |")
    return "\n".join(lines) + "\n"


__all__ = [
    "LATTICE",
    "Edge",
    "candidates_from_complementary",
    "candidates_from_hard",
    "candidates_from_intervals",
    "censored_at",
    "censored_between",
    "complementary_from_candidates",
    "complementary_from_hard",
    "counts_from_shares",
    "declassify",
    "exact_from_censored",
    "hard_from_candidates",
    "hard_from_clusters",
    "hard_from_masks",
    "hard_from_proportions",
    "hard_from_soft",
    "hard_from_tags",
    "hard_from_votes",
    "hard_hidden",
    "intervals_from_candidates",
    "join_security",
    "lattice_table",
    "masks_from_hard",
    "noisy_from_hard",
    "positive_from_tags",
    "preferences_from_ranking",
    "preferences_from_scores",
    "proportions_from_hard",
    "ranking_from_preferences",
    "scores_from_masks",
    "scores_from_preferences",
    "shares_from_counts",
    "soft_from_candidates",
    "soft_from_hard",
    "soft_from_proportions",
    "soft_from_votes",
    "tags_from_hard",
    "tags_hidden",
    "time_event_from_censored",
    "votes_from_hard",
]
