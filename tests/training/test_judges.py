"""Judges without a language model: what labels look like beside accepted ones, and what is learned from known rows."""

import numpy as np
import pytest

from assay.aggregate.critic import LabelCritic, candidates_of
from assay.errors import InputError
from assay.kernels.mask_shape import as_pixels, dice, on_grid, part_sizes, picture_numbers, shape_names, shape_numbers
from assay.kernels.text_shape import NAMES, TextShape, form_of, is_amount, is_date
from assay.training.judges import BAD, FIRST, GOOD, SECOND, UNSURE, Candidate, Case
from assay.training.judges.classifier import ClassifierJudge
from assay.training.judges.kinds import empty, equal, likeness, read, shown, told
from assay.training.judges.rules import RulesJudge


def disc(rng, side=24):
    """A noisy picture with a disc on its left, and its mask."""
    y, x = np.mgrid[:side, :side]
    cy, cx, r = side / 2 + rng.normal(0, 1), side / 3 + rng.normal(0, 1), side / 5 + rng.normal(0, 0.5)
    mask = (y - cy) ** 2 + (x - cx) ** 2 < r**2
    return mask, mask * 0.5 + rng.normal(0.3, 0.1, (side, side))


def discs(n, seed=0):
    rng = np.random.default_rng(seed)
    masks, pictures = zip(*(disc(rng) for _ in range(n)), strict=True)
    return list(masks), [Case(at, "mask", content=picture) for at, picture in enumerate(pictures)]


RECEIPTS = [f"{day:02d}/{month:02d}/2018" for day in range(1, 29, 3) for month in range(1, 13, 2)]


# Arrays, by hand


def test_dice_parts_and_shape_by_hand():
    a = np.zeros((4, 4), bool)
    a[0, 0] = a[1, 1] = a[3, 0] = True  # the first two touch at a corner
    assert part_sizes(a).tolist() == [2, 1]
    assert dice(a, a) == 1.0
    assert dice(a, ~a) == 0.0
    assert dice(a & ~a, a & ~a) == 1.0
    found = dict(zip(shape_names(2), shape_numbers(a), strict=True))
    assert found["largest part"] == pytest.approx(2 / 3)
    assert found["fill of its box"] == pytest.approx(3 / 8)
    assert found["edge contact"] == pytest.approx(2 / 3)
    assert found["centre 0"] == pytest.approx((0.5 + 1.5 + 3.5) / 12)
    ring = np.ones((5, 5), bool)
    ring[2, 2] = False
    assert shape_numbers(ring)[5] == pytest.approx(1 / 24)


def test_grids_of_other_sizes_agree():
    small, large = np.zeros((16, 16), bool), np.zeros((64, 64), bool)
    small[4:8, 8:12] = True
    large[16:32, 32:48] = True
    assert np.abs(on_grid(small) - on_grid(large)).mean() < 0.03


def test_contrast_is_in_standard_deviations_and_flips_with_the_picture():
    mask = np.zeros((20, 20), bool)
    mask[8:12, 8:12] = True
    picture = np.where(mask, 1.0, 0.0) + np.random.default_rng(0).normal(0, 0.01, mask.shape)
    one, two = picture_numbers(mask, picture[None])[0], picture_numbers(mask, -5 * picture[None])[0]
    assert one == pytest.approx(-two)
    assert one > 3


def test_forms_dates_amounts():
    assert form_of("Total: RM 33.90") == "Aa: A 99.99"
    assert [is_amount(text) for text in ("33.90", "RM33.90", "$1,200.00", "33,90", "3390", "")] == [1, 1, 1, 0, 0, 0]
    assert [is_date(text) for text in ("31/12/18", "2018-02-28", "30.02.2018", "12 Dec 2018", "12 Foo 2018")] == [
        1,
        1,
        0,
        1,
        0,
    ]


def test_letters_seen_before_are_likelier():
    shape = TextShape(["TOTAL RM 9.00", "TOTAL RM 12.50"])
    one, two = (dict(zip(NAMES, shape.of(text), strict=True)) for text in ("TOTAL RM 8.00", "T0TAL RIA 8,OO"))
    for name in ("letters", "form", "known words", "known signs"):
        assert one[name] > two[name]


def test_kinds():
    assert told([np.ones((2, 2))]) == "mask"
    assert told([[[0, 1], [1, 0]]]) == "mask"
    assert told(["a long sentence about something that nobody would call a class name"] * 3) == "text"
    assert told([1, 2, None]) == "class"
    assert read(3.0, "class") == "3"
    assert read(float("nan"), "class") is None
    assert read("", "text") == ""
    assert read("", "class") is None
    assert read(["b", "a", "b"], "tags") == ("a", "b")
    assert equal(as_pixels([[0, 2]]), as_pixels([[0.0, 0.5]]))
    assert [empty(value) for value in (np.zeros((2, 2), bool), (), " ", {"a": ""}, {"a": "x"})] == [1, 1, 1, 1, 0]
    assert likeness("Total", "total ") == 1.0
    assert shown(np.eye(2) > 0) == "mask of 2 of 4 pixels within 0..1 x 0..1"


# Rules


def test_rules_prefer_whole_masks_in_the_right_place():
    masks, cases = discs(60)
    judge = RulesJudge().fit(cases[:40], masks[:40])
    for case, mask in zip(cases[40:], masks[40:], strict=True):
        half, aside, island = mask.copy(), np.roll(mask, 9, axis=1), mask.copy()
        half[:12] = False
        island[:3, -4:] = True
        for bad in (half, aside, island, np.zeros_like(mask)):
            assert judge.compare(case, Candidate(mask), Candidate(bad)).said == FIRST
            assert judge.compare(case, Candidate(bad), Candidate(mask)).said == SECOND
            assert judge.check(case, Candidate(bad)).said != GOOD
    good = [judge.check(case, Candidate(mask)).said for case, mask in zip(cases[40:], masks[40:], strict=True)]
    assert good.count(GOOD) > 10
    assert good.count(BAD) <= 2


def test_rules_for_volumes():
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[:12, :16, :16]
    masks = [((z - 6) / 3) ** 2 + ((y - 8 - rng.normal()) / 4) ** 2 + ((x - 5) / 3) ** 2 < 1 for _ in range(20)]
    cases = [Case(at, "mask") for at in range(20)]
    judge = RulesJudge().fit(cases, masks)
    assert judge.compare(cases[0], Candidate(masks[0]), Candidate(masks[0][:, :, ::-1])).said == FIRST  # wrong side


def test_rules_for_texts_and_fields():
    cases = [Case(at, "text") for at in range(len(RECEIPTS))]
    judge = RulesJudge().fit(cases, RECEIPTS)
    assert judge.compare(Case(99, "text"), Candidate("17/03/2018"), Candidate("17/O3/2O18")).said == FIRST
    assert judge.check(Case(99, "text"), Candidate("COKE 1.5L")).said == BAD
    fields = [{"date": text, "total": f"{at}.50"} for at, text in enumerate(RECEIPTS)]
    judge = RulesJudge().fit([Case(at, "fields") for at in range(len(fields))], fields)
    swapped = {"date": "7.50", "total": "17/03/2018"}
    right = {"date": "17/03/2018", "total": "7.50"}
    assert judge.compare(Case(99, "fields"), Candidate(swapped), Candidate(right)).said == SECOND


def test_rules_for_classes_use_the_content():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(80, 3))
    names = np.where(vectors[:, 0] > 0, "up", "down")
    cases = [Case(at, "class", vector=vector) for at, vector in enumerate(vectors)]
    judge = RulesJudge().fit(cases[:60], names[:60].tolist())
    clear = [at for at in range(60, 80) if abs(vectors[at, 0]) > 0.7]
    for at in clear:
        other = "down" if names[at] == "up" else "up"
        assert judge.compare(cases[at], Candidate(names[at]), Candidate(other)).said == FIRST


def test_two_equally_odd_labels_are_uncertain():
    cases = [Case(at, "text") for at in range(len(RECEIPTS))]
    judge = RulesJudge().fit(cases, RECEIPTS)
    assert judge.compare(Case(99, "text"), Candidate("17/03/2018"), Candidate("17/04/2018")).said in (0, 1, 2)
    assert judge.compare(Case(99, "text"), Candidate("same"), Candidate("same")).said == UNSURE


def test_rules_need_a_few_accepted_labels():
    with pytest.raises(InputError, match="at least 5"):
        RulesJudge().fit([Case(0, "text")], ["x"])


# Classifier


def two_engines(n=160, seed=0):
    """Dates as one engine reads them well and another with the letter O."""
    rng = np.random.default_rng(seed)
    truth = [f"{rng.integers(1, 29):02d}/{rng.integers(1, 13):02d}/20{rng.integers(10, 20)}" for _ in range(n)]

    def read_with(error):
        return [text.replace("0", "O", 1) if rng.random() < error else text for text in truth]

    return truth, {"a": read_with(0.5), "b": read_with(0.5)}


def test_classifier_learns_whom_to_believe_out_of_fold():
    truth, labels = two_engines()
    cases, candidates = candidates_of(labels, kind="text")
    judge = ClassifierJudge().fit(cases[:80], candidates[:80], truth[:80])
    for rows in (range(80), range(80, 160)):  # known rows out of fold, and new ones
        critic = LabelCritic(judge).fit(
            {k: [v[at] for at in rows] for k, v in labels.items()}, [cases[at] for at in rows]
        )
        told = [
            (found, truth[at])
            for found, at, why in zip(critic.chosen(), rows, critic.reason_, strict=True)
            if why == "compared"
        ]
        assert len(told) > 10
        assert np.mean([found == right for found, right in told]) > 0.95
        both_wrong = [at - rows[0] for at in rows if truth[at] not in (labels["a"][at], labels["b"][at])]
        assert (critic.route_[both_wrong] != "adopt").mean() > 0.8  # the better of two bad ones is not crowned


def test_classifier_is_indifferent_to_order():
    truth, labels = two_engines()
    cases, candidates = candidates_of(labels, kind="text")
    judge = ClassifierJudge().fit(cases, candidates, truth)
    for case, (one, two) in zip(cases[:30], candidates[:30], strict=True):
        there, back = judge.compare(case, one, two), judge.compare(case, two, one)
        assert there.score == pytest.approx(-back.score, abs=1e-9)


def test_classifier_on_noise_is_rarely_sure_and_not_better_than_chance():
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 300).astype(str).tolist()
    labels = {name: rng.integers(0, 2, 300).astype(str).tolist() for name in "ab"}
    cases, candidates = candidates_of(labels, kind="class")
    judge = ClassifierJudge().fit(cases, candidates, truth)
    critic = LabelCritic(judge, check=False).fit(labels, cases)
    told = critic.reason_ == "compared"
    right = np.array(critic.chosen(), dtype=object)[told] == np.array(truth, dtype=object)[told]
    assert told.mean() < 0.3
    assert not told.any() or abs(right.mean() - 0.5) < 4 * 0.5 / np.sqrt(told.sum())


@pytest.mark.parametrize("n", [5, 30])
def test_classifier_needs_rows_and_differences(n):
    labels = {"a": ["x"] * n, "b": ["x"] * n}
    cases, candidates = candidates_of(labels, kind="class")
    with pytest.raises(InputError, match="at least 10"):
        ClassifierJudge().fit(cases, candidates, ["x"] * n)
