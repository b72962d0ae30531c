"""Preference pairs: what is read, what is left out, what is refused."""

import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.errors import InputError
from assay.language.models import tiny_language_model
from assay.language.pair_data import read_pairs, tokenise

TEXTS = [
    {"prompt": "Q: how?", "chosen": " so", "rejected": " no idea"},
    {"prompt": "A", "chosen": " good answer", "rejected": " bad"},
    {"prompt": "Say more", "chosen": " yes", "rejected": " never, ever"},
    {"prompt": "x y z", "chosen": " abc", "rejected": " abd"},
]
TALKS = [
    {name: [{"role": "user" if name == "prompt" else "assistant", "content": pair[name]}] for name in pair}
    for pair in TEXTS
]


def test_prompts_that_the_answers_share():
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
    other = [talk[0], {"role": "assistant", "content": "No"}]
    assert read_pairs([{"chosen": talk, "rejected": other}])[0]["prompt"] == talk[:1]
    assert read_pairs([{"chosen": "we are good", "rejected": "we are great"}])[0] == {
        "prompt": "we are ",
        "chosen": "good",
        "rejected": "great",
    }


def test_pairs_without_information_are_counted(tmp_path):
    lm = tiny_language_model()
    rows = [
        {"prompt": "a", "chosen": "b", "rejected": "b"},
        {"prompt": "a", "chosen": "b", "rejected": " \n"},
        {"prompt": "a" * 60, "chosen": "b", "rejected": "c"},
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"prompt": "a" * 20, "chosen": "b" * 40 + "x", "rejected": "b" * 40 + "y"},
    ]
    found = tokenise(rows, lm.tokenizer, lm.pad, max_length=50)
    assert found.dropped == {"identical": [0, 4], "empty": [1], "too long": [2]}
    assert found.rows.tolist() == [3]
    lone = [{"prompt": "", "chosen": "b<eos>", "rejected": "<eos>"}, rows[3]]  # one token, which nothing predicts
    assert tokenise(lone, lm.tokenizer, lm.pad).dropped["empty"] == [0]
    with pytest.raises(InputError, match="1 identical"):
        tokenise(rows[:1], lm.tokenizer, lm.pad)


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz", "pairs.parquet"])
def test_files_hold_the_same_pairs(tmp_path, name):
    for pairs in (TEXTS, TALKS):
        path = tmp_path / name
        text = "".join(json.dumps(pair) + "\n" for pair in pairs)
        if name.endswith("parquet"):
            pq.write_table(pa.Table.from_pylist(pairs), path)
        elif name.endswith("gz"):
            path.write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text)
        assert read_pairs(path) == pairs == read_pairs(datasets.Dataset.from_list(pairs))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no pairs"),
        ([{"prompt": "a", "chosen": "b"}], "needs chosen and rejected"),
        ([{"chosen": "a b", "rejected": "a c"}, {"chosen": "b", "rejected": 3}], r"first offending row: 1"),
        ([{"prompt": "a", "chosen": [{"role": "user", "content": "b"}], "rejected": "c"}], "all texts"),
        (["text"], "has str"),
    ],
)
def test_rows_that_are_no_pairs(rows, said):
    with pytest.raises(InputError, match=said):
        read_pairs(rows)
