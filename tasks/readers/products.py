"""Product and meme sets: Rakuten, Fashion Product Images, Berkeley Objects, Amazon metadata, Hateful Memes."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

import pyarrow as pa

from tasks.readers import csv, jsonl, products_json
from tasks.readers.base import ReaderOptions, SourceFile, chosen, documents, image_array
from tasks.readers.csv import CsvOptions
from tasks.readers.images import copied, watched
from tasks.readers.jsonl import JsonlOptions
from tasks.readers.mapping import as_text, check_ids
from tasks.readers.overlay import overlay
from tasks.readers.places import Place, same_root, walk
from tasks.readers.records import Record, csv_records
from tasks.readers.tables import name_split


class ProductsOptions(ReaderOptions):
    """Options of the product presets."""

    preset: Literal["rakuten", "fashion", "abo", "amazon", "hateful_memes"]
    label: str | None = None  # fashion: the column (articleType); amazon: main_category or categories
    languages: tuple[str, ...] = ("en_US", "en")  # abo: the first that a field has, by prefix
    dev: Literal["both", "seen", "unseen"] = "both"  # hateful_memes: dev_seen and dev_unseen share documents


class Preset(NamedTuple):
    """How one of the sets is read, and the counts it is known by."""

    read: Callable[[str, ProductsOptions], Iterator[pa.Table]]
    published: Mapping[str, int]


def read(path: str, options: ProductsOptions) -> Iterator[pa.Table]:
    """Yield the documents of the preset's layout; statuses are those of CSV and JSON lines."""
    yield from copied(PRESETS[options.preset].read(path, options), path, options)


def shared(options: ProductsOptions, kind: type[ReaderOptions]) -> dict[str, object]:
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
        **shared(options, CsvOptions),
    )
    return csv.read_files(path, settings, ("/styles.csv",))


def _hateful_memes(path: str, options: ProductsOptions) -> Iterator[pa.Table]:
    settings = JsonlOptions(
        columns={"id": "id", "text": "text", "image": "img"},
        **shared(options, JsonlOptions),
    )
    for name in ("train", *DEVS[options.dev], "test", "test_seen", "test_unseen"):
        for table in jsonl.read_files(path, settings, (f"/{name}.jsonl",)):
            split = pa.repeat(pa.scalar(name_split(f"{name}.jsonl"), pa.string()), len(table))
            yield table.set_column(table.schema.get_field_index("split"), table.schema.field("split"), split)


def _rakuten(path: str, options: ProductsOptions) -> Iterator[pa.Table]:
    """X and Y tables joined by their first column; CSV of the challenge or TSV of SIGIR eCom."""
    root = same_root(path)
    names = [file.uri for file in walk(root) if file.uri.lower().endswith((".csv", ".tsv"))]
    codes: dict[str, str] = {}
    for name in names:
        if name.rsplit("/", 1)[-1].lower().startswith("y_"):
            for _, row in _dicts(root / name, name, options):
                codes[row.get("", row.get("integer_id", ""))] = row.get("prdtypecode", "")
    for name in names:
        base = name.rsplit("/", 1)[-1].lower()
        split = chosen(base.split("_")[1]) if base.startswith("x_") else None
        if split is not None:
            yield from _rakuten_rows(root / name, name, split, codes, options)


def _rakuten_rows(
    file: Place, name: str, split: str, codes: dict[str, str], options: ProductsOptions
) -> Iterator[pa.Table]:
    batch: list[tuple[Record, dict[str, str]]] = []
    for pair in _dicts(file, name, options):
        batch.append(pair)
        if len(batch) == options.batch_rows:
            yield _rakuten_table(batch, split, codes)
            batch = []
    if batch:
        yield _rakuten_table(batch, split, codes)


def _rakuten_table(batch: list[tuple[Record, dict[str, str]]], split: str, codes: dict[str, str]) -> pa.Table:
    rows = [row for _, row in batch]
    ids = [row.get("", row.get("integer_id")) for row in rows]
    pairs = [(row.get("imageid") or row.get("image_id"), row.get("productid") or row.get("product_id")) for row in rows]
    uris = [
        f"images/image_{split}/image_{image}_product_{product}.jpg" if image and product else None
        for image, product in pairs
    ]
    table = documents(
        len(batch),
        id=as_text(ids)[0],
        source=[record.source for record, _ in batch],
        split=[split] * len(batch),
        labels=[[codes[one]] if one is not None and codes.get(one) else [] for one in ids],
        title=as_text([row.get("designation", row.get("title")) for row in rows])[0],
        description=as_text([row.get("description") for row in rows])[0],
        image=image_array(pa.array(uris, pa.string())),
    )
    slugs = [record.slug if record.slug != "ok" else ("ok" if row else "bad_row") for record, row in batch]
    return check_ids(overlay(table, slugs, [slug != "ok" for slug in slugs]))


def _dicts(file: Place, name: str, options: ProductsOptions) -> Iterator[tuple[Record, dict[str, str]]]:
    """Yield records with their fields by lower-cased column; {} for a bad record."""
    settings = CsvOptions(**shared(options, CsvOptions))
    header: list[str] | None = None
    for record in csv_records(file, name, settings, delimiter="\t" if name.lower().endswith(".tsv") else ","):
        if header is None and record.fields is not None:
            header = [field.strip().lower() for field in record.fields]
            continue
        whole = record.slug == "ok" and record.fields is not None and len(record.fields) == len(header or [])
        yield record, dict(zip(header or [], record.fields or [], strict=True)) if whole else {}


def files(path: str, options: ProductsOptions) -> list[SourceFile]:
    """List every table, and the images unless `watch_images` is off."""
    return [file for file in walk(same_root(path)) if file.uri.lower().endswith(TABLES)] + watched(path, options)


TABLES = (".csv", ".tsv", ".jsonl", ".json", ".csv.gz", ".json.gz", ".jsonl.gz")
DEVS = {"both": ("dev", "dev_seen", "dev_unseen"), "seen": ("dev", "dev_seen"), "unseen": ("dev_unseen",)}
FASHION = ("gender", "masterCategory", "subCategory", "articleType", "baseColour", "season", "usage")
PRESETS = {
    "rakuten": Preset(_rakuten, {"train": 84_916, "test": 13_812, "labels": 27}),
    "fashion": Preset(_fashion, {"documents": 44_446}),
    "abo": Preset(products_json.abo, {"documents": 147_702}),
    "amazon": Preset(products_json.amazon, {}),
    "hateful_memes": Preset(_hateful_memes, {"train": 8_500, "valid": 1_040, "test": 3_000, "labels": 2}),
}
