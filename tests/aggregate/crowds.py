"""Made-up crowds, and the same votes told in another order."""

import numpy as np

from assay.labels import Space, Votes


def crowd(n=60, w=12, k=3, per_task=5, accuracy=(0.4, 0.95), seed=0, weight=False) -> tuple[Votes, np.ndarray]:
    """Votes of workers with confusion tables of their own, in random row order, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(k, size=n, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    right = rng.uniform(*accuracy, size=w)
    tables = right[:, None, None] * np.eye(k) + (1 - right[:, None, None]) * rng.dirichlet(np.ones(k), size=(w, k))
    task = np.repeat(np.arange(n), per_task)
    worker = np.concatenate([rng.choice(w, per_task, replace=False) for _ in range(n)])
    label = np.array([rng.choice(k, p=tables[j, truth[i]]) for i, j in zip(task, worker, strict=True)])
    order = rng.permutation(len(task))
    weights = rng.integers(1, 4, len(task)).astype(np.float32) if weight else None
    names = Space(tuple(f"c{i}" for i in range(k)))
    ids = np.arange(n), np.array([f"w{j}" for j in range(w)])
    return Votes(names, task[order], worker[order], label[order], *ids, weight=weights), truth


def permuted(votes: Votes, rows, tasks=None, classes=None) -> Votes:
    """The same votes with rows, tasks and classes in another order."""
    tasks = np.arange(votes.n_rows) if tasks is None else tasks  # new position -> old
    classes = np.arange(votes.space.n_classes) if classes is None else classes
    weight = None if votes.weight is None else votes.weight[rows]
    return Votes(
        Space(tuple(votes.space.names[c] for c in classes)),
        np.argsort(tasks)[votes.task[rows]],
        votes.worker[rows],
        np.argsort(classes)[votes.label[rows]],
        votes.task_ids[tasks],
        votes.worker_ids,
        weight=weight,
    )


def blocks_of(votes: Votes, size: int):
    return [votes.take(np.arange(start, min(start + size, votes.n_rows))) for start in range(0, votes.n_rows, size)]
