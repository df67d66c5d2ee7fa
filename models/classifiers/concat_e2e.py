"""Branches over words, vectors and pictures, concatenated and trained together (Zahavy 2016, end to end; Z-21)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from fuseline.models.automatic import Chosen
from fuseline.models.classifiers.image_cnn import PictureClassifier, PictureConfig
from fuseline.models.classifiers.text_cnn import WordFiltersConfig
from fuseline.models.columns import Dense, Pixels, Sequence, Size
from fuseline.models.config import FrozenConfig, Names
from fuseline.models.features import Classifier, Features, Input, embedding_name, vectors_name
from fuseline.models.image_networks import side_of
from fuseline.models.panel import branch_name, check_branches
from fuseline.models.stopping import choose_by_stopping

if TYPE_CHECKING:
    import torch


class ConcatE2EConfig(WordFiltersConfig, PictureConfig):
    """Settings of the branches, of what stands over them, and of their training."""

    sequences: Names = Field(("words",), description="Stages `sequence` in `stages` whose words are read")
    vectors: Names = Field(("image",), description="Embeddings in `embed`, or hidden/MODEL: what a network has learnt")
    pixels: str | None = Field(None, description="Stage `pixels` in `stages` whose pictures are read; null: none are")
    units: int = Field(256, ge=1, le=65536, description="Hidden units of every layer, those over vectors among them")
    layers: int = Field(1, ge=1, le=9, description="Fully connected layers over the branches, the last one included")
    start: Names = Field(
        (), description="Models in `models` whose branches the training starts from; () draws them at random"
    )

    @property
    def starts_from_file(self) -> bool:
        """Whether training starts from a weight file: that of the network over pictures."""
        return self.pixels is not None and self.pretrained

    @model_validator(mode="after")
    def _reads_something(self) -> Self:
        names = [one for one in (*self.sequences, *self.vectors, self.pixels) if one is not None]
        if not names:
            raise ValueError("sequences: expected an input here, among `vectors` or as `pixels`, got none; name one")
        check_branches(names, "sequences: ")
        return self


class ConcatE2E(PictureClassifier):
    """One branch per input, what they make behind one another, then fully connected layers; all is trained.

    Words pass the filters of `text_cnn`, vectors a layer of rectified units, pictures the network of `image_cnn` but
    its last layer. A missing input is zeros. Branches have learning rates of their own by `groups`:
    {match: branches.words.*, lr: 0.1}.
    """

    kind: ClassVar[str] = "concat_e2e"
    summary: ClassVar[str] = "branches over words, vectors and pixels, concatenated and trained together (Zahavy 2016)"
    Config: ClassVar[type[FrozenConfig]] = ConcatE2EConfig
    config: ConcatE2EConfig

    def __init__(self, config: FrozenConfig | None = None) -> None:
        super().__init__(config)
        self.trained: Mapping[str, Classifier] = {}

    @classmethod
    def inputs(cls, config: ConcatE2EConfig) -> tuple[Input, ...]:
        words = (Input(embedding_name(name), Sequence) for name in config.sequences)
        pictures = () if config.pixels is None else (Input(embedding_name(config.pixels), Pixels),)
        return (*words, *(Input(vectors_name(name), Dense) for name in config.vectors), *pictures)

    @classmethod
    def starts(cls, config: ConcatE2EConfig) -> tuple[str, ...]:
        return config.start

    def start_from(self, trained: Mapping[str, Classifier]) -> None:
        self.trained = trained

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        panel = super().module(sizes, C)
        for name, model in sorted(self.trained.items()):
            take_branches(panel, name, model)
        return panel

    def _pictures(self) -> str | None:
        return None if self.config.pixels is None else embedding_name(self.config.pixels)

    def _network(self, sizes: dict[str, Size], C: int, file: Path | None) -> "torch.nn.Module":
        from fuseline.models.layers import Concat, Panel

        config = self.config
        branches = {branch_name(one): self._branch(sizes[one.name], file) for one in self.inputs(config)}
        widths = [int(branch.width) for _, branch in sorted(branches.items())]  # type: ignore[arg-type]
        body = Concat(widths, config.units, config.layers - 1, dropout=config.dropout)
        return Panel(branches, body, C, dropout=config.dropout)

    def _branch(self, size: Size, file: Path | None) -> "torch.nn.Module":
        """Return the branch over an input of this size; that over pictures starts from a file, if there is one."""
        from fuseline.models.image_layers import image_tower
        from fuseline.models.layers import VectorUnits, WordFilters

        config = self.config
        if size.kind == Sequence.kind:
            return WordFilters(size.values, config.dim, config.widths, config.maps)
        if size.kind == Pixels.kind:
            return image_tower(config, 1, self.scale, side=side_of(size.width, config.architecture), file=file)[0]
        return VectorUnits(size.width, config.units)

    def _choice(self, train: Features, valid: Features | None) -> Chosen:
        def started(config: FrozenConfig) -> ConcatE2E:
            model = ConcatE2E(config)
            model.start_from(self.trained)
            return model

        return choose_by_stopping(started, self.config, train, valid)

    def fit(self, train: Features, valid: Features | None, *, seed: int, scratch: Path | None = None) -> Self:
        """Fit as every classifier; raises ValueError when a model to start from is not there."""
        if missing := sorted(set(self.config.start) - set(self.trained)):
            cure = "train within a run, which hands them over, or leave `start` out"
            raise ValueError(f"start: expected the trained models {missing!r}, got none; {cure}")
        return super().fit(train, valid, seed=seed, scratch=scratch)


def take_branches(panel: "torch.nn.Module", name: str, model: Classifier) -> None:
    """Copy the weights of all branches that a trained model shares with a network.

    Raises ValueError when it has none of them, or one of another shape.
    """
    own, other = panel.get_submodule("branches"), model.network.get_submodule("branches")  # type: ignore[attr-defined]
    shared = sorted(dict(own.named_children()).keys() & dict(other.named_children()).keys())
    if not shared:
        has, wanted = (sorted(dict(one.named_children())) for one in (other, own))
        raise ValueError(
            f"start: expected a model with one of the inputs {wanted!r}, got {name} with {has!r}; name another"
        )
    for branch in shared:
        mine, theirs = (one.get_submodule(branch).state_dict() for one in (own, other))
        shapes, found = ({key: tuple(tensor.shape) for key, tensor in one.items()} for one in (mine, theirs))
        if odd := sorted(key for key in shapes.keys() | found.keys() if shapes.get(key) != found.get(key)):
            what, cure = f"start: {branch}.{odd[0]}", "give both branches the same options"
            raise ValueError(f"{what}: expected {shapes.get(odd[0])!r}, got {found.get(odd[0])!r} in {name}; {cure}")
        own.get_submodule(branch).load_state_dict(theirs)
