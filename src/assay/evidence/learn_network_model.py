"""A perceptron that learned from weak labels, as files and back: weights as tensors, the rest as plain values."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from assay.errors import InputError, require
from assay.evidence.learn_model import FILE, WEIGHTS
from assay.evidence.learn_reader import Reader
from assay.labels.formats import files

Floats = npt.NDArray[np.float64]
Kind = Literal["bags", "tags"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkModel:
    """What is needed to predict new rows.

    Parameters
    ----------
    kind : "bags", whose classes exclude each other, or "tags", which do not.
    reader : how rows become numbers.
    names : (k,) classes or tags.
    aside, id : columns of the training table that are no features: labels, and ids.
    network : of `assay.training.deep.backbones.mlp`, for standardised rows.
    mean, scale : (1, d) that standardise them.
    shift : (k,) what is added to the logits.
    """

    kind: Kind
    reader: Reader
    names: tuple[str, ...]
    aside: tuple[str, ...]
    id: str | None
    network: Any
    mean: Floats
    scale: Floats
    shift: Floats

    def predict_proba(self, X: npt.NDArray[Any]) -> Floats:
        """Probabilities (m, k) of rows as the reader gives them."""
        from assay.training.deep import torch

        rows = torch.from_numpy(((X - self.mean) / self.scale).astype(np.float32))
        with torch.no_grad():
            parts = [self.network(part).double().numpy() for part in rows.split(4096)]
        logits = np.concatenate(parts) + self.shift
        return np.asarray(special.softmax(logits, axis=1) if self.kind == "bags" else special.expit(logits))

    def save(self, folder: Path) -> None:
        """Write `model.json`, `model.pt`, `reader.json` and `reader.npz`, each beside and renamed."""
        from assay.training.deep import nn, torch

        layers = list(self.network.modules())
        told = {
            "kind": self.kind,
            **{"names": self.names, "aside": self.aside, "id": self.id, "n_features": self.mean.shape[-1]},
            "hidden": [layer.out_features for layer in layers if isinstance(layer, nn.Linear)][:-1],
            "norm": any(isinstance(layer, nn.BatchNorm1d) for layer in layers),
        }
        numbers = {name: torch.from_numpy(np.array(getattr(self, name))) for name in ("mean", "scale", "shift")}
        with files.replacing(folder / WEIGHTS) as out:
            torch.save({"network": self.network.state_dict(), **numbers}, out)
        self.reader.save(folder)
        files.write_bytes(folder / FILE, json.dumps(told, indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> NetworkModel:
        """Read what `save` wrote; raises InputError where it is damaged."""
        require("torch", "deep", "Predicting")
        from assay.training.deep import torch
        from assay.training.deep.backbones import mlp

        try:
            told = json.loads((folder / FILE).read_text(encoding="utf-8"))
            kept = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
            network = mlp((told["n_features"],), len(told["names"]), hidden=tuple(told["hidden"]), norm=told["norm"])
            network.load_state_dict(kept["network"])
            numbers = {name: kept[name].numpy() for name in ("mean", "scale", "shift")}
            return cls(
                kind=told["kind"], reader=Reader.load(folder), names=tuple(told["names"]), aside=tuple(told["aside"]),
                id=told["id"], network=network.eval(), **numbers,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"The model in {folder} can't be read ({type(error).__name__}): train it again."
            ) from error
