"""Log-probabilities of tokens under a policy and a reference, and the divergence between the two, without the logits.

For N tokens, of which each has a final hidden state (n, h) under the policy and under the reference:

    log_prob = log pi(y)         reference = log ref(y)         kl = sum_v ref_v (log ref_v - log pi_v) >= 0

Logits (n, V) exist for one block of tokens at a time. Their derivative by the hidden state is known before the
gradient of the loss is: (W_y - sum_v pi_v W_v) for log_prob and (sum_v (pi_v - ref_v) W_v) for kl, so with a frozen
head the backward pass multiplies two arrays (n, h) and sees no vocabulary. With a trained head the blocks are made
again.

Memory: four blocks of `ROWS` x V numbers in single precision, and 2 x n x h numbers kept for the backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from assay.errors import InputError
from assay.language import Tensor, torch

ROWS = 256
"""Tokens of a block, by measurement (`bench/align/sparse_po.py`): fewer are slower, more take memory alone."""


@dataclass(frozen=True, slots=True)
class Head:
    """What makes logits of a final hidden state: z = cap tanh(scale (W x + b) / cap), or without a cap scale (W x + b).

    Parameters
    ----------
    weight, bias : (V, h), and (V,) or None.
    scale, cap : 1 and None for most models.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (n, V) in single precision or higher, of hidden states (n, h)."""
        z = torch.nn.functional.linear(hidden.to(self.weight.dtype), self.weight, self.bias)
        z = z if z.dtype == torch.float64 else z.float()
        if self.scale != 1.0:
            z = z * self.scale
        return z if self.cap is None else self.cap * torch.tanh(z / self.cap)


def head_of(model: Any) -> Head:
    """The head of any causal language model of transformers, with the scale and the cap of its configuration."""
    layer = model.get_output_embeddings()
    if layer is None or not hasattr(layer, "weight"):
        raise InputError(f"{type(model).__name__} has no output embeddings: expected a causal language model.")
    layer = getattr(layer, "base_layer", layer)
    config = model.config.get_text_config()
    named = {name: getattr(config, name, None) for name in ("logit_scale", "lm_head_multiplier", "logits_scaling")}
    scale = named["logit_scale"] or named["lm_head_multiplier"] or 1.0
    if named["logits_scaling"]:  # Granite divides by it
        scale = scale / named["logits_scaling"]
    return Head(layer.weight, getattr(layer, "bias", None), scale, getattr(config, "final_logit_softcapping", None))


def token_ratios(
    hidden: Tensor, head: Head, labels: Tensor, reference: Tensor | None = None, reference_head: Head | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability under the policy, under the reference, and the divergence, of each token (n,).

    Parameters
    ----------
    hidden : (n, h) the policy's final hidden states, each of the state that predicts the label.
    head : makes the policy's logits of them.
    labels : (n,) the tokens.
    reference : (n, h) those of the reference; None where its numbers are not needed, and zeros are given for them.
    reference_head : None for the policy's own.

    Returns
    -------
    log_prob (with gradient), reference log_prob (without), kl (with gradient), each (n,) in single precision or higher.

    >>> x, head = torch.randn(5, 4), Head(torch.randn(7, 4))
    >>> log_prob, reference, kl = token_ratios(x, head, torch.arange(5), x)
    >>> torch.equal(log_prob, reference), bool((kl.abs() < 1e-5).all())
    (True, True)
    """
    theirs = reference_head or head
    ratios: tuple[Tensor, Tensor, Tensor] = _Ratios.apply(
        hidden, head.weight, head.bias, labels, reference, head, theirs
    )
    return ratios


def _shares(z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities (n, V) in the place of z, log of their normaliser (n,), log-probabilities of the labels (n,)."""
    of_label = z.gather(1, labels[:, None]).squeeze(1)
    top = z.amax(1, keepdim=True)
    total = z.sub_(top).exp_().sum(1, keepdim=True)
    log_total = (top + total.log()).squeeze(1)
    return z.div_(total), log_total, of_label - log_total


def _block(head: Head, theirs: Head, x: Tensor, y: Tensor, x_ref: Tensor | None) -> tuple[Any, ...]:
    """Of a block: pi, ref (or None), slope of the cap (or None), and the three numbers of each token."""
    z = head.logits(x)
    slope = None if head.cap is None else 1 - (z / head.cap).square()
    if x_ref is None:
        pi, _, log_prob = _shares(z, y)
        return pi, None, slope, log_prob, torch.zeros_like(log_prob), torch.zeros_like(log_prob)
    z_ref = theirs.logits(x_ref)
    apart = z_ref - z
    pi, log_total, log_prob = _shares(z, y)
    ref, log_total_ref, log_ref = _shares(z_ref, y)
    kl = torch.einsum("nv,nv->n", ref, apart) + log_total - log_total_ref
    return pi, ref, slope, log_prob, log_ref, kl


class _Ratios(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, reference: Tensor | None,
        head: Head, theirs: Head,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        del bias  # an argument so that autograd asks for its gradient
        keep = bool(hidden.requires_grad) and not ctx.needs_input_grad[1]
        found: list[list[Tensor]] = [[], [], []]
        by_hidden: list[list[Tensor]] = [[], []]
        for x, y, x_ref in _blocks(hidden, labels, reference):
            pi, ref, slope, *numbers = _block(head, theirs, x, y, x_ref)
            for column, number in zip(found, numbers, strict=True):
                column.append(number)
            if keep:
                at_label = head.scale * weight[y].to(pi.dtype)
                if slope is not None:
                    at_label = at_label * slope.gather(1, y[:, None])
                apart = None if ref is None else pi - ref
                by_hidden[0].append(at_label - _through(pi, slope, head))
                by_hidden[1].append(torch.zeros_like(at_label) if apart is None else _through(apart, slope, head))
        ctx.head, ctx.theirs = head, theirs
        ctx.save_for_backward(hidden, labels, reference, *(torch.cat(each) for each in by_hidden if each))
        log_prob, log_ref, kl = (torch.cat(column) if column else hidden.new_zeros(0) for column in found)
        ctx.mark_non_differentiable(log_ref)
        return log_prob, log_ref, kl

    @staticmethod
    def backward(ctx: Any, of_log_prob: Tensor, _: Tensor, of_kl: Tensor) -> tuple[Tensor | None, ...]:
        hidden, labels, reference, *by_hidden = ctx.saved_tensors
        head, theirs = ctx.head, ctx.theirs
        if by_hidden:
            gradient = of_log_prob[:, None] * by_hidden[0] + of_kl[:, None] * by_hidden[1]
            return gradient.to(hidden.dtype), None, None, None, None, None, None
        of_hidden = torch.zeros_like(hidden)
        of_weight = torch.zeros_like(head.weight, dtype=of_log_prob.dtype)
        of_bias = None if head.bias is None else torch.zeros_like(head.bias, dtype=of_log_prob.dtype)
        begin = 0
        for x, y, x_ref in _blocks(hidden, labels, reference):
            rows = slice(begin, begin + len(x))
            begin += len(x)
            pi, ref, slope, *_ = _block(head, theirs, x, y, x_ref)
            g_log, g_kl = of_log_prob[rows, None], of_kl[rows, None]
            of_z = pi * (g_kl - g_log)
            if ref is not None:
                of_z -= ref * g_kl
            of_z.scatter_add_(1, y[:, None], g_log)
            of_z *= head.scale
            if slope is not None:
                of_z *= slope
            of_hidden[rows] = (of_z.to(head.weight.dtype) @ head.weight).to(hidden.dtype)
            of_weight += of_z.T @ x.to(of_z.dtype)
            if of_bias is not None:
                of_bias += of_z.sum(0)
        bias = None if of_bias is None else of_bias.to(head.weight.dtype)
        return of_hidden, of_weight.to(head.weight.dtype), bias, None, None, None, None


def _through(by_logits: Tensor, slope: Tensor | None, head: Head) -> Tensor:
    """Derivatives by logits (n, V), carried to the hidden states (n, h)."""
    steep = by_logits if slope is None else by_logits * slope
    return head.scale * (steep.to(head.weight.dtype) @ head.weight).to(by_logits.dtype)


def _blocks(hidden: Tensor, labels: Tensor, reference: Tensor | None) -> Any:
    ends = [None] * len(hidden) if reference is None else reference.split(ROWS)
    return zip(hidden.split(ROWS), labels.split(ROWS), ends, strict=False)
