"""Graph layers over a sparse adjacency matrix: cost and memory grow with the number of edges, never with n squared.

A graph network holds the whole graph; its inputs are node ids (b,), so `Data(torch.arange(n), labels, k)` trains it,
with one batch an epoch (`Recipe(batch_size=n)`) in the usual transductive way.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from assay.errors import InputError
from assay.training.deep import Tensor, functional, nn, torch


class Adjacency(nn.Module):  # type: ignore[misc]
    """A sparse matrix (n, n) with weights scaled by degrees; calling it multiplies features (n, d).

    Parameters
    ----------
    edges : (2, e) int64 node ids; each is taken in both directions and once, self-loops are dropped.
    n_nodes : n.
    scale : "symmetric" D^-1/2 A D^-1/2 (Kipf, Welling 2017), "column" A D^-1, or "row" D^-1 A.
    self_loops : count each node as its own neighbour.

    >>> Adjacency(torch.tensor([[0], [1]]), 3, scale="row", self_loops=False)(torch.tensor([[1.0], [2.0], [4.0]]))
    tensor([[2.],
            [1.],
            [0.]])
    """

    def __init__(
        self,
        edges: Tensor,
        n_nodes: int,
        *,
        scale: Literal["symmetric", "column", "row"] = "symmetric",
        self_loops: bool = True,
    ) -> None:
        super().__init__()
        if edges.ndim != 2 or len(edges) != 2 or edges.is_floating_point():
            raise InputError(f"Edges are {edges.dtype} {tuple(edges.shape)}: give node ids (2, e).")
        bad = ((edges < 0) | (edges >= n_nodes)).any(0)
        if bool(bad.any()):
            raise InputError(f"An edge names a node outside 0..{n_nodes - 1}.", row=int(bad.int().argmax()))
        a, b = edges[:, edges[0] != edges[1]].long()
        keys = torch.cat([a * n_nodes + b, b * n_nodes + a]).unique()  # sorted by row, then column
        if self_loops:
            keys = torch.cat([keys, torch.arange(n_nodes) * (n_nodes + 1)]).sort().values
        row, column = keys // n_nodes, keys % n_nodes
        degree = torch.bincount(row, minlength=n_nodes)
        inverse = 1 / degree.clamp(min=1).float()
        weight = {"symmetric": (inverse[row] * inverse[column]).sqrt(), "column": inverse[column], "row": inverse[row]}
        self.n_nodes = n_nodes
        with warnings.catch_warnings(action="ignore"):  # the first such matrix of a process warns of a beta state
            torch.sparse_csr_tensor(torch.zeros(2), torch.zeros(0), torch.zeros(0), (1, 1))
        self.register_buffer("starts", functional.pad(degree.cumsum(0), (1, 0)), persistent=False)
        self.register_buffer("columns", column, persistent=False)
        self.register_buffer("weights", weight[scale], persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """The product (n, d) with values (n, d)."""
        matrix = torch.sparse_csr_tensor(
            self.starts, self.columns, self.weights, (self.n_nodes, self.n_nodes), check_invariants=False
        )
        return matrix @ values


class GraphNetwork(nn.Module):  # type: ignore[misc]
    """Graph convolutions and a linear head over the nodes of one graph (Kipf, Welling 2017, arXiv 1609.02907).

    Parameters
    ----------
    x : (n, d) features of the nodes.
    adjacency : of the graph.
    n_classes : k.
    hidden : widths of the convolutions; the last one is the number of features.
    hops : neighbours of neighbours of ... that each convolution sees. `hidden=(), hops=2` is SGC (Wu et al. 2019): a
        linear classifier of features averaged twice.
    dropout : share of the inputs of each layer that are dropped.
    """

    def __init__(
        self,
        x: Tensor,
        adjacency: Adjacency,
        n_classes: int,
        *,
        hidden: Sequence[int] = (64,),
        hops: int = 1,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if len(x) != adjacency.n_nodes:
            raise InputError(f"There are {len(x)} rows of features for {adjacency.n_nodes} nodes.")
        self.register_buffer("x", x.float(), persistent=False)
        self.adjacency, self.hops, self.dropout = adjacency, hops, nn.Dropout(dropout)
        widths = [x.shape[1], *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.head = nn.Linear(widths[-1], n_classes)

    def embed(self) -> Tensor:
        """Features (n, d) of all nodes."""
        z = self.x
        for layer in self.layers:
            z = functional.relu(self.spread(layer(self.dropout(z))))
        return z

    def spread(self, z: Tensor) -> Tensor:
        """Values (n, d) averaged over neighbours, `hops` times."""
        for _ in range(self.hops):
            z = self.adjacency(z)
        return z

    def features(self, nodes: Tensor) -> Tensor:
        """Features (b, d) of some nodes."""
        return self.embed()[nodes]

    def forward(self, nodes: Tensor) -> Tensor:
        """Logits (b, k) of some nodes."""
        return self.spread(self.head(self.dropout(self.embed())))[nodes]
