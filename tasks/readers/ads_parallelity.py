"""Ads-Parallelity: image, slogan and the crowd's verdict, from a manifest whose columns the user names.

No file of the release could be seen, so nothing about its names, columns or coding is assumed; there is no official
split (paper R uses five folds).
"""

from collections.abc import Iterator

import pyarrow as pa
from pydantic import Field

from fuseline.stores.errors import ConfigError, mismatch
from fuseline.tasks.readers import csv, jsonl
from fuseline.tasks.readers.base import SourceFile, SourceFormat
from fuseline.tasks.readers.csv import CsvOptions
from fuseline.tasks.readers.jsonl import JsonlOptions
from fuseline.tasks.readers.manifests import table_files
from fuseline.tasks.readers.places import manifests, place
from fuseline.tasks.readers.strays import stray_images

PUBLISHED = {"documents": 327, "labels": 2}  # after paper R removed duplicate images
LOOKS_FOR = "*.csv, *.tsv, *.tab, or *.jsonl, *.ndjson, *.json; each may be packed"


class AdsParallelityOptions(CsvOptions):
    """Options of the Ads-Parallelity reader: a manifest's, plus the columns of the finer analysis."""

    finer: str | None = Field(
        None,
        description="Column of the finer relation (non-parallel, parallel equivalent, parallel "
        "non-equivalent): becomes cat_finer",
    )
    naturalness: str | None = Field(None, description="Column that becomes num_naturalness")
    concreteness: str | None = Field(None, description="Column that becomes num_concreteness")


def read(path: str, options: AdsParallelityOptions) -> Iterator[pa.Table]:
    """Yield the rows of a CSV, TSV or JSON lines manifest; statuses are those of its reader."""
    extra = {role: name for role in RENAMED if (name := getattr(options, role)) is not None}
    kinds = {name: "category" if role == "finer" else "number" for role, name in extra.items()}
    values = {name: getattr(options, name) for name in CsvOptions.model_fields}
    values["tabular"] = {**options.tabular, **kinds}
    if is_json(path):
        tables = jsonl.read(path, JsonlOptions(**{name: values[name] for name in JsonlOptions.model_fields}))
    else:
        tables = csv.read(path, CsvOptions(**values))
    names = {f"{'cat' if role == 'finer' else 'num'}_{name}": role for role, name in extra.items()}
    for table in tables:
        yield table.rename_columns([_renamed(name, names) for name in table.column_names])


def _renamed(name: str, names: dict[str, str]) -> str:
    return f"{name[:3]}_{names[name]}" if name in names else name


def is_json(path: str) -> bool:
    """Return whether the manifest is JSON lines; ConfigError when a folder holds both kinds."""
    source = place(path)
    if not source.is_dir():
        return any(suffix in source.name.lower() for suffix in (".jsonl", ".ndjson", ".json"))
    lines, tables = manifests(path, jsonl.SUFFIXES), manifests(path, csv.SUFFIXES)
    if lines and tables:
        names = sorted(file.name for file in lines + tables)
        raise ConfigError(mismatch("source.path", "one kind of manifest", names, "give the manifest's own path"))
    return bool(lines)


def files(path: str, options: AdsParallelityOptions) -> Iterator[SourceFile]:
    """List the manifest and the images beside it."""
    return table_files(path, options, jsonl.SUFFIXES if is_json(path) else csv.SUFFIXES)


RENAMED = ("finer", "naturalness", "concreteness")


findings = stray_images


FORMAT = SourceFormat(
    "ads_parallelity", "Ads-Parallelity manifest", AdsParallelityOptions, read, files,
    published=PUBLISHED, findings=findings, looks_for=LOOKS_FOR,
)  # fmt: skip
