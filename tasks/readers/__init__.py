"""One file per source format. A new reader is one file and one line here."""

from tasks.readers import csv, imagefolder, jsonl, parquet
from tasks.readers.base import Entry, Reader, ReaderOptions, SourceFile
from tasks.readers.places import image_root

__all__ = ["READERS", "Entry", "Reader", "ReaderOptions", "SourceFile", "image_root", "registry_rows"]

READERS: dict[str, Entry] = {
    "imagefolder": Entry(
        imagefolder.read,
        imagefolder.files,
        imagefolder.ImagefolderOptions,
        "image folders, plain or <split>/<label>/ or with metadata.{csv,jsonl,parquet}",
    ),
    "parquet": Entry(
        parquet.read, parquet.files, parquet.ParquetOptions, "Parquet tables, images as structs, bytes or paths"
    ),
    "jsonl": Entry(jsonl.read, jsonl.files, jsonl.JsonlOptions, "JSON lines, one document a line"),
    "csv": Entry(csv.read, csv.files, csv.CsvOptions, "CSV and TSV manifests"),
}


def registry_rows() -> list[dict[str, str]]:
    """Return one {name, summary, weights} per reader, sorted by name."""
    return [{"name": name, "summary": entry.summary, "weights": ""} for name, entry in sorted(READERS.items())]
