"""What an objective keeps about each row: reads, writes, saves, and tells."""

import numpy as np
import pytest
import torch

from assay.errors import InputError
from assay.training.deep.batches import Batch
from assay.training.deep.objective import Objective
from assay.training.deep.row_table import row_table
from assay.training.deep.virtual import virtual_step, with_gradients


def begun(n_rows=5, n_classes=3):
    objective = Objective()
    objective.begin(n_rows, n_classes)
    return objective


def test_the_past_is_the_mean_loss_over_visits_by_hand():
    objective, model = begun(), torch.nn.Linear(2, 3)
    x, y = torch.randn(5, 2), torch.tensor([0, 1, 2, 0, 1])
    seen: dict[int, list[float]] = {}
    for rows in ([0, 1], [1, 3], [3, 0], [1, 1]):
        at = torch.tensor(rows)
        losses = torch.nn.functional.cross_entropy(model(x[at]), y[at], reduction="none")
        objective(Batch(x[at], y[at], at), model)
        for row, loss in zip(rows, losses.tolist(), strict=True):
            seen.setdefault(row, []).append(loss)
    suspects = objective.suspects(y)
    for row in range(5):
        expected = np.mean(seen[row]) if row in seen else np.nan
        np.testing.assert_allclose(float(suspects[row]), expected, rtol=1e-6)
    assert objective.evidence(y)["visits"].tolist() == [2, 4, 0, 2, 0]


def test_of_a_row_that_comes_twice_the_last_value_stays():
    objective = begun()
    objective.keep("belief", torch.zeros(5, 2))
    objective.write("belief", torch.tensor([4, 1, 4, 4]), torch.tensor([[1.0, 1], [2, 2], [3, 3], [5, 5]]))
    assert objective.belief.tolist() == [[0, 0], [2, 2], [0, 0], [0, 0], [5, 5]]


def test_state_dict_holds_all_and_load_needs_begin():
    objective = begun()
    objective.keep("extra", torch.arange(5.0))
    objective.remember(torch.tensor([2]), torch.tensor([0.5]))
    state = objective.state_dict()
    assert set(state) == {"past", "extra"}
    with pytest.raises(InputError, match="begin"):
        Objective().load_state_dict(state)
    other = begun()
    other.keep("extra", torch.zeros(5))
    other.load_state_dict(state)
    assert torch.equal(other.past, objective.past)
    assert torch.equal(other.extra, objective.extra)


def test_half_precision_tables_are_read_in_single_and_gradients_do_not_flow():
    objective = begun()
    objective.keep("belief", row_table(5, 2, "float16"))
    values = torch.full((1, 2), 0.3, requires_grad=True)
    objective.write("belief", torch.tensor([3]), values)
    found = objective.read("belief", torch.tensor([3]))
    assert found.dtype == torch.float32
    assert not found.requires_grad
    torch.testing.assert_close(found, torch.full((1, 2), 0.3), atol=2e-4, rtol=0)


def test_a_table_in_a_file_stays_there(tmp_path):
    objective = begun()
    objective.keep("belief", row_table(5, 2, "float16", tmp_path / "belief.bin"), stays=True)
    objective.to(torch.float64)
    assert objective.past.dtype == torch.float64
    assert objective.belief.dtype == torch.float16
    objective.write("belief", torch.tensor([4]), torch.ones(1, 2))
    on_disk = np.fromfile(tmp_path / "belief.bin", np.float16).reshape(5, 2)
    assert on_disk.tolist() == [[0, 0]] * 4 + [[1, 1]]
    with pytest.raises(InputError, match="no folder"):
        row_table(1, 1, file=tmp_path / "none" / "x.bin")


def test_weighted_means_of_parts_average_to_that_of_the_batch():
    values, weights = torch.tensor([1.0, 2, 3, 4, 5]), torch.tensor([2.0, 1, 0, 1, 1])
    rows = torch.arange(5)
    whole = Batch(None, rows, rows, weights).mean(values)
    parts = [
        Batch(None, r, r, weights[r], total=5, processes=2).mean(values[r])
        for r in (torch.arange(3), torch.arange(3, 5))
    ]
    torch.testing.assert_close(sum(parts) / 2, whole)
    torch.testing.assert_close(whole, (values * weights).mean())


def test_a_virtual_step_carries_second_derivatives():
    """d M / d w_i = -lr <grad l'(theta'), grad l_i(theta)>, worked out apart (the closed form of one SGD step)."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2).double()
    x, y = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    v, u = torch.randn(5, 3, dtype=torch.float64), torch.tensor([1, 0, 1, 0, 0])
    weight = torch.rand(4, dtype=torch.float64, requires_grad=True)
    losses = torch.nn.functional.cross_entropy(model(x), y, reduction="none")
    after = virtual_step((weight * losses).sum(), model, lr=0.1)
    outer = torch.nn.functional.cross_entropy(torch.func.functional_call(model, after, (v,)), u)
    found = torch.autograd.grad(outer, weight)[0]

    moved = torch.nn.Linear(3, 2).double()
    moved.load_state_dict({name: value.detach() for name, value in after.items()})
    slope = torch.autograd.grad(torch.nn.functional.cross_entropy(moved(v), u), list(moved.parameters()))
    for i in range(4):
        own = torch.autograd.grad(
            torch.nn.functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1]), list(model.parameters())
        )
        torch.testing.assert_close(found[i], -0.1 * sum((a * b).sum() for a, b in zip(slope, own, strict=True)))


def test_gradients_are_handed_over_beside_those_of_the_loss():
    weight = torch.nn.Parameter(torch.tensor(2.0))
    other = torch.nn.Parameter(torch.ones(2))
    loss = with_gradients(weight**2, [weight, other], [torch.tensor(10.0), None])
    assert loss.item() == 4
    loss.backward()
    assert weight.grad.item() == 14
    assert other.grad is None


def test_begin_asks_for_rows_and_classes():
    with pytest.raises(InputError, match="two classes"):
        Objective().begin(3, 1)
