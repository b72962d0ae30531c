"""Folders of results for the review's tests: real audits of real data, with a stand-in for the model."""

from pathlib import Path
from typing import Any

import numpy as np

from assay.evidence.audit import audit, read
from assay.evidence.audit_files import save
from assay.evidence.audit_options import AuditOptions
from assay.review.project import Project


def audited(source: Any, folder: Path, *, wrong: float = 0.1, seed: int = 0, **options: Any) -> Path:
    """Audit a data set with probabilities that disagree with a share `wrong` of its labels; no model is fitted."""
    chosen = AuditOptions(**options)
    table = read(source, chosen)
    rng = np.random.default_rng(seed)
    n, k = table.n_rows, table.labels.space.n_classes
    said = np.where(rng.random(n) < wrong, rng.integers(0, k, n), table.labels.y)
    p = rng.dirichlet(np.ones(k), n) * 0.4
    p[np.arange(n), said] += 0.6
    save(audit(table, chosen, pred_probs=p), folder)
    return folder


def ready(project: Project) -> Project:
    """The project, with what its nearest rows are measured by worked out."""
    assert project._likeness.best is not None
    project._likeness.best[1].result(60)
    return project
