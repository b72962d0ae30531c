"""The judge in a folder, with real though tiny models of random weights, saved by the test."""

import numpy as np
import pytest

from assay.aggregate.critic import LabelCritic
from assay.errors import InputError
from assay.training.judges import Candidate, Case
from assay.training.judges.words import pair_question

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
}


def letters():
    """A tokenizer whose tokens are the printable characters."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    signs = ["<pad>", "<unk>", "<image>", "</s>", "\n", *map(chr, range(32, 127))]
    plain = Tokenizer(models.WordLevel({sign: at for at, sign in enumerate(signs)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    special = {
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "additional_special_tokens": ["<image>"],
    }
    return transformers.PreTrainedTokenizerFast(tokenizer_object=plain, **special)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    tokenizer = letters()
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=len(tokenizer), **SIZES)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def seer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vision")
    tokenizer = letters()
    torch.manual_seed(0)
    eyes = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    text = transformers.LlamaConfig(vocab_size=len(tokenizer), **SIZES)
    config = transformers.LlavaConfig(vision_config=eyes, text_config=text, image_token_index=2, image_seq_length=4)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    pictures = transformers.CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
    marks = {"image_token": "<image>", "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    transformers.LlavaProcessor(pictures, tokenizer, patch_size=16, **marks).save_pretrained(folder)
    return folder


def test_log_chances_are_those_of_a_plain_loop(reader):
    from assay.training.judges.local_model import LocalModelJudge

    judge = LocalModelJudge(reader)
    case, a, b = Case(0, "text", content="9.00"), Candidate("9.00"), Candidate("9,00")
    model = transformers.AutoModelForCausalLM.from_pretrained(reader)
    tokenizer = transformers.AutoTokenizer.from_pretrained(reader)
    prompt = "\n".join(pair_question(case, a, b)) + "\nVERDICT:"
    expected = []
    for name in "AB":
        ids, total = tokenizer(prompt)["input_ids"], 0.0
        for token in tokenizer(f" {name}", add_special_tokens=False)["input_ids"]:
            with torch.no_grad():
                total += float(torch.log_softmax(model(torch.tensor([ids])).logits[0, -1], -1)[token])
            ids = [*ids, token]
        expected.append(total)
    assert judge.answer_logs(pair_question(case, a, b), ("A", "B")) == pytest.approx(expected, abs=1e-4)
    assert judge.compare(case, a, b).score == pytest.approx(expected[0] - expected[1], abs=1e-4)


def test_names_are_compared_up_to_where_they_differ(reader):
    from assay.training.judges.local_model import LocalModelJudge

    judge = LocalModelJudge(reader)
    short = judge.answer_logs(["Good?"], ("G", "B"))
    assert judge.answer_logs(["Good?"], ("GOOD", "BAD")) == pytest.approx(short, abs=1e-5)  # length is no merit


def test_an_untrained_model_favours_a_place_and_is_not_followed(reader):
    from assay.training.judges.local_model import LocalModelJudge

    words = [f"word{at}" for at in range(5)]
    critic = LabelCritic(LocalModelJudge(reader)).fit({"a": words, "b": [*words[1:], words[0]]}, kind="text")
    assert set(critic.reason_) == {"uncertain"}
    assert critic.costs_["failed"].sum() == 0


def test_a_model_with_eyes_sees_the_masks(seer):
    from assay.training.judges.local_model import LocalModelJudge

    judge = LocalModelJudge(seer)
    assert judge.sees
    case = Case(0, "mask", content=np.random.default_rng(0).random((20, 30)), target="cell")
    left = np.zeros((20, 30), bool)
    left[:, :15] = True
    one, two = (
        judge.compare(case, Candidate(left), Candidate(~left)),
        judge.compare(case, Candidate(left), Candidate(left)),
    )
    assert one.score != two.score  # another picture, another chance
    assert judge.present(case).said in (1, 2)


def test_a_model_without_eyes_says_so(reader):
    from assay.training.judges.local_model import LocalModelJudge

    case = Case(0, "mask", content=np.ones((4, 4)))
    with pytest.raises(InputError, match="sees no pictures"):
        LocalModelJudge(reader).check(case, Candidate(np.ones((4, 4), bool)))


def test_a_folder_without_a_model(tmp_path):
    from assay.training.judges.local_model import LocalModelJudge

    with pytest.raises(InputError, match="no model"):
        LocalModelJudge(tmp_path)
