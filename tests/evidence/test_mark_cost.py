"""The cost of a mark, on a tiny model: every number of the report follows from the answers that are written."""

import json
from pathlib import Path

import numpy as np
import pytest

from assay.align.watermark import Watermark
from assay.errors import InputError
from assay.evidence.mark_cost import Cost, measure
from assay.evidence.mark_cost_report import numbers, restored, save, summary, verdict
from assay.evidence.prompt_files import Prompts
from assay.language.mark_keys import spelled
from assay.language.models import tiny_language_model

LM = tiny_language_model()
TEXTS = [f"Question number {at}" for at in range(8)]
SECRET = spelled("0123456789abcdef" * 2)


def letters(prompts: list[str], answers: list[str]) -> list[float]:
    return [sum(letter in "aeiou" for letter in answer) / (1 + len(answer)) for answer in answers]


def cost(scheme: str = "gumbel", n: int = 4, harmful: bool = True, **options: object) -> Cost:
    mask = np.arange(8) % 8 < 2 if not harmful else np.arange(8) < 5
    prompts = Prompts(Path("p.txt"), "0" * 64, TEXTS, mask if harmful else None)
    options = {"max_new_tokens": 40, "top_p": 1.0, **options}
    return measure(LM, prompts, Watermark(scheme, SECRET), letters, n=n, told="vowels", **options)


@pytest.fixture(scope="module")
def found() -> Cost:
    return cost()


def test_sides_are_paired_and_reproducible(found: Cost):
    again = cost()
    assert again.marked.texts == found.marked.texts
    assert again.plain.texts == found.plain.texts
    assert found.plain.rewards.shape == found.marked.p_values.shape == (8, 4)
    assert found.reward.change == pytest.approx(found.marked.rewards.mean() - found.plain.rewards.mean())
    assert found.plain.rewards.std() == pytest.approx(1.0)
    worth = np.array(letters([], [text for row in found.plain.texts for text in row])).reshape(8, 4)
    np.testing.assert_allclose(found.plain.rewards, worth / worth.std())


def test_marked_answers_are_found_and_plain_ones_are_not(found: Cost):
    assert np.median(found.marked.p_values) < 1e-3
    assert np.median(found.plain.p_values) > 0.1


def test_shares_make_a_whole(found: Cost):
    for side in (found.plain, found.marked):
        shares = found.shares(side)
        assert sum(shares.values()) == pytest.approx(1)
        assert min(shares.values()) >= 0
    assert found.unsafe is not None
    assert found.refused is None  # three harmless prompts are too few for an interval
    assert cost(harmful=False, n=2).unsafe is None


def test_what_is_written_has_every_number_and_no_key(found: Cost, tmp_path: Path):
    page = save(found, tmp_path, {"command": "assay align cost"}).read_text()
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 8 * 4
    kept = [line for line in lines if line["side"] == "marked" and line["kept"]]
    assert [line["answer"] for line in kept] == found.marked.resampled.texts
    best = np.mean([line["reward"] for line in kept])
    told = json.loads((tmp_path / "report.json").read_text())["numbers"]
    assert told["best_of"]["4"]["marked"][0] == pytest.approx(best - found.plain.rewards.mean())
    assert verdict(found) in page.replace("&#39;", "'")
    assert "vowels" in page
    for path in tmp_path.iterdir():
        assert SECRET[13:45] not in path.read_text()
        assert str(found.mark.mark.key) not in path.read_text()
    assert "Best of 4 marked" in summary(found)


def test_restored_by_the_fewest(found: Cost):
    n = restored(found)
    enough = [k for k in (1, 2, 4) if found.marked.best(k).mean() >= found.plain.best(1).mean()]
    assert n == (enough[0] if enough else None)
    assert numbers(found)["restored_by"] == n


def test_a_fixed_mark_has_nothing_to_choose_from(tmp_path: Path):
    alike = cost("gumbel-fixed", n=2)
    assert alike.marked.resampled.sigma == 0
    page = save(alike, tmp_path, {}).read_text()
    assert "nothing to choose from" in page


def test_bad_input():
    with pytest.raises(InputError, match="at least 5 prompts"):
        measure(LM, Prompts(Path("p"), "", TEXTS[:4], None), Watermark(key=1), letters)
    with pytest.raises(InputError, match="temperature 0"):
        cost(temperature=0)
    prompts = Prompts(Path("p"), "", TEXTS, None)
    with pytest.raises(InputError, match="finite numbers"):
        measure(LM, prompts, Watermark(key=1), lambda p, a: [float("nan")] * len(a), n=2, max_new_tokens=2)
