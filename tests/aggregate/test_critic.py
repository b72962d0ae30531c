"""The critic: verdict table, tournament, gates, routes, and what its verdicts become."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.aggregate.bradley_terry import BradleyTerry
from assay.aggregate.critic import LabelCritic
from assay.errors import InputError
from assay.kernels.dual_verdicts import copeland, dual_accuracy, dual_coverage, dual_verdict, error_of_coverage
from assay.labels import Space
from assay.labels.ledger import Event, Ledger
from assay.labels.preferences import Preferences
from assay.training.judges import BAD, FIRST, GOOD, NO, SECOND, UNSURE, YES, Answer, Candidate, Case


class Scripted:
    """Says what a table says for a pair of values, in the order shown; counts what it is asked."""

    name = "scripted"
    price = 0.5

    def __init__(self, compare=None, check=GOOD, present=UNSURE):
        self.said, self.checks, self.there, self.asked = compare or {}, check, present, []

    def compare(self, case: Case, first: Candidate, second: Candidate) -> Answer:
        self.asked.append(("compare", case.row))
        said = self.said(first.value, second.value) if callable(self.said) else self.said[first.value, second.value]
        if isinstance(said, Exception):
            raise said
        return Answer(said, f"{first.value} or {second.value}")

    def check(self, case: Case, candidate: Candidate) -> Answer:
        self.asked.append(("check", case.row))
        return Answer(self.checks(candidate.value) if callable(self.checks) else self.checks)

    def present(self, case: Case) -> Answer:
        self.asked.append(("present", case.row))
        return Answer(self.there)


class Flipping:
    """Knows the truth (larger is better); errs with chance `e`, and with chance `b` names the first place unseen."""

    name = "flipping"
    price = 0.0

    def __init__(self, e: float, b: float = 0.0, seed: int = 0):
        self.e, self.b, self.rng = e, b, np.random.default_rng(seed)

    def compare(self, case: Case, first: Candidate, second: Candidate) -> Answer:
        if self.rng.random() < self.b:
            return Answer(FIRST)
        right = float(first.value) > float(second.value)
        return Answer(FIRST if right ^ (self.rng.random() < self.e) else SECOND)

    def check(self, case: Case, candidate: Candidate) -> Answer:
        return Answer(GOOD)

    def present(self, case: Case) -> Answer:
        return Answer(UNSURE)


def larger(a, b):
    return FIRST if float(a) > float(b) else SECOND


# By hand

TABLE = {  # answers in the first order and swapped -> verdict by default and when conservative
    (1, 2): (1, 1),
    (2, 1): (2, 2),
    (1, 1): (0, 0),
    (2, 2): (0, 0),
    (1, 0): (1, 0),
    (2, 0): (2, 0),
    (0, 1): (2, 0),
    (0, 2): (1, 0),
    (0, 0): (0, 0),
}


@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize("answers", TABLE)
def test_verdict_table(answers, conservative):
    expected = TABLE[answers][conservative]
    assert dual_verdict([answers[0]], [answers[1]], conservative).tolist() == [expected]
    judge = Scripted({("p", "q"): answers[0], ("q", "p"): answers[1]})
    critic = LabelCritic(judge, conservative=conservative).fit({"a": ["p"], "b": ["q"]}, kind="class")
    assert critic.choice_.tolist() == [expected - 1]
    assert critic.route_.tolist() == ["adopt" if expected else "review"]


@pytest.mark.parametrize("conservative", [False, True])
def test_swapping_the_sources_flips_every_confident_verdict(conservative):
    pairs = list(itertools.product((0, 1, 2), repeat=2))
    for one, two in pairs:
        judge = Scripted({("p", "q"): one, ("q", "p"): two})
        straight = LabelCritic(judge, conservative).fit({"a": ["p"], "b": ["q"]}, kind="class")
        crossed = LabelCritic(judge, conservative).fit({"a": ["q"], "b": ["p"]}, kind="class")
        assert straight.chosen() == crossed.chosen()
        assert straight.route_.tolist() == crossed.route_.tolist()


def test_equal_labels_are_not_compared_and_both_bad_is_not_crowned():
    judge = Scripted(larger, check=lambda value: BAD if float(value) < 5 else GOOD)
    critic = LabelCritic(judge).fit({"a": ["7", "1", "3"], "b": ["7", "2", "9"]}, kind="text")
    assert judge.asked.count(("compare", 0)) == 0
    assert critic.reason_.tolist() == ["equal", "compared", "compared"]
    assert critic.chosen() == ["7", "2", "9"]
    assert critic.route_.tolist() == ["adopt", "edit", "adopt"]  # row 1: 2 is better than 1, and still bad


def test_an_unsure_check_goes_to_a_person():
    critic = LabelCritic(Scripted(larger, check=UNSURE)).fit({"a": ["1"], "b": ["2"]}, kind="text")
    assert (critic.choice_.tolist(), critic.route_.tolist()) == ([1], ["review"])


def test_dice_gate_and_empty_masks():
    full, half, none = np.ones((4, 4)), np.ones((4, 4)), np.zeros((4, 4))
    half[:2] = 0
    judge = Scripted(lambda a, b: FIRST if a.sum() > b.sum() else SECOND, present=YES)
    labels = {"a": [full, full, none, none], "b": [half, none, none, full]}
    critic = LabelCritic(judge, alike=0.6).fit(labels, kind="mask")
    assert critic.reason_.tolist() == ["alike", "compared", "equal", "compared"]  # Dice of row 0 is 2/3
    assert critic.choice_.tolist() == [0, 0, 0, 1]
    assert LabelCritic(judge, alike=0.7).fit(labels, kind="mask").reason_[0] == "compared"


def test_what_is_absent_is_best_labelled_by_nothing():
    full, spot, none = np.ones((3, 3)), np.eye(3), np.zeros((3, 3))
    judge = Scripted(larger, present=NO)
    critic = LabelCritic(judge).fit({"a": [full, full, none, full], "b": [none, spot, none, full]}, kind="mask")
    assert ("compare", 0) not in judge.asked
    assert critic.reason_.tolist() == ["absent", "absent", "equal", "absent"]
    assert critic.choice_.tolist() == [1, -1, 0, 0]
    assert critic.route_.tolist() == ["adopt", "review", "adopt", "edit"]


def test_circles_are_uncertain_and_a_champion_wins():
    beats = {("r", "s"), ("s", "p"), ("p", "r")}
    circle = Scripted(lambda a, b: FIRST if (a, b) in beats else SECOND)
    critic = LabelCritic(circle).fit({"a": ["r"], "b": ["s"], "c": ["p"]}, kind="class")
    assert (critic.choice_.tolist(), critic.reason_.tolist()) == ([-1], ["uncertain"])
    critic = LabelCritic(Scripted(larger)).fit({"a": ["1"], "b": ["3"], "c": ["2"], "d": ["3"]}, kind="text")
    assert critic.chosen() == ["3"]
    assert critic.points_.tolist() == [[0.0, 1.0, 0.5, 1.0]]
    assert len(critic.pairs_["row"]) == 3  # three different labels


def test_order_of_a_full_round_robin_is_that_of_bradley_terry():
    rng = np.random.default_rng(1)
    for _ in range(20):
        said = np.triu(rng.integers(0, 3, (5, 5)), 1)
        a, b = np.triu_indices(5, 1)
        winner = np.array([2, 0, 1])[said[a, b]]
        scores = BradleyTerry().fit(Preferences(5, a, b, winner)).scores_
        points = copeland(said)
        for i, j in itertools.combinations(range(5), 2):
            if points[i] == points[j]:
                assert scores[i] == pytest.approx(scores[j], abs=1e-4)
            else:
                assert (scores[i] > scores[j]) == (points[i] > points[j])


# Limits


def test_a_judge_that_looks_at_the_place_alone_is_never_followed():
    labels = {"a": [str(i) for i in range(200)], "b": [str(i + 1) for i in range(200)]}
    for place in (FIRST, SECOND):
        critic = LabelCritic(Scripted(lambda a, b, place=place: place)).fit(labels, kind="text")
        assert set(critic.reason_) == {"uncertain"}
        assert critic.coverage()["pairs"] == 0
        assert set(critic.route_) == {"review"}


@pytest.mark.parametrize("e", [0.0, 0.1, 0.2, 0.35])
def test_simulated_judges_meet_the_closed_form(e):
    n = 6000
    rng = np.random.default_rng(7)
    a = rng.random(n)
    b = rng.random(n)
    critic = LabelCritic(Flipping(e)).fit({"a": a.astype(str).tolist(), "b": b.astype(str).tolist()}, kind="text")
    confident = critic.choice_ >= 0
    right = critic.choice_[confident] == (b > a)[confident]
    for found, share, count in (
        (confident.mean(), float(dual_coverage(e)), n),
        (right.mean(), float(dual_accuracy(e)), confident.sum()),
    ):
        assert abs(found - share) <= 4 * np.sqrt(share * (1 - share) / count) + 1e-12
    assert error_of_coverage(confident.mean()) == pytest.approx(e, abs=0.03)


def test_a_single_source_is_checked_only():
    judge = Scripted(check=lambda value: GOOD if value == "yes" else BAD)
    critic = LabelCritic(judge).fit({"a": ["yes", "no", None]}, kind="class")
    assert critic.route_.tolist() == ["adopt", "edit", "review"]
    assert critic.reason_.tolist() == ["only", "only", "no label"]
    assert {step for step, _ in judge.asked} == {"check"}


# State: failures, budget, order of rows and threads


def test_failures_and_nonsense_are_unsure_and_counted():
    def answer(a, b):
        return {"x": TimeoutError("slow"), "y": 7, "z": None}.get(a, FIRST if a > b else SECOND)

    critic = LabelCritic(Scripted(answer)).fit(
        {"a": list("xyzc"), "b": list("xyzd")} | {"c": list("bbbb")}, kind="class"
    )
    assert critic.route_.tolist()[:3] == ["adopt", "adopt", "adopt"]  # the other order stands alone
    careful = LabelCritic(Scripted(answer), conservative=True).fit({"a": list("xyz"), "b": list("bbb")}, kind="class")
    assert careful.route_.tolist() == ["review"] * 3
    at = careful.costs_["step"].tolist().index("compare")
    assert careful.costs_["failed"][at] == 3


def test_a_broken_judge_is_left_alone_after_a_while():
    judge = Scripted(lambda a, b: OSError("no route"))
    labels = {"a": ["1"] * 100, "b": ["2"] * 100}
    critic = LabelCritic(judge).fit(labels, kind="text")
    assert len(judge.asked) == 20
    assert set(critic.route_) == {"review"}


def test_budget_is_kept_and_half_asked_rows_are_not_ruled():
    judge = Scripted(larger)
    labels = {"a": ["1", "1", "1"], "b": ["2", "2", "2"], "c": ["3", "3", "3"]}
    critic = LabelCritic(judge, budget=14).fit(labels, kind="text")
    assert len(judge.asked) == 14  # twice six and a check
    assert critic.route_.tolist() == ["adopt", "adopt", "review"]
    assert critic.costs_["cost"].sum() == 7.0
    assert LabelCritic(judge, budget=0).fit(labels, kind="text").route_.tolist() == ["review"] * 3


def test_rows_permuted_and_threads_give_the_same():
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 9, 60).astype(str) for _ in range(2))
    judge = Scripted(larger, check=lambda value: GOOD if int(value) > 4 else BAD)
    plain = LabelCritic(judge).fit({"a": a.tolist(), "b": b.tolist()}, kind="text")
    threads = LabelCritic(judge, n_jobs=4).fit({"a": a.tolist(), "b": b.tolist()}, kind="text")
    order = rng.permutation(60)
    moved = LabelCritic(judge).fit({"a": a[order].tolist(), "b": b[order].tolist()}, kind="text")
    assert plain.chosen() == threads.chosen()
    assert np.array(plain.chosen())[order].tolist() == moved.chosen()
    assert plain.route_[order].tolist() == moved.route_.tolist()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=3, max_size=3), min_size=1, max_size=8))
def test_a_consistent_judge_finds_the_best_whatever_is_missing(rows):
    judge = Scripted(lambda x, y: FIRST if x > y else SECOND)
    critic = LabelCritic(judge).fit({str(at): [row[at] for row in rows] for at in range(3)}, kind="class")
    for row, found in zip(rows, critic.chosen(), strict=True):
        assert found == max((value for value in row if value is not None), default=None)


# What the verdicts become


def test_votes_preferences_and_ledger(tmp_path):
    judge = Scripted(lambda a, b: FIRST if a == "cat" else SECOND if b == "cat" else UNSURE)
    labels = {"a": ["cat", "dog", "dog", "dog"], "b": ["dog", "cat", "eel", "dog"]}
    critic = LabelCritic(judge).fit(labels, kind="class")
    votes = critic.votes(Space(("cat", "dog", "eel")))
    assert votes.worker_ids.tolist() == ["critic:scripted"]
    assert votes.counts().tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert votes.cost.tolist() == [1.5, 1.5, 0.5]  # two comparisons and a check; no comparison where labels are equal
    assert critic.preferences().counts().tolist() == [1, 1, 1]
    events = critic.events()
    assert [(event.row, event.before, event.after) for event in events] == [(1, "dog", "cat")]
    assert events[0].evidence["pairs"][0]["asked"] == [SECOND, "dog or cat"]
    assert (events[0].source_kind, events[0].method) == ("model", "critic")
    with Ledger.open(tmp_path / "ledger.db", create=True) as ledger:
        start = Event("dataset", "assay", "rule", column="a", evidence={"sha256": "0" * 64, "n_rows": 4})
        ledger.append([start, *events])
        assert next(iter(ledger.log(kind="suggestion"))).evidence["pairs"][0]["swapped"] == [FIRST, "cat or dog"]
        assert not ledger.current()  # a suggestion changes nothing


def test_votes_of_masks_name_the_source():
    judge = Scripted(lambda a, b: FIRST if a.sum() > b.sum() else SECOND)
    critic = LabelCritic(judge).fit({"net": [np.eye(3)], "rule": [np.ones((3, 3))]}, kind="mask")
    assert critic.votes().space.names == ("net", "rule")
    assert critic.votes().counts().tolist() == [[0, 1]]


# Errors teach, before anybody is asked


@pytest.mark.parametrize(
    ("labels", "kind", "what"),
    [
        ({"a": ["x"], "b": []}, "class", "one label a row"),
        ({"a": ["x"]}, None, "kind"),
        ({"a": ["x"]}, "colour", "colour"),
        ({"a": [np.full((2, 2), np.nan)]}, "mask", "NaN"),
        ({"a": [np.ones((2, 2))], "b": [np.ones((2, 3))]}, "mask", "one shape"),
        ({"a": ["tag"]}, "tags", "list"),
    ],
)
def test_bad_labels(labels, kind, what):
    judge = Scripted(larger)
    with pytest.raises(InputError, match=what):
        LabelCritic(judge).fit(labels, kind=kind)
    assert not judge.asked


def test_pictures_with_nan_are_refused():
    case = Case(3, "mask", content=np.full((2, 2), np.nan))
    with pytest.raises(InputError, match="row: 3"):
        LabelCritic(Scripted()).fit({"a": [np.ones((2, 2))]}, cases=[case])


# Claim


@pytest.mark.claim
def test_at_equal_minutes_no_labeller_and_no_fusion_is_better():
    """Ellipsoids by three labellers that spoil half of what they label: mean quality up to half of the rows shown."""
    pytest.importorskip("cv2", reason="the bench needs OpenCV: pip install 'assay[bench]'")
    from bench.aggregate import routing
    from bench.aggregate.critic import phantoms

    rows = phantoms(full=True)
    for judge in ("classifier", "rules"):

        def ours(seed, judge=judge):
            return rows.critic(judge, seed)

        _, _, lead, bounds = routing.compare(ours, rows.rivals, rows.unknown_groups, seeds=5, resamples=100)
        assert lead[-1] > 0
        assert judge == "rules" or bounds[0, -1] > 0  # the lead of the rules is within its interval of nothing
