"""The review page in real browsers, over real audits and the server that the command starts."""

import csv
import io
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.review.browsers import Reviewer, Server, chromium

from assay.cli.demo import write_digits

pytestmark = pytest.mark.browser
BACK = "\ue003"
ESCAPE = "\ue00c"


@pytest.fixture(scope="module")
def audited_digits(tmp_path_factory) -> Path:
    """A folder of 300 digits, a tenth of them in a wrong class, audited by the command."""
    folder = tmp_path_factory.mktemp("review")
    write_digits(folder / "all", 0.1, 0)
    for image in sorted((folder / "all").rglob("*.png")):
        if int(image.stem) < 300:
            target = folder / "digits" / image.parent.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, target)
    command = [sys.executable, "-m", "assay", "audit", str(folder / "digits"), "--out", str(folder / "digits.assay")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "digits.assay"


@pytest.fixture
def results(audited_digits, tmp_path) -> Path:
    """A copy of the results beside their data, which a test may write verdicts to."""
    shutil.copytree(audited_digits.parent / "digits", tmp_path / "digits")
    shutil.copytree(audited_digits, tmp_path / "digits.assay")
    return tmp_path / "digits.assay"


@pytest.fixture(scope="module")
def anna() -> Iterator[Reviewer]:
    with chromium() as browser:
        yield Reviewer(browser)


@pytest.fixture(scope="module")
def ben() -> Iterator[Reviewer]:
    with chromium() as browser:
        yield Reviewer(browser)


def decisions(reviewer: Reviewer) -> list[dict[str, str]]:
    """The exported decisions."""
    reviewer.saved()
    return list(csv.DictReader(io.StringIO(reviewer.fetched("/api/decisions.csv"))))


def test_thirty_rows_by_keyboard(anna: Reviewer, results: Path) -> None:
    with Server(results, "--double", "0") as server:
        anna.look()
        anna.requests()
        anna.sit_down(server.link, "Anna")
        anna.browser.get_log("browser")
        said: dict[int, str] = {}
        words = {
            "1": "given",
            "2": "suggested",
            "4": "both",
            "5": "neither",
            "6": "skip",
            "g": "given",
            "s": "suggested",
        }
        for key in "121145126121gs1211212451161":
            said[anna.decide(key)] = words[key]
        for _ in range(3):
            row, labels = (
                anna.row,
                anna.js("return ['given-name', 'suggested-name'].map(id => document.getElementById(id).textContent)"),
            )
            other = next(digit for digit in "0123456789" if digit not in labels)
            time.sleep(0.12)
            anna.press("3")
            anna.until("document.getElementById('chooser').open")
            anna.press(other + "\n")
            anna.until(f"document.getElementById('row').dataset.row !== '{row}'")
            said[row] = "other"
        assert len(said) == 30, "a row was shown twice"
        kept = decisions(anna)
        assert {int(one["row"]): one["verdict"] for one in kept} == said
        assert all(one["reviewer"] == "Anna" and float(one["seconds"]) > 0.1 for one in kept)
        assert Counter(one["sampled"] for one in kept).keys() == {"flagged", "random"}
        reviewed = sum(word != "skip" for word in said.values())
        anna.until(f"document.querySelector('.fact.reviewed b').textContent === '{reviewed}'")

        last = list(said)[-1]
        anna.press(BACK)
        anna.until(f"document.getElementById('row').dataset.row === '{last}'")
        assert last not in {int(one["row"]) for one in decisions(anna)}
        anna.decide("1")
        anna.saved()

        anna.browser.refresh()
        anna.until("document.getElementById('row').dataset.row !== undefined")
        assert anna.row not in said
        assert len(decisions(anna)) == 30
        assert all(address.startswith(server.address) for address in anna.requests())
        assert [entry for entry in anna.browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_next_row_is_there_in_the_same_moment(anna: Reviewer, results: Path) -> None:
    with Server(results) as server:
        anna.look()
        anna.sit_down(server.link, "Anna")
        anna.until(
            "performance.getEntriesByType('resource').filter(one => one.name.includes('/api/images/')).length >= 3"
        )
        anna.until("document.querySelector('.stage img')?.naturalWidth > 0")
        at_once = anna.js(
            """const row = document.getElementById('row'), before = row.dataset.row;
            document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '1', bubbles: true, cancelable: true}));
            const image = document.querySelector('.stage img');
            return [row.dataset.row !== before, image.complete && image.naturalWidth === 8]"""
        )
        assert at_once == [True, True]
        # Pressed twice, held down or with a modifier, a key decides nothing; nor does any once keys are switched off.
        row = anna.row
        assert anna.key("1")
        assert anna.row == row
        anna.js("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '1', repeat: true, bubbles: true}))")
        anna.js("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '1', ctrlKey: true, bubbles: true}))")
        anna.js("document.getElementById('keys-on').click()")
        assert not anna.key("1")
        assert anna.row == row
        anna.js("document.getElementById('keys-on').click()")


def test_notes_history_and_upcoming(anna: Reviewer, results: Path) -> None:
    with Server(results, "--double", "0") as server:
        anna.look()
        anna.sit_down(server.link, "Anna")
        anna.press("e")
        anna.press("1 looks like a 7" + ESCAPE)
        first, second = anna.decide("1"), anna.decide("2")
        kept = {int(one["row"]): one for one in decisions(anna)}
        assert kept[first]["note"] == "1 looks like a 7"
        assert kept[second]["note"] == ""

        waiting = anna.row
        anna.press("h")
        anna.until("document.querySelectorAll('#panel .item').length === 2")
        anna.js("document.querySelectorAll('#panel .item')[1].click()")
        anna.until(f"document.getElementById('row').dataset.row === '{first}'")
        assert "You said given" in anna.js("return document.getElementById('seen').innerText.replace(/\\s+/g, ' ')")
        if anna.js("return fetch('/api/session').then((answer) => answer.json()).then((session) => session.changes)"):
            anna.decide("5")
            assert {int(one["row"]): one["verdict"] for one in decisions(anna)} == {
                first: "neither",
                second: "suggested",
            }
        else:
            anna.press("5")
            anna.js("document.getElementById('back').click()")
            assert {int(one["row"]): one["verdict"] for one in decisions(anna)} == {first: "given", second: "suggested"}
        assert anna.row == waiting, "the row that was laid aside comes back"

        anna.js("document.getElementById('tab-upcoming').click()")
        anna.until("document.querySelectorAll('#panel .item').length > 3")
        anna.js("document.querySelectorAll('#panel .item')[3].click()")
        anna.until(f"document.getElementById('row').dataset.row !== '{waiting}'")
        chosen = anna.decide("1")
        assert anna.row == waiting
        assert chosen in {int(one["row"]) for one in decisions(anna)}
        anna.press("h")


def test_two_people_at_once_never_see_the_same_row(anna: Reviewer, ben: Reviewer, results: Path) -> None:
    with Server(results, "--double", "0") as server:
        for person, name in ((anna, "Anna"), (ben, "Ben")):
            person.look()
            person.sit_down(server.link, name)
        seen: dict[str, list[int]] = {"Anna": [], "Ben": []}
        for key in "1211215":
            seen["Anna"].append(anna.decide(key))
            seen["Ben"].append(ben.decide(key))
        rows = seen["Anna"] + seen["Ben"]
        assert len(set(rows)) == 14
        ben.saved()
        assert {(one["reviewer"], int(one["row"])) for one in decisions(anna)} == {
            (name, row) for name, own in seen.items() for row in own
        }


def test_a_second_look_is_blind_and_a_dispute_shows_both(anna: Reviewer, ben: Reviewer, results: Path) -> None:
    with Server(results, "--double", "1", "--random", "0") as server:
        anna.look()
        anna.sit_down(server.link, "Anna")
        rows = {anna.decide("1") for _ in range(12)}  # so many that second looks come first
        anna.saved()
        anna.js("document.activeElement.blur()")
        ben.look()
        ben.sit_down(server.link, "Ben")
        for _ in range(12):
            if ben.row in rows:
                break
            ben.decide("6")
        assert ben.row in rows
        assert "Second look" in ben.js("return document.getElementById('why').innerText")
        assert "Anna" not in ben.js("return document.getElementById('main').innerText")
        disputed = ben.decide("2")
        ben.saved()
        settling = None
        for _ in range(12):
            settling = next((person for person in (anna, ben) if person.row == disputed), None)
            if settling is not None:
                break
            anna.decide("6")
            ben.decide("6")
        assert settling is not None, "the dispute came to nobody"
        said = settling.js("return document.getElementById('seen').innerText.replace(/\\s+/g, ' ')")
        assert "Anna said given" in said
        assert "Ben said suggested" in said
        settling.decide("2")
        settling.saved()
        roles = [one["role"] for one in decisions(settling) if int(one["row"]) == disputed]
        assert {"adjudication", "second"} <= set(roles)


def test_a_server_that_is_killed_loses_nothing(anna: Reviewer, results: Path) -> None:
    with Server(results, "--double", "0") as server:
        anna.look()
        anna.sit_down(server.link, "Anna")
        said = {anna.decide("1"): "given", anna.decide("2"): "suggested"}
        anna.saved()
        server.kill()
        while anna.row >= 0:  # the rows that lie ready
            said[anna.decide("5")] = "neither"
        assert len(said) > 3
        unsent = len(said) - 2
        anna.until(f"document.getElementById('saved-text').textContent === '{unsent} waiting'")
        assert "server is away" in anna.js("return document.getElementById('rest').innerText")
        leave = "const event = new Event('beforeunload', {cancelable: true}); return !dispatchEvent(event)"
        assert anna.js(leave)
        # What is taken back before it is sent never was; then it is decided anew.
        anna.press("u")
        anna.until("!document.getElementById('row').hidden")
        said[anna.decide("1")] = "given"

        anna.browser.get("about:blank")
        server.start()
        anna.sit_down(server.link, "Anna")
        kept = decisions(anna)
        assert {int(one["row"]): one["verdict"] for one in kept} == said
        assert len(kept) == len(said)
        assert not anna.js(leave)
        assert anna.row not in said


def test_an_open_page_goes_on_by_itself_when_the_server_is_back(anna: Reviewer, results: Path) -> None:
    with Server(results, "--double", "0") as server:
        anna.look()
        anna.sit_down(server.link, "Anna")
        server.kill()
        row = anna.decide("2")
        server.start()
        anna.saved()
        assert [(int(one["row"]), one["verdict"]) for one in decisions(anna)] == [(row, "suggested")]
        assert anna.decide("1") != row


def test_a_person_of_another_name_sees_what_is_theirs(anna: Reviewer, results: Path) -> None:
    with Server(results, "--double", "0") as server:
        anna.look(390, "dark")
        anna.sit_down(server.link, "Anna")
        row = anna.decide("1")
        anna.saved()
        anna.js("document.getElementById('saved').click(); document.getElementById('change-who').click()")
        anna.press("Carla\n")
        anna.until("!document.getElementById('name-dialog').open")
        anna.until("!document.getElementById('row').hidden")
        other = anna.decide("2")
        assert {(one["reviewer"], int(one["row"])) for one in decisions(anna)} == {("Anna", row), ("Carla", other)}


def test_two_tabs_never_send_in_each_others_name(anna: Reviewer, results: Path) -> None:
    """Tabs share one session: what Anna decides after Ben signed in in another tab waits for her."""
    with Server(results, "--double", "0") as server:
        anna.look()
        anna.sit_down(server.link, "Anna")
        mine = anna.decide("1")
        anna.saved()
        browser = anna.browser
        first = browser.current_window_handle
        browser.switch_to.new_window("tab")
        anna.sit_down(server.link, "Anna")
        anna.js("document.getElementById('saved').click(); document.getElementById('change-who').click()")
        anna.press("Ben\n")
        anna.until("document.getElementById('who').textContent.includes('Ben')")
        browser.switch_to.window(first)
        anna.press("1")
        anna.until("document.getElementById('who').textContent.includes('Ben')")
        assert anna.fetched("/api/history") == "[]", "Ben has decided nothing"
        anna.js("document.getElementById('saved').click(); document.getElementById('change-who').click()")
        anna.press("Anna\n")
        found = [(one["reviewer"], int(one["row"])) for one in decisions(anna)]
        assert found[0] == ("Anna", mine)
        assert [name for name, _ in found] == ["Anna", "Anna"]
        browser.close()
        browser.switch_to.window(browser.window_handles[0])
