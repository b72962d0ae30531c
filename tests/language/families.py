"""Tiny models of several families, whose caches, positions and heads differ."""

from collections.abc import Callable
from typing import Any

import torch
import transformers

from assay.language.models import LanguageModel, tiny_language_model

SMALL = {
    "vocab_size": 128,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.3,
    "max_position_embeddings": 256,
}


def made(family: str, **options: Any) -> LanguageModel:
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**options, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    name = "GPT2LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    return LanguageModel(getattr(transformers, name)(config).eval(), tiny_language_model().tokenizer, family)


FAMILIES: dict[str, Callable[[], LanguageModel]] = {
    "Llama": tiny_language_model,
    # Learned positions, counted from the first token.
    "GPT2": lambda: made(
        "GPT2", vocab_size=128, n_embd=32, n_layer=2, n_head=2, n_positions=256, initializer_range=0.3
    ),
    "GPTNeoX": lambda: made("GPTNeoX", **SMALL),
    # A window that is shorter than the texts.
    "Mistral": lambda: made("Mistral", **SMALL, num_key_value_heads=1, sliding_window=8),
    # Windows in every second layer, and logits that are capped.
    "Gemma2": lambda: made(
        "Gemma2", **SMALL, num_key_value_heads=1, head_dim=16, sliding_window=8, final_logit_softcapping=5.0
    ),
    # Logits that are divided.
    "Granite": lambda: made("Granite", **SMALL, num_key_value_heads=1, logits_scaling=3.0),
}
