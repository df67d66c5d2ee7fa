"""Fitted things as workers use them: read once per process, and refused in one line when they make no sense."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from fuseline.models.errors import CheckpointError
from fuseline.stores.errors import DataError

T = TypeVar("T")


@lru_cache(maxsize=8)
def loaded(load: Callable[[Path], T], folder: Path) -> T:
    """Return `load(folder)`, once per process.

    Raises DataError when the checkpoint, whose digests fit, is not what its kind saves.
    """
    try:
        return load(folder)
    except CheckpointError as error:
        raise DataError(f"{folder}: {error}: run `fuseline run --refit`") from error
