"""Which pretrained weights are here: for `fuseline weights list` and `fuseline weights check`."""

from collections.abc import Iterable
from typing import NamedTuple, Never, cast

from fuseline.models.config import FrozenConfig
from fuseline.models.detectors import DETECTORS
from fuseline.models.detectors.base import Detector
from fuseline.models.encoders import ENCODERS
from fuseline.models.encoders.base import Described, Encoder
from fuseline.models.errors import MissingWeights, WrongWeights


class Network(NamedTuple):
    """A network as somebody wants to use it."""

    name: str
    kind: str  # image, text, face, ocr, object
    network: type[Described] | type[Detector]
    options: FrozenConfig


def networks() -> list[Network]:
    """Return every network that has weights, with its default options."""
    encoders = [Network(name, one.modality, one, one.Config()) for name, one in ENCODERS.items() if one.origin]
    return encoders + [Network(name, one.finds, one, one.Config()) for name, one in DETECTORS.items()]


def weights_rows(wanted: Iterable[Network]) -> list[dict[str, str]]:
    """Return name, kind, weights, state and detail of networks; imports no torch.

    The state is "ok", "missing" or "wrong" (damaged, or of another network); the detail is the digest, or what to do.
    Every existing weight file is read once.
    """
    rows = ({"name": one.name, "kind": one.kind, "weights": one.network.origin, **_state(one)} for one in wanted)
    return list(rows)


def _state(network: Network) -> dict[str, str]:
    try:
        return {"state": "ok", "detail": str(cast("type[Encoder[Never]]", network.network)(network.options).digest)}
    except WrongWeights as wrong:
        return {"state": "wrong", "detail": str(wrong)}
    except MissingWeights as missing:
        return {"state": "missing", "detail": str(missing)}
