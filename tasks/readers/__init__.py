"""One file per source format. A new reader of ours is one file and one name here."""

from collections.abc import Mapping
from typing import NamedTuple, cast

from fuseline.plugins import Registry
from fuseline.tasks.readers import (
    ads_parallelity,
    csv,
    fasttext,
    flickrtag,
    food101,
    imagefolder,
    img2dataset,
    jsonl,
    mmimdb,
    parquet,
    petfinder,
    pitt_ads,
    products,
    webdataset,
    webvision,
    yfcc,
)
from fuseline.tasks.readers.base import Finding, OptionsT, Reader, ReaderOptions, SourceFile, SourceFormat
from fuseline.tasks.readers.places import image_root

__all__ = [
    "READERS",
    "CountDifference",
    "Finding",
    "Reader",
    "ReaderOptions",
    "SourceFile",
    "SourceFormat",
    "differences",
    "image_root",
    "looks_for",
    "published",
    "registry_rows",
]


AnyFormat = SourceFormat[ReaderOptions]


def listed(reader: SourceFormat[OptionsT]) -> AnyFormat:
    """Return a format as the registry holds it: what its functions are given was made by its own `options`."""
    return cast(AnyFormat, reader)


OURS: tuple[AnyFormat, ...] = (
    listed(ads_parallelity.FORMAT), listed(csv.FORMAT), listed(fasttext.FORMAT), listed(flickrtag.FORMAT),
    listed(food101.FORMAT), listed(imagefolder.FORMAT), listed(img2dataset.FORMAT), listed(jsonl.FORMAT),
    listed(mmimdb.FORMAT), listed(parquet.FORMAT), listed(petfinder.FORMAT), listed(pitt_ads.FORMAT),
    listed(products.FORMAT), listed(webdataset.FORMAT), listed(webvision.FORMAT), listed(yfcc.FORMAT),
)  # fmt: skip
READERS: Registry[AnyFormat] = Registry("reader", {reader.kind: reader for reader in OURS})


class CountDifference(NamedTuple):
    """One count of a load report beside the published one."""

    measure: str  # documents, labels, or a split
    published: int
    loaded: int


def published(name: str, options: ReaderOptions) -> Mapping[str, int]:
    """Return the counts that the release is known by: documents, labels, or a split's documents; {} when unknown."""
    if isinstance(options, products.ProductsOptions):
        return products.PRESETS[options.preset].published
    return READERS[name].published


def looks_for(name: str, options: ReaderOptions) -> str:
    """Return what the files are called that make a source of this reader."""
    if isinstance(options, products.ProductsOptions):
        return products.PRESETS[options.preset].looks_for
    return READERS[name].looks_for


def differences(loaded: Mapping[str, int], known: Mapping[str, int]) -> list[CountDifference]:
    """Return the published counts that a load does not meet: worth a warning, never a stop."""
    pairs = [CountDifference(measure, count, loaded.get(measure, 0)) for measure, count in sorted(known.items())]
    return [pair for pair in pairs if pair.published != pair.loaded]


def registry_rows() -> list[dict[str, str]]:
    """Return one {name, summary, weights} per reader, sorted by name."""
    return [{"name": name, "summary": entry.summary, "weights": ""} for name, entry in sorted(READERS.items())]
