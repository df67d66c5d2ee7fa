"""The node of a data set's documents, with its source and the options of its ingest."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field, model_validator

from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.stores.errors import mismatch
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.near_duplicates import DuplicatesConfig
from fuseline.tasks.engine.nodes import Ingest
from fuseline.tasks.options import parse_options
from fuseline.tasks.readers import READERS, ReaderOptions
from fuseline.tasks.readers.places import image_root


class SourceConfig(FrozenConfig):
    """Where documents come from; the path is no part of any key, so a folder may move."""

    reader: str = Field("jsonl", description="Name of a reader; `fuseline list readers` shows them")
    path: str = runtime_option("", description="File, folder or URL; FSSPEC_S3='{...}' holds the options of s3:// URLs")
    options: dict[str, object] = Field({}, description="Options of the reader")

    @model_validator(mode="after")
    def _check(self) -> "SourceConfig":
        if self.reader not in READERS:
            raise ValueError(mismatch("source.reader", sorted(READERS), self.reader, "choose one of these"))
        self.parsed()
        return self

    def parsed(self) -> ReaderOptions:
        """Return the options as the reader's own type."""
        return parse_options(READERS[self.reader].options, self.options)

    def image_root(self) -> str:
        """Return the folder or URL where image references start."""
        return image_root(self.path, self.parsed())


class IngestConfig(FrozenConfig):
    """Everything that determines the documents dataset, except where the source lies."""

    dataset: str
    reader: str
    options: dict[str, object]
    shard_size: int | Literal["auto"]
    split: SplitConfig
    duplicates: DuplicatesConfig = DuplicatesConfig()
    workers: int = runtime_option(1)  # what an automatic shard size is chosen for


@dataclass(frozen=True, kw_only=True)
class DocumentsNode(Ingest):
    """The node of the documents of a source."""

    config: IngestConfig
    source: SourceConfig
