"""One step of PU-MLC in one process or in two; the tests run it as `python -m tests.learn.tags_apart FOLDER RANK`."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assay.learn.positive_multilabel import PU
from assay.training.deep.batches import Batch
from assay.training.deep.processes import average_gradients
from assay.training.deep.tags import confirmed_sampling


def gradients(rank: int = 0, processes: int = 1) -> dict[str, Any]:
    """The loss of 13 rows, of which each process has a part, and its gradient, averaged as the loop does."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(13, 5, generator=generator)
    tags = (torch.rand(13, 3, generator=generator) < 0.4).to(torch.int8)
    tags[1, 0] = -1
    torch.manual_seed(0)
    model = torch.nn.Linear(5, 3)
    objective = PU(mixup=0.0, use_negatives=True, chances=confirmed_sampling(tags.numpy()))
    objective.begin(13, 3, model=model)
    mine = torch.from_numpy(np.array_split(np.arange(13), processes)[rank])
    total = None if processes == 1 else 13
    loss = objective(Batch(x[mine], tags[mine], mine, total=total, processes=processes), model)
    loss.backward()
    average_gradients(list(model.parameters()))
    return {"loss": loss.detach(), "weight": model.weight.grad, "bias": model.bias.grad}


if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(gradients(rank, 2), folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
