"""What a training goes on from when it was cut short: one file, replaced whole, of tensors and plain values."""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

FORMAT = 1
FILE = "training.safetensors"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingState:
    """`values` of plain JSON types and named tensors."""

    values: dict[str, Any]
    tensors: "dict[str, torch.Tensor]"

    def under(self, prefix: str) -> "dict[str, torch.Tensor]":
        """Return the tensors whose names begin with `prefix` and a dot, without it."""
        start = f"{prefix}."
        return {name.removeprefix(start): one for name, one in self.tensors.items() if name.startswith(start)}


def save_state(folder: Path, head: dict[str, Any], saved: TrainingState) -> None:
    """Write the state of a training atomically. `head` identifies the training."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"head": {"format": FORMAT, **head}, "values": saved.values}, sort_keys=True)
    partial = folder / f".{FILE}.partial"
    save_file({name: tensor.contiguous() for name, tensor in saved.tensors.items()}, partial, {"state": text})
    handle = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    partial.replace(folder / FILE)


def load_state(folder: Path, head: dict[str, Any]) -> TrainingState | None:
    """Return what `save_state` wrote; None, with a warning, for the state of another training or a damaged one."""
    from safetensors import SafetensorError, safe_open

    if not (folder / FILE).exists():
        return None
    try:
        with safe_open(folder / FILE, "pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        _log.warning("%s is damaged (%s): the training starts over", folder / FILE, error)
        return None
    wanted = json.loads(json.dumps({"format": FORMAT, **head}))
    if state["head"] != wanted:
        differs = sorted(key for key in {*wanted, *state["head"]} if state["head"].get(key) != wanted.get(key))
        _log.warning("%s is of another training (%s differ): it starts over", folder / FILE, ", ".join(differs))
        return None
    return TrainingState(state["values"], tensors)


def optimizer_tensors(optimizer: "torch.optim.Optimizer") -> "dict[str, torch.Tensor]":
    """Return the tensors that an optimiser keeps, by number of the parameter and their name: "0.exp_avg"."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, kept in state.items() for name, value in kept.items()
            if value is not None}  # fmt: skip


def restore_optimizer(optimizer: "torch.optim.Optimizer", tensors: "dict[str, torch.Tensor]") -> None:
    """Give an optimiser back what `optimizer_tensors` returned."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
