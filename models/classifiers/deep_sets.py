"""Deep multi-modal sets (Reiter 2020): all elements of a document are pooled, whatever they are and however many."""

from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.config import FrozenConfig
from fuseline.models.element_shares import ElementShares, ElementValues, shares_by_input
from fuseline.models.features import Block
from fuseline.models.panel import branch_name
from fuseline.models.running import run_rows
from fuseline.models.sets import F32, SetClassifier, SetsConfig, batches_of

if TYPE_CHECKING:
    import torch

    from fuseline.models.set_layers import Pool, SetNetwork

TELLING = ("max", "min")  # poolings that choose one element per dimension


class DeepSetsConfig(SetsConfig):
    """Settings of the encoders, the pooling, the head, and of their training."""

    pooling: Literal["max", "sum", "min", "mean", "median"] = Field(
        "max", description="How the elements of a document become one vector; max and min tell which decided"
    )


class DeepSets(SetClassifier):
    """rho(psi(phi_i(x))) with one encoder phi_i per input, a pooling psi over all elements, and layers rho.

    A document without any element has zeros for its pooled vector. What stands in other documents changes nothing, nor
    does the order of elements. The number of parameters does not depend on how many elements documents have (R-26).
    """

    kind: ClassVar[str] = "deep_sets"
    summary: ClassVar[str] = "sets of elements of any number and kind, encoded and pooled (Reiter 2020)"
    Config: ClassVar[type[FrozenConfig]] = DeepSetsConfig
    config: DeepSetsConfig

    def body(self, names: list[str]) -> "torch.nn.Module":
        from fuseline.models.set_layers import Pool

        return Pool(self.config.pooling, self.config.dim, dropout=self.config.dropout)

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, F32]:
        """Return input -> (n,) its share of the dimensions that any element won; {} unless elements win some (R-21)."""
        _, told = self.explained(block)
        return {} if told is None else shares_by_input(told)

    def explained(self, block: Block) -> tuple[F32, ElementShares | None]:
        """Return logits (n, C) and the share of dimensions that every element won; None unless elements win some."""
        if self.config.pooling not in TELLING:
            return self.predict_logits(block), None
        held, parts = self.held(block), list[tuple[F32, ...]]()

        def run(batch: "dict[str, torch.Tensor]") -> "torch.Tensor":
            logits, *told = self._told(batch)
            parts.append(tuple(one.float().cpu().numpy() for one in told))
            return logits

        logits = run_rows(
            self.network, run, batches_of(held), len(block), len(self.labels), config=self.config, name=self.kind
        )
        names = {branch_name(one): one.name for one in self._inputs()}
        nothing = np.zeros(0, np.float32)
        *values, dead = (np.concatenate([nothing, *(part[k] for part in parts)]) for k in range(len(held) + 1))
        inputs = {
            names[branch]: ElementValues(one.lengths, one.element_places, own, one.whole)
            for (branch, one), own in zip(held.items(), values, strict=True)
        }
        return logits, ElementShares(inputs, dead)

    def _told(self, batch: "dict[str, torch.Tensor]") -> "tuple[torch.Tensor, ...]":
        """Return logits (n, C), the shares of the elements (m,) of each input, and the share that is dead (n,)."""
        import torch

        from fuseline.models.segments import REDUCE, won
        from fuseline.models.set_layers import one_set

        network = cast("SetNetwork", self.network)
        values, lengths = network.encoded(batch)
        elements = one_set(values, lengths)
        pooled = REDUCE[self.config.pooling](*elements)
        share, dead = won(elements.values, pooled, elements.owners, smallest=self.config.pooling == "min")
        logits = network.last(network.layers(cast("Pool", network.body).finished(pooled)))
        return logits, *torch.split(share, [len(one) for one in values]), dead
