"""Containers: immutable, validated with the first offending row, equal by value, taken by rows."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import InputError
from assay.labels import (
    Candidates,
    Censored,
    Granularity,
    Hard,
    Item,
    Kind,
    Masks,
    Observation,
    Preferences,
    Proportions,
    Security,
    Soft,
    Source,
    SourceKind,
    Space,
    Tags,
    Votes,
)
from assay.labels.preferences import TIE, A, B
from assay.labels.security import declassify, join_security

AB = Space(("a", "b"))
TAGS = Space(("red", "round"), Kind.MULTILABEL)
REAL = Space((), Kind.REAL)
DOORS = Space(("north", "south"), Kind.LATTICE)

EXAMPLES = [
    Hard(AB, np.array([0, 1, 1]), np.array([True, False, True])),
    Soft(AB, np.array([[0.5, 0.5], [1, 0], [0.25, 0.75]], dtype=np.float16)),
    Votes.from_long(["t", "t", "u", "v"], ["x", "y", "x", "x"], ["a", "b", "b", None], time=[1, 2, 3, 4]),
    Tags(TAGS, np.array([[0, 1], [1, 1], [0, 0]]), np.array([[True, True], [False, True], [True, True]])),
    Tags(TAGS, np.array([[0, 1], [1, 1], [0, 0]]), positive_only=True),
    Candidates.from_sets([["a"], ["b", "a"], None]),
    Proportions(AB, 6, np.array([0, 1, 3, 5]), np.array([5, 0, 1, 3, 2]), np.array([[1, 0], [1, 1], [0, 2]])),
    Proportions(AB, 3, np.arange(4), np.arange(3), shares=np.array([[0.5, 0.5], [1, 0], [0, 1]])),
    Censored.from_time_event([1.0, 2.0, 3.0], [True, False, True]),
    Preferences(3, np.array([0, 1, 2]), np.array([1, 2, 0]), np.array([A, B, TIE]), np.array([1.0, 0, 2])),
    Masks.from_spans(AB, [3, 0, 2], [[(1, 2, "b")], [], []]),
    Masks.from_rows(REAL, [[0.5, 1.0], [], [2.0]]),
    Security(DOORS, np.array([0, 1, 2]), np.array([2, 1, 0]), np.array([0, 3, 1])),
]
each = pytest.mark.parametrize("labels", EXAMPLES, ids=[f"{type(e).__name__}-{i}" for i, e in enumerate(EXAMPLES)])


def arrays_of(labels):
    values = (getattr(labels, name) for name in labels.__dataclass_fields__)
    return [value for value in values if isinstance(value, np.ndarray)]


@each
def test_nothing_can_be_changed(labels):
    assert labels.n_rows == len(labels) == 3
    with pytest.raises(AttributeError):
        labels.space = AB
    for array in arrays_of(labels):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@each
def test_take_everything_is_the_same_and_take_twice_composes(labels):
    assert labels.take(np.arange(3)) == labels
    assert labels.take([True] * 3) == labels
    assert labels.take([]).n_rows == 0
    assert labels.take([2, 0]).take([1]) == labels.take([0])
    assert labels.take([False, True, True]) == labels.take([1, 2])
    assert labels.take([2, 0]) != labels
    assert labels.take([0, 1]) != labels.take([1, 2])


@each
def test_take_refuses_rows_that_are_not_there(labels):
    for rows, row in (([0, 3], 1), ([-1], 0)):
        with pytest.raises(InputError) as caught:
            labels.take(rows)
        assert caught.value.row == row


@each
def test_labels_survive_pickling_to_another_process(labels):
    assert pickle.loads(pickle.dumps(labels)) == labels


def test_the_arrays_of_the_caller_are_copied_unless_nobody_can_write_to_them():
    y = np.array([0, 1], dtype=np.int32)
    labels = Hard(AB, y)
    y[0] = 1
    assert labels.y.tolist() == [0, 1]
    p = np.array([[0.5, 0.5]])
    p.setflags(write=False)
    assert Soft(AB, p).p is p  # a memory map opened for reading is not copied
    below = np.array([[0.5, 0.5]])
    view = below[:]
    view.setflags(write=False)  # read-only, but not for the owner
    soft = Soft(AB, view)
    below[0] = 0
    assert soft.p.tolist() == [[0.5, 0.5]]


def test_a_value_under_a_false_mask_is_never_read():
    assert Hard(AB, np.array([0, 77]), np.array([True, False])) == Hard(AB, [0, -5], [True, False])
    soft = Soft(AB, np.array([[0.5, 0.5], [np.nan, 9]]), np.array([True, False]))
    assert soft == Soft(AB, np.array([[0.5, 0.5], [1, 0]]), np.array([True, False]))
    assert soft != Soft(AB, np.array([[0.5, 0.5], [1, 0]]))
    assert Tags(TAGS, [[7, 1]], [[False, True]]) == Tags(TAGS, [[0, 1]], [[False, True]])


def test_a_full_mask_is_no_mask():
    assert Hard(AB, [0, 1], [True, True]) == Hard(AB, [0, 1])
    assert Hard(AB, [0, 1]).present.all()


def test_hard_reads_missing_values():
    labels = Hard.from_values(["x", None, float("nan"), "", "y", "?"], missing=("", "?"))
    assert labels.space.names == ("x", "y")
    assert labels.names() == ["x", None, None, None, "y", None]
    assert labels.counts().tolist() == [1, 1]
    assert Hard.from_values(np.array([1, np.nan, 0])).names() == ["1", None, "0"]
    assert Hard.from_values([]).n_rows == 0
    assert Hard.from_values([None]).present.tolist() == [False]


def test_pandas_missing_values():
    pandas = pytest.importorskip("pandas")
    assert Hard.from_values(pandas.array([1, pandas.NA, 2], dtype="Int64")).names() == ["1", None, "2"]
    assert Hard.from_values(pandas.Series(["a", None, "b"])).names() == ["a", None, "b"]


def test_labels_in_a_space_of_another_order():
    other = Space(("b", "a"))
    hard, soft = Hard(AB, [0, 1, 0], [True, True, False]), Soft(AB, [[0.2, 0.8]])
    assert hard.in_space(other).names() == hard.names()
    assert hard.in_space(other).in_space(AB) == hard
    assert soft.in_space(other).p.tolist() == [[0.8, 0.2]]
    assert soft.in_space(other).in_space(AB) == soft
    with pytest.raises(InputError, match="only here"):
        hard.in_space(Space(("a", "c")))


@given(st.integers(1, 5), st.integers(1, 4), st.integers(2, 4), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_counts_are_a_plain_loop_and_add_up_under_concatenation(n, w, k, v, seed):
    rng = np.random.default_rng(seed)
    space = Space(tuple("abcd"[:k]))
    task, worker, label = rng.integers(n, size=v), rng.integers(w, size=v), rng.integers(k, size=v)
    weight = rng.random(v).astype(np.float32)
    votes = Votes(space, task, worker, label, np.arange(n), np.arange(w), weight=weight)
    slow, weighted = np.zeros((n, k), dtype=int), np.zeros((n, k))
    for t, e, g in zip(task, label, weight, strict=True):
        slow[t, e] += 1
        weighted[t, e] += g
    assert np.array_equal(votes.counts(), slow)
    assert np.allclose(votes.totals(), weighted)
    cut = v // 2
    parts = [
        Votes(space, task[s], worker[s], label[s], np.arange(n), np.arange(w), weight=weight[s])
        for s in (slice(cut), slice(cut, None))
    ]
    assert np.array_equal(parts[0].counts() + parts[1].counts(), slow)
    assert parts[0].joined(parts[1]) == votes
    shuffled = rng.permutation(v)
    again = Votes(space, task[shuffled], worker[shuffled], label[shuffled], np.arange(n), np.arange(w))
    assert np.array_equal(again.counts(), slow)


def test_votes_keep_the_order_of_first_appearance():
    for task in ([7, 3, 7, 5], np.array([7, 3, 7, 5])):
        votes = Votes.from_long(task, ["x", "y", "x", "z"], ["b", "a", None, "b"], AB)
        assert votes.task_ids.tolist() == [7, 3, 5]
        assert votes.worker_ids.tolist() == ["x", "y", "z"]
        assert votes.counts().tolist() == [[0, 1], [1, 0], [0, 1]]


def test_an_abstention_keeps_task_and_worker_and_casts_no_vote():
    votes = Votes.from_long(["t", "u"], ["x", "y"], ["a", None])
    assert (votes.n_rows, votes.n_workers, votes.n_votes) == (2, 2, 1)
    assert votes.present.tolist() == [True, False]


def test_joined_votes_match_tasks_by_name():
    one = Votes.from_long(["t", "u"], ["x", "x"], ["a", "b"], AB)
    two = Votes.from_long(["u", "v"], ["y", "x"], ["b", "a"], AB)
    both = one.joined(two)
    assert both.task_ids.tolist() == ["t", "u", "v"]
    assert both.counts().tolist() == [[1, 0], [0, 2], [1, 0]]
    with pytest.raises(InputError, match="another order"):
        one.joined(Votes.from_long(["t"], ["x"], ["a"], Space(("b", "a"))))
    with pytest.raises(InputError, match="numbers in one"):
        one.joined(Votes.from_long([1], ["x"], ["a"], AB))


def test_tags_know_absent_from_unknown():
    tags = Tags.from_lists([["red"], [], None], TAGS)
    assert tags.present.tolist() == [[True, True], [True, True], [False, False]]
    assert tags.lists() == [["red"], [], None]
    only = Tags.from_lists([["red"], []], TAGS, positive_only=True)
    assert only.present.tolist() == [[True, False], [False, False]]
    assert tags.counts().tolist() == only.counts().tolist() == [1, 0]


def test_an_event_is_an_exact_time_and_no_event_is_not():
    times = Censored.from_time_event([2.0, 2.0], [True, False])
    assert times.hi.tolist() == [2.0, np.inf]
    assert times.event.tolist() == [True, False]
    assert times.time.tolist() == [2.0, 2.0]


def test_spans_read_back():
    bio = Space(("O", "name", "place"))
    masks = Masks.from_spans(bio, [6, 3], [[(0, 2, "name"), (4, 6, "place")], []])
    assert masks.spans(0) == [(0, 2, "name"), (2, 4, "O"), (4, 6, "place")]
    assert masks.spans(1) == [(0, 3, "O")]
    ignored = Masks(bio, masks.values, masks.offsets, np.arange(9) != 1)
    assert ignored.spans(0)[0] == (0, 1, "name")


@pytest.mark.parametrize(
    ("make", "says", "row"),
    [
        (lambda: Hard(AB, [0, 2]), "must lie in 0..1", 1),
        (lambda: Hard(AB, [0, -1]), "never -1", 1),
        (lambda: Hard(AB, [0.0, 1.0]), "integer codes", None),
        (lambda: Hard(AB, [[0]]), "1 dimension", None),
        (lambda: Hard(AB, [0, 1], [1, 0]), "booleans", None),
        (lambda: Hard(AB, [0, 1], [True]), "expected (2,)", None),
        (lambda: Hard(TAGS, [0]), "kind", None),
        (lambda: Hard(AB, [2**32]), "must lie in", 0),
        (lambda: Hard.from_values(["a", None, "z"], AB), "Unknown class 'z'", 2),
        (lambda: Soft(AB, [[0.5, 0.5], [0.5, 0.4]]), "sum to 1 in each row, got 0.9", 1),
        (lambda: Soft(AB, [[0.5, 0.5], [1.5, -0.5]]), "negative", 1),
        (lambda: Soft(AB, [[0.5, 0.5], [np.nan, 1]]), "numbers", 1),
        (lambda: Soft(AB, [[np.inf, 0]]), "got inf", 0),
        (lambda: Soft(AB, [[0.5, 0.3, 0.2]]), "(n, 2)", None),
        (lambda: Soft(AB, [["a", "b"]]), "must be numbers", None),
        (lambda: Soft.normalized(AB, [[1, 1], [0, 0]]), "sum to 1", 1),
        (lambda: Votes.from_long(["t"], ["x", "y"], ["a"]), "one length", None),
        (lambda: Votes.from_long(["t", None], ["x", "y"], ["a", "a"]), "id is missing", 1),
        (lambda: Votes(AB, [0, 1], [0, 0], [0, 5], [1, 2], [1]), "Votes must lie", 1),
        (lambda: Votes(AB, [0, 2], [0, 0], [0, 0], [1, 2], [1]), "Task codes", 1),
        (lambda: Votes(AB, [0], [0], [0], ["t", "u", "t"], [1]), "'t' comes twice", 2),
        (lambda: Votes(AB, [0], [0], [0], [1], [1], weight=[-1.0]), "negative", 0),
        (lambda: Votes(AB, [0], [0], [0], [1], [1], cost=[1, 2]), "'cost'", None),
        (lambda: Tags(TAGS, [[0, 1], [0, 2]]), "must lie in 0..1", 1),
        (lambda: Tags(AB, [[0, 1]]), "'multilabel'", None),
        (lambda: Tags(TAGS, [[1, 0], [0, 1]], [[True, False], [True, True]], True), "exactly the ones", 1),
        (lambda: Tags.from_lists([["red"], ["blue"]], TAGS), "Unknown tag 'blue'", 1),
        (lambda: Candidates(AB, [0, 1, 1], [0]), "must not be empty", 1),
        (lambda: Candidates(AB, [0, 1, 3], [0, 1, 1]), "rise and differ", 1),
        (lambda: Candidates(AB, [0, 2], [0]), "from 0 to 1", None),
        (lambda: Candidates(AB, [0, 2, 1, 3], [0, 1, 0]), "not fall", 1),
        (lambda: Proportions(AB, 3, [0, 2], [0, 1], [[1, 2]]), "add up to 3", 0),
        (lambda: Proportions(AB, 3, [0, 2], [0, 1]), "either counts or shares", None),
        (lambda: Proportions(AB, 3, [0, 1, 2], [0, 0], [[1, 0], [1, 0]]), "one bag only", 0),
        (lambda: Proportions(AB, 3, [0, 1], [0], shares=[[0.5, 0.4]]), "add up to 1", 0),
        (lambda: Censored.exact([1.0, -2.0]), "negative", 1),
        (lambda: Censored(REAL, [0.0, 3.0], [1.0, 2.0]), "above its upper", 1),
        (lambda: Censored.exact([1.0, np.nan]), "must be finite", 1),
        (lambda: Censored.from_time_event([1.0], [1]), "booleans", None),
        (lambda: Censored(REAL, [0.0], [1.0]).time, "has no time", 0),
        (lambda: Preferences(2, [0, 1], [1, 1], [A, A]), "with itself", 1),
        (lambda: Preferences(2, [0], [1], [3]), "Winners", 0),
        (lambda: Preferences(2, [0], [1], [A], [-1.0]), "negative", 0),
        (lambda: Masks.from_spans(AB, [2, 2], [[], [(1, 3, "a")]]), "leaves its row", 1),
        (lambda: Masks.from_spans(AB, [3], [[(0, 2, "a"), (1, 3, "b")]]), "overlaps", 0),
        (lambda: Security(DOORS, [0], [0], [4]), "Category bits", 0),
        (lambda: Source(""), "needs a name", None),
        (lambda: Source("x", accuracy=1.5), "0..1", None),
        (lambda: Item("p", Granularity.PAIR, ("a",)), "two items", None),
    ],
)
def test_errors_name_the_first_offending_row(make, says, row):
    with pytest.raises(InputError) as caught:
        make()
    assert says in str(caught.value)
    assert caught.value.row == row


def test_only_a_trusted_source_makes_gold_and_never_by_computing():
    crowd, expert = Source("crowd"), Source("expert", SourceKind.HUMAN, trusted=True)
    say = {"item": "1", "space": AB.fingerprint, "value": "a"}
    assert not Observation(source=expert, **say).gold
    assert Observation(source=expert, gold=True, **say).gold
    for source, more in ((crowd, {}), (expert, {"method": "majority"}), (expert, {"derived_from": ("7",)})):
        with pytest.raises(InputError, match="gold"):
            Observation(source=source, gold=True, **say, **more)


@st.composite
def security(draw, n=4):
    column = lambda high: np.array(draw(st.lists(st.integers(0, high), min_size=n, max_size=n)))  # noqa: E731
    return Security(DOORS, column(3), column(3), column(3))


@given(security(), security(), security())
def test_the_security_join_is_a_least_upper_bound(a, b, c):
    assert join_security(a, a) == a
    assert join_security(a, b) == join_security(b, a)
    assert join_security(join_security(a, b), c) == join_security(a, join_security(b, c))
    ab = join_security(a, b)
    assert a.below(ab).all()
    assert b.below(ab).all()
    upper = a.below(c) & b.below(c)
    assert ab.below(c)[upper].all()  # least
    grown = a.below(b)
    assert join_security(a, c).below(join_security(b, c))[grown].all()  # monotone


def test_only_a_trusted_source_declassifies():
    secret, open_ = Security(DOORS, [3], [0], [3]), Security(DOORS, [0], [0], [0])
    assert declassify(secret, open_, by=Source("officer", trusted=True)) == open_
    assert declassify(open_, secret, by=Source("anyone")) == secret  # upwards is free
    with pytest.raises(InputError, match="may not lower"):
        declassify(secret, open_, by=Source("anyone"))
