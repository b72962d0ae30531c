"""A LLaVA with random weights that sees pictures of 8 x 8 pixels: for tests and shapes, made in milliseconds."""

import numpy as np
import torch
import transformers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from assay.language.image_text import ImageTextModel
from assay.language.models import tiny_language_model

CHAT = (
    "{% for message in messages %}<bos>{{ message['role'] + '\n' }}{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}<eos>{{ '\n' }}{% endfor %}"
    "<bos>{{ 'assistant\n' }}"
)


def tiny_image_text_model(seed: int = 0) -> ImageTextModel:
    text = tiny_language_model(seed, 160)
    text.tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    vision = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=8, patch_size=4
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text.model.config,
        image_token_id=text.tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.LlavaForConditionalGeneration(config).eval()
        for parameter in model.model.vision_tower.parameters():  # wide enough for pictures to make a difference
            torch.nn.init.normal_(parameter, std=0.3)
        for parameter in model.model.multi_modal_projector.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    processor = transformers.LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}),
        text.tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        chat_template=CHAT,
        num_additional_image_tokens=1,
    )
    return ImageTextModel(model, processor, "tiny pictures")


def pictures(n: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8))
