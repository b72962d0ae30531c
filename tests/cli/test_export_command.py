"""`assay export`: from a real audit over verdicts to a repaired data set and its card, in every form, and refusals."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from sklearn.datasets import load_iris

from assay.cli.export import FORMS, command
from assay.cli.ledger import command as ledger_command
from assay.errors import InputError
from assay.evidence import export_data
from assay.evidence.audit import audit
from assay.evidence.audit_files import save
from assay.evidence.audit_options import AuditOptions
from assay.evidence.export_card import code
from assay.labels.formats.argilla import read_suggestions
from assay.labels.formats.coco import read_coco
from assay.labels.formats.label_studio import read_predictions
from assay.labels.formats.voc import read_voc
from assay.labels.formats.vote_exports import read_argilla, read_label_studio
from assay.labels.ledger import Event, Ledger, dataset_event
from assay.labels.tables import read_table

NAMES = ["setosa", "<b>versi|color</b>", "=virginica`"]
OPTIONS = AuditOptions(label="species", id="id")


def truth() -> np.ndarray:
    return load_iris(return_X_y=True)[1]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with iris.csv, every twelfth label of which is wrong, audited, its worst and random rows reviewed."""
    home = tmp_path_factory.mktemp("iris")
    x, y = load_iris(return_X_y=True)
    with (home / "iris.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "a", "b", "c", "d", "species"])
        for row, (cells, label) in enumerate(zip(x, y, strict=True)):
            writer.writerow([f"r{row}", *cells, NAMES[(label + (row % 12 == 0)) % 3]])
    folder = home / "iris.assay"
    found = audit(home / "iris.csv", OPTIONS)
    save(found, folder)
    with (home / "verdicts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "verdict", "label", "reviewer", "sampled", "note"])
        columns = found.columns(found.review)
        for place, row in enumerate(found.review.tolist()):
            right, given, suggested = NAMES[y[row]], columns["given"][place], columns["suggested"][place]
            word = "given" if given == right else "suggested" if suggested == right else "other"
            sampled = "random" if place < found.n_random else "flagged"
            writer.writerow([row, word, right if word == "other" else "", "anna", sampled, "=sure"])
        writer.writerow([int(columns["row"][0]), "skip", "", "ben", "flagged", ""])
    save(audit(home / "iris.csv", OPTIONS, verdicts=home / "verdicts.csv", cache=folder), folder)
    return home


@pytest.fixture
def home(audited: Path, tmp_path: Path) -> Path:
    shutil.copytree(audited, tmp_path / "home")
    return tmp_path / "home"


def export(home: Path, target: str, *arguments: object, source: str = "iris.csv", folder: str = "iris.assay") -> Result:
    words = [home / folder, home / source, home / target, *arguments]
    done = CliRunner().invoke(command, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def species(path: Path) -> list[str | None]:
    return read_table(path, label="species").labels.names()


def test_repaired_file_card_replay_and_a_second_audit(home: Path) -> None:
    done = export(home, "fixed.csv")
    y = truth()
    right = [NAMES[label] for label in y]
    before, after = species(home / "iris.csv"), species(home / "fixed.csv")
    found = [row for row in range(150) if before[row] != after[row]]
    assert len(found) >= 10
    assert f"150 rows, {len(found)} labels changed" in done.stdout
    assert all(after[row] == right[row] for row in found)
    assert sum(a != b for a, b in zip(after, right, strict=True)) == 13 - len(found)

    said = json.loads((home / "fixed.csv.card.json").read_text())
    assert said["changed"] == len(found) == sum(change["rows"] for change in said["changes"])
    rates = said["error_rate"]
    now = audit(home / "iris.csv", OPTIONS, cache=home / "iris.assay").rate
    assert rates["before"] == pytest.approx({"rate": now.rate, "low": now.low, "high": now.high})
    assert rates["before"]["low"] <= 13 / 150 <= rates["before"]["high"]
    assert rates["after"]["high"] < rates["before"]["high"]
    assert rates["after"]["low"] <= (13 - len(found)) / 150 <= rates["after"]["high"]
    assert {one["name"]: one["verdicts"] for one in said["review"]["reviewers"]} == {
        "anna": said["review"]["rows"],
        "ben": 1,
    }

    replay = [home / "iris.assay", home / "iris.csv", home / "replayed.csv", "--at", said["ledger"]["event"]]
    assert CliRunner().invoke(ledger_command, ["replay", *map(str, replay)]).exit_code == 0
    assert (home / "replayed.csv").read_bytes() == (home / "fixed.csv").read_bytes()

    again = audit(home / "fixed.csv", OPTIONS)
    assert len(again.ranking()) < len(audit(home / "iris.csv", OPTIONS, cache=home / "iris.assay").ranking())

    text = (home / "fixed.csv.card.md").read_text()
    assert "`<b>versi\\|color</b>`" in text
    assert "`` =virginica` ``" in text
    assert "<b>" not in text.replace("`<b>versi\\|color</b>`", "")
    assert "$ assay ledger replay iris.assay iris.csv replayed.csv --at" in text
    assert said["ledger"]["head"] in text

    # The same ledger gives the same card, byte for byte, now or later.
    for name in ("fixed.csv", "fixed.csv.card.md", "fixed.csv.card.json"):
        (home / name).rename(home / f"old.{name}")
    CliRunner().invoke(ledger_command, ["undo", str(home / "iris.assay"), "--source", "ben"])
    export(home, "fixed.csv", "--at", said["ledger"]["event"])
    for name in ("fixed.csv", "fixed.csv.card.md", "fixed.csv.card.json"):
        assert (home / name).read_bytes() == (home / f"old.{name}").read_bytes()


def test_points_in_time(home: Path) -> None:
    export(home, "start.csv", "--at", 1)
    assert (home / "start.csv").read_bytes() == (home / "iris.csv").read_bytes()
    said = json.loads((home / "start.csv.card.json").read_text())
    assert (said["changed"], said["review"]["rows"], said["error_rate"], said["ledger"]["event"]) == (0, 0, None, 1)


def say(home: Path, **words: str) -> None:
    """Verdicts of carl on rows, given as row_17="neither"."""
    text = "row,verdict,label,reviewer\n"
    text += "".join(f"{name.removeprefix('row_')},{word},,carl\n" for name, word in words.items())
    (home / "more.csv").write_text(text)
    done = CliRunner().invoke(ledger_command, ["record", str(home / "iris.assay"), str(home / "more.csv")])
    assert done.exit_code == 0, done.output


def test_undecided_rows(home: Path) -> None:
    """Row r: anna and carl are split. Row s: carl adds nothing but that neither label fits, and anna said so too."""
    with Ledger.open(home / "iris.assay") as ledger:
        given = [e for e in ledger.log(kind="verdict") if e.evidence["verdict"] == "given" and e.source == "anna"]
    split, doubted = given[0].row, given[1].row
    say(home, **{f"row_{split}": "neither", f"row_{doubted}": "neither"})
    with Ledger.open(home / "iris.assay") as ledger:
        ledger.undo(given[1].id, source="anna")
    done = export(home, "kept.csv")
    assert "2 rows keep a label that is wrong or disputed" in done.stderr
    kept, before = species(home / "kept.csv"), species(home / "iris.csv")
    assert (kept[split], kept[doubted]) == (before[split], before[doubted])
    assert export(home, "empty.csv", "--undecided", "empty").stderr == ""
    empty = species(home / "empty.csv")
    assert [row for row in range(150) if empty[row] is None] == sorted([split, doubted])
    assert [a for a, b in zip(kept, empty, strict=True) if b is not None] == [b for b in empty if b is not None]
    export(home, "dropped.csv", "--undecided", "drop")
    dropped = read_table(home / "dropped.csv", label="species", id="id")
    assert set(range(150)) - {int(name[1:]) for name in dropped.ids.to_pylist()} == {split, doubted}
    rates = {
        name: json.loads((home / f"{name}.csv.card.json").read_text())["error_rate"]["after"]
        for name in ("kept", "empty", "dropped")
    }
    # One row is known to be wrong and stays; the other is split, and nobody knows.
    assert rates["kept"]["low"] * 149 == pytest.approx(rates["empty"]["low"] * 148 + 1)
    assert rates["empty"] == rates["dropped"]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "tsv", "npz"])
def test_other_tables(home: Path, suffix: str) -> None:
    export(home, "fixed.csv")
    export(home, f"other.{suffix}")
    assert species(home / f"other.{suffix}") == species(home / "fixed.csv")


def test_beliefs(home: Path) -> None:
    export(home, "soft.parquet", "--soft")
    table = pq.read_table(home / "soft.parquet")
    columns = [f"species={name}" for name in sorted(NAMES)]
    assert [name for name in table.column_names if "=" in name] == columns
    belief = np.stack([table[name].to_numpy() for name in columns], axis=1)
    assert np.allclose(belief.sum(axis=1), 1)
    assert belief.min() >= 0
    export(home, "fixed.csv")
    with Ledger.open(home / "iris.assay") as ledger:
        reviewed = sorted({event.row for event in ledger.log(kind="verdict")})
    fixed = species(home / "fixed.csv")
    assert [sorted(NAMES)[code] for code in belief[reviewed].argmax(axis=1)] == [fixed[row] for row in reviewed]
    assert set(belief[reviewed].ravel()) == {0.0, 1.0}
    rest = np.setdiff1d(np.arange(150), reviewed)
    assert (belief[rest].max(axis=1) < 1).all()
    kept = pq.read_table(home / "iris.assay" / "rows.parquet")["p_wrong"].to_numpy()
    given = [sorted(NAMES).index(name) for name in species(home / "iris.csv")]
    assert np.allclose(belief[rest, np.array(given)[rest]], 1 - kept[rest])


def test_decisions(home: Path) -> None:
    assert "verdicts" in export(home, "d.csv", "--decisions").stdout
    assert not (home / "d.csv.card.md").exists()
    export(home, "d.parquet", "--decisions")
    table = pq.read_table(home / "d.parquet").to_pylist()
    with (home / "d.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["row"]) for line in lines] == [one["row"] for one in table] == sorted(one["row"] for one in table)
    export(home, "fixed.csv")
    fixed, before = species(home / "fixed.csv"), species(home / "iris.csv")
    for one, line in zip(table, lines, strict=True):
        assert (one["given"], one["final"]) == (before[one["row"]], fixed[one["row"]])
        assert one["reviewers"][0] == "anna"
        assert one["id"] == f"r{one['row']}"
        assert one["outcome"] == ("right" if one["given"] == one["final"] else "wrong")
        assert line["verdicts"] == "; ".join(one["verdicts"])
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in line.values())
    twice = next(one for one in table if len(one["verdicts"]) == 2)
    assert (twice["reviewers"], twice["verdicts"][1], twice["agreement"]) == (["anna", "ben"], "skip", None)
    export(home, "anonymous.parquet", "--decisions", "--anonymous")
    hidden = pq.read_table(home / "anonymous.parquet").to_pylist()
    assert {name for one in hidden for name in one["reviewers"]} == {"reviewer 1", "reviewer 2"}
    assert "anna" not in str(hidden)
    assert "sure" not in str(hidden)


def test_label_studio_and_argilla(home: Path) -> None:
    """Suggestions with p_wrong as score, and each verdict as an annotation; they are read again as votes."""
    export(home, "tasks.json", "--to", "label-studio")
    export(home, "records.json", "--to", "argilla")
    suggested = read_predictions(home / "tasks.json")
    assert len(suggested.ids) == 150
    argued = read_suggestions(home / "records.json", "species")
    assert argued.labels == suggested.labels
    assert np.array_equal(argued.score, suggested.score)
    votes = read_label_studio(home / "tasks.json").votes
    assert votes.worker_ids.tolist() == ["anna"]
    said = {int(task): votes.space.names[code] for task, code in zip(votes.task, votes.label, strict=True)}
    export(home, "fixed.csv")
    fixed = species(home / "fixed.csv")
    assert said == {row: fixed[row] for row in said}
    assert (
        read_argilla(home / "records.json", "species", space=votes.space).votes.label.tolist() == votes.label.tolist()
    )
    tasks = json.loads((home / "tasks.json").read_text())
    (skipped,) = [a for task in tasks for a in task["annotations"] if a["was_cancelled"]]
    assert (skipped["completed_by"], skipped["result"], skipped["meta"]["verdict"]) == ({"email": "ben"}, [], "skip")
    assert not any(annotation["ground_truth"] for task in tasks for annotation in task["annotations"])
    with Ledger.open(home / "iris.assay") as ledger:
        hints = {event.row: event.evidence["p_wrong"] for event in ledger.log(kind="suggestion")}
    assert {row: suggested.score[row] for row in hints} == hints
    export(home, "reviewed.json", "--to", "label-studio", "--decisions", "--anonymous")
    text = (home / "reviewed.json").read_text()
    assert "anna" not in text
    assert len(json.loads(text)) == len(said)


def test_boxes_to_coco_and_voc(tmp_path: Path, shared_data) -> None:
    """Twenty real pictures of blood cells, of which one box is a platelet after review."""
    lines = shared_data("bccd/boxes.csv").read_text().splitlines()
    names = sorted({line.split(",")[0] for line in lines[1:]})[:20]
    kept = [lines[0], *(line for line in lines[1:] if line.split(",")[0] in names)]
    (tmp_path / "boxes.csv").write_text("\n".join(kept) + "\n")
    with Ledger.open(tmp_path / "boxes.assay", create=True) as ledger:
        ledger.append([dataset_event(tmp_path / "boxes.csv", "label", len(kept) - 1)])
        ledger.append([Event("change", "anna", "human", row=1, before="RBC", after="Platelets")])
    for target, form in (("c.json", "coco"), ("voc", "voc")):
        export(tmp_path, target, "--to", form, "--one-based", source="boxes.csv", folder="boxes.assay")
    coco, voc = read_coco(tmp_path / "c.json").boxes, read_voc(tmp_path / "voc").boxes
    assert coco.names()[:2] == voc.names()[:2] == ["WBC", "Platelets"]
    assert coco.corners.tolist() == voc.corners.tolist()
    first = [int(cell) for cell in kept[1].split(",")[2:]]
    assert coco.corners[0].tolist() == [first[0] - 1, first[1] - 1, first[2], first[3]]
    assert json.loads((tmp_path / "voc.card.json").read_text())["repaired"]["form"] == "voc"
    with pytest.raises(InputError, match="has no place in this form"):
        export(tmp_path, "e", "--to", "voc", "--undecided", "empty", source="boxes.csv", folder="boxes.assay")
    (tmp_path / "x.csv").write_text("a,label\n1,p\n2,q\n")
    with Ledger.open(tmp_path / "x.assay", create=True) as ledger:
        ledger.append([dataset_event(tmp_path / "x.csv", "label", 2)])
    with pytest.raises(InputError, match="no column 'image'"):
        export(tmp_path, "x.json", "--to", "coco", source="x.csv", folder="x.assay")


def test_a_folder_of_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for row in range(24):
        bright = row % 2
        folder = tmp_path / "photos" / ("day" if bright != (row == 5) else "night")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 60, (8, 8)) + 190 * bright
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{row:02d}.png")
    found = audit(tmp_path / "photos", AuditOptions(folds=3))
    save(found, tmp_path / "photos.assay")
    wrong = found.table.columns["path"].to_pylist().index("night/05.png")
    assert wrong in found.ranking()
    (tmp_path / "v.csv").write_text(f"row,verdict,reviewer\n{wrong},suggested,anna\n")
    record = ["record", str(tmp_path / "photos.assay"), str(tmp_path / "v.csv")]
    assert CliRunner().invoke(ledger_command, record).exit_code == 0
    export(tmp_path, "better", source="photos", folder="photos.assay")
    assert (tmp_path / "better" / "day" / "05.png").read_bytes() == (
        tmp_path / "photos" / "night" / "05.png"
    ).read_bytes()
    assert len(list((tmp_path / "better").rglob("*.png"))) == 24
    said = json.loads((tmp_path / "better.card.json").read_text())
    assert (said["repaired"]["form"], said["changed"]) == ("folder", 1)
    export(tmp_path, "list.csv", source="photos", folder="photos.assay")
    assert "night/05.png,day" in (tmp_path / "list.csv").read_text().replace('"', "")
    with pytest.raises(InputError, match="lies in the data set"):
        export(tmp_path, "photos/new", source="photos", folder="photos.assay")
    (tmp_path / "photos" / "day" / "01.png").rename(tmp_path / "photos" / "night" / "01.png")
    with pytest.raises(InputError, match="is not the data set that this ledger is about"):
        export(tmp_path, "worse", source="photos", folder="photos.assay")
    assert not list(tmp_path.glob(".*"))


def test_refusals_leave_nothing(home: Path) -> None:
    (home / "other.csv").write_bytes((home / "iris.csv").read_bytes().replace(b"5.1", b"5.2"))
    (home / "there.csv").write_text("mine")
    before = sorted(path.name for path in home.iterdir())
    for arguments, said in [
        (["iris.assay", "other.csv", "t.csv"], "is not the data set that this ledger is about"),
        (["iris.assay", "none.csv", "t.csv"], "There is no data set"),
        (["none.assay", "iris.csv", "t.csv"], "There is no ledger"),
        (["iris.assay", "iris.csv", "there.csv"], "is there already"),
        (["iris.assay", "iris.csv", "t.json"], "say which with --to"),
        (["iris.assay", "iris.csv", "t.csv", "--to", "parquet"], "does not end with .parquet"),
        (["iris.assay", "iris.csv", "t.pkl"], "pickle"),
        (["iris.assay", "iris.csv", "t", "--to", "folder"], "Only images that are files"),
        (["iris.assay", "iris.csv", "t.json", "--to", "coco", "--soft"], "leave --soft out"),
        (["iris.assay", "iris.csv", "t.json", "--to", "coco", "--decisions"], "Decisions are written to"),
        (["iris.assay", "iris.csv", "t.csv", "--at", "9999"], "There is no event 9999"),
        (["iris.assay", "iris.csv", "t.csv", "--at", "soon"], "ISO time"),
    ]:
        words = [sys.executable, "-m", "assay", "export", *arguments]
        if said in ("There is no ledger", "is not the data set that this ledger is about"):
            done = subprocess.run(words, cwd=home, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout) == (2, "")
            assert said in done.stderr
            assert "Traceback" not in done.stderr
        else:
            paths = [str(home / word) if "." in word or word == "t" else word for word in arguments]
            result = CliRunner().invoke(command, paths)
            assert said in str(result.exception)
    assert sorted(path.name for path in home.iterdir()) == before
    (home / "iris.assay" / "rows.parquet").unlink()
    with pytest.raises(InputError, match=r"lacks rows\.parquet"):
        export(home, "t.parquet", "--soft")
    export(home, "t.csv")
    assert json.loads((home / "t.csv.card.json").read_text())["error_rate"] is None


def test_forms_and_help() -> None:
    assert tuple(FORMS) == export_data.FORMS
    text = CliRunner().invoke(command, ["--help"]).stdout
    assert "assay export reviews.assay reviews.csv repaired.csv" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "`cat`"),
        ("a\nb", "`a b`"),
        ("``", "``` `` ```"),
        ("[x](http://e.org) @you", "`[x](http://e.org) @you`"),
        ("\u202eevil", "`⟨U+202E⟩evil`"),
        ("", "`(blank)`"),
    ],
)
def test_code_spans(text: str, shown: str) -> None:
    assert code(text) == shown
