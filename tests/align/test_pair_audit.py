"""Doubts about preference labels: by hand, permuted, at their limits, and on real pairs."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from assay.align.pair_audit import PairAudit, differences, held_out
from assay.errors import InputError


def pairs(n=60, flips=(3, 17)):
    """A good word decides, except in two pairs."""
    rng = np.random.default_rng(0)
    made = []
    for row in range(n):
        filler = [" ".join(rng.choice(list("abcdefgh"), 5)) for _ in range(2)]
        both = {"chosen": f"{filler[0]} thanks", "rejected": f"{filler[1]} nonsense"}
        if row in flips:
            both = {"chosen": both["rejected"], "rejected": both["chosen"]}
        made.append({"prompt": str(row), **both})
    return made


def test_planted_flips_come_first():
    audit = PairAudit().fit(pairs())
    told = audit.evidence()
    assert set(np.argsort(-told["p_flipped"])[:2]) == {3, 17}
    assert (told["margin"] < 0).nonzero()[0].tolist() == [3, 17]
    assert audit.accuracy_ == pytest.approx(58 / 60)
    assert audit.interval_[0] < 58 / 60 < audit.interval_[1]
    np.testing.assert_allclose(told["p_flipped"], 1 / (1 + np.exp(told["margin"])))


def test_margins_are_those_of_a_model_that_did_not_see_the_pair():
    answers = [(pair["chosen"], pair["rejected"]) for pair in pairs(20)]
    apart, fold = differences(answers), np.arange(20).astype(np.int32) % 4
    found = held_out(apart, fold, 1.0)
    for row in (0, 7):
        train = apart[fold != fold[row]].toarray()
        model = LogisticRegression(C=1.0, fit_intercept=False, max_iter=2000, tol=1e-8)
        model.fit(np.vstack([train, -train]), np.arange(2 * len(train)) < len(train))
        assert found[row] == pytest.approx(float(apart[[row]].toarray()[0] @ model.coef_[0]), abs=2e-2)


def test_swapping_every_pair_swaps_nothing():
    """Answers have no order but the label's: pairs with both swapped are equally doubted."""
    swapped = [{**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]} for pair in pairs()]
    one, other = PairAudit().fit(pairs()), PairAudit().fit(swapped)
    np.testing.assert_allclose(one.margin_, other.margin_, atol=1e-6)


def test_permuting_rows_permutes_results():
    given = pairs()
    for row, pair in enumerate(given):
        pair["prompt"] = str(row)
    order = np.random.default_rng(1).permutation(len(given))
    one, other = PairAudit(), PairAudit()
    one.fit(given)
    other.fit([given[at] for at in order])
    agreement = np.corrcoef(one.margin_[order], other.margin_)[0, 1]
    assert agreement > 0.98  # folds are dealt anew


def test_pairs_without_information_are_not_judged():
    given = pairs(30)
    given[4]["rejected"] = given[4]["chosen"]
    given[5]["chosen"] = "  "
    found = PairAudit().fit(given)
    assert np.isnan(found.margin_).nonzero()[0].tolist() == [4, 5]


def test_pairs_of_a_prompt_share_a_fold():
    """Copies of a flipped pair under one prompt cannot vouch for each other."""
    given = pairs(40, flips=())
    given += [{"prompt": "same", "chosen": "zzz nonsense", "rejected": "zzz thanks"} for _ in range(5)]
    assert (PairAudit().fit(given).margin_[-5:] < 0).all()


def test_further_features_are_heard():
    rng = np.random.default_rng(0)
    given = [{"prompt": str(row), "chosen": f"w{row} x", "rejected": f"v{row} x"} for row in range(80)]
    truth = rng.normal(size=80) + 1.5
    assert PairAudit().fit(given, features=truth[:, None]).accuracy_ > PairAudit().fit(given).accuracy_ + 0.1
    with pytest.raises(InputError, match="one row for each of 80"):
        PairAudit().fit(given, features=truth[:5, None])


def test_too_few_pairs():
    with pytest.raises(InputError, match="folds were asked for"):
        PairAudit().fit(pairs(3))


@pytest.mark.claim
def test_planted_flips_of_real_pairs_are_found(shared_data):
    """On hh-rlhf with three labels in ten flipped, better than confident learning on single answers."""
    from sklearn.metrics import roc_auc_score

    from assay.training.deep.protocol import interval
    from bench.align.pair_audit import flipped, hh_pairs, plain

    shared_data("hh-rlhf/harmless-base-test.jsonl.gz")
    gains, found = [], []
    for seed in range(5):
        given, wrong = flipped(hh_pairs(), 0.3, seed)
        ours = roc_auc_score(wrong, -PairAudit(random_state=seed).fit(given).margin_)
        found.append(ours)
        gains.append(ours - roc_auc_score(wrong, plain(given, seed)))
    assert interval(found)["low"] > 0.6
    assert interval(gains)["low"] > 0
