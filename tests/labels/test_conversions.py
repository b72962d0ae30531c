"""The lattice: every lossless edge is undone, every lossy one refuses without a policy, and the laws hold."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from assay.errors import InputError
from assay.labels import (
    Candidates,
    Censored,
    Hard,
    Kind,
    Masks,
    Observation,
    Preferences,
    Proportions,
    Security,
    Soft,
    Source,
    Space,
    Tags,
    Votes,
    convert,
)
from assay.labels.convert import LATTICE, lattice_table
from assay.labels.preferences import TIE, A, B

CLASSES = Space(("a", "b", "c"))
TAGS = Space(("a", "b", "c"), Kind.MULTILABEL)
CLUSTERS = Space(("0", "1", "2", "3"), Kind.CODE)
REAL = Space((), Kind.REAL)


def function(name):
    return getattr(Censored, name.split(".")[1]) if "." in name else getattr(convert, name)


@st.composite
def hards(draw, space=CLASSES, full=False, high=8):
    codes = draw(st.lists(st.integers(0 if full else -1, space.n_classes - 1), max_size=high))
    y = np.array(codes, dtype=np.int64)
    return Hard(space, np.maximum(y, 0), y >= 0)


# ------------------------------------------------------------------------------- each edge, drawn from LATTICE
N = 4
HARD = Hard(CLASSES, np.array([0, 1, 2, 1]))
VOTES = Votes.from_long([0, 0, 1, 2, 3], [0, 1, 0, 0, 1], ["a", "b", "b", "c", "a"], CLASSES)
TAGGED = Tags(TAGS, np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]]))
TIMES = Censored.from_time_event([1.0, 2.0, 3.0, 4.0], [True, False, True, True])
BAGS = convert.proportions_from_hard(HARD, np.array([0, 0, 1, 1]), missing="refuse")
SECRET = Security(Space((), Kind.LATTICE), np.ones(N, int), np.ones(N, int), np.zeros(N, int))
OFFICER = Source("officer", trusted=True)
RANKED = convert.preferences_from_ranking([2, 0, 1])

# positional arguments of each edge, and the policy to use where the lattice lists no choices
CALLS = {
    "soft_from_hard": ([HARD], {}),
    "hard_from_soft": ([Soft(CLASSES, [[0.5, 0.5, 0], [0.2, 0.3, 0.5]])], {"random_state": 0}),
    "votes_from_hard": ([HARD], {"worker": "ann"}),
    "hard_from_votes": ([VOTES], {"random_state": 0}),
    "soft_from_votes": ([VOTES], {}),
    "candidates_from_hard": ([HARD], {}),
    "hard_from_candidates": ([Candidates.from_sets([["a"], None, ["b"]], CLASSES)], {}),
    "soft_from_candidates": ([Candidates.from_sets([["a"], None, ["a", "b"]], CLASSES)], {}),
    "complementary_from_hard": ([HARD], {"random_state": 0}),
    "candidates_from_complementary": ([HARD], {}),
    "candidates_from_intervals": ([CLASSES, np.array([0, 1]), np.array([1, 1])], {}),
    "tags_from_hard": ([HARD], {}),
    "hard_from_tags": ([convert.tags_from_hard(HARD)], {}),
    "tags_hidden": ([TAGGED], {"hide": np.eye(4, 3) > 0}),
    "positive_from_tags": ([TAGGED], {}),
    "noisy_from_hard": ([HARD], {"transition": np.eye(3), "random_state": 0}),
    "hard_hidden": ([HARD], {"hide": np.array([True, False, False, True])}),
    "hard_from_clusters": ([Hard(CLUSTERS, [3, 1, 0, 1]), HARD], {}),
    "proportions_from_hard": ([HARD, np.array([0, 0, 1, 1])], {}),
    "hard_from_proportions": ([convert.proportions_from_hard(HARD, np.arange(4), missing="refuse")], {}),
    "soft_from_proportions": ([BAGS], {}),
    "shares_from_counts": ([BAGS], {}),
    "counts_from_shares": ([convert.shares_from_counts(BAGS)], {}),
    "masks_from_hard": ([HARD, np.array([1, 2, 1, 3])], {}),
    "hard_from_masks": ([Masks.from_rows(CLASSES, [[0, 1, 1], [2, 2], []])], {}),
    "scores_from_masks": ([Masks.from_rows(REAL, [[0.5, 1.5], [], [2.0]])], {}),
    "Censored.exact": ([[1.0, 2.0]], {}),
    "Censored.from_time_event": ([[1.0, 2.0], [True, False]], {}),
    "censored_at": ([TIMES], {"end": 2.5}),
    "censored_between": ([TIMES], {"visits": [0.5, 2.0, 3.5]}),
    "preferences_from_scores": ([[1.0, 2.0, 2.0], [[0, 1], [1, 2]]], {"ties": 0.0}),
    "scores_from_preferences": ([RANKED], {"ridge": 0.1}),
    "preferences_from_ranking": ([[2, 0, 1]], {}),
    "declassify": ([SECRET, SECRET], {"by": OFFICER}),
}


@pytest.mark.parametrize("edge", LATTICE, ids=lambda edge: edge.function)
def test_every_edge_runs_and_a_lossy_one_refuses_without_its_policy(edge):
    arguments, keywords = CALLS[edge.function]
    call = function(edge.function)
    if not edge.lossy:
        assert edge.inverse
        assert not edge.policy
        assert call(*arguments, **keywords) is not None
        return
    without = {name: value for name, value in keywords.items() if name != edge.policy}
    with pytest.raises(TypeError, match=edge.policy):
        call(*arguments, **without)
    for choice in edge.choices or (keywords[edge.policy],):
        result = call(*arguments, **{**keywords, edge.policy: choice})
        assert not getattr(result, "gold", False)
    if edge.choices and edge.function != "soft_from_candidates":
        with pytest.raises(InputError, match=f"{edge.policy} must be one of"):
            call(*arguments, **{**keywords, edge.policy: "no such policy"})


def test_every_function_is_in_the_lattice_or_undoes_one_that_is():
    known = {name for edge in LATTICE for name in (edge.function, edge.inverse)}
    for name in convert.__all__:
        if name.islower() and name not in ("lattice_table", "join_security"):
            assert name in known, name
    assert set(CALLS) == {edge.function for edge in LATTICE}


def test_the_docs_show_the_lattice_as_it_is():
    page = Path(__file__).parents[2] / "docs" / "labels" / "model.md"
    assert lattice_table() in page.read_text(encoding="utf-8")


def test_no_conversion_reads_or_sets_gold():
    fields = {name for thing in (Hard, Soft, Votes, Tags, Candidates) for name in thing.__dataclass_fields__}
    assert "gold" not in fields
    expert = Source("expert", trusted=True)
    for edge in LATTICE:
        with pytest.raises(InputError, match="never gold"):
            Observation("1", CLASSES.fingerprint, "a", expert, method=edge.function, gold=True)


# ----------------------------------------------------------------------------------------- lossless edges, undone
@given(hards())
def test_hard_goes_to_soft_and_back(labels):
    soft = convert.soft_from_hard(labels)
    assert convert.hard_from_soft(soft, ties="abstain") == labels
    assert convert.hard_from_soft(soft, ties="seeded", random_state=0) == labels
    assert convert.soft_from_hard(convert.hard_from_soft(soft, ties="abstain")) == soft


@given(hards())
def test_hard_goes_to_everything_else_and_back(labels):
    votes = convert.votes_from_hard(labels, worker="ann")
    assert convert.hard_from_votes(votes, ties="abstain") == labels
    assert convert.hard_from_candidates(convert.candidates_from_hard(labels), larger="refuse") == labels
    assert convert.hard_from_tags(convert.tags_from_hard(labels), several="refuse") == labels
    other = convert.complementary_from_candidates(convert.candidates_from_complementary(labels))
    assert other == labels
    lengths = np.arange(labels.n_rows) % 3 + 1
    masks = convert.masks_from_hard(labels, lengths)
    assert convert.hard_from_masks(masks, how="unanimous") == labels
    assert convert.hard_from_masks(masks, how="majority") == labels


@given(hards(full=True))
def test_a_bag_of_one_is_hard(labels):
    bags = convert.proportions_from_hard(labels, np.arange(labels.n_rows), missing="refuse")
    assert convert.hard_from_proportions(bags, mixed="refuse") == labels
    shares = convert.shares_from_counts(bags)
    assert convert.hard_from_proportions(shares, mixed="refuse") == labels


@given(hards(), st.integers(1, 4), st.integers(0, 9))
def test_bag_counts_add_up_to_the_class_histogram_and_survive_shares(labels, n_bags, seed):
    assume(labels.present.any())  # a bag without a labelled row is refused, see below
    bag = np.random.default_rng(seed).integers(n_bags, size=labels.n_rows)
    bag[~labels.present] = bag[labels.present][0]
    bag = np.unique(bag, return_inverse=True)[1]
    bags = convert.proportions_from_hard(labels, bag, missing="drop")
    assert np.array_equal(bags.counts.sum(axis=0), labels.counts())
    for rounding in ("exact", "largest-remainder"):
        assert convert.counts_from_shares(convert.shares_from_counts(bags), rounding=rounding) == bags
    belief = convert.soft_from_proportions(bags, how="share")
    assert np.allclose(belief.p.sum(axis=0), labels.counts())
    assert np.array_equal(belief.present, labels.present)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted), max_size=6))
def test_grades_from_to_are_candidates(pairs):
    space = Space(("poor", "fair", "good", "best"), Kind.ORDINAL)
    lo, hi = np.array(pairs, dtype=int).reshape(-1, 2).T
    back = convert.intervals_from_candidates(convert.candidates_from_intervals(space, lo, hi))
    assert np.array_equal(back, [lo, hi])


@given(st.lists(st.tuples(st.floats(0, 1e9), st.booleans()), max_size=6))
def test_times_and_events_go_to_bounds_and_back(rows):
    time = np.array([t for t, _ in rows])
    event = np.array([e for _, e in rows], dtype=bool)
    bounds = Censored.from_time_event(time, event)
    back = convert.time_event_from_censored(bounds)
    assert np.array_equal(back[0], time)
    assert np.array_equal(back[1], event)
    exact = Censored.from_time_event(time, np.ones_like(event))
    assert exact == Censored.exact(time)  # an event everywhere is exact
    assert np.array_equal(convert.exact_from_censored(exact), time)


@given(st.permutations(range(5)))
def test_a_ranking_goes_to_its_pairs_and_back(order):
    pairs = convert.preferences_from_ranking(order)
    assert pairs.n_rows == 10
    assert convert.ranking_from_preferences(pairs).tolist() == list(order)
    shuffled = pairs.take(np.random.default_rng(0).permutation(10))
    assert convert.ranking_from_preferences(shuffled).tolist() == list(order)


# ---------------------------------------------------------------------------------------------- laws of the lossy
def test_ties_abstain_or_are_drawn_evenly_and_never_fall_to_the_first_class():
    soft = Soft(CLASSES, np.tile([0.4, 0.2, 0.4], (4000, 1)))
    assert not convert.hard_from_soft(soft, ties="abstain").present.any()
    drawn = convert.hard_from_soft(soft, ties="seeded", random_state=3)
    assert drawn == convert.hard_from_soft(soft, ties="seeded", random_state=3)
    assert drawn != convert.hard_from_soft(soft, ties="seeded", random_state=4)
    assert drawn.counts()[1] == 0
    assert abs(drawn.counts()[0] - 2000) < 4 * np.sqrt(1000)
    with pytest.raises(InputError, match="random_state"):
        convert.hard_from_soft(soft, ties="seeded")


def test_votes_by_hand():
    assert convert.hard_from_votes(VOTES, ties="abstain").names() == [None, "b", "c", "a"]
    assert convert.soft_from_votes(VOTES, how="share").p[:2].tolist() == [[0.5, 0.5, 0], [0, 1, 0]]
    assert np.allclose(convert.soft_from_votes(VOTES, how="laplace").p[0], [0.4, 0.4, 0.2])
    silent = Votes.from_long(["t", "u"], ["x", "x"], ["a", None])
    assert convert.soft_from_votes(silent, how="laplace").present.tolist() == [True, False]
    assert convert.hard_from_votes(silent, ties="abstain").present.tolist() == [True, False]
    heavy = Votes.from_long([0, 0, 0], [0, 1, 2], ["a", "a", "b"], CLASSES, weight=[1, 1, 5])
    assert convert.hard_from_votes(heavy, ties="abstain").names() == ["b"]


def test_candidates_by_hand():
    sets = Candidates.from_sets([["a"], ["a", "c"], None], CLASSES)
    assert convert.hard_from_candidates(sets, larger="abstain").names() == ["a", None, None]
    with pytest.raises(InputError, match="2 candidates") as caught:
        convert.hard_from_candidates(sets, larger="refuse")
    assert caught.value.row == 1
    soft = convert.soft_from_candidates(sets, prior=[1, 1, 3])
    assert soft.p[:2].tolist() == [[1, 0, 0], [0.25, 0, 0.75]]
    assert soft.present.tolist() == [True, True, False]


def test_tags_by_hand():
    assert convert.hard_from_tags(TAGGED, several="abstain").names() == ["a", None, None, "c"]
    with pytest.raises(InputError) as caught:
        convert.hard_from_tags(TAGGED, several="refuse")
    assert caught.value.row == 1
    partial = convert.tags_hidden(TAGGED, hide=np.ones((4, 3), dtype=bool))
    assert partial.lists() == [None] * 4
    only = convert.positive_from_tags(TAGGED, forget="negatives")
    assert np.array_equal(only.present, TAGGED.y == 1)
    with pytest.raises(InputError, match="ordinal"):
        convert.tags_from_hard(Hard(Space(("x",), Kind.ORDINAL), [0]))


@given(hards(), st.integers(0, 99))
def test_a_complementary_label_is_never_the_class(labels, seed):
    other = convert.complementary_from_hard(labels, random_state=seed)
    assert np.array_equal(other.present, labels.present)
    assert (other.y != labels.y)[labels.present].all()


def test_noise_has_the_rates_that_were_asked_for():
    transition = np.array([[0.7, 0.2, 0.1], [0, 1, 0], [0.5, 0, 0.5]])
    clean = Hard(CLASSES, np.repeat([0, 1, 2], 20000))
    noisy = convert.noisy_from_hard(clean, transition=transition, random_state=0)
    seen = np.bincount(clean.y * 3 + noisy.y, minlength=9).reshape(3, 3) / 20000
    assert np.abs(seen - transition).max() < 0.015
    assert convert.noisy_from_hard(clean, transition=np.eye(3), random_state=0) == clean


@given(hards(full=True), st.permutations(range(3)))
def test_clusters_get_the_names_that_they_were_made_from(labels, order):
    clusters = Hard(CLUSTERS, np.array(order)[labels.y])
    assert convert.hard_from_clusters(clusters, labels, unmatched="abstain") == labels


def test_clusters_left_over():
    clusters = Hard(CLUSTERS, [0, 0, 0, 1, 1, 2, 3])
    truth = Hard(CLASSES, [0, 0, 0, 0, 0, 1, 2], [True] * 6 + [False])
    assert convert.hard_from_clusters(clusters, truth, unmatched="abstain").names() == ["a"] * 3 + [None] * 2 + [
        "b",
        None,
    ]
    assert convert.hard_from_clusters(clusters, truth, unmatched="majority").names() == ["a"] * 5 + ["b", None]


def test_bags_that_cannot_be():
    labels = Hard(CLASSES, [0, 1, 2], [True, True, False])
    with pytest.raises(InputError, match="no label") as caught:
        convert.proportions_from_hard(labels, np.array([0, 0, 1]), missing="refuse")
    assert caught.value.row == 2
    with pytest.raises(InputError, match="must not be empty") as caught:
        convert.proportions_from_hard(labels, np.array([0, 0, 1]), missing="drop")
    assert caught.value.row == 1
    odd = Proportions(CLASSES, 3, np.array([0, 3]), np.arange(3), shares=np.array([[0.5, 0.3, 0.2]]))
    with pytest.raises(InputError, match="no whole counts"):
        convert.counts_from_shares(odd, rounding="exact")
    assert convert.counts_from_shares(odd, rounding="largest-remainder").counts.tolist() == [[1, 1, 1]]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5), st.floats(0, 100))
def test_watching_less_only_widens_the_bounds(times, end):
    exact = Censored.exact(times)
    for less in (convert.censored_at(exact, end=end), convert.censored_between(exact, visits=[10, 20.5, 50])):
        assert (less.lo <= exact.lo).all()
        assert (less.hi >= exact.hi).all()
    seen = convert.censored_at(exact, end=end)
    assert np.array_equal(seen.event, exact.lo <= end)
    again = convert.censored_at(seen, end=end)
    assert again == seen


@given(st.lists(st.integers(-5, 5), min_size=3, max_size=6))
def test_preferences_from_scores_are_transitive_and_give_the_order_back(scores):
    n = len(scores)
    pairs = np.array([(i, j) for i in range(n) for j in range(n) if i != j])
    preferences = convert.preferences_from_scores(scores, pairs, ties=0)
    better = np.zeros((n, n), dtype=bool)
    for a, b, winner in zip(preferences.a, preferences.b, preferences.winner, strict=True):
        better[a, b] |= winner == A
        better[b, a] |= winner == B
    assert not (better & better.T).any()
    through = (better.astype(int) @ better.astype(int)) > 0
    assert better[through].all()
    fitted = convert.scores_from_preferences(preferences, ridge=0.1)
    assert np.array_equal(
        np.sign(np.subtract.outer(scores, scores)), np.sign(np.subtract.outer(fitted, fitted).round(6))
    )


def test_bradley_terry_finds_the_scores_that_made_the_wins():
    truth = np.array([1.0, 0.3, -0.2, -1.1])
    rng = np.random.default_rng(0)
    a = rng.integers(4, size=40000)
    b = (a + rng.integers(1, 4, size=40000)) % 4
    wins = rng.random(40000) < 1 / (1 + np.exp(truth[b] - truth[a]))
    preferences = Preferences(4, a, b, np.where(wins, A, B))
    assert np.abs(convert.scores_from_preferences(preferences, ridge=1e-6) - truth).max() < 0.05
    half = Preferences(2, [0], [1], [TIE])
    assert np.allclose(convert.scores_from_preferences(half, ridge=1e-3), 0)


def test_preferences_that_are_no_ranking():
    circle = Preferences(3, [0, 1, 2], [1, 2, 0], [A, A, A])
    for preferences in (circle, circle.take([0, 1]), Preferences(2, [0], [1], [TIE])):
        with pytest.raises(InputError, match="no strict order"):
            convert.ranking_from_preferences(preferences)


def test_mask_weights_add_up():
    masks = Masks.from_rows(REAL, [[0.5, 1.5], [], [2.0]])
    assert convert.scores_from_masks(masks, how="sum").tolist() == [2.0, 0.0, 2.0]
    assert convert.scores_from_masks(masks, how="mean").tolist() == [1.0, 0.0, 2.0]
    ignored = Masks(REAL, masks.values, masks.offsets, [True, False, True])
    assert convert.scores_from_masks(ignored, how="mean").tolist() == [0.5, 0.0, 2.0]
