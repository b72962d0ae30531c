"""A language model with its tokenizer, loaded from what lies on this machine; nothing is ever downloaded.

Three facts of a checkpoint that code gets wrong are said once here: the width of the logits (which may exceed the
tokenizer's vocabulary, as padded tables do), the context length, and all the ids that end a text.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from assay.errors import InputError, require
from assay.language import torch
from assay.language.smollm2 import WHY, quiet, smollm2_folder
from assay.language.token_ratios import Head, head_of

CHAT = """{% for message in messages %}{{ bos_token + message['role'] + '\n' + message['content'] + eos_token + '\n' }}\
{% endfor %}{% if add_generation_prompt %}{{ bos_token + 'assistant\n' }}{% endif %}"""


@dataclass(frozen=True)
class LanguageModel:
    """A causal model of transformers, ready to be asked: in evaluation mode, with the tokenizer whose ids it reads.

    Parameters
    ----------
    model : a transformers model with `forward(input_ids, ...)` and logits.
    tokenizer : of transformers, too.
    name : for messages and reports.

    Raises
    ------
    InputError when the tokenizer gives ids that the model has no logits for.
    """

    model: Any
    tokenizer: Any
    name: str = "model"

    def __post_init__(self) -> None:
        if len(self.tokenizer) == 0:
            raise InputError(
                f"The tokenizer of {self.name} knows no tokens: load the tokenizer that the model came with."
            )
        token, highest = max(self.tokenizer.get_vocab().items(), key=lambda pair: pair[1])
        if highest >= self.n_vocabulary:
            raise InputError(
                f"The tokenizer of {self.name} gives ids up to {highest} ({token!r}), but the model has logits for "
                f"0 to {self.n_vocabulary - 1} only: load the tokenizer that the model came with, or widen the model "
                "with `model.resize_token_embeddings(len(tokenizer))`."
            )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @cached_property
    def n_vocabulary(self) -> int:
        """Width of the logits: what a mark, a ban or a distribution is as wide as; never `len(tokenizer)`."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    @cached_property
    def context_length(self) -> int:
        """The most tokens that the model was made for, prompt and answer together."""
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", None) or sys.maxsize)

    @cached_property
    def eos(self) -> tuple[int, ...]:
        """All ids that end a text: of the generation settings and of the tokenizer."""
        said = getattr(self.model.generation_config, "eos_token_id", None)
        ids = [*(said if isinstance(said, list) else [said]), self.tokenizer.eos_token_id]
        return tuple(sorted({int(token) for token in ids if token is not None}))

    @cached_property
    def pad(self) -> int:
        """The id that fills short rows; it is always masked, so any will do where the tokenizer has none."""
        said = self.tokenizer.pad_token_id
        return int(said) if said is not None else (self.eos[0] if self.eos else 0)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, and of nothing else: no special token is added, and one spelled out in the text is plain text.

        So pieces can be joined, and a text from strangers cannot end the turn it stands in.

        >>> lm = tiny_language_model()
        >>> lm.encode("<eos>") == [ord(letter) for letter in "<eos>"]
        True
        """
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def chat(self, user: str, system: str | None = None, assistant: str = "") -> list[int]:
        """Ids of a turn in the model's chat template, up to where the assistant speaks, after its first words.

        Special tokens spelled out in `user` or `system` become plain text.

        >>> lm = tiny_language_model()
        >>> lm.tokenizer.decode(lm.chat("Hi", assistant="Yes"))
        '<bos>user\\nHi<eos>\\n<bos>assistant\\nYes'
        """
        if not self.tokenizer.chat_template:
            raise InputError(
                f"{self.name} has no chat template: take an instruction model, or give its prompts by `encode`."
            )
        parts = {role: text for role, text in (("system", system), ("user", user)) if text is not None}
        # Where a text spells a special token, the template is written around a place holder, and the text put in later.
        special = [str(token) for token in self.tokenizer.added_tokens_decoder.values()]
        hostile = [role for role, text in parts.items() if any(token in text for token in special)]
        holders = {role: f"\ue000{role}\ue001" for role in hostile}
        messages = [{"role": role, "content": holders.get(role, text)} for role, text in parts.items()]
        written = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids: list[int] = []
        for role, holder in holders.items():
            before, found, written = written.partition(holder)
            if not found:
                raise InputError(f"The chat template of {self.name} does not write the {role}'s message as it is.")
            ids += self.tokenizer.encode(before, add_special_tokens=False) + self.encode(parts[role])
        ids += self.tokenizer.encode(written, add_special_tokens=False)
        return ids + self.encode(assistant)

    def check_same_tokens(self, other: LanguageModel) -> None:
        """Raise unless an id means the same token to both models, so that their distributions can be compared.

        Raises
        ------
        InputError naming the first id that differs, or the widths of the logits.
        """
        ours, theirs = self.tokenizer.get_vocab(), other.tokenizer.get_vocab()
        if ours != theirs:
            at, token = min((at, token) for token, at in ours.items() ^ theirs.items())
            raise InputError(
                f"{self.name} and {other.name} have different vocabularies: id {at} ({token!r}) is not the same token "
                "to both. Compare models of one family, or compare texts by their scores under each."
            )
        if self.n_vocabulary != other.n_vocabulary:
            raise InputError(
                f"{self.name} has {self.n_vocabulary} logits and {other.name} has {other.n_vocabulary}: widen one with "
                "`model.resize_token_embeddings`."
            )

    @property
    def body(self) -> Any:
        """The model below its head, adapters included: ids to final hidden states."""
        model = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return model.base_model

    @cached_property
    def head(self) -> Head | None:
        """What makes logits of final hidden states; None where it cannot be told apart from the model.

        Found by asking the model: with it, scoring never stores the logits of all positions.
        """
        ids = torch.arange(min(8, self.n_vocabulary), device=self.device)[None]
        with torch.inference_mode():
            logits = self.model(input_ids=ids, use_cache=False).logits[0].float()
            hidden = self.body(input_ids=ids, use_cache=False).last_hidden_state[0]
            head = head_of(self.model)
            return head if torch.allclose(head.logits(hidden), logits, rtol=1e-3, atol=1e-3) else None


def load_language_model(
    source: Any = "smollm2", *, tokenizer: Any = None, device: Any = None, dtype: str = "float32"
) -> LanguageModel:
    """Load a model and its tokenizer from this machine.

    Parameters
    ----------
    source : "smollm2", a folder written by `save_pretrained` (weights as safetensors), a name of the Hugging Face hub
        whose files are in the local cache, or a model of transformers at hand, with `tokenizer`.
    tokenizer : taken instead of the one that lies beside the model.
    device : of torch; a GPU if there is one.
    dtype : of the weights: "float32", "bfloat16" or "float16".

    Raises
    ------
    MissingExtraError naming what to install; InputError when nothing is there, or the two do not fit.
    """
    transformers = require("transformers", "language", WHY)
    if isinstance(source, transformers.PreTrainedModel):
        if tokenizer is None:
            raise InputError("A model at hand needs its tokenizer: give `tokenizer=` too.")
        return LanguageModel(source.eval(), tokenizer, str(source.config.name_or_path or type(source).__name__))
    if dtype not in ("float32", "bfloat16", "float16"):
        raise InputError(f"dtype is {dtype!r}: expected 'float32', 'bfloat16' or 'float16'.")
    folder = smollm2_folder() if source == "smollm2" else _folder_of(str(source))
    try:
        with quiet(transformers):
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, dtype), local_files_only=True, use_safetensors=True
            )
            if tokenizer is None:
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{folder} is no model with weights as safetensors and a tokenizer: {reason}") from error
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return LanguageModel(model.eval().to(device), tokenizer, str(source))


def _folder_of(source: str) -> Path:
    """A folder as it is, or where the cache of the hub holds a name: transformers itself would ask the network."""
    if Path(source).is_dir():
        return Path(source)
    hub = require("huggingface_hub", "language", WHY)
    try:
        return Path(hub.snapshot_download(source, local_files_only=True))
    except (OSError, ValueError) as error:
        raise InputError(
            f"There is no model {source!r}: expected 'smollm2', a folder written by `save_pretrained`, or a name of "
            "the Hugging Face hub whose files `hf download NAME` has brought here."
        ) from error


def tiny_language_model(
    seed: int = 0, n_vocabulary: int = 128, *, width: int = 32, layers: int = 2, context_length: int = 512
) -> LanguageModel:
    """A Llama with random weights that reads and writes ASCII, made in milliseconds: for tests, examples and shapes.

    A letter's id is its ASCII code; 0 pads, 1 begins, 2 ends, 3 is any other letter. Weights are drawn wide enough for
    its next-token distributions to be neither flat nor certain.

    >>> lm = tiny_language_model()
    >>> lm.decode(lm.encode("Grüße")), lm.n_vocabulary, lm.eos
    ('Gre', 128, (2,))
    """
    transformers = require("transformers", "language", WHY)
    tokenizers = require("tokenizers", "language", WHY)
    if n_vocabulary < 128:
        raise InputError(f"n_vocabulary is {n_vocabulary}: the tokenizer's 128 letters need at least as many.")
    letters = {special: at for at, special in enumerate(("<pad>", "<bos>", "<eos>", "<unk>"))}
    letters |= {chr(code): code for code in range(4, 128)}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=letters, merges=[], unk_token="<unk>"))
    backend.decoder = tokenizers.decoders.Fuse()
    special = {f"{name}_token": f"<{name}>" for name in ("pad", "bos", "eos", "unk")}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    tokenizer.chat_template = CHAT
    config = transformers.LlamaConfig(
        vocab_size=n_vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context_length,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.LlamaForCausalLM(config)
    return LanguageModel(model.eval(), tokenizer, "tiny")
