"""What several processes of one training tell each other: gradients, rows, running statistics."""

from __future__ import annotations

from typing import Any

from assay.training.deep import Tensor, nn, torch


def n_processes() -> int:
    """How many processes train together."""
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return int(torch.distributed.get_world_size()) if ready else 1


def gathered(rows: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (b,) and values (b, ...) of all processes, in the order of the processes."""
    if n_processes() == 1:
        return rows, values
    size = torch.tensor([len(rows)], device=rows.device)
    sizes = [torch.zeros_like(size) for _ in range(n_processes())]
    torch.distributed.all_gather(sizes, size)
    counts = [int(count) for count in sizes]
    return _gathered(rows, counts), _gathered(values, counts)


def _gathered(values: Tensor, counts: list[int]) -> Tensor:
    padded = values.new_zeros(max(counts), *values.shape[1:])
    padded[: len(values)] = values
    parts = [torch.empty_like(padded) for _ in counts]
    torch.distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def average_gradients(trained: list[Any]) -> None:
    """Replace each gradient by its mean over the processes; a parameter that took no part in one counts as zero."""
    if n_processes() == 1:
        return
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    average([parameter.grad for parameter in trained])


def average_statistics(model: nn.Module) -> None:
    """Replace running statistics of normalisation by their means over the processes."""
    average([buffer for buffer in model.buffers() if buffer.is_floating_point()])


@torch.no_grad()  # type: ignore[untyped-decorator]
def average(tensors: list[Tensor]) -> None:
    """Replace tensors by their means over the processes, in one exchange."""
    if n_processes() == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    flat /= n_processes()
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def same_everywhere(value: float, device: Any) -> float:
    """The value that the first process holds, so that all take the same decision."""
    if n_processes() == 1:
        return value
    held = torch.tensor([value], dtype=torch.float64, device=device)
    torch.distributed.broadcast(held, 0)
    return float(held)
