"""A checkpoint is a folder: model.json (what it is) and arrays.safetensors (its numbers); no pickle, clock or path.

A kind may add files of a library's own format. A checkpoint composed of others holds theirs: their meta data under
`parts`, their arrays and files behind their names, "image.W".

Compiled kernels and LightGBM trust the contents of a checkpoint: everything is checked when it is loaded.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from fuseline.models.errors import CheckpointError
from fuseline.plain import Json, JsonObject

FORMAT = 1
META = "model.json"
ARRAYS = "arrays.safetensors"
PARTS = "parts"
T = TypeVar("T")
Number = TypeVar("Number", bound=np.generic)
_TOLD = 200  # characters of an error that are passed on


@dataclass(frozen=True)
class Checkpoint:
    """What a saved folder holds: `meta` of plain JSON types, named arrays, and the bytes of other files by name."""

    meta: JsonObject
    arrays: dict[str, NDArray[np.generic]]
    files: dict[str, bytes] = field(default_factory=dict)

    def part(self, name: str) -> "Checkpoint":
        """Return one of the checkpoints nested in this one by `nested`; KeyError when there is none."""
        arrays, files = _below(self.arrays, name), _below(self.files, name)
        parts = cast("Mapping[str, JsonObject]", self.meta[PARTS])
        return Checkpoint(parts[name], arrays, files)

    def json(self, name: str) -> Json:
        """Return what a JSON file holds; raises CheckpointError when it holds none, KeyError without the file."""
        return parsed_json(self.files[name], name)

    def array(self, name: str, dtype: type[Number], *shape: int | None) -> NDArray[Number]:
        """Return an array of exactly this type and shape, None standing for any length; raises CheckpointError."""
        array = self.arrays.get(name)
        wanted = f"{np.dtype(dtype)} {tuple('any' if n is None else n for n in shape)}"
        if array is None:
            refuse(name, wanted, "none")
        fits = len(array.shape) == len(shape) and all(w in (None, n) for w, n in zip(shape, array.shape, strict=True))
        if array.dtype != dtype or not fits:
            refuse(name, wanted, f"{array.dtype} {array.shape}")
        return cast("NDArray[Number]", array)

    def counts(self, name: str, *shape: int | None) -> NDArray[np.int64]:
        """Return an int64 array as `array` does, none of its numbers below 0."""
        array = self.array(name, np.int64, *shape)
        if array.size and array.min() < 0:
            refuse(name, "no number below 0", int(array.min()))
        return array


def _below(named: Mapping[str, T], name: str) -> dict[str, T]:
    return {key.removeprefix(f"{name}."): value for key, value in named.items() if key.startswith(f"{name}.")}


def nested(own: Checkpoint, parts: Mapping[str, Checkpoint]) -> Checkpoint:
    """Return a checkpoint that holds others beside its own; without parts it is its own."""
    if not parts:
        return own
    arrays, files = dict(own.arrays), dict(own.files)
    for name, part in parts.items():
        arrays |= {f"{name}.{key}": array for key, array in part.arrays.items()}
        files |= {f"{name}.{key}": data for key, data in part.files.items()}
    return Checkpoint({**own.meta, PARTS: {name: part.meta for name, part in parts.items()}}, arrays, files)


def save_checkpoint(
    folder: Path,
    kind: str,
    *,
    meta: JsonObject,
    arrays: dict[str, NDArray[np.generic]],
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Write a checkpoint into an existing folder; equal values give equal bytes.

    `arrays` are written in sorted order of their names, C-contiguous; `files` as they are, under their names.
    """
    from safetensors.numpy import save

    ordered = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    head = {"format": FORMAT, "kind": kind, **meta}
    (folder / ARRAYS).write_bytes(save(ordered))
    text = json.dumps(head, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (folder / META).write_text(text + "\n", encoding="utf-8")
    for name, data in (files or {}).items():
        (folder / name).write_bytes(data)


def load_checkpoint(folder: Path, kind: str | None = None) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises CheckpointError for an unknown format version, another kind (when `kind` is given) or a damaged file,
    FileNotFoundError when there is no checkpoint.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    meta = checked_head(parsed_json((folder / META).read_bytes(), f"{META} in {folder.name}"), kind)
    try:
        arrays = load((folder / ARRAYS).read_bytes())
    except (SafetensorError, ValueError, KeyError) as error:  # the last two for a type that numpy lacks
        got = _line(f"{type(error).__name__} {error}")
        raise CheckpointError(f"{ARRAYS} in {folder.name}: expected safetensors, got {got}; save it again") from error
    others = (path for path in sorted(folder.iterdir()) if path.name not in (META, ARRAYS) and path.is_file())
    return Checkpoint(meta, arrays, {path.name: path.read_bytes() for path in others})


def parsed_json(data: bytes, what: str) -> Json:
    """Return what a JSON file of a checkpoint holds; raises CheckpointError when it holds none."""
    try:
        return cast(Json, json.loads(data.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what}: expected JSON, got {_line(error)}; save the model again") from error


def checked_head(meta: Json, kind: str | None) -> JsonObject:
    """Return `meta` if it opens with this format version and, if asked for, this kind; raises CheckpointError."""
    version = meta.get("format") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or version != FORMAT or isinstance(version, bool):
        raise CheckpointError(
            f"checkpoint format: expected {FORMAT!r}, got {version!r}; use the release that wrote it, or train again"
        )
    if kind is not None and meta.get("kind") != kind:
        raise CheckpointError(f"checkpoint kind: expected {kind!r}, got {meta.get('kind')!r}; give the right folder")
    return meta


@contextmanager
def restoring(what: str, parts: str) -> Iterator[None]:
    """Turn whatever building from a checkpoint raises into one line: a CheckpointError that names the invalid part."""
    try:
        yield
    except CheckpointError:
        raise
    except (
        AttributeError,
        FileNotFoundError,
        LookupError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        line = _line(f"{type(error).__name__}: {error}")
        raise CheckpointError(f"{what} checkpoint: expected {parts}, got {line}; fit it again") from error


def refuse(what: str, expected: object, got: object) -> NoReturn:
    """Raise CheckpointError for an invalid part of a checkpoint."""
    raise CheckpointError(f"{what} of a checkpoint: expected {expected}, got {_line(got)}; fit it again")


def _line(value: object) -> str:
    """Return the beginning of a text as one line: what was read of a damaged file may be long, and its error too."""
    return " ".join(str(value)[: 2 * _TOLD].split())[:_TOLD]


def checked_texts(what: str, values: object) -> list[str]:
    """Return different strings that are valid UTF-8; raises CheckpointError for any other list."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        refuse(what, "a list of strings", values)
    "".join(values).encode()
    if len(set(values)) != len(values):
        refuse(what, "each one once", f"{len(values) - len(set(values))} of them again")
    return list(values)


def checked_number(what: str, value: object, *, low: float = 0.0, high: float = math.inf) -> float:
    """Return a number within low..high; raises CheckpointError for any other value."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high or value == math.inf:
        refuse(what, f"a number within {low:g}..{high:g}", value)
    return float(value)
