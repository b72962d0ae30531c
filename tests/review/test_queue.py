import threading
from contextlib import closing

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.review.reviewed import decide, make_results, open_store, queue_over

from assay.audit.error_rate import draw
from assay.errors import InputError
from assay.labels.verdicts import Verdict
from assay.review.board import Board
from assay.review.project import Project
from assay.review.queue import Queue, RowDecided
from assay.review.store import Decision
from assay.review.teaching import Teacher


@pytest.fixture(scope="module")
def herd(tmp_path_factory) -> Project:
    return Project.open(make_results(tmp_path_factory.mktemp("herd"))[0])


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Project:
    return Project.open(make_results(tmp_path_factory.mktemp("few"), n=12, rate=0.3)[0])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


# The order ----------------------------------------------------------------------------------------------------------


def test_without_random_looks_the_likeliest_errors_come_first(herd, path):
    with queue_over(herd, path, random=0, double=0) as queue:
        queue.settle()
        order = [each["row"] for each in queue.upcoming(0, 5)]
        held = []
        for _ in range(5):
            held.append(queue.next("ann", held).row)
        assert held == order
        chances = [each["p_wrong"] for each in queue.upcoming(0, 1_000)]
        assert chances == sorted(chances, reverse=True)
        assert len(chances) == herd.n_rows
        assert [each["row"] for each in queue.upcoming(3, 2)] == order[3:5]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_chosen_share_of_looks_is_the_random_audit_in_its_order(herd, path, share):
    drawn = []
    with queue_over(herd, path, random=share, double=0) as queue:
        queue.settle()
        for at in range(20):
            task = queue.next("ann")
            drawn += [task.row] * (task.why == "random")
            assert (task.sampled == "random") == (task.why == "random")
            assert len(drawn) in (int(share * (at + 1)), int(np.ceil(share * (at + 1))))
            decide(queue, task, "ann", "suggested")  # so that looks stay worth something
        flagged = np.asarray(herd.flagged)
        order = draw(flagged, herd.p_wrong, herd.n_rows)
    for stratum in (True, False):  # the order within a stratum is fixed; rows that were picked before are passed over
        ours = [row for row in drawn if flagged[row] == stratum]
        theirs = [row for row in order if flagged[row] == stratum]
        assert [row for row in theirs if row in ours] == ours


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_where_no_look_helps_looks_measure(herd, path, share):
    with queue_over(herd, path, random=share, double=0) as queue:
        queue.settle()
        suspects = np.flatnonzero(herd.p_wrong > 0.04)
        whys = []
        held = suspects.tolist()
        for _ in range(10):
            task = queue.next("ann", held)
            assert task.value < 0
            whys.append(task.why)
            held.append(task.row)
        assert set(whys) == {"random" if share else "flagged"}


def test_several_reviewers_never_hold_the_same_row(herd, path):
    with queue_over(herd, path) as queue:
        tasks = [queue.next(name) for name in ("ann", "ben", "cem", "dan")]
        assert len({task.row for task in tasks}) == 4
        assert queue.next("ann").row == tasks[0].row, "a page that was closed gets its row again"
        other = queue.next("ann", [tasks[0].row])
        assert other.row not in {task.row for task in tasks}
        queue.release("ann")
        assert queue.next("eva", [10**9, -1]).row in {tasks[0].row, other.row}, "rows given back go to others"


def test_a_skipped_row_is_for_others_and_counts_for_nothing(herd, path):
    with queue_over(herd, path, random=0, double=0) as queue:
        queue.settle()
        task = queue.next("ann")
        decide(queue, task, "ann", "skip")
        assert queue.next("ann").row != task.row
        assert queue.next("ben").row == task.row
        assert queue.progress()["reviewed"] == 0
        assert queue.progress()["undecided"] == 1
        decide(queue, task, "ben")
        assert (queue.progress()["reviewed"], queue.progress()["undecided"]) == (1, 0)


# Second looks and disputes ------------------------------------------------------------------------------------------


def test_every_chosen_row_is_seen_by_a_second_person_who_knows_nothing(few, path):
    with queue_over(few, path, double=1) as queue:
        first = {}
        while task := queue.next("ann"):
            assert (task.role, task.seen) == ("first", [])
            first[task.row] = decide(queue, task, "ann", "given")
        assert set(first) == set(range(12))
        assert queue.next("ann") is None, "nobody checks himself"
        second = []
        while task := queue.next("ben"):
            assert (task.role, task.why, task.seen) == ("second", "second", [])
            second.append(task.row)
            decide(queue, task, "ben", "both")
        assert sorted(second) == list(range(12))
        queue.settle()
        said = queue.progress()
        assert (said["agreement"]["pairs"], said["agreement"]["share"], said["disputes"]) == (12, 1, 0)


def test_the_share_of_second_looks_is_chosen_by_row_alone():
    board = Board(np.ones(20_000, bool), lambda row: None, 0.1, seed=3)
    chosen = [row for row in range(20_000) if board.chosen(row)]
    assert 0.09 < len(chosen) / 20_000 < 0.11
    assert chosen == [row for row in range(20_000) if Board(board.open, board.suggested, 0.1, 3).chosen(row)]
    assert chosen != [row for row in range(20_000) if Board(board.open, board.suggested, 0.1, 4).chosen(row)]


def disagree(queue, verdicts=("given", "suggested")):
    task = queue.next("ann")
    decide(queue, task, "ann", verdicts[0])
    other = queue.next("ben", [each for each in range(12) if each != task.row])
    assert (other.row, other.role) == (task.row, "second")
    decide(queue, other, "ben", verdicts[1])
    return task.row


def test_a_third_person_decides_a_dispute_and_sees_both(few, path):
    with queue_over(few, path, double=1) as queue:
        row = disagree(queue)
        rest = [each for each in range(12) if each != row]
        assert queue.progress()["disputes"] == 1
        queue.next("cem", range(12))  # a third person is here
        assert queue.next("ann", rest) is None
        assert queue.next("ben", rest) is None
        task = queue.next("cem", rest)
        assert (task.row, task.role, task.why) == (row, "adjudication", "dispute")
        assert [(each["reviewer"], each["verdict"]) for each in task.seen] == [("ann", "given"), ("ben", "suggested")]
        decide(queue, task, "cem", "suggested")
        assert queue.progress()["disputes"] == 0
        assert queue.progress()["wrong"] == 1
        assert queue.next("cem", rest) is None


def test_where_only_two_review_either_decides(few, path):
    with queue_over(few, path, double=1) as queue:
        row = disagree(queue)
        task = queue.next("ann", [each for each in range(12) if each != row])
        assert (task.row, task.role, len(task.seen)) == (row, "adjudication", 2)
        decide(queue, task, "ann", "suggested")
        assert queue.progress()["wrong"] == 1
        again = queue.undo("ann")
        assert (again.row, again.role) == (row, "adjudication")
        assert queue.progress()["disputes"] == 1


def test_two_wrong_labels_that_differ_are_a_dispute_about_the_label_alone(few, path):
    with queue_over(few, path, double=1) as queue:
        row = disagree(queue, ("suggested", "neither"))
        assert queue.progress()["disputes"] == 1
        assert queue.progress()["wrong"] == 1
        assert queue.store.ledger.current()[row] == few.given_name(row), "as given until somebody decides"


def test_an_unlikely_verdict_gets_a_second_look_that_does_not_count_for_agreement(herd, path):
    with queue_over(herd, path, double=1e-9, random=0) as queue:
        queue.settle()
        rows = np.argsort(herd.p_wrong)
        for row in rows[:20]:  # the likeliest to be right
            queue.record(Decision(int(row), "ann", Verdict.GIVEN, key=f"right {row}"))
        odd = int(rows[20])
        queue.record(Decision(odd, "ann", Verdict.SUGGESTED, key="odd"))
        queue.settle()
        others = [row for row in range(herd.n_rows) if herd.p_wrong[row] > 0.02]
        task = queue.next("ben", others)
        assert (task.row, task.role) == (odd, "second")
        assert task.value > 0.3
        decide(queue, task, "ben", "given")
        queue.settle()
        assert queue.progress()["agreement"] is None
        assert queue.progress()["disputes"] == 1
        assert queue.next("cem", others).role == "adjudication"


# Recording ----------------------------------------------------------------------------------------------------------


def test_the_same_key_is_one_decision_and_a_decided_row_takes_no_more(few, path):
    with queue_over(few, path, double=0) as queue:
        task = queue.next("ann")
        first = decide(queue, task, "ann", key="k")
        assert decide(queue, task, "ann", key="k").event == first.event
        with pytest.raises(RowDecided, match="undo"):
            decide(queue, task, "ann", "suggested")
        # A late verdict by somebody else is a blind second look; after that the row is done.
        assert decide(queue, task, "ben").event > first.event
        assert queue.store.decisions()[-1].role == "second"
        with pytest.raises(RowDecided):
            decide(queue, task, "cem")
        assert queue.progress()["reviewed"] == 1
        with pytest.raises(InputError):
            queue.record(Decision(99, "ann", Verdict.GIVEN))
        with pytest.raises(InputError, match=r"0\.\.1"):
            Queue(few, queue.store, double=2)


def test_undo_gives_the_row_back(few, path):
    with queue_over(few, path, double=0) as queue:
        assert queue.undo("ann") is None
        task = queue.next("ann")
        decide(queue, task, "ann", "suggested")
        assert queue.progress()["wrong"] == 1
        again = queue.undo("ann")
        assert (again.row, again.role, again.why) == (task.row, "first", task.why)
        assert queue.progress()["reviewed"] == 0
        decide(queue, again, "ann")
        assert queue.progress()["wrong"] == 0


def test_an_undo_while_the_background_reads_is_not_forgotten(few, path, monkeypatch):
    """The background has read the decision that is then taken back, and must not bring it back."""
    with queue_over(few, path, double=0) as queue:
        queue.settle()
        read, undone, learned = threading.Event(), threading.Event(), []
        decisions, learn = queue.store.decisions, Teacher.learn

        def slow(above=0):
            found = decisions(above)
            if threading.current_thread().name == "review-ranking":
                read.set()
                undone.wait(10)
            return found

        def noted(self, judged):
            learned.append(set(judged))
            learn(self, judged)

        monkeypatch.setattr(queue.store, "decisions", slow)
        monkeypatch.setattr(Teacher, "learn", noted)
        task = queue.next("ann")
        decide(queue, task, "ann")
        assert read.wait(10)
        assert queue.undo("ann").row == task.row
        undone.set()
        queue.settle()
        assert not any(learned), "nothing is decided any more"
        assert decide(queue, task, "ann").event


def test_when_rows_run_out_there_is_nothing_and_progress_says_so(few, path):
    with queue_over(few, path, double=0) as queue:
        while task := queue.next("ann"):
            decide(queue, task, "ann")
        queue.settle()
        said = queue.progress()
        assert (said["left"], said["reviewed"], said["stop"]["reached"]) == (0, 12, True)
        assert said["stop"]["sentence"] == "All rows have been looked at."
        assert queue.next("ben") is None


# Several processes --------------------------------------------------------------------------------------------------


def test_two_processes_on_one_ledger_share_the_rows(herd, path):
    """Two queues with stores of their own know of each other through the ledger alone."""
    with queue_over(herd, path) as here, queue_over(herd, path) as there:
        one, two = here.next("ann"), there.next("ben")
        assert one.row != two.row
        decide(here, one, "ann", "suggested")
        assert there.next("ben", [two.row]).row != one.row
        assert there.progress()["reviewed"] == 1
        here.undo("ann")
        here.release("ann")
        there.next("ben", [two.row])
        there.settle()
        assert there.progress()["reviewed"] == 0, "what another process took back is taken back here"


def test_a_restart_knows_everything(few, path):
    with queue_over(few, path, double=1) as queue:
        row = disagree(queue)
        decide(queue, queue.next("ann", [row]), "ann", "skip")
        queue.settle()
        before = queue.progress()
    with queue_over(few, path, double=1) as queue:
        queue.settle()
        after = queue.progress()
        assert before.pop("teaching") is None or after.pop("teaching")
        after.pop("teaching", None)
        assert before == after
        assert queue.next("ann", [each for each in range(12) if each != row]).role == "adjudication"


def test_eight_threads_review_everything_once(herd, path):
    with queue_over(herd, path, double=0.2) as queue:
        seen: list[tuple[int, str, str]] = []

        def work(name):
            while (task := queue.next(name)) is not None:
                seen.append((task.row, task.role, name))
                decide(queue, task, name, "suggested" if task.row % 3 == 0 else "given")

        threads = [threading.Thread(target=work, args=(f"r{at}",)) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        firsts = sorted(row for row, role, _ in seen if role == "first")
        assert firsts == list(range(herd.n_rows))
        twice = {row for row, role, _ in seen if role == "second"}
        assert twice >= {row for row in range(herd.n_rows) if queue._board.chosen(row)}
        assert len(seen) == len({(row, role) for row, role, _ in seen})
        assert queue.progress()["disputes"] == 0


# Any interleaving ---------------------------------------------------------------------------------------------------

NAMES = ("ann", "ben", "cem")
STEPS = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(["look", "look", "look", "hold", "undo", "skip", "release"]),
    st.sampled_from(["given", "suggested", "neither"]),
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=20, max_size=45), st.sampled_from([0.0, 0.5, 1.0]))
def test_any_interleaving_keeps_the_rules(few, tmp_path_factory, steps, double):
    with queue_over(few, tmp_path_factory.mktemp("any") / "ledger.db", double=double) as queue:
        held: dict[int, str] = {}
        for name, step, verdict in steps:
            if step == "release":
                queue.release(name)
                held = {row: who for row, who in held.items() if who != name}
                continue
            if step == "undo":
                task = queue.undo(name)
            else:
                task = queue.next(name, [row for row, who in held.items() if who == name])
            if task is None:
                continue
            assert held.get(task.row, name) == name, "no row is leased to two people"
            said = [each for each in queue.store.decisions() if each.row == task.row and each.verdict != "skip"]
            blind = [each for each in said if each.role != "adjudication"]
            if task.role == "first":
                assert not said
            elif task.role == "second":
                assert len(said) == 1
                assert said[0].reviewer != name, "nobody is his own second reviewer"
            else:
                assert len({each.verdict for each in blind}) == 2, "an adjudication follows a disagreement"
                assert len(blind) == 2
            assert (len(task.seen) == 2) == (task.role == "adjudication")
            held[task.row] = name
            if step in ("look", "skip"):
                decide(queue, task, name, "skip" if step == "skip" else verdict)
                del held[task.row]
        now = queue.store.decisions()
        for row in range(few.n_rows):
            said = [each for each in now if each.row == row and each.verdict != "skip"]
            blind = [each.reviewer for each in said if each.role != "adjudication"]
            assert len(blind) == len(set(blind)) <= 2
            assert len(said) <= 3
        decided = {each.row for each in now if each.verdict != "skip"}
        said = queue.progress()
        assert said["left"] == few.n_rows - len(decided)
        assert sum(each["n"] for each in said["reviewers"]) == sum(each.verdict != "skip" for each in now)
        with (
            closing(open_store(few, queue.store.ledger.path)) as store,
            closing(Queue(few, store, double=double)) as new,
        ):
            assert new._board.judged == queue._board.judged
            assert new._board.disputes.keys() == queue._board.disputes.keys()
            assert new._board.waiting.keys() == queue._board.waiting.keys()
            assert np.array_equal(new._board.open, queue._board.open)
