"""What every encoder is: raw items of one modality in, one embedding per item out."""

import importlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, Never, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa
from blake3 import blake3
from numpy.typing import NDArray

from fuseline.models.config import FrozenConfig
from fuseline.models.errors import MissingWeights
from fuseline.models.threads import thread_limit

Modality = Literal["image", "text", "face", "tabular", "indices"]
Item = TypeVar("Item")  # what an encoder reads: pixels (h, w, 3) uint8 of an image or a face, or a string


class Described(Protocol):
    """What the registry knows of an encoder's class; those of "tabular" and "indices" are fitted on documents."""

    kind: ClassVar[str]  # its name in the registry
    summary: ClassVar[str]  # one line for `fuseline list`
    origin: ClassVar[str]  # of its weights: package or file, size, licence; "" when there are none
    modality: ClassVar[Modality]
    Config: ClassVar[type[FrozenConfig]]


class Encoder(Described, Protocol[Item]):
    """Turns items into embeddings; the embedding of an item never depends on its neighbours in a batch.

    Building one is cheap: weights are loaded by the first `encode`.
    """

    def __init__(self, config: FrozenConfig) -> None: ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    @property
    def digest(self) -> str:
        """Weights, pre-processing and runtime in one short string, read without importing torch.

        Raises MissingWeights.
        """

    @property
    def min_side(self) -> int | None:
        """Images: the shorter side, in pixels, below which a scaled decode would cost quality; None elsewhere."""

    def prepare(self, item: Item) -> Item:
        """Return one item ready for `encode`, as small as the network reads it. Safe in any thread."""

    def encode(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """Return embeddings (n, dim) of n prepared items, n >= 1, in their order."""


class ColumnEncoder(Described, Protocol):
    """Turns a document's columns (num_*, cat_*) into one vector; fitted on tables of training documents.

    It is known by its `kind` and options alone: when its code starts to give other vectors, change the `kind`.
    One that can say class indices, too, is an `IndexEncoder`.
    """

    @property
    def dim(self) -> int:
        """Length of a vector; 0 when there was nothing to learn from."""

    @classmethod
    def fit(cls, tables: Iterable[pa.Table], config: Never, *, seed: int) -> Self:
        """Fit on tables of training documents, one at a time; raises ValueError when they lack what is asked for."""

    def encode(self, table: pa.Table, *, missing: float = 0.0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return vectors (n, dim) float32, with `missing` where a value is missing, and who has any value (n,)."""

    def names(self) -> list[str]:
        """Return what each dimension means, in order."""

    def save(self, folder: Path) -> None:
        """Write a checkpoint into an existing folder."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises CheckpointError."""


class IndexEncoder(ColumnEncoder, Protocol):
    """An encoder of columns that can also say class indices, as models with index embeddings read them."""

    @property
    def vocabulary(self) -> int:
        """The highest index that any column may have."""

    def indices(self, table: pa.Table) -> NDArray[np.int32]:
        """Return class indices (n, columns) int32, 0 where a value is missing or unknown."""


def files_digest(files: Sequence[Path], *, salt: str) -> str:
    """Return a digest of files and a version string; a file is read again only when its size or time changed."""
    parts = [salt, *(_file_digest(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files)]
    return text_digest("\n".join(parts))


def text_digest(text: str) -> str:
    """Return a digest of a short text, in the form of `files_digest`."""
    return "blake3:" + blake3(text.encode()).hexdigest()[:32]


@lru_cache(maxsize=256)
def _file_digest(file: Path, _size: int, _time: int) -> str:
    return blake3(max_threads=1).update_mmap(file).hexdigest()


def package(name: str, *, pip: str) -> ModuleType:
    """Import an optional package; raises MissingWeights with the pip line."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] != name.split(".")[0]:
            raise
        raise MissingWeights(f"package {name}: is not installed; run `pip install {pip}`") from error


def existing(file: Path, *, what: str, cure: str) -> Path:
    """Return the path of a file that must be there; raises MissingWeights."""
    if not file.exists():
        raise MissingWeights(f"{what}: expected a file at {str(file)!r}, got none; {cure}")
    return file


def onnx_session(file: Path, *, threads: int | None) -> Any:
    """Return an ONNX Runtime session on the CPU; None takes as many threads as the process may use.

    Threads do not spin while they wait: on a shared machine spinning costs more than it saves.
    """
    onnxruntime = package("onnxruntime", pip="onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads or thread_limit(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
