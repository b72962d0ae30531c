"""Every kind of row on the review page: fit for everybody, at every width, and deaf to what hostile data says."""

import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.evidence.hostile import HOSTILE
from tests.review.browsers import Reviewer, chromium
from tests.review.projects import audited
from tests.review.served import TOKEN, served

from assay.review.project import ProjectOptions

pytestmark = pytest.mark.browser
N = 40
LOOKS = ((1280, "light"), (1280, "dark"), (390, "light"))
KINDS = ("text", "table", "image", "document", "node")
ESCAPE = "\ue00c"


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def write(path: Path, kind: str) -> None:
    """A small data set whose rows are of one kind."""
    rng = np.random.default_rng(0)
    y = np.array(["paid", "still_open"])[np.arange(N) % 2]
    columns: dict[str, Any] = {"id": [f"r{at}" for at in range(N)]}
    if kind == "text":
        columns["words"] = [
            f"invoice {at}: {('settled, ' if at % 2 == 0 else 'overdue, ') * 20}today" for at in range(N)
        ]
    if kind in ("table", "node"):
        columns |= {"amount": rng.normal(size=N).round(2), "city": np.array(["Rome", "Oslo"])[rng.integers(0, 2, N)]}
    if kind == "node":
        columns["cites"] = [[f"r{(at + step) % N}" for step in range(1, 2 + at % 4)] for at in range(N)]
    if kind in ("image", "document"):
        columns["scan"] = [png(rng.integers(0, 255, (120, 160, 3)).astype(np.uint8)) for _ in range(N)]
        corners = {"xmin": 10, "ymin": 20, "xmax": 90, "ymax": 60}
        named = {"label": "stamp", "text": ""} if kind == "image" else {"label": "", "text": "TOTAL 12.50"}
        columns["boxes"] = [json.dumps([corners | named])] * N
    if kind == "image":
        columns["organ"] = [png(np.pad(np.ones((40, 40), np.uint8), ((0, 80), (0, 120))))] * N
    if kind == "document":
        columns |= {"total": ["12.50"] * N, "company": [f"Smith {at}" for at in range(N)]}
    pq.write_table(pa.table(columns | {"y": y}), path)


@pytest.fixture(scope="module")
def audits(tmp_path_factory) -> dict[str, tuple[Path, ProjectOptions]]:
    folder = tmp_path_factory.mktemp("kinds")
    named = {"text": {"text": "words"}, "image": {"image": "scan"}, "document": {"image": "scan"}}
    shown = {
        "image": ProjectOptions(boxes="boxes", masks="organ"),
        "document": ProjectOptions(boxes="boxes"),
        "node": ProjectOptions(neighbours="cites"),
    }
    found = {}
    for kind in KINDS:
        write(folder / f"{kind}.parquet", kind)
        made = audited(folder / f"{kind}.parquet", folder / f"{kind}.assay", label="y", id="id", **named.get(kind, {}))
        found[kind] = made, shown.get(kind, ProjectOptions())
    return found


@pytest.fixture
def fresh_text(audits: dict[str, tuple[Path, ProjectOptions]], tmp_path: Path) -> Path:
    """A copy of the audited texts, without the decisions and leases of another test."""
    made, _ = audits["text"]
    shutil.copy(made.with_name("text.parquet"), tmp_path)
    shutil.copytree(made, tmp_path / made.name)
    return tmp_path / made.name


@pytest.fixture(scope="module")
def reader() -> Iterator[Reviewer]:
    with chromium() as browser:
        yield Reviewer(browser)


SHOWN = {
    "text": "document.querySelectorAll('mark').length && document.querySelector('.legend')",
    "table": "document.querySelectorAll('table.compare thead tr:first-child th').length === 6",
    "image": "document.querySelector('.stage .box .tag') && document.querySelector('canvas.mask').width === 160",
    "document": "document.querySelectorAll('.field-button').length >= 2",
    "node": "document.querySelector('.bars') && document.querySelector('.linked')",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_shown_as_what_it_is_to_everybody(
    reader: Reviewer, audits: dict[str, tuple[Path, ProjectOptions]], kind: str
) -> None:
    folder, options = audits[kind]
    with served(folder, options=options) as (_, address):
        for width, scheme in LOOKS:
            reader.look(width, scheme)
            reader.sit_down(f"{address}/?token={TOKEN}", "Anna")
            reader.until(SHOWN[kind])
            assert reader.violations() == []
            assert reader.js("return document.documentElement.scrollWidth") == width
        if kind == "image":
            overlays_and_light(reader)
        if kind == "document":
            reader.js(
                "[...document.querySelectorAll('.field-button')].find(one => one.textContent.includes('12.50')).focus()"
            )
            assert reader.js("return document.querySelectorAll('.box.lit').length") == 1
        assert [entry for entry in reader.browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def overlays_and_light(reader: Reviewer) -> None:
    """Zoom, brightness and overlays by keys; the next row keeps the light."""
    scale = "return document.querySelector('.layer').offsetWidth / document.querySelector('.stage').clientWidth"
    before = reader.js(scale)
    reader.press("++")
    assert reader.js(scale) == pytest.approx(2.25 * before, rel=0.02)
    reader.press("0]]v")
    assert reader.js(scale) == pytest.approx(before, rel=0.02)
    assert reader.js("return document.querySelector('.layer img').style.filter") == "brightness(130%) contrast(100%)"
    assert reader.js("return [...document.querySelectorAll('.box, .mask')].every(one => one.hidden)")
    reader.decide("1")
    assert reader.js("return document.querySelector('.layer img').style.filter") == "brightness(130%) contrast(100%)"
    assert reader.js("return [...document.querySelectorAll('.box, .mask')].every(one => one.hidden)")
    reader.press("v0")
    assert reader.js("return [...document.querySelectorAll('.box, .mask')].every(one => !one.hidden)")


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_dialogs_and_lists_are_fit_for_everybody(reader: Reviewer, fresh_text: Path, width: int, scheme: str) -> None:
    with served(fresh_text) as (desk, address):
        reader.look(width, scheme)
        reader.browser.get(f"{address}/?token={TOKEN}")
        reader.js("localStorage.clear()")
        reader.browser.delete_all_cookies()
        reader.browser.get(f"{address}/?token={TOKEN}")
        reader.until("document.getElementById('name-dialog')?.open")
        assert reader.violations() == []
        reader.press("Anna\n")
        reader.until("document.getElementById('row').dataset.row !== undefined")
        for opened in ("help-button", "saved"):
            reader.js(f"document.getElementById('{opened}').click()")
            reader.until("document.querySelector('dialog[open]')")
            assert reader.violations() == []
            reader.press(ESCAPE)
        reader.press("3")
        reader.until("document.getElementById('chooser').open")
        reader.press("OPEN")
        assert reader.js("return document.getElementById('classes').innerText").startswith("still_open")
        assert reader.violations() == []
        reader.press(ESCAPE)
        reader.decide("1")
        reader.saved()
        reader.press("h")
        reader.until("document.querySelector('#panel .item')")
        assert reader.violations() == []
        reader.press(ESCAPE)
        taken: list[int] = []
        while task := desk.queue.next("Ben", taken):  # Ben takes all that is left
            taken.append(task.row)
        while reader.row >= 0:
            reader.decide("6")
        reader.until("document.getElementById('rest').dataset.state === 'empty'")
        assert reader.violations() == []


def test_everything_is_heard_and_reached_without_a_mouse(reader: Reviewer, fresh_text: Path) -> None:
    with served(fresh_text) as (_, address):
        reader.look()
        reader.sit_down(f"{address}/?token={TOKEN}", "Anna")
        row = reader.decide("1")
        heard = reader.js("return document.getElementById('live').textContent")
        assert heard.startswith("Decided: given, ")
        assert f"Row {reader.row}." in heard
        assert reader.row != row
        names, unmarked = [], []
        for _ in range(16):
            reader.press("\ue004")
            name, outline = reader.js(
                """const one = document.activeElement;
                return [one.dataset.verdict ?? (one.id || one.localName), getComputedStyle(one).outlineStyle]"""
            )
            names.append(name)
            if outline != "solid" and name != "body":
                unmarked.append(name)
        assert names[:2] == ["a", "saved"], "the way to the decision comes first, then the tools"
        assert {"given", "suggested", "other", "both", "neither", "skip", "note", "undo"} <= set(names)
        assert unmarked == []


def test_hostile_data_is_only_text(reader: Reviewer, tmp_path: Path) -> None:
    texts = [text.replace("\ud800", "").replace("\x00", "")[:30_000] or " " for text in HOSTILE]
    classes = [text[:200] for text in texts[:5]]
    rows = len(texts) * 3
    table = {
        "id": [f"{at} {texts[at % len(texts)][:300]}" for at in range(rows)],
        texts[1]: [texts[at % len(texts)] for at in range(rows)],
        "kind": [classes[at % len(classes)] for at in range(rows)],
    }
    pq.write_table(pa.table(table), tmp_path / f"{HOSTILE[1].replace('/', '')}.parquet")
    (path,) = tmp_path.glob("*.parquet")
    for options in ({"text": texts[1]}, {}):
        folder = audited(path, tmp_path / f"{len(options)}.assay", label="kind", id="id", wrong=0.5, **options)
        with served(folder) as (_, address):
            reader.look()
            reader.sit_down(f"{address}/?token={TOKEN}", "<img src=x onerror=alert(1)>")
            reader.requests()
            reader.browser.get_log("browser")
            known = set(reader.js("return [...document.querySelectorAll('*')].map(one => one.localName)"))
            reader.press("h")
            for key in "112124512":
                reader.decide(key)
            time.sleep(0.12)
            reader.press("3")
            reader.until("document.getElementById('chooser').open")
            reader.press("<\n")
            reader.until("!document.getElementById('chooser').open")
            reader.saved()
            reader.js("document.getElementById('tab-upcoming').click()")
            reader.until("document.querySelectorAll('#panel .item').length")
            assert reader.js("return typeof window.pwned") == "undefined"
            tags = set(reader.js("return [...document.querySelectorAll('*')].map(one => one.localName)"))
            ours = {"ol", "li", "mark", "wbr", "caption", "table", "thead", "tbody", "tr", "th", "td", "small"}
            assert tags <= known | ours
            assert all(asked.startswith(address) for asked in reader.requests())
            assert reader.browser.get_log("browser") == []
            assert (
                reader.js(
                    """return [...document.querySelectorAll('*')].flatMap((one) => [...one.attributes])
                .filter((one) => one.name.startsWith('on')).length"""
                )
                == 0
            )
            assert reader.js("return document.documentElement.scrollWidth") == 1280
            reader.press("h")
