"""`assay critic` on real files: what it leaves, what it refuses, what never leaks."""

import csv
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from assay.cli.critic import command
from assay.errors import InputError
from assay.evidence.report import read_report
from assay.labels.ledger import Ledger
from assay.review.project import Project

KEY = "sk-never-written"


def run(*words):
    done = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def dates(tmp_path):
    """120 dates by two engines, each of which puts the letter O for a zero in half of them; 60 are known."""
    rng = np.random.default_rng(0)
    path = tmp_path / "dates.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "a", "b", "checked"])
        for at in range(120):
            truth = f"{rng.integers(1, 29):02d}/{rng.integers(1, 13):02d}/20{rng.integers(10, 20)}"
            cells = [truth.replace("0", "O", 1) if rng.random() < 0.5 else truth for _ in "ab"]
            writer.writerow([f"d{at}", *cells, truth if at < 60 else ""])
    return path


def test_texts_with_the_classifier(dates, tmp_path):
    folder = tmp_path / "dates.assay"
    words = (dates, "--labels", "a,b", "--accepted", "checked", "--id", "id", "--kind", "text", "--out", folder)
    numbers = json.loads(run(*words, "--json"))
    assert numbers["known"] == 60
    assert numbers["right"]["critic"][0] > max(numbers["right"]["a"][0], numbers["right"]["b"][0]) + 0.1
    assert numbers["right_adopted"][0] > 0.95
    assert 0.5 < numbers["coverage"]["adopt"] < 0.95
    labels = rows_of(folder / "labels.csv")
    assert len(labels) == 120
    assert {row["route"] for row in labels} <= {"adopt", "edit", "review"}
    routing = rows_of(folder / "routing.csv")
    assert len(routing) == sum(row["route"] != "adopt" for row in labels)
    with Ledger.open(folder) as ledger:
        said = list(ledger.log(kind="suggestion"))
        assert said
        assert all(event.before == labels_a for event, labels_a in ((e, rows_of(dates)[e.row]["a"]) for e in said))
        assert {event.source_kind for event in said} == {"model"}
    run(*words, "--quiet")
    with Ledger.open(folder) as ledger:
        assert len(list(ledger.log(kind="suggestion"))) == len(said)  # the same again is nothing


def test_the_review_opens_what_is_left(dates, tmp_path):
    folder = tmp_path / "dates.assay"
    run(dates, "--labels", "a,b", "--accepted", "checked", "--id", "id", "--kind", "text", "--out", folder)
    project = Project.open(folder)
    assert (project.verb, project.n_rows) == ("critic", 120)
    cells = rows_of(dates)
    for row in (0, 70, 119):
        assert project.classes[project.given[row]] == cells[row]["a"]
        assert project.classes[project.suggested[row]] in (cells[row]["b"], cells[row]["a"])
        assert [one["label"] for one in project.content(row)["candidates"]] == [cells[row]["a"], cells[row]["b"]]
        assert "checked" not in json.dumps(project.content(row))  # the truth is not shown to who decides
    wrong = np.array(["O" in row["a"] for row in cells])
    assert project.p_wrong[wrong].mean() > project.p_wrong[~wrong].mean() + 0.3
    assert (project.low <= project.p_wrong).all()
    assert (project.p_wrong <= project.high + 1e-6).all()
    assert set(pq.read_table(folder / "candidates.parquet").column_names) == {"row", "candidate", "label"}


def test_masks_from_files_with_rules(tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24]
    lines = []
    for at in range(30):
        whole = (y - 12 - rng.normal()) ** 2 + (x - 8 - rng.normal()) ** 2 < 25
        half = whole & (y < 12)
        Image.fromarray((whole * 255).astype(np.uint8)).save(tmp_path / f"whole{at}.png")
        np.save(tmp_path / f"half{at}.npy", half)
        pair = [f"whole{at}.png", f"half{at}.npy"]
        a, b = pair if at % 2 else pair[::-1]
        lines.append({"a": a, "b": b, "good": f"whole{at}.png" if at < 15 else None})
    path = tmp_path / "masks.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    folder = tmp_path / "out"
    numbers = json.loads(
        run(path, "--labels", "a,b", "--accepted", "good", "--judge", "rules", "--out", folder, "--json")
    )
    assert numbers["kind"] == "mask"
    chosen = [row["label"] for row in rows_of(folder / "labels.csv")]
    assert sum(name.startswith("whole") for name in chosen) >= 28


def test_a_mask_outside_of_the_folder_is_refused(tmp_path):
    np.save(tmp_path / "secret.npy", np.ones((2, 2)))
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "m.csv").write_text("a,b\n../secret.npy,../secret.npy\n", encoding="utf-8")
    with pytest.raises(InputError, match="leads out"):
        run(inner / "m.csv", "--labels", "a,b", "--kind", "mask", "--judge", "http://localhost:9/v1")


class Alphabetical(BaseHTTPRequestHandler):
    """Prefers the label that comes first in the alphabet, wherever it stands; finds everything good."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = "\n".join(part["text"] for part in body["messages"][0]["content"])
        if "VERDICT: GOOD" in text:
            said = "GOOD"
        else:
            a, b = (text.split(f"Label {name}:\n<<<\n")[1].split("\n>>>")[0] for name in "AB")
            said = "A" if a < b else "B"
        payload = json.dumps({"choices": [{"message": {"content": f"VERDICT: {said}"}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        pass


def test_a_server_judges_classes_and_the_key_is_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_API_KEY", KEY)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Alphabetical)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        path, folder = tmp_path / "pets.csv", tmp_path / "pets.assay"
        path.write_text("note,a,b\nfurry,dog,cat\n<script>x</script>,cat,cat\n=1+1,ape,dog\n", encoding="utf-8")
        url = f"http://127.0.0.1:{server.server_port}/v1"
        run(path, "--labels", "a,b", "--judge", url, "--model", "m", "--price", "0.5", "--jobs", "2", "--out", folder)
    finally:
        server.shutdown()
        server.server_close()
    assert [row["label"] for row in rows_of(folder / "labels.csv")] == ["cat", "cat", "ape"]
    numbers = read_report(folder).numbers
    assert (numbers["calls"], numbers["cost"], numbers["failed"]) == (7, 3.5, 0)
    for file in folder.iterdir():
        assert KEY.encode() not in file.read_bytes()
    assert "<script>x" not in (folder / "report.html").read_text(encoding="utf-8")


def test_fields_in_json_cells(tmp_path):
    path, folder = tmp_path / "receipts.csv", tmp_path / "out"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "good"])
        for at in range(40):
            right = {"date": f"{at % 28 + 1:02d}/03/2018", "total": f"{at}.50"}
            bad = {"date": f"{at}.50", "total": "03"}
            a, b = (right, bad) if at % 2 else (bad, right)
            writer.writerow([json.dumps(a), json.dumps(b), json.dumps(right) if at < 20 else ""])
    numbers = json.loads(
        run(path, "--labels", "a,b", "--accepted", "good", "--judge", "rules", "--out", folder, "--json")
    )
    assert numbers["kind"] == "fields"
    assert numbers["right"]["critic"][0] == 1.0


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--labels", "a,nope"), "no column"),
        (("--labels", "a,a"), "once each"),
        (("--labels", "a,b"), "--accepted"),
        (("--labels", "a,b", "--judge", "nobody"), "no judge"),
        (("--labels", "a,b", "--judge", "ftp://x"), "http"),
        (("--labels", "a,b", "--accepted", "c"), "no accepted label"),
    ],
)
def test_refusals_leave_nothing(tmp_path, words, what):
    path, folder = tmp_path / "t.csv", tmp_path / "out"
    path.write_text("a,b,c\nx,y,\ny,x,\n", encoding="utf-8")
    with pytest.raises(InputError, match=what):
        run(path, *words, "--out", folder)
    assert not folder.exists()


def test_results_of_others_are_not_written_over(dates, tmp_path):
    folder = tmp_path / "x"
    words = ("--labels", "a,b", "--accepted", "checked", "--out", folder)
    run(dates, *words)
    other = tmp_path / "other.csv"
    other.write_bytes(dates.read_bytes())
    with pytest.raises(InputError, match="other results"):
        run(other, *words)
