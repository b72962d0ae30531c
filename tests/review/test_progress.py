import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from tests.review.reviewed import CLASSES, decide, make_results, queue_over

from assay.audit.error_probability import ErrorProbability
from assay.audit.error_rate import ErrorRate
from assay.evidence.audit import audit
from assay.evidence.audit_options import AuditOptions
from assay.kernels.audit_draw import AuditOrder
from assay.kernels.intervals import wilson
from assay.kernels.strata import Stratum
from assay.labels.recording import ledger_verdicts
from assay.review.board import Outcome
from assay.review.progress import agreement, rate_of, stop
from assay.review.project import Project


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder, wrong = make_results(tmp_path_factory.mktemp("herd"), n=300)
    return Project.open(folder), wrong


def review(queue, wrong, looks, seed=0):
    """Two or three people review with mistakes, skips and undos."""
    rng = np.random.default_rng(seed)
    for at in range(looks):
        name = ("ann", "ben", "cem")[at % 3]
        task = queue.next(name)
        if task is None:
            continue
        said = wrong[task.row] != (rng.random() < 0.15)
        verdict = "skip" if rng.random() < 0.05 else "suggested" if said else "given"
        decide(queue, task, name, verdict)
        if rng.random() < 0.05:
            queue.undo(name)
            queue.release(name)
        if at % 40 == 0:
            queue.settle()
    queue.settle()


@pytest.mark.parametrize("seed", range(3))
def test_the_rate_is_what_an_audit_of_the_same_ledger_says(results, tmp_path, seed):
    """`assay audit` reads the ledger anew, with its own predictions, ranking and draw."""
    project, wrong = results
    path = tmp_path / "ledger.db"
    with queue_over(project, path, double=0.3) as queue:
        review(queue, wrong, 150, seed)
        said = queue.progress()
        known = ledger_verdicts(queue.store.ledger)
        judged = known.wrong()
    source = project.folder.parent / "herd.csv"
    probs = np.array(project.pred_probs)
    found = audit(source, AuditOptions(label="kind", classes=CLASSES), pred_probs=probs, verdicts=known)
    assert said["reviewed"] == len(judged.rows)
    assert said["wrong"] == judged.wrong.sum()
    assert said["undecided"] == len(judged.undecided) > 0
    assert said["rate"]["rate"] == found.rate.rate
    always = ErrorRate(anytime=True).from_counts(found.rate.strata, found.rate.known)
    assert (said["rate"]["low"], said["rate"]["high"]) == (always.low, always.high)
    assert said["rate"]["low"] <= found.rate.low <= found.rate.rate <= found.rate.high <= said["rate"]["high"]
    sign = ErrorRate().stop_sign(found.rate, 0.01)
    assert said["stop"] == {"reached": sign.reached, "sentence": sign.sentence, "more_reviews": sign.more_reviews}


def test_progress_is_json_at_every_moment(results, tmp_path):
    project, wrong = results
    with queue_over(project, tmp_path / "ledger.db", double=0.5) as queue:
        for looks in (0, 1, 30):
            review(queue, wrong, looks)
            said = json.loads(json.dumps(queue.progress(), allow_nan=False))
            assert said["rows"] == 300
            assert said["stop"]["sentence"].startswith("Review ")
        assert said["version"] == queue.store.version()
        assert {each["name"] for each in said["reviewers"]} == {"ann", "ben", "cem"}


def test_the_stop_sign_is_reached_when_the_rest_is_clean(results, tmp_path):
    project, wrong = results
    with queue_over(project, tmp_path / "ledger.db", double=0, target=0.05) as queue:
        looks = 0
        while not queue.progress()["stop"]["reached"]:
            for _ in range(10):
                task = queue.next("ann")
                decide(queue, task, "ann", "suggested" if wrong[task.row] else "given")
                looks += 1
            queue.settle()
        assert looks < project.n_rows
        left = wrong.sum() - queue.progress()["wrong"]
        assert left / project.n_rows < 0.05
        assert queue.progress()["stop"]["more_reviews"] == 0


# Agreement ----------------------------------------------------------------------------------------------------------

RIGHT, COW, ELK, NEITHER = Outcome(False, None), Outcome(True, "cow"), Outcome(True, "elk"), Outcome(True, None)


def test_kappa_equals_scikit_learn():
    rng = np.random.default_rng(0)
    kinds = [RIGHT, COW, ELK, NEITHER]
    one = rng.choice(4, 200, p=[0.6, 0.2, 0.1, 0.1])
    two = np.where(rng.random(200) < 0.7, one, rng.choice(4, 200))
    said = agreement([(kinds[a], kinds[b]) for a, b in zip(one, two, strict=True)])
    assert np.isclose(said["kappa"], cohen_kappa_score(one, two))
    assert said["share"] == np.mean(one == two)
    low, high = wilson(np.sum(one == two), 200)
    assert (said["low"], said["high"]) == (low, high)


def test_agreement_in_the_limits():
    assert agreement([]) is None
    assert agreement([(RIGHT, RIGHT)] * 5)["kappa"] is None
    assert agreement([(RIGHT, RIGHT), (COW, COW)])["kappa"] == 1
    assert agreement([(RIGHT, COW), (COW, RIGHT)])["kappa"] == -1


# Rows that nobody can judge -----------------------------------------------------------------------------------------


def test_a_skipped_row_does_not_stop_the_random_audit():
    """The first row of the draw cannot be judged: the rate is that of the others, and goes on with every review."""
    rng = np.random.default_rng(0)
    flagged, wrong = rng.random(1_000) < 0.1, rng.random(1_000) < 0.2
    order = AuditOrder(flagged, rng.random(1_000), 0)
    drawn = order.next(np.ones(1_000, bool), [0.3, 0.1], 101)
    judged = {int(row): bool(wrong[row]) for row in drawn[1:]}
    stuck, free = rate_of(order, judged, []), rate_of(order, judged, [int(drawn[0])])
    assert free.n_reviewed == 100 > stuck.n_reviewed
    assert free.n_rows == 999
    assert free.high - free.low < stuck.high - stuck.low
    assert abs(free.rate - wrong.mean()) < 0.1


def test_the_prior_that_ranks_the_census_is_the_audits_own(results):
    project, _ = results
    again = ErrorProbability().fit(np.array(project.pred_probs), project.given)
    assert np.allclose(again.prior_, project.p_wrong, atol=1e-6)


def test_a_sign_that_says_stop_says_how_far_verdicts_are_from_the_truth():
    sure = ErrorRate(anytime=True).from_counts((Stratum(10, 10, 9), Stratum(2_000, 1_500, 0)))
    right, wrong = Outcome(False, None), Outcome(True, "b")
    assert stop(sure, 0.01, 490, 0)["sentence"].endswith("taken for the truth: no row was seen twice.")
    told = stop(sure, 0.01, 490, 0, [(right, right), (right, wrong), (wrong, wrong)])
    assert told["reached"]
    assert told["sentence"].endswith("two reviewers contradicted each other on 1 of 3 rows.")
