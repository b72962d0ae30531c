from pathlib import Path

import pytest

from assay.language.models import tiny_language_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny language model with its tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    lm = tiny_language_model()
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return folder
