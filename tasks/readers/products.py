"""Product and meme sets: Rakuten, Fashion Product Images, Berkeley Objects, Amazon metadata, Hateful Memes."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from fuseline.stores.errors import DataError, mismatch
from fuseline.tasks.readers import csv, jsonl, products_json
from fuseline.tasks.readers.base import (
    Finding,
    ReaderOptions,
    Refers,
    SourceFile,
    SourceFormat,
    chosen,
    documents,
    image_array,
)
from fuseline.tasks.readers.csv import CsvOptions
from fuseline.tasks.readers.image_files import copied, folder_files
from fuseline.tasks.readers.jsonl import JsonlOptions
from fuseline.tasks.readers.manifests import name_split
from fuseline.tasks.readers.mapping import TableOptions, as_labels, as_text, check_ids
from fuseline.tasks.readers.overlay import overlay
from fuseline.tasks.readers.places import Place, same_root, walk
from fuseline.tasks.readers.records import Columns, headed_columns
from fuseline.tasks.readers.strays import stray_images


class ProductsOptions(ReaderOptions):
    """Options of the product presets."""

    preset: Literal["rakuten", "fashion", "abo", "amazon", "hateful_memes"] = Field(description="Which release is read")
    label: str | None = Field(
        None,
        description="Column of the label: articleType and others for fashion; main_category or categories for amazon",
    )
    languages: tuple[str, ...] = Field(
        ("en_US", "en"), description="abo: languages of a field, the first that it has, by prefix"
    )
    dev: Literal["both", "seen", "unseen"] = Field(
        "both", description="hateful_memes: which dev files are read; dev_seen and dev_unseen share documents"
    )

    @model_validator(mode="after")
    def _label_in_vain(self) -> Self:
        if self.label is not None and self.preset not in LABELLED:
            cure = f"leave it out, or choose one of the presets {', '.join(LABELLED)}"
            raise ValueError(mismatch("label", f"no label with preset {self.preset}", self.label, cure))
        return self


class ProductsPreset(NamedTuple):
    """How one of the sets is read, and the counts it is known by."""

    read: Callable[[str, ProductsOptions], Iterator[pa.Table]]
    published: Mapping[str, int]
    looks_for: str


def read(path: str, options: ProductsOptions) -> Iterator[pa.Table]:
    """Yield the documents of the preset's layout; statuses are those of CSV and JSON lines."""
    yield from copied(PRESETS[options.preset].read(path, options), path, options)


def shared(options: ProductsOptions) -> dict[str, object]:
    """Return the values of the options that every reader has; references are copied in once, by `read` above."""
    values = {name: getattr(options, name) for name in ReaderOptions.model_fields}
    return {**values, "images": "reference"}


def _fashion(path: str, options: ProductsOptions) -> Iterator[pa.Table]:
    """styles.csv: names hold unquoted commas, so fields too many belong to the last; "NA" is a value."""
    label = options.label or "articleType"
    settings = CsvOptions(
        columns={"id": "id", "title": "productDisplayName", "labels": label, "image": "images/{id}.jpg"},
        tabular={name: "category" for name in FASHION if name != label} | {"year": "number"},
        overflow="join_last",
        quoting=False,
        **shared(options),
    )
    return csv.read_files(path, settings, ("/styles.csv",))


def _hateful_memes(path: str, options: ProductsOptions) -> Iterator[pa.Table]:
    settings = JsonlOptions(
        columns={"id": "id", "text": "text", "image": "img"},
        **shared(options),
    )
    for name in ("train", *DEVS[options.dev], "test", "test_seen", "test_unseen"):
        for table in jsonl.read_files(path, settings, (f"/{name}.jsonl",)):
            split = pa.repeat(pa.scalar(name_split(f"{name}.jsonl"), pa.string()), len(table))
            yield table.set_column(table.schema.get_field_index("split"), table.schema.field("split"), split)


def _abo(path: str, options: ProductsOptions) -> Iterator[pa.Table]:
    return products_json.abo(path, TableOptions(**shared(options)), options.languages)


def _amazon(path: str, options: ProductsOptions) -> Iterator[pa.Table]:
    return products_json.amazon(path, TableOptions(**shared(options)), options.label)


def _rakuten(path: str, options: ProductsOptions) -> Iterator[pa.Table]:
    """X and Y tables joined by their first column; CSV of the challenge or TSV of SIGIR eCom."""
    root = same_root(path)
    names = [file.uri for file in walk(root) if file.uri.lower().endswith((".csv", ".tsv"))]
    codes: dict[str, str] = {}
    trained, matched = False, False
    for name in names:
        if name.rsplit("/", 1)[-1].lower().startswith("y_"):
            for rows in _records(root / name, name, options):
                pairs = zip(rows.get("", "integer_id"), rows.get("prdtypecode"), strict=True)
                codes |= {one: code for one, code in pairs if one and code}
    for name in names:
        base = name.rsplit("/", 1)[-1].lower()
        split = chosen(re.split("[_.]", base)[1]) if base.startswith("x_") else None  # x_test_task1.tsv, x_train.tsv
        if split is not None:
            for rows in _records(root / name, name, options):
                table = _rakuten_table(rows, split, codes)
                if split == "train":
                    trained, matched = True, matched or pc.max(pc.list_value_length(table["labels"])).as_py() > 0
                yield table
    coded = any(name.rsplit("/", 1)[-1].lower().startswith("y_") for name in names)
    if coded and trained and not matched:
        cure = "take both tables from the same release"
        raise DataError(mismatch("Y table of Rakuten", "codes of the rows of X_train", f"none of {len(codes):,}", cure))


def _rakuten_table(rows: Columns, split: str, codes: dict[str, str]) -> pa.Table:
    ids = as_text(rows.get("", "integer_id"))[0]
    image, product = (as_text(rows.get(f"{one}id", f"{one}_id"))[0] for one in ("image", "product"))
    uris = pc.binary_join_element_wise(f"images/image_{split}/image_", image, "_product_", product, ".jpg", "")
    table = documents(
        len(ids),
        id=ids,
        source=rows.sources,
        split=pa.repeat(split, len(ids)),
        labels=as_labels([codes.get(one) for one in ids.to_pylist()], TableOptions())[0],
        title=as_text(rows.get("designation", "title"))[0],
        description=as_text(rows.get("description"))[0],
        image=image_array(uris),
    )
    return check_ids(overlay(table, rows.slugs, rows.bad))


def _records(file: Place, name: str, options: ProductsOptions) -> Iterator[Columns]:
    settings = TableOptions(**shared(options))
    return headed_columns(file, name, settings, delimiter="\t" if name.lower().endswith(".tsv") else ",")


def findings(path: str, options: ProductsOptions, refers: Refers) -> Iterator[Finding]:
    """Yield the images without a row of the sets where each image has one; abo shows one image of several."""
    whole = options.preset in ("rakuten", "fashion") or (options.preset == "hateful_memes" and options.dev == "both")
    return stray_images(path, options, refers) if whole else iter(())


def files(path: str, options: ProductsOptions) -> Iterator[SourceFile]:
    """List every table, and the images unless `watch_images` is off."""
    return folder_files(path, options, TABLES)


TABLES = (".csv", ".tsv", ".jsonl", ".json", ".csv.gz", ".json.gz", ".jsonl.gz")
DEVS = {"both": ("dev", "dev_seen", "dev_unseen"), "seen": ("dev", "dev_seen"), "unseen": ("dev_unseen",)}
LABELLED = ("fashion", "amazon")  # presets with a label to choose
FASHION = ("gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "usage")
PRESETS = {
    "rakuten": ProductsPreset(
        _rakuten,
        {"train": 84_916, "test": 13_812, "labels": 27},
        "X_train*.csv, Y_train*.csv and X_test*.csv, or the same as .tsv",
    ),
    "fashion": ProductsPreset(_fashion, {"documents": 44_446}, "styles.csv"),
    "abo": ProductsPreset(_abo, {"documents": 147_702}, "listings/metadata/listings_*.json.gz and images.csv.gz"),
    "amazon": ProductsPreset(_amazon, {}, "meta_*.jsonl or meta_*.json.gz"),
    "hateful_memes": ProductsPreset(
        _hateful_memes,
        {"train": 8_500, "valid": 1_040, "test": 3_000, "labels": 2},
        "train.jsonl, dev.jsonl, dev_seen.jsonl, dev_unseen.jsonl, test.jsonl, test_seen.jsonl or test_unseen.jsonl",
    ),
}


FORMAT = SourceFormat(
    "products", "Rakuten, Fashion Product Images, Berkeley Objects, Amazon, Hateful Memes",
    ProductsOptions, read, files,
    findings=findings,
)  # fmt: skip
