"""A convolutional network over the words of a text (Kim 2014; Zahavy 2016, Z-06; P-08)."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from fuseline.models.automatic import automatic
from fuseline.models.columns import Sequence, Size
from fuseline.models.config import FrozenConfig
from fuseline.models.features import Input, embedding_name
from fuseline.models.network import NetworkConfig
from fuseline.models.panel import PanelClassifier, branch_name
from fuseline.models.stopping import MOST_EPOCHS

if TYPE_CHECKING:
    import torch


class WordFiltersConfig(NetworkConfig):
    """Settings of what reads words."""

    dim: int = Field(100, ge=1, le=4096, description="Numbers of a word's vector, which is drawn and trained")
    widths: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (3, 4, 5), min_length=1, description="Words that filters see at a time"
    )
    maps: int = Field(128, ge=1, le=65536, description="Filters of each width")
    dropout: float = Field(0.5, ge=0, lt=1, description="Share of the features set to 0 while training")
    lr: float = automatic(0.001, choices=(0.0005, 0.001, 0.002, 0.004), gt=0, description="Learning rate")
    epochs: int = automatic(20, choices=range(1, MOST_EPOCHS + 1), ge=1, description="Passes over the training rows")
    batch: int = Field(64, ge=1, description="Documents per step")


class TextCNNConfig(WordFiltersConfig):
    """Settings of the network and of its training; the defaults are those of paper Z."""

    sequence: str = Field("words", description="Name of the stage `sequence` in `stages` whose words are read")


class TextCNN(PanelClassifier):
    """The largest answers of filters over 3, 4 and 5 words, dropout, and a linear map to the classes."""

    kind: ClassVar[str] = "text_cnn"
    summary: ClassVar[str] = "convolutional network over a sequence of words (Kim 2014, Zahavy 2016)"
    Config: ClassVar[type[FrozenConfig]] = TextCNNConfig
    config: TextCNNConfig

    @classmethod
    def inputs(cls, config: TextCNNConfig) -> tuple[Input, ...]:
        return (Input(embedding_name(config.sequence), Sequence),)

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        from fuseline.models.layers import Concat, Panel, WordFilters

        (one,), config = self.inputs(self.config), self.config
        words = WordFilters(sizes[one.name].values, config.dim, config.widths, config.maps)
        body = Concat([words.width], 0, 0, dropout=0.0)
        return Panel({branch_name(one): words}, body, C, dropout=config.dropout)
