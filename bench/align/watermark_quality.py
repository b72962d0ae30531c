"""What marks are worth and what they cost on SmolLM2-135M-Instruct: detection, false alarms, edits, resampling.

Prompts are first questions of hh-rlhf. Texts for detection have a fixed length, so the end-of-text token is banned
there; answers for resampling end where the model ends them. Other text for thresholds is human: dialogues of hh-rlhf.
Writing is the slow part: with `--keep FOLDER` what was written is kept, and a later run reads it.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from assay.align.watermark import Resampled, Watermark
from assay.evidence.results import ResultRow, versions_of, write_results
from assay.kernels.best_of import break_even, expected_maximum, gain_bound, normal_break_even
from assay.kernels.intervals import bootstrap, wilson
from assay.language import Tensor, torch
from assay.language.behaviour import judge_refusal
from assay.language.chain import LogitsChain
from assay.language.decoding import generate
from assay.language.degradation import Shift, at_equal_perplexity, detectability, shift
from assay.language.models import LanguageModel, load_language_model
from assay.language.pair_data import read_pairs
from assay.language.scoring import score_answers
from assay.training.encoders import encode
from assay.training.preference_reward import PreferenceReward
from bench.data import RESULTS, shared

COMMAND = "python -m bench.align.watermark_quality"
VERSIONS = versions_of("torch", "transformers", "scikit-learn")
KEY = 20261130
TOP_P = 0.95
MARKS: dict[str, dict[str, Any]] = {
    "Gumbel, randomised": {"scheme": "gumbel"},
    "KGW, delta 2": {"scheme": "kgw"},
    "Gumbel, fixed": {"scheme": "gumbel-fixed"},
}
RESAMPLED = ("Gumbel, randomised", "KGW, delta 2")
SECOND_PASS = 4  # answers of a prompt that are read again for their perplexity
READ = 100  # tokens of a longer text that are read again
Texts = list[list[int]]


class Scale(NamedTuple):
    """How much is written and judged."""

    prompts: int
    lengths: tuple[int, ...]
    resampled: int
    answers: int
    tokens: int
    synthid: int
    pairs: int
    human: int


SCALES = {
    "small": Scale(8, (25, 50), 6, 4, 12, 4, 40, 200),
    "full": Scale(16, (12, 25, 50, 100, 200), 12, 8, 32, 4, 800, 30_000),
}


def last_words(dialogue: str) -> str:
    return dialogue.rsplit("\n\nHuman:", 1)[-1].replace("\n\nAssistant:", "").strip()


def dialogues() -> list[dict[str, str]]:
    with gzip.open(shared("hh-rlhf/harmless-base-test.jsonl.gz"), "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def questions(n: int) -> list[str]:
    """Some different first questions, short ones, in an order of their own."""
    first = (row["chosen"].split("\n\nAssistant:")[0].removeprefix("\n\nHuman:").strip() for row in dialogues())
    found = [text for text in dict.fromkeys(first) if 20 < len(text) < 160]
    return [found[at] for at in np.random.default_rng(0).permutation(len(found))[:n]]


def human_texts(n: int) -> dict[str, list[str]]:
    """Texts that people wrote (hh-rlhf: people and an early assistant, without any mark)."""
    with gzip.open(shared("davidson-hate-offensive/labeled_data.csv.gz"), "rt", encoding="utf-8") as stream:
        tweets = [row["tweet"] for row in csv.DictReader(stream)]
    messages = [
        line.split("\t")[1]
        for part in ("train", "valid", "test")
        for line in shared(f"spam/sms_{part}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    ]
    talks = [row[side] for row in dialogues() for side in ("chosen", "rejected")]
    return {"hh-rlhf dialogues": talks[:n], "tweets (Davidson)": tweets[:n], "text messages (spam)": messages[:n]}


def mark_of(lm: LanguageModel, name: str) -> Watermark:
    return Watermark(key=KEY, n_vocabulary=lm.n_vocabulary, **MARKS[name])


class Synth:
    """SynthID's processor of transformers as a part of the chain, and the mean of its g-values as a test."""

    KEYS = (654, 400, 836, 123, 340, 443, 597, 160, 57)

    def __init__(self) -> None:
        from transformers import SynthIDTextWatermarkLogitsProcessor

        self.make = partial(
            SynthIDTextWatermarkLogitsProcessor,
            ngram_len=5,
            keys=list(self.KEYS),
            sampling_table_size=2**16,
            sampling_table_seed=0,
            context_history_size=1024,
            device=torch.device("cpu"),
        )
        self.processor = self.make()

    def bias(self, ids: Tensor, logits: Tensor) -> Tensor:
        marked: Tensor = self.processor(ids, logits)
        return marked

    def p_values(self, texts: Texts) -> npt.NDArray[np.float64]:
        """Binomial tail of the g-values of contexts that occur for the first time, texts of one length."""
        ids = torch.tensor(texts)
        values, first = self.make().compute_g_values(ids), self.make().compute_context_repetition_mask(ids)
        ones = (values * first[..., None]).sum((1, 2)).numpy()
        return np.asarray(stats.binom.sf(ones - 1, first.sum(1).numpy() * len(self.KEYS), 0.5))


def written(folder: Path, name: str, write: Callable[[], list[Texts]] | None) -> list[Texts]:
    """What was written before, or now; nothing where nothing may be written."""
    path = folder / f"{name.replace(' ', '_').replace(',', '')}.json"
    if not path.exists():
        if write is None:
            return []
        print(f"writing {name}", flush=True)
        path.write_text(json.dumps(write()), encoding="utf-8")
    found: list[Texts] = json.loads(path.read_text(encoding="utf-8"))
    return found


def row(case: str, metric: str, ours: float, unit: str = "share", **more: Any) -> ResultRow:
    return ResultRow(case, metric, float(ours), unit, COMMAND, seeds=(0,), versions=VERSIONS, **more)


def rate(case: str, metric: str, hits: npt.NDArray[np.bool_]) -> ResultRow:
    low, high = wilson(int(hits.sum()), len(hits))
    return row(case, metric, hits.mean(), interval=(float(low), float(high)))


def detection(lm: LanguageModel, texts: dict[str, Texts], human: Texts, lengths: Sequence[int]) -> list[ResultRow]:
    """AUC on p-values, and true positives at 1 % false positives and at p < 0.01, by length."""
    rows: list[ResultRow] = []
    synth = Synth()
    for name, marked in texts.items():
        for length in lengths:
            if name == "plain" or len(marked[0]) < length:
                continue
            cut, others = [one[:length] for one in marked], [one[:length] for one in human if len(one) >= length]
            if name == "SynthID (transformers)":
                found, clean = synth.p_values(cut), synth.p_values(others)
            else:
                mark = mark_of(lm, name)
                found, clean = mark.fit(cut).p_values_.copy(), mark.fit(others).p_values_
            told = detectability(found, clean)
            case = f"{name}, {length} tokens, {len(cut)} texts against {len(others)} of people"
            rows += [
                row(case, "AUC", told.auc),
                row(case, "true positives at 1 % false positives", told.tpr_at_1_percent),
                rate(case, "found at p < 0.01", found < 0.01),
                rate(case, "false positives at p < 0.01", clean < 0.01),
            ]
    return rows


def false_alarms(lm: LanguageModel, texts: dict[str, list[str]], plain: Texts) -> list[ResultRow]:
    """How often other text passes for marked, at nominal levels."""
    encoded = {name: lm.tokenizer(found, add_special_tokens=False)["input_ids"] for name, found in texts.items()}
    rows = []
    for source, ids in (encoded | {"unmarked answers of the model": plain}).items():
        for name in MARKS:
            p = mark_of(lm, name).fit(ids).p_values_
            case = f"{name}, {source}, {len(ids)} texts, {np.mean([len(one) for one in ids]):.0f} tokens each"
            rows += [rate(case, f"false positives at {100 * level:g} %", p < level) for level in (0.01, 0.05)]
            counted = mark_of(lm, name).set_params(unique=False).fit(ids).p_values_
            rows.append(rate(case, "false positives at 1 %, repeats counted", counted < 0.01))
    return rows


def edits(lm: LanguageModel, texts: dict[str, Texts], human: Texts) -> list[ResultRow]:
    """What is left of a mark after deletions, substitutions by words of people, and pasting into text of people."""
    words = np.concatenate([np.array(one) for one in human])
    rows = []
    for name in [one for one in MARKS if one in texts]:
        mark, marked = mark_of(lm, name), texts[name]
        length = len(marked[0])

        def changed(
            change: Callable[[npt.NDArray[np.int64], np.random.Generator], Any], marked: Texts = marked
        ) -> Texts:
            rng = np.random.default_rng(1)
            return [np.asarray(change(np.array(one), rng)).tolist() for one in marked]

        def without(text: npt.NDArray[np.int64], rng: np.random.Generator, share: float = 0) -> Any:
            return text[rng.random(len(text)) >= share]

        def with_others(text: npt.NDArray[np.int64], rng: np.random.Generator, share: float = 0) -> Any:
            return np.where(rng.random(len(text)) < share, rng.choice(words, len(text)), text)

        def pasted(text: npt.NDArray[np.int64], rng: np.random.Generator, share: float = 0) -> Any:
            around = np.array(human[int(rng.integers(len(human)))][: len(text)])
            size = int(share * len(text))
            start, at = int(rng.integers(len(text) - size + 1)), int(rng.integers(len(around) + 1))
            return np.concatenate([around[:at], text[start : start + size], around[at:]])

        for told, change, shares in (
            ("deleted", without, (0.1, 0.3, 0.5)),
            ("substituted", with_others, (0.1, 0.3, 0.5)),
            ("pasted into as much other text", pasted, (0.25, 0.5)),
        ):
            for share in shares:
                p = mark.fit(changed(partial(change, share=share))).p_values_
                rows.append(rate(f"{name}, {length} tokens, {100 * share:.0f} % {told}", "found at p < 0.01", p < 0.01))
    return rows


def quality(lm: LanguageModel, prompts: Texts, texts: dict[str, Texts]) -> list[ResultRow]:
    """Perplexity of each text under the model that wrote it, by a second pass, and its change, paired."""
    logs = {
        name: -score_answers(lm, prompts, [one[:READ] for one in found], batch_size=8).mean
        for name, found in texts.items()
        if len(found) == len(prompts)
    }
    rows = []
    for name, log in logs.items():
        found = shift(logs["plain"], log)
        case = f"{name}, {len(log)} texts, their first {READ} tokens"
        rows.append(row(case, "log-perplexity", log.mean(), "nats a token"))
        if name != "plain":
            interval = (found.low, found.high)
            rows.append(row(case, "change of log-perplexity", found.change, "nats a token", interval=interval))
    return rows


def of_shift(case: str, metric: str, found: Shift) -> ResultRow:
    return row(case, metric, found.change, "reward", interval=(found.low, found.high))


def resampling(lm: LanguageModel, asked: list[str], drawn: dict[str, list[Texts]], n_pairs: int) -> list[ResultRow]:
    """Reward of the best of n, marked and not, beside what the theorem promises; detection of what was kept."""
    reward = learned_reward(n_pairs)
    n_answers = len(drawn["plain"][0])
    told = [text for text in asked for _ in range(n_answers)]
    rewards, logs, refused = {}, {}, {}
    for name, by_prompt in drawn.items():
        flat = [answer for answers in by_prompt for answer in answers]
        texts = [lm.decode(answer) for answer in flat]
        rewards[name] = reward(told, texts).reshape(len(asked), n_answers)
        few = [answer for answers in by_prompt for answer in answers[:SECOND_PASS]]
        twice = [lm.chat(text) for text in asked for _ in range(SECOND_PASS)]
        logs[name] = -score_answers(lm, twice, few, batch_size=16).mean.reshape(len(asked), SECOND_PASS)
        refused[name] = np.array([judge_refusal(text) == "refused" for text in texts]).reshape(len(asked), n_answers)
    scale = float(rewards["plain"].std())  # rewards have no unit of their own: one standard deviation of plain ones
    rewards = {name: table / scale for name, table in rewards.items()}
    plain = rewards["plain"]
    case = f"hh-rlhf harmless, {reward.n_pairs_} pairs"
    rows = [row(case, "accuracy of the reward", reward.accuracy_, interval=reward.interval_)]
    for name, table in rewards.items():
        found = Resampled([], [], table, table.argmax(axis=1))
        case = f"{name}, {len(asked)} prompts, {n_answers} answers each"
        rows.append(row(case, "standard deviation of the reward within a prompt", found.sigma, "reward"))
        rows.append(row(case, "answers that refuse", refused[name].mean()))
        for n in (1, 2, 4, 8):
            if n > n_answers:
                continue
            best = Resampled([], [], table, found.chosen).curve(n)
            gain = bootstrap(lambda a, b, n=n: _best(a, n) - _best(b, 1), table, plain)
            metric = f"best of {n} less one plain answer"
            rows.append(row(case, metric, best - plain.mean(), "reward", interval=gain))
            if name != "plain":
                drop = float(plain.mean() - table.mean())
                rows += [
                    row(
                        case,
                        f"the same, as the theorem promises at least, n = {n}",
                        gain_bound(n) * found.sigma - drop,
                        "reward",
                    ),
                    row(
                        case,
                        f"the same, for normal rewards, n = {n}",
                        expected_maximum(n) * found.sigma - drop,
                        "reward",
                    ),
                ]
        if name == "plain":
            continue
        rows.append(of_shift(case, "change of reward", shift(plain.mean(1), table.mean(1))))
        worth = plain[:, :SECOND_PASS].mean(1), table[:, :SECOND_PASS].mean(1)
        left = at_equal_perplexity(worth, (logs["plain"].mean(1), logs[name].mean(1)))
        rows.append(of_shift(case, f"change of reward at equal perplexity, {SECOND_PASS} answers", left))
        rows.append(of_shift(case, "change of refusals", shift(refused["plain"].mean(1), refused[name].mean(1))))
        drop = float(plain.mean() - table.mean())
        for metric, size in (("by the theorem", break_even), ("for normal rewards", normal_break_even)):
            rows.append(
                row(case, f"answers that restore the reward, {metric}", min(size(drop, found.sigma), 1e9), "answers")
            )
        mark = mark_of(lm, name)
        all_p = mark.fit([answer for answers in drawn[name] for answer in answers]).p_values_.reshape(table.shape)
        kept = all_p[np.arange(len(table)), found.chosen]
        rows.append(rate(case, "found at p < 0.01, first answer", all_p[:, 0] < 0.01))
        rows.append(rate(case, "found at p < 0.01, best of all", kept < 0.01))
    return rows


def _best(table: npt.NDArray[np.float64], n: int) -> float:
    return Resampled([], [], table, table.argmax(axis=1)).curve(n)


def learned_reward(n_pairs: int) -> PreferenceReward:
    pairs = read_pairs(shared("hh-rlhf/harmless-base-test.jsonl.gz"))
    chosen = [pairs[at] for at in np.random.default_rng(1).permutation(len(pairs))[:n_pairs]]
    parts = (
        [last_words(pair["prompt"]) for pair in chosen],
        *([p[s].strip() for p in chosen] for s in ("chosen", "rejected")),
    )
    known: dict[str, npt.NDArray[np.float32]] = {}

    def embed(texts: Sequence[str]) -> npt.NDArray[Any]:
        new = sorted({text[:600] for text in texts} - known.keys(), key=len)
        if new:
            known.update(zip(new, encode(new), strict=True))
        return np.array([known[text[:600]] for text in texts])

    return PreferenceReward(embed, C=0.3).fit(*parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=list(SCALES), default="small")
    parser.add_argument("--keep", type=Path, help="Folder for what was written.")
    parser.add_argument("--kept", action="store_true", help="Write nothing more: report on what is kept.")
    arguments = parser.parse_args()
    scale, folder = SCALES[arguments.scale], arguments.keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    lm = load_language_model("smollm2", device="cpu")
    asked = questions(max(scale.prompts, scale.resampled))
    prompts = [lm.chat(text) for text in asked]
    longest, bans = max(scale.lengths), lm.eos
    few = prompts[: scale.resampled]

    def chain(name: str, bans: Sequence[int] = ()) -> LogitsChain:
        return (
            LogitsChain(bans=bans, top_p=TOP_P) if name == "plain" else mark_of(lm, name).chain(top_p=TOP_P, bans=bans)
        )

    def text(name: str) -> list[Texts]:
        return generate(lm, prompts[: scale.prompts], chain=chain(name, bans), max_new_tokens=longest, batch_size=32)

    def samples(name: str) -> list[Texts]:
        options = {"n_samples": scale.answers, "max_new_tokens": scale.tokens, "batch_size": 96}
        return generate(lm, few, chain=chain(name), **options)  # type: ignore[arg-type]

    def synthid() -> list[Texts]:
        length = min(longest, 100)
        asked = prompts[: scale.synthid]
        synth = LogitsChain(bans=bans, top_p=TOP_P, bias=Synth().bias)
        return generate(lm, asked, chain=synth, max_new_tokens=length, batch_size=len(asked))

    first, second = RESAMPLED
    synth = "SynthID (transformers)"
    todo: list[tuple[str, str, Callable[[], list[Texts]]]] = [  # the most telling first
        *(("text", name, partial(text, name)) for name in ("plain", first, second)),
        *(("samples", name, partial(samples, name)) for name in ("plain", first)),
        *(("text", name, partial(text, name)) for name in MARKS if name not in RESAMPLED),
        ("text", synth, synthid),
        ("samples", second, partial(samples, second)),
    ]
    texts: dict[str, Texts] = {}
    drawn: dict[str, list[Texts]] = {}
    for kind, name, write in todo:
        found = written(folder, f"{kind} {name}", None if arguments.kept else write)
        if found and kind == "text":
            texts[name] = [one[0] for one in found[: scale.prompts]]
        elif found:
            drawn[name] = [[one[: scale.tokens] for one in answers] for answers in found[: scale.resampled]]
    people = human_texts(scale.human)
    human = [
        ids for ids in lm.tokenizer(people["hh-rlhf dialogues"][::2], add_special_tokens=False)["input_ids"] if ids
    ]
    rows: list[ResultRow] = []
    stages: tuple[Callable[[], list[ResultRow]], ...] = (
        lambda: detection(lm, texts, human, scale.lengths),
        lambda: false_alarms(lm, people, texts["plain"]),
        lambda: edits(lm, texts, human),
        lambda: resampling(lm, asked[: scale.resampled], drawn, scale.pairs),
        lambda: quality(lm, prompts[: scale.prompts], texts),
    )
    for stage in stages:
        for one in stage():
            rows.append(one)
            print(f"{one.case:<80} {one.metric:<55} {one.ours:9.4f} {one.interval or ''}", flush=True)
        if arguments.scale == "full":  # after each stage: a run that is stopped leaves what it has
            write_results(RESULTS / "align" / "watermark_quality.json", rows)


if __name__ == "__main__":
    main()
