"""A checkpoint is a folder: model.json (what it is) and arrays.safetensors (its numbers); no pickle, clock or path."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError

FORMAT = 1
META = "model.json"
ARRAYS = "arrays.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """What a saved folder holds: `meta` of plain JSON types and named arrays."""

    meta: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


def save_checkpoint(folder: Path, kind: str, *, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a checkpoint into an existing folder; equal values give equal bytes.

    `arrays` are written in sorted order of their names, C-contiguous.
    """
    from safetensors.numpy import save

    ordered = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    head = {"format": FORMAT, "kind": kind, **meta}
    (folder / ARRAYS).write_bytes(save(ordered))
    text = json.dumps(head, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (folder / META).write_text(text + "\n", encoding="utf-8")


def load_checkpoint(folder: Path, kind: str | None = None) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises CheckpointError for an unknown format version, another kind (when `kind` is given) or a damaged file,
    FileNotFoundError when there is no checkpoint.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{META} in {folder.name}: expected JSON, got {error}; save the model again") from error
    check_head(meta, kind)
    try:
        arrays = load((folder / ARRAYS).read_bytes())
    except SafetensorError as error:
        raise CheckpointError(f"{ARRAYS} in {folder.name}: expected safetensors, got {error}; save it again") from error
    return Checkpoint(meta, arrays)


def check_head(meta: Any, kind: str | None) -> None:
    """Raise CheckpointError unless `meta` opens with this format version and, if asked for, this kind."""
    found = meta.get("format") if isinstance(meta, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"checkpoint format: expected {FORMAT!r}, got {found!r}; use the release that wrote it, or train again"
        )
    if kind is not None and meta.get("kind") != kind:
        raise CheckpointError(f"checkpoint kind: expected {kind!r}, got {meta.get('kind')!r}; give the right folder")
