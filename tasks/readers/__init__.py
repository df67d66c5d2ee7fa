"""One file per source format. A new reader is one file and one line here."""

from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

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
from fuseline.tasks.readers.base import Entry, Finding, Reader, ReaderOptions, SourceFile
from fuseline.tasks.readers.places import image_root

__all__ = [
    "READERS",
    "Difference",
    "Entry",
    "Finding",
    "Reader",
    "ReaderOptions",
    "SourceFile",
    "differences",
    "image_root",
    "looks_for",
    "published",
    "registry_rows",
]


def _entry(module: ModuleType, options: type[ReaderOptions], summary: str) -> Entry:
    counts, labels = getattr(module, "PUBLISHED", {}), getattr(module, "vocabulary", None)
    findings, looks_for = getattr(module, "findings", None), getattr(module, "LOOKS_FOR", "")
    columns = getattr(module, "columns", None)
    return Entry(module.read, module.files, options, summary, counts, labels, findings, looks_for, columns)


READERS: dict[str, Entry] = {
    "ads_parallelity": _entry(ads_parallelity, ads_parallelity.AdsParallelityOptions, "Ads-Parallelity manifest"),
    "csv": _entry(csv, csv.CsvOptions, "CSV and TSV manifests"),
    "fasttext": _entry(fasttext, fasttext.FasttextOptions, "fastText label files"),
    "flickrtag": _entry(flickrtag, flickrtag.FlickrtagOptions, "FlickrTag label files, images joined by id or line"),
    "food101": _entry(food101, food101.Food101Options, "UPMC Food-101: original tree, Kaggle titles or JSON"),
    "imagefolder": _entry(
        imagefolder, imagefolder.ImagefolderOptions, "image folders: <split>/<label>/ or metadata.{csv,jsonl,parquet}"
    ),
    "img2dataset": _entry(img2dataset, img2dataset.Img2datasetOptions, "img2dataset output in its three modes"),
    "jsonl": _entry(jsonl, jsonl.JsonlOptions, "JSON lines, one document a line"),
    "mmimdb": _entry(mmimdb, mmimdb.MmimdbOptions, "MM-IMDB: JSON and posters, or multimodal_imdb.hdf5"),
    "parquet": _entry(parquet, parquet.ParquetOptions, "Parquet tables, images as structs, bytes or paths"),
    "petfinder": _entry(petfinder, petfinder.PetfinderOptions, "Kaggle PetFinder.my adoption speed"),
    "pitt_ads": _entry(pitt_ads, pitt_ads.PittAdsOptions, "Pitt Image Ads annotations"),
    "products": _entry(
        products, products.ProductsOptions, "Rakuten, Fashion Product Images, Berkeley Objects, Amazon, Hateful Memes"
    ),
    "webdataset": _entry(webdataset, webdataset.WebdatasetOptions, "WebDataset tar shards"),
    "webvision": _entry(webvision, webvision.WebvisionOptions, "WebVision 1.0 and 2.0"),
    "yfcc": _entry(yfcc, yfcc.YfccOptions, "YFCC100M core metadata, 25 or 23 columns"),
}


class Difference(NamedTuple):
    """One count of a load report beside the published one."""

    measure: str  # documents, labels, or a split
    published: int
    found: int


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


def differences(found: Mapping[str, int], known: Mapping[str, int]) -> list[Difference]:
    """Return the published counts that a load does not meet: worth a warning, never a stop."""
    pairs = [Difference(measure, count, found.get(measure, 0)) for measure, count in sorted(known.items())]
    return [pair for pair in pairs if pair.published != pair.found]


def registry_rows() -> list[dict[str, str]]:
    """Return one {name, summary, weights} per reader, sorted by name."""
    return [{"name": name, "summary": entry.summary, "weights": ""} for name, entry in sorted(READERS.items())]
