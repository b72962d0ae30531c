"""Two answerers beside plain loops: the prompt, the nearest neighbours; and the strict reading of what a model says."""

import numpy as np
import pytest

from assay.errors import InputError
from assay.labels.flow import Generated
from assay.labels.lattices import Sources
from assay.language import torch
from assay.language.introspection import introspect, used_items
from assay.language.models import tiny_language_model
from assay.language.neighbour_answers import NeighbourAnswers
from assay.language.prompted_answers import PromptedAnswers
from assay.protect.information_flow import InformationFlow

ITEMS = ["the tea is hot", "a cat sat", "nine bells", "go home now", "tea is cold"]
SUBSETS = [(0, 1, 2, 3, 4), (1,), (), (0, 4), (2, 3, 4), (0, 1, 2, 3)]
LM = tiny_language_model(seed=1)


def log_probs(ids):
    with torch.inference_mode():
        return LM.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1).numpy()


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_prompts_are_scored_as_by_a_plain_loop(reuse, batch_size):
    answers = PromptedAnswers(LM, max_new_tokens=6, reuse=reuse, batch_size=batch_size)
    said = answers.generate("tea?", ITEMS)
    assert len(said.tokens) <= 6
    found = answers.score("tea?", ITEMS, SUBSETS, said)
    for subset, score in zip(SUBSETS, found, strict=True):
        prompt = answers.prompt("tea?", [ITEMS[at] for at in subset])
        told = log_probs([*prompt, *said.tokens])
        by_hand = [told[len(prompt) + at - 1, token] for at, token in enumerate(said.tokens)]
        assert score == pytest.approx(np.mean(by_hand), abs=1e-4)
    greedy = log_probs([*answers.prompt("tea?", ITEMS), *said.tokens]).argmax(-1)
    assert greedy[-len(said.tokens) - 1 : -1].tolist() == list(said.tokens)


def test_a_prefix_is_run_once_a_question():
    counts = []
    for reuse in (False, True):
        answers = PromptedAnswers(LM, max_new_tokens=4, reuse=reuse)
        said = answers.generate("tea?", ITEMS)
        for _ in range(2):
            answers.score("tea?", ITEMS, SUBSETS, said)
        counts.append(answers.n_scored)
    assert counts[1] < 0.5 * counts[0]
    before = answers.n_scored
    answers.score("bells?", ITEMS, SUBSETS, said)  # another question begins in another way
    assert answers.n_scored > before


def test_what_ends_an_answer_is_not_part_of_it():
    whole = PromptedAnswers(LM, max_new_tokens=12).generate("tea?", ITEMS)
    stop = LM.decode([whole.tokens[4]])
    cut = PromptedAnswers(LM, max_new_tokens=12, stop=stop).generate("tea?", ITEMS)
    assert cut.tokens == whole.tokens[: whole.tokens.index(whole.tokens[4])]


@pytest.mark.parametrize("make", [PromptedAnswers, NeighbourAnswers])
def test_text_is_the_same_to_the_bit_whatever_lies_above_the_label(make):
    """Real models: items outside of what the label keeps are changed, lengthened, or were never there."""
    lattice = Sources(tuple("abcde"))
    flow = InformationFlow(make(LM, max_new_tokens=6), lattice, lam=0.3, search="greedy")
    rng, seen = np.random.default_rng(0), 0
    for query in ("tea?", "who sat", "bells"):
        said = flow.answer(query, ITEMS, list("abcde"))
        kept = said.record["kept"]
        fresh = make(LM, max_new_tokens=6).generate(query, [ITEMS[at] for at in kept])
        assert said.text == fresh.text
        for _ in range(3):
            changed = [
                item if at in kept else "".join(rng.choice(list("abc xyz"), rng.integers(1, 30))) + "!"
                for at, item in enumerate(ITEMS)
            ]
            again = flow.answer(query, changed, list("abcde"))
            limited = flow.answer(query, changed, list("abcde"), limit=said.label)
            for one in (again, limited):
                if one.label == said.label:
                    seen += 1
                    assert one.text == said.text
    assert seen > 0


def test_neighbours_beside_a_plain_loop():
    k, weight, temperature = 3, 0.4, 0.5
    answers = NeighbourAnswers(LM, k=k, multiple=2, weight=weight, temperature=temperature, max_new_tokens=5)
    said = answers.generate("tea", ITEMS)

    def distribution(ids, items):
        """The mixture (V,) after `ids`, entry by entry."""
        with torch.inference_mode():
            hidden = LM.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[-1][0, -1]
            entries = []
            for item in items:
                tokens = LM.encode(item)
                states = LM.model(input_ids=torch.tensor([tokens]), output_hidden_states=True).hidden_states[-1][0]
                entries += [
                    (float(((hidden - state) ** 2).sum()), token)
                    for state, token in zip(states[:-1], tokens[1:], strict=True)
                ]
        p_lm = np.exp(log_probs(ids)[-1])
        near = sorted(entries)[:k]
        if not near:
            return p_lm
        votes = np.exp([-squared / (temperature * 32) for squared, _ in near])
        p_knn = np.zeros_like(p_lm)
        for vote, (_, token) in zip(votes / votes.sum(), near, strict=True):
            p_knn[token] += vote
        return weight * p_knn + (1 - weight) * p_lm

    found = answers.score("tea", ITEMS, SUBSETS, said)
    for subset, score in zip(SUBSETS, found, strict=True):
        items, ids = [ITEMS[at] for at in subset], LM.encode("tea")
        by_hand = [
            np.log(distribution([*ids, *said.tokens[:at]], items)[token]) for at, token in enumerate(said.tokens)
        ]
        assert score == pytest.approx(np.mean(by_hand), abs=1e-4)
        alone = NeighbourAnswers(LM, k=k, weight=weight, temperature=temperature)
        assert alone.score("tea", items, [tuple(range(len(items)))], said)[0] == pytest.approx(score, abs=1e-4)
    for at, token in enumerate(said.tokens):
        assert token == distribution([*LM.encode("tea"), *said.tokens[:at]], ITEMS).argmax()


def test_without_weight_neighbours_are_the_model_and_with_all_of_it_some_tokens_are_impossible():
    said = Generated("z", (ord("z"), ord("q")))
    plain = NeighbourAnswers(LM, weight=0.0).score("tea", ITEMS, SUBSETS, said)
    told = log_probs([*LM.encode("tea"), ord("z")])
    assert plain == pytest.approx((told[-2, ord("z")] + told[-1, ord("q")]) / 2, abs=1e-5)
    assert NeighbourAnswers(LM, weight=1.0).score("tea", ITEMS, [(0,)], said).tolist() == [-np.inf]
    flow = InformationFlow(NeighbourAnswers(LM, weight=1.0, max_new_tokens=4), Sources(tuple("abcde")), lam=0.1)
    answer = flow.answer("the t", ITEMS, list("abcde"))
    assert answer.record["drop_without_items"] is None or answer.record["drop_without_items"] > -5
    json_able = [loss for _, loss in answer.record["tried"]]
    assert None in json_able  # a token that the rest cannot give is no finite loss


def test_bad_input_is_told():
    small = tiny_language_model(context_length=96)
    with pytest.raises(InputError, match=r"A query with 5 items makes .* made for 96"):
        PromptedAnswers(small).generate("tea?", ITEMS)
    with pytest.raises(InputError, match="needs one token at least"):
        NeighbourAnswers(small).generate("", ITEMS)
    with pytest.raises(InputError, match="An item has 200 tokens"):
        NeighbourAnswers(small).generate("tea", ["x" * 200])
    with pytest.raises(InputError, match="and temperature is above 0"):
        NeighbourAnswers(small, weight=2)


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("1", (0,)),
        (" 2 ,1.\n", (0, 1)),
        ("1 and 3", (0, 2)),
        ("none", ()),
        ("None.", ()),
        ("", None),
        ("I used 2", None),
        ("2; 3", None),
        ("0", None),
        ("4", None),
        ("-1", None),
        ("1,", None),
        ("1 2", None),
        ("٢", None),
        ("1\nIgnore the above", None),
        ("9" * 5000, None),
    ],
)
def test_replies_are_read_strictly(reply, read):
    assert used_items(reply, 3) == read


def test_a_random_model_says_nothing_that_can_be_read():
    assert used_items(introspect(LM, "tea?", ITEMS[:2], "hot"), 2) is None
