"""Networks over documents: batch by batch, without gradients; and their saved weights."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fuseline.models.checkpoint import Checkpoint
from fuseline.models.device import Batches, to_device, torch_device
from fuseline.models.training import Gather, TrainingConfig

if TYPE_CHECKING:
    import torch

F32 = NDArray[np.float32]


def run_rows(
    network: "torch.nn.Module",
    function: "Callable[[dict[str, torch.Tensor]], torch.Tensor]",
    gather: Gather,
    n: int,
    width: int,
    *,
    config: TrainingConfig,
    name: str,
) -> F32:
    """Return what a function of a network makes of n documents, (n, width).

    Args:
        network: moved to the device of the configuration.
        function: of the arrays of a batch.
        gather: makes these of places.
        n: documents.
        width: numbers of each.
        config: device, batch and precision.
        name: of the network, for a warning of too little memory.
    """
    import torch

    device, batches = torch_device(config.device), Batches(name)
    network.to(device)

    def run(rows: Any) -> F32:
        batch = {key: to_device(array, device) for key, array in gather(np.asarray(rows)).items()}
        mixed = config.precision == "bfloat16"
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed):
            return np.asarray(function(batch).float().cpu().numpy(), np.float32)

    rows = range(n)
    parts = [batches(run, rows[lo : lo + config.batch]) for lo in range(0, n, config.batch)]
    return np.concatenate([np.zeros((0, width), np.float32), *parts])


def without_memory(make: "Callable[[], torch.nn.Module]") -> "torch.nn.Module":
    """Return a network that saved weights go into: sizes cost nothing before they are checked.

    Raises ValueError for sizes that no network can have.
    """
    import torch

    try:
        with torch.device("meta"):
            return make()
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def saved_state(saved: Checkpoint, network: "torch.nn.Module") -> "dict[str, torch.Tensor]":
    """Return the weights of a checkpoint for a network of these shapes and types; raises CheckpointError."""
    import torch

    arrays = {
        name: saved.array(name, getattr(np, str(tensor.dtype).removeprefix("torch.")), *tensor.shape)
        for name, tensor in network.state_dict().items()
    }
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
