"""What inputs and their elements had in decisions: of any classifier by leaving one out, of networks by gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fuseline.models.columns import Column
from fuseline.models.device import to_device, torch_device
from fuseline.models.element_shares import ElementValues
from fuseline.models.features import Block, Classifier, inputs_of
from fuseline.models.network import NetworkClassifier
from fuseline.models.panel import branch_name
from fuseline.models.scoring import logit_parts
from fuseline.models.sets import Held, SetClassifier

if TYPE_CHECKING:
    import torch

F32 = NDArray[np.float32]
Chosen = NDArray[np.int64]  # (n,) class whose score is explained


def left_out(classifier: Classifier, block: Block, chosen: Chosen) -> dict[str, ElementValues]:
    """Return by how much the probability of the chosen class falls without each input, of documents that have it."""
    inputs = inputs_of(type(classifier), classifier.config)
    whole, found = _probability(classifier, block, chosen), dict[str, ElementValues]()
    for one in inputs:
        present = block.columns[one.name].present
        rows = np.flatnonzero(present)
        part = block.at(rows)
        falls = whole[rows] - _probability(classifier, part.masked(frozenset({one.name})), chosen[rows])
        found[one.name] = ElementValues(present.astype(np.int64), np.zeros(len(rows), np.int64), falls, whole=True)
    return found


def times_gradient(classifier: Classifier, block: Block, chosen: Chosen) -> dict[str, ElementValues]:
    """Return the gradient of the chosen class's logit times every element's vector, summed over its dimensions.

    Of words and indices the vectors are those that the network looks up. {} for a classifier that is no network of
    branches; an input of pictures has no entry.
    """
    branches = _branches(classifier)
    if branches is None:
        return {}
    network = cast(NetworkClassifier, classifier)
    terms: dict[str, list[F32]] = {}
    gather, size = network.gather(block), network.config.batch
    for lo in range(0, max(1, len(block)), size):  # of no documents too every input has an entry
        rows = np.arange(lo, min(lo + size, len(block)))
        for name, term in _terms(network, branches, gather(rows), chosen[rows]).items():
            terms.setdefault(name, []).append(term)
    named = {branch_name(one): one for one in inputs_of(type(classifier), classifier.config)}
    held = network.held(block) if isinstance(network, SetClassifier) else {}
    return {
        named[name].name: _values(np.concatenate(parts), block.columns[named[name].name], held.get(name))
        for name, parts in terms.items()
    }


def _probability(classifier: Classifier, block: Block, chosen: Chosen) -> F32:
    probabilities = [classifier.probabilities(logits) for _, logits in logit_parts(classifier, block)]
    whole = np.concatenate([np.zeros((0, len(classifier.labels)), np.float32), *probabilities])
    return np.asarray(whole[np.arange(len(block)), chosen], np.float32)


def _branches(classifier: Classifier) -> "torch.nn.ModuleDict | None":
    network = getattr(classifier, "network", None) if isinstance(classifier, NetworkClassifier) else None
    return getattr(network, "branches", None)


def _values(terms: F32, column: Column, held: Held | None) -> ElementValues:
    """Return terms (m,) as those of the elements that a network of sets holds, or of documents that have the input."""
    if held is not None:
        return ElementValues(held.lengths, held.element_places, terms, held.whole)
    rows = np.flatnonzero(column.present)
    return ElementValues(column.present.astype(np.int64), np.zeros(len(rows), np.int64), terms[rows], whole=True)


def _terms(
    network: NetworkClassifier, branches: "torch.nn.ModuleDict", arrays: dict[str, NDArray[Any]], chosen: Chosen
) -> dict[str, F32]:
    """Return branch -> (m,) gradient times input of the elements of a batch."""
    import torch

    device = torch_device(network.config.device)
    module = network.network.to(device)
    batch = {name: to_device(array, device) for name, array in arrays.items()}
    with _leaves(branches, batch) as leaves:
        logits = module(batch)[torch.arange(len(chosen)), to_device(chosen, device)]
    if not leaves:  # pictures alone are read
        return {}
    gradients = torch.autograd.grad(logits.sum(), list(leaves.values()), allow_unused=True)
    return {
        name: np.zeros(len(leaf), np.float32) if gradient is None
        else (gradient * leaf).flatten(start_dim=1).sum(dim=1).detach().float().cpu().numpy()
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
    }  # fmt: skip


@contextmanager
def _leaves(branches: "torch.nn.ModuleDict", batch: "dict[str, torch.Tensor]") -> "Iterator[dict[str, torch.Tensor]]":
    """Give the block what each branch reads as leaves of the graph: vectors, or those that it looks up for ids."""
    import torch

    leaves: dict[str, torch.Tensor] = {}
    handles = []
    for name, branch in branches.items():
        tables = [one for one in branch.modules() if isinstance(one, torch.nn.Embedding)]
        if batch[name].is_floating_point():
            leaves[name] = batch[name].requires_grad_()
        elif tables:
            handles.append(tables[0].register_forward_hook(_keeping(leaves, name)))
    try:
        yield leaves
    finally:
        for handle in handles:
            handle.remove()


def _keeping(leaves: "dict[str, torch.Tensor]", name: str) -> Any:
    def hook(_module: object, _inputs: object, found: "torch.Tensor") -> "torch.Tensor":
        leaves[name] = found.detach().requires_grad_()
        return leaves[name]

    return hook
