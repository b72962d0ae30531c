"""Every route of a real server on a real project: what it does, and how it says no."""

import csv
import io
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.review.served import CLASSES, Page, make_results, served

from assay.errors import InputError
from assay.labels import ledger_sqlite
from assay.labels.ledger import Ledger
from assay.labels.verdicts import read_verdicts


@pytest.fixture(scope="module")
def pets(tmp_path_factory) -> Path:
    return make_results(tmp_path_factory.mktemp("pets"))


@pytest.fixture
def results(pets, tmp_path) -> Path:
    """A copy of the audited data set that a test may write to."""
    shutil.copytree(pets.parent, tmp_path / "copy")
    return tmp_path / "copy" / pets.name


@pytest.fixture
def site(results):
    with served(results, double=0.0) as (desk, address):
        yield desk, address


def error(answer, status: int) -> str:
    assert answer.status_code == status, answer.text
    (sentence,) = answer.json().values()
    assert "error" in answer.json()
    assert "\n" not in sentence
    return sentence


def test_a_session_begins_without_a_name_and_takes_one(site):
    _, address = site
    with Page(address) as page:
        begun = page.get("/api/session").json()
        assert begun["reviewer"] is None
        assert (begun["title"], begun["verb"], begun["n_rows"]) == ("pets.csv", "audit", 60)
        assert begun["classes"] == list(CLASSES)
        assert begun["verdicts"] == ["given", "suggested", "other", "both", "neither", "skip"]
        assert begun["options"] == {"double": 0.0, "random": 0.3, "target": 0.01}
        assert "Say who" in error(page.get("/api/next"), 400)
        named = page.sent("/api/session", reviewer="  Anna   Lo\u0301pez ").json()
        assert named["reviewer"] == "Anna López"
        assert named["csrf"] != begun["csrf"]
        assert page.get("/api/session").json() == named
        page.headers["X-Assay"] = named["csrf"]
        for name in ("", " ", "x" * 65, "a\u202eb", "a\0b", None, 3, ["a"]):
            error(page.sent("/api/session", reviewer=name), 400)
        lone = page.post(
            "/api/session", content=rb'{"reviewer": "\ud800"}', headers={"content-type": "application/json"}
        )
        error(lone, 400)


def test_from_a_row_to_a_verdict_and_back(site):
    desk, address = site
    with Page(address, "anna") as page:
        task = page.next()
        assert task["role"] == "first"
        assert task["id"] == f"k{task['row']}"
        assert task["content"]["kind"] == "text"
        assert task["content"]["text"] == f"it says {task['row']} times {CLASSES[task['row'] % 3]}"
        assert task["given"] == CLASSES[task["row"] % 3]
        stored = page.decide(task, "suggested", note="=1+1").json()
        assert stored["progress"]["reviewed"] == 1
        event = desk.store.ledger.event(stored["event"])
        assert (event.row, event.source, event.note, event.after) == (task["row"], "anna", "=1+1", task["suggested"])
        (told,) = page.get("/api/history").json()
        shown = (told["row"], told["verdict"], told["note"], told["event"])
        assert shown == (task["row"], "suggested", "=1+1", event.id)
        back = page.sent("/api/undo").json()
        assert back["task"]["row"] == task["row"]
        assert back["progress"]["reviewed"] == 0
        assert page.get("/api/history").json() == []
        assert page.next()["row"] == task["row"], "the row is in the reviewer's hands again"
        assert page.next(task["row"])["row"] != task["row"]


def test_another_label_is_one_of_the_classes(site):
    desk, address = site
    with Page(address, "anna") as page:
        task = page.next()
        other = next(name for name in CLASSES if name not in (task["given"], task["suggested"]))
        for label in (None, "", "bird", 3, task["given"]):
            error(page.decide(task, "other", label=label), 400)
        assert page.decide(task, "other", label=other).status_code == 200
        assert desk.store.ledger.current() == {task["row"]: other}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"row": value} for value in (None, True, -1, 60, 1.5, "x", [1], 10**30)),
        *({"verdict": value} for value in (None, "maybe", 1, ["given"])),
        *({"key": value} for value in (None, "", "short", "x" * 65, "has space in it", 12345678)),
        *({"seconds": value} for value in ("1", -1, True, 1e7, [])),
        *({"role": value} for value in (None, "third", 1)),
        *({"sampled": value} for value in (None, "picked", 1)),
        *({"note": value} for value in (1, "x" * 2001, "nul\0", {})),
    ],
    ids=str,
)
def test_a_verdict_with_a_wrong_field_is_refused_whole(module_site, wrong):
    desk, page = module_site
    before = len(desk.store.ledger)
    whole = {"row": 1, "verdict": "given", "key": "a-key-of-one", "role": "first", "sampled": "flagged", "seconds": 1}
    assert next(iter(wrong)) in error(page.sent("/api/verdicts", **(whole | wrong)), 400).lower()
    assert len(desk.store.ledger) == before


@pytest.fixture(scope="module")
def module_site(tmp_path_factory):
    with served(make_results(tmp_path_factory.mktemp("wrong"))) as (desk, address), Page(address, "anna") as page:
        yield desk, page


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"\xff",
        b'{"row": 1, "row": 2}',
        b'{"row": NaN}',
        b"[" * 60000,
        b'{"row": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_not_an_object_of_json_is_refused(module_site, body):
    _, page = module_site
    answer = page.post("/api/verdicts", content=body, headers={"content-type": "application/json"})
    assert "JSON" in error(answer, 400)


def test_the_same_key_twice_is_one_verdict(site):
    desk, address = site
    with Page(address, "anna") as page:
        task = page.next()
        first, second = (page.decide(task, key="the-same-key").json()["event"] for _ in range(2))
        assert first == second
        with ThreadPoolExecutor(8) as pool:
            task = page.next()
            events = list(pool.map(lambda _: page.decide(task, key="another-key").json()["event"], range(8)))
        assert len(set(events)) == 1
        assert len(desk.store.decisions()) == 2


def test_a_decision_takes_the_place_of_an_earlier_one(site):
    desk, address = site
    with Page(address, "anna") as anna, Page(address, "ben") as ben:
        task = anna.next()
        assert anna.get("/api/session").json()["changes"] is True
        anna.decide(task, key="first-mind", verdict="given")
        for _ in range(2):  # a retry changes nothing
            assert anna.decide(task, key="second-mind", verdict="neither", replaces="first-mind").status_code == 200
        assert [(one.key, one.verdict) for one in desk.store.decisions()] == [("second-mind", "neither")]
        error(anna.decide(task, key="third-mind", replaces="no-such-key"), 409)
        error(anna.decide(task, key="third-mind", replaces=3), 400)
        error(ben.decide(anna.next(), key="key-of-ben", replaces="x"), 400)
        assert [one.key for one in desk.store.decisions()] == ["second-mind"]


def test_a_row_that_needs_no_more_looks_is_a_conflict(site):
    desk, address = site
    with Page(address, "anna") as anna, Page(address, "ben") as ben, Page(address, "carla") as carla:
        task = anna.next()
        assert anna.decide(task).status_code == 200
        assert ben.decide(task, key="key-of-ben").status_code == 200, "who judged it at the same time is a second look"
        assert str(task["row"]) in error(carla.decide(task, key="key-of-carla"), 409)
        assert [(one.reviewer, one.role) for one in desk.store.decisions()] == [("anna", "first"), ("ben", "second")]


def test_a_row_given_back_goes_to_the_next(site):
    _, address = site
    with Page(address, "anna") as anna, Page(address, "ben") as ben:
        mine = anna.next()["row"]
        assert ben.next()["row"] != mine
        assert anna.sent("/api/release", rows=[mine]).status_code == 200
        seen: set[int] = set()
        while (task := ben.next(*seen)) is not None and task["row"] != mine:
            seen.add(task["row"])
        assert task is not None
        for rows in (None, 3, [-1], ["x"], [True], list(range(200))):
            error(anna.sent("/api/release", rows=rows), 400)


def test_a_ledger_that_cannot_be_written_is_retried(results, monkeypatch):
    """Somebody else holds the ledger for too long: 503, nothing stored; the same request then stores it once."""
    monkeypatch.setattr(ledger_sqlite, "WAIT_SECONDS", 0.2)
    with served(results, double=0.0) as (_, address), Page(address, "anna") as page:
        task = page.next()
        with Ledger.open(results) as other:
            with other.transaction():
                assert "held" in error(page.decide(task), 503)
            assert page.decide(task).status_code == 200
            assert page.decide(task).status_code == 200
            assert len(list(other.log(kind="verdict"))) == 1


def test_reviewers_never_get_the_same_row(site):
    """Eight at once, until nothing is left: every row once."""
    desk, address = site
    rows: list[int] = []

    def work(name: str) -> None:
        with Page(address, name) as page:
            while (task := page.next()) is not None:
                rows.append(task["row"])
                assert page.decide(task).status_code == 200

    threads = [threading.Thread(target=work, args=(f"reviewer {at}",)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(rows) == list(range(60))
    assert sorted(one.row for one in desk.store.decisions()) == list(range(60))


def test_two_servers_on_one_folder_share_the_work(results):
    with served(results, double=0.0) as (desk, one), served(results, double=0.0) as (_, other):
        assert one != other
        with Page(one, "anna") as anna, Page(other, "ben") as ben:
            for _ in range(10):
                mine, yours = anna.next(), ben.next()
                assert mine["row"] != yours["row"]
                assert anna.decide(mine).status_code == 200
                assert ben.decide(yours).status_code == 200
                assert mine["row"] in {one["row"] for one in anna.get("/api/history").json()}
            anna.next()
            assert anna.get("/api/progress").json()["reviewed"] == ben.get("/api/progress").json()["reviewed"] == 20
        assert len({one.row for one in desk.store.decisions()}) == 20


def test_others_words_stay_hidden_until_the_row_is_settled(results):
    with served(results, double=1.0) as (_, address), Page(address, "anna") as anna, Page(address, "ben") as ben:
        task = anna.next()
        row = task["row"]
        anna.decide(task, "given")
        assert [one["reviewer"] for one in anna.get(f"/api/rows/{row}").json()["decisions"]] == ["anna"]
        assert ben.get(f"/api/rows/{row}").json()["decisions"] == []
        assert ben.get("/api/history").json() == []
        seen: list[int] = []
        while (second := ben.next(*seen))["row"] != row:
            seen.append(second["row"])
        assert (second["role"], second["seen"]) == ("second", [])
        ben.decide(second, "suggested", key="key-of-ben")
        assert [one["reviewer"] for one in ben.get(f"/api/rows/{row}").json()["decisions"]] == ["ben"]
        with Page(address, "carla") as carla:
            last = carla.next()
            assert (last["row"], last["role"]) == (row, "adjudication")
            assert {one["reviewer"] for one in last["seen"]} == {"anna", "ben"}
            carla.decide(last, "suggested", key="key-of-carla")
            assert len(ben.get(f"/api/rows/{row}").json()["decisions"]) == 3


def test_a_row_and_its_like_by_number(site):
    _, address = site
    with Page(address, "anna") as page:
        row = page.get("/api/rows/5").json()
        assert (row["row"], row["id"], row["given"], row["suggested"]) == (5, "k5", "=frog", "cat")
        assert row["content"]["text"] == "it says 5 times =frog"
        like = page.get("/api/rows/5/neighbours").json()
        assert like
        assert all(each["row"] != 5 and each["label"] in CLASSES for each in like)
        for odd in ("60", "-1", "x", "1.0", "9" * 5000, "\u0661"):
            error(page.get(f"/api/rows/{odd}"), 404)
            error(page.get(f"/api/rows/{odd}/neighbours"), 404)
        error(page.get("/api/images/5/image"), 404)


def test_a_ledger_of_other_labels_is_refused(results, tmp_path):
    other = make_results(tmp_path / "other", n=30)
    with pytest.raises(InputError, match="other data"), served(results, db=str(other)):
        pass


def test_a_new_ledger_does_not_forget_the_old_one(results, tmp_path):
    """Verdicts in the folder, and another ledger that is empty: they must be taken along first."""
    elsewhere = str(tmp_path / "elsewhere.db")
    with served(results, db=elsewhere) as (desk, _):
        assert len(desk.store.ledger) == 1, "nobody had decided anything"
    with served(results) as (_, address), Page(address, "anna") as page:
        page.decide(page.next()).raise_for_status()
    with pytest.raises(InputError, match="assay ledger copy"), served(results, db=str(tmp_path / "third.db")):
        pass


def test_a_row_that_cannot_be_read_says_so_and_can_be_skipped(results):
    with served(results) as (desk, address), Page(address, "anna") as page:
        (results.parent / "pets.csv").unlink()
        task = page.next()
        assert "cannot be shown" in task["content"]["text"]
        assert page.decide(task, "skip").status_code == 200
        assert len(desk.store.decisions()) == 1


def test_lists_and_numbers(site):
    _, address = site
    with Page(address, "anna") as page:
        first = page.get("/api/upcoming", params={"limit": 3}).json()
        assert [set(one) >= {"row", "id", "given", "suggested", "p_wrong", "why"} for one in first] == [True] * 3
        rest = page.get("/api/upcoming", params={"limit": 2, "offset": 1}).json()
        assert [one["row"] for one in rest] == [one["row"] for one in first[1:]]
        for odd in ("-1", "x", "1e2", "9" * 5000, "1001"):
            error(page.get("/api/upcoming", params={"limit": odd}), 400)
            error(page.get("/api/history", params={"limit": odd}), 400)
            error(page.get("/api/next", params={"skip": odd}), 400)
        told = page.get("/api/progress").json()
        assert (told["reviewed"], told["rows"]) == (0, 60)


def test_the_decisions_are_read_back_by_the_audit(results, tmp_path):
    with served(results, double=0.0) as (desk, address), Page(address, "@anna") as page:
        for verdict, note in (("suggested", "=1+1"), ("given", None), ("skip", "+2"), ("both", ""), ("neither", "-x")):
            page.decide(page.next(), verdict, note=note)
        answer = page.get("/api/decisions.csv")
        assert answer.headers["content-disposition"].startswith("attachment")
        lines = list(csv.DictReader(io.StringIO(answer.text)))
        assert len(lines) == 5
        assert not any(cell[:1] in "=+-@\t\r" for line in lines for cell in line.values() if cell)
        (tmp_path / "decisions.csv").write_text(answer.text)
        read = read_verdicts(tmp_path / "decisions.csv", 60, desk.project.space)
        assert read.rows.tolist() == [one.row for one in desk.store.decisions()]
        assert [one.verdict for one in desk.store.decisions()] == [line["verdict"] for line in lines]


def test_pages_that_are_not_there(module_site):
    _, page = module_site
    for path in ("/api", "/api/", "/api/next/", "/nothing", "/static", "/static/"):
        error(page.get(path), 404)
    answer = page.get("/api/verdicts")
    error(answer, 405)
    assert answer.headers["allow"] == "POST"
    assert page.get("/").headers["content-type"] == "text/html; charset=utf-8"
    assert page.get("/static/api.js").headers["content-type"] == "text/javascript; charset=utf-8"
