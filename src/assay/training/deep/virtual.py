"""A step within the step: what the network would be after one update, as a function of what the update depends on.

    theta' = theta - lr * d loss / d theta

stays connected to whatever `loss` was made of (row weights, say), so a second loss at theta' tells how they should
change (Finn et al. 2017). Attention must use the plain kernel: fused ones have no second derivative.
"""

from __future__ import annotations

from collections.abc import Sequence

from assay.training.deep import Tensor, nn, torch


def virtual_step(loss: Tensor, model: nn.Module, lr: float) -> dict[str, Tensor]:
    """Parameters of `model` after one step of gradient descent on `loss`, by name, differentiable.

    Give them on to `torch.func.functional_call(model, parameters, (inputs,))`. The model itself does not change.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> weight = torch.tensor(2.0, requires_grad=True)
    >>> after = virtual_step(weight * model(torch.ones(1, 1)).sum(), model, lr=0.1)["weight"]
    >>> torch.autograd.grad(after.sum(), weight)[0].item()  # d (theta - lr * weight) / d weight
    -0.10000000149011612
    """
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    slopes = torch.autograd.grad(loss, list(named.values()), create_graph=True, allow_unused=True)
    return {
        name: parameter if slope is None else parameter - lr * slope
        for (name, parameter), slope in zip(named.items(), slopes, strict=True)
    }


def with_gradients(loss: Tensor, parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor:
    """The same value as `loss`, whose backward pass also hands `gradients` to `parameters`.

    So an objective tells its own parameters how to change, through the loop's one backward pass.

    >>> weight = nn.Parameter(torch.zeros(2))
    >>> with_gradients(torch.tensor(3.0), [weight], [torch.tensor([1.0, -1.0])]).backward()
    >>> weight.grad.tolist()
    [1.0, -1.0]
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            carried = (parameter * gradient.detach()).sum()
            loss = loss + carried - carried.detach()
    return loss
