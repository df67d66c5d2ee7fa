"""Which pretrained weights are here: for `fuseline weights list` and `fuseline weights check`."""

from typing import Any

from models.detectors import DETECTORS
from models.encoders import ENCODERS
from models.errors import MissingWeights


def weights_rows() -> list[dict[str, str]]:
    """Return name, kind, weights, state ("ok" or "missing") and detail (digest, or what to do) of every network.

    Reads each weight file that is there once; imports no torch.
    """
    entries: list[tuple[str, str, Any]] = [
        (name, entry.modality, entry) for name, entry in ENCODERS.items() if entry.weights
    ]
    entries += [(name, entry.kind, entry) for name, entry in DETECTORS.items()]
    return [{"name": name, "kind": kind, "weights": entry.weights, **_state(entry)} for name, kind, entry in entries]


def _state(entry: Any) -> dict[str, str]:
    try:
        return {"state": "ok", "detail": str(entry.cls(entry.config()).digest)}
    except MissingWeights as missing:
        return {"state": "missing", "detail": str(missing)}
