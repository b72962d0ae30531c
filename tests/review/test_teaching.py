import time
from types import SimpleNamespace

import numpy as np
import pytest
from tests.review.reviewed import decide, make_results, queue_over

from assay.audit.error_probability import ErrorProbability
from assay.kernels.calibration import nll
from assay.review.project import Project
from assay.review.teaching import FIRST_ROUND, Teacher


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder, wrong = make_results(tmp_path_factory.mktemp("herd"), n=400)
    return Project.open(folder), wrong


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def verdicts(wrong, rows):
    return {int(row): bool(wrong[row]) for row in rows}


# By hand ------------------------------------------------------------------------------------------------------------


def test_what_is_learned_equals_one_fit_on_all_verdicts(results):
    project, wrong = results
    teacher = Teacher(project)
    rows = np.argsort(-teacher.prior)[:60]
    for upto in (5, 23, 60):
        teacher.learn(verdicts(wrong, rows[:upto]))
    once = ErrorProbability().fit(project.pred_probs, project.given, rows, wrong[rows], mask=project.present)
    assert np.allclose(teacher.p_wrong, once.p_wrong_)
    assert np.allclose(teacher.low, once.low_)
    assert np.allclose(teacher.high, once.high_)
    assert np.array_equal(teacher.prior, once.prior_)


def test_every_verdict_is_predicted_by_a_model_that_has_not_seen_it(results):
    """In a plain loop: rounds of ten, ten, twenty, each predicted from all before."""
    project, wrong = results
    teacher = Teacher(project)
    rows = np.argsort(-teacher.prior)[:40]
    teacher.learn(verdicts(wrong, rows))
    expected = []
    for begin, end in ((0, 10), (10, 20), (20, 40)):
        before = ErrorProbability().fit(project.pred_probs, project.given, rows[:begin], wrong[rows[:begin]])
        expected += before.p_wrong_[rows[begin:end]].tolist()
    assert FIRST_ROUND == 10
    assert np.allclose([teacher.predicted[int(row)] for row in rows], expected)
    said = teacher.report(verdicts(wrong, rows))
    assert said["n_verdicts"] == 40
    assert np.isclose(said["log_loss_before"], nll(teacher.prior[rows], wrong[rows]))
    assert np.isclose(said["log_loss_after"], nll(expected, wrong[rows]))


def test_a_verdict_taken_back_is_forgotten(results):
    project, wrong = results
    teacher = Teacher(project)
    rows = np.arange(30)
    teacher.learn(verdicts(wrong, rows[:10]))
    first = teacher.p_wrong
    teacher.learn(verdicts(wrong, rows))
    assert not np.allclose(teacher.p_wrong, first)
    teacher.learn(verdicts(wrong, rows[:10]))
    assert np.allclose(teacher.p_wrong, first)
    assert set(teacher.predicted) == set(range(10))
    teacher.learn({})
    assert np.array_equal(teacher.p_wrong, teacher.prior)
    assert teacher.report({}) is None


# Limits -------------------------------------------------------------------------------------------------------------


def test_without_probabilities_the_chance_alone_is_recalibrated():
    """A belief that is over-sure by a factor of two in logits: verdicts find out."""
    rng = np.random.default_rng(0)
    logit = rng.normal(-2, 2, 4_000)
    wrong = rng.random(4_000) < 1 / (1 + np.exp(-logit / 2))
    p = (1 / (1 + np.exp(-logit))).astype(np.float32)
    present = np.ones(4_000, bool)
    present[:5] = False
    project = SimpleNamespace(
        verb="aggregate", pred_probs=None, p_wrong=p, present=present, given=np.zeros(4_000, np.int32)
    )
    teacher = Teacher(project)
    assert np.allclose(teacher.prior[5:], p[5:], atol=1e-4)
    assert np.isnan(teacher.prior[:5]).all()
    rows = np.arange(5, 1_000)
    teacher.learn(verdicts(wrong, rows))
    rest = np.arange(1_000, 4_000)
    best = nll(1 / (1 + np.exp(-logit[rest] / 2)), wrong[rest])
    assert nll(teacher.p_wrong[rest], wrong[rest]) < best + 0.005 < nll(p[rest], wrong[rest])


def test_the_queue_learns_in_the_background_and_ranks_anew(results, path):
    """The verdicts say that one class is all right: its rows sink."""
    project, _ = results
    with queue_over(project, path, random=0, double=0) as queue:
        queue.settle()
        before = queue.upcoming(0, 1_000)
        for _ in range(40):
            task = queue.next("ann")
            decide(queue, task, "ann", "given" if task.given == "bee" else "suggested")
        assert queue.settle()
        after = queue.upcoming(0, 1_000)
        rank = {each["row"]: place for place, each in enumerate(before)}
        bees = [(rank[each["row"]], place) for place, each in enumerate(after) if each["given"] == "bee"]
        assert np.mean([now - then for then, now in bees]) > 0
        said = queue.progress()["teaching"]
        assert said["n_verdicts"] == 40
        assert said["log_loss_after"] < said["log_loss_before"]


def test_next_does_not_wait_for_the_teacher(results, path, monkeypatch):
    project, _ = results
    learn = Teacher.learn

    def slow(self, judged):
        time.sleep(0.5)
        learn(self, judged)

    monkeypatch.setattr(Teacher, "learn", slow)
    with queue_over(project, path, double=0) as queue:
        begun = time.monotonic()
        for _ in range(5):
            decide(queue, queue.next("ann"), "ann")
        assert time.monotonic() - begun < 0.4
        assert queue.settle()
        assert queue.progress()["teaching"]["n_verdicts"] == 5


def test_what_fails_in_the_background_is_said_and_the_review_goes_on(results, path, monkeypatch):
    project, _ = results
    with queue_over(project, path, double=0) as queue:
        queue.settle()
        with monkeypatch.context() as broken:
            broken.setattr(Teacher, "learn", lambda self, judged: 1 / 0)
            decide(queue, queue.next("ann"), "ann")
            with pytest.raises(ZeroDivisionError):
                queue.settle()
            decide(queue, queue.next("ann"), "ann")
        decide(queue, queue.next("ann"), "ann")
        assert queue.settle()
        assert queue.progress()["teaching"]["n_verdicts"] == 3
