"""A trained model: what it says of new rows; as files, and back.

Weights are kept as tensors, everything else as plain values. No pickle is read.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.errors import InputError, require
from assay.evidence.learn_methods import make
from assay.evidence.learn_reader import Reader
from assay.evidence.learn_source import read_new
from assay.kernels.intervals import wilson
from assay.labels.formats import files
from assay.labels.spaces import Space
from assay.labels.tables import LabelledTable

FILE, WEIGHTS = "model.json", "model.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is needed to label new rows.

    Parameters
    ----------
    method : name of the method.
    reader : how rows become numbers.
    space : the classes, columns of `predict_proba`.
    label, id : columns of the table that it was trained on.
    estimator : fitted; None before it is.
    """

    method: str
    reader: Reader
    space: Space
    label: str
    id: str | None = None
    estimator: Any = None

    def predict_proba(self, X: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Probabilities (n, k) of rows as the reader gives them."""
        return np.asarray(self.estimator.predict_proba(X))


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """What the model says of other rows.

    Parameters
    ----------
    table : the rows; their labels where they have some.
    ids : what names them: ids, else row numbers.
    pred_probs : (m, k).
    """

    table: LabelledTable | None
    ids: npt.NDArray[Any]
    pred_probs: npt.NDArray[np.float64]

    @property
    def accuracy(self) -> tuple[float, float, float, int] | None:
        """Agreement with the labels of these rows, its 95 % bounds, and how many there are; None without labels."""
        if self.table is None or not self.table.labels.present.any():
            return None
        labels = self.table.labels
        right = (self.pred_probs.argmax(axis=1) == labels.y)[labels.present]
        low, high = wilson(int(right.sum()), len(right))
        return float(right.mean()), float(low), float(high), len(right)


def read_test(
    path: Path | None, model: Model, embeddings: npt.ArrayLike | Path | None
) -> tuple[LabelledTable | None, npt.NDArray[Any]]:
    """Other rows as the network reads them, and their table."""
    reader = model.reader
    text, image = (reader.column if reader.media == media else None for media in ("text", "image"))
    rows = None if path is None else read_new(path, model.space, model.label, text, image, model.id)
    return rows, reader.read(rows, embeddings)


def predicted(model: Model, table: LabelledTable | None, X: npt.NDArray[Any]) -> Predicted:
    """What a model says of rows."""
    ids = None if table is None or table.ids is None else table.ids.to_pylist()
    return Predicted(
        table=table, ids=np.arange(len(X)) if ids is None else np.array(ids), pred_probs=model.predict_proba(X)
    )


def save_model(model: Model, folder: Path) -> None:
    """Write `model.json`, `model.pt`, `reader.json` and `reader.npz`, each beside and renamed."""
    from assay.training.deep import torch
    from assay.training.deep.run import snapshot

    fitted = model.estimator
    told = {
        "method": model.method,
        "recipe": (fitted.recipe or fitted.default_recipe).to_dict(),
        "classes": list(model.space.names),
        "label": model.label,
        "id": model.id,
        "n_features": int(fitted.n_features_in_),
        "counts": [int((fitted.evidence()["given"] == name).sum()) for name in fitted.classes_],
        "n_networks": int(fitted.objective_.n_models),
    }
    scale = {"mean": torch.from_numpy(fitted.mean_), "scale": torch.from_numpy(fitted.scale_)}
    with files.replacing(folder / WEIGHTS) as out:
        torch.save({**snapshot(fitted.network_, fitted.objective_), **scale}, out)
    model.reader.save(folder)
    files.write_bytes(folder / FILE, json.dumps(told, indent=1).encode())


def load_model(folder: Path) -> Model:
    """Read what `save_model` wrote; raises InputError where there is none or it is damaged."""
    require("torch", "deep", "Predicting")
    from assay.training.deep import nn, torch
    from assay.training.deep.backbones import mlp
    from assay.training.deep.batches import Data
    from assay.training.deep.recipe import Recipe
    from assay.training.deep.run import restore

    if not (folder / FILE).exists():
        raise InputError(f"{folder} holds no model: name the folder that `assay learn` wrote.")
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
        kept = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
        reader = Reader.load(folder)
        recipe = Recipe(**{**told["recipe"], "milestones": tuple(told["recipe"]["milestones"])})
        fitted = make(told["method"]).set_params(recipe=replace(recipe))
        k = len(told["classes"])
        networks = [mlp((told["n_features"],), k) for _ in range(told["n_networks"])]
        network = networks[0] if len(networks) == 1 else nn.ModuleList(networks)
        objective = fitted.make_objective()
        # Some objectives shape the network by the sizes of the classes; no row itself is needed to predict.
        given = torch.arange(k).repeat_interleave(torch.tensor(told["counts"]))
        rows = Data(torch.zeros(1, told["n_features"]).expand(len(given), -1), given, k)
        objective.begin(len(given), k, rows, network)
        restore(network, objective, {"model": kept["model"], "objective": kept["objective"]})
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"The model in {folder} can't be read ({type(error).__name__}): train it again.") from error
    fitted.network_, fitted.objective_ = network.eval(), objective.eval()
    fitted.mean_, fitted.scale_ = kept["mean"].numpy(), kept["scale"].numpy()
    fitted.n_features_in_, fitted.classes_ = told["n_features"], np.array(told["classes"])
    return Model(
        method=told["method"],
        estimator=fitted,
        reader=reader,
        space=Space(tuple(told["classes"])),
        label=told["label"],
        id=told["id"],
    )
