"""One DuckDB file of views over the Parquet of the last complete run, for analysts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from stores.atomic import atomic_file
from stores.dataset import ROW_INPUTS
from stores.errors import StorageError
from stores.schemas import (
    DOCUMENTS,
    DRIFT,
    METRICS,
    MODELS,
    PREDICTIONS,
    QUARANTINE,
    STATISTICS,
    TOKENS,
    WORDS,
)

# What a view looks like before its dataset exists. Shards may add columns (num_*, cat_*).
VIEWS: dict[str, pa.Schema] = {
    "documents": DOCUMENTS,
    "features": pa.schema(
        [
            ("id", pa.string()),
            ("status", pa.string()),
            ("present", pa.bool_()),
            ("embedding", pa.list_(pa.float32())),
            ("codes", pa.list_(pa.uint8())),
        ]
    ),
    "detections": pa.schema([("id", pa.string()), ("status", pa.string())]),
    "predictions": PREDICTIONS,
    "metrics": METRICS,
    "quarantine": QUARANTINE,
    "statistics": STATISTICS,
    "models": MODELS,
    "drift": DRIFT,
    "tokens": TOKENS,
    "words": WORDS,
}


def build_catalog(path: Path, views: Mapping[str, Sequence[Path]], *, schemas: Mapping[str, pa.Schema] = VIEWS) -> None:
    """Write a DuckDB file whose views read the given Parquet files by absolute path, and put it in place at once.

    `views` maps a view to its files; the last part of a path may hold `*`. A view of VIEWS without files is empty with
    the right columns. Views see later files only after the next call. An analyst who holds the old file open keeps it.
    Every row of a view also names its file (`filename`), so that rows of several datasets can be told apart.
    Raises StorageError when the file cannot be written.
    """
    try:
        with atomic_file(path) as partial, duckdb.connect(str(partial)) as connection:
            for name in sorted({*schemas, *views}):
                files = _files(views.get(name, ()))
                body = _over_files(files) if files else _empty(schemas.get(name, _ONLY_IDS))
                connection.execute(f"CREATE VIEW {_quoted(name)} AS {body}")
            connection.execute("CHECKPOINT")
    except duckdb.Error as error:
        raise StorageError(f"cannot write {path}: {error}; free some space or choose another `root`") from error


def _files(patterns: Sequence[Path]) -> list[str]:
    """Return absolute paths; globs that match nothing are left out, as DuckDB would refuse the whole view."""
    found: list[str] = []
    for pattern in patterns:
        if "*" in pattern.name:
            found += sorted(str(file.absolute()) for file in pattern.parent.glob(pattern.name))
        elif pattern.exists():
            found.append(str(pattern.absolute()))
    return found


def _over_files(files: list[str]) -> str:
    names = ", ".join(_literal(name) for name in files)
    # The digests that row reuse compares are of no use to an analyst.
    columns = f"COLUMNS(lambda c: c <> {_literal(ROW_INPUTS)})"
    return f"SELECT {columns} FROM read_parquet([{names}], union_by_name = true, filename = true)"  # noqa: S608


def _empty(schema: pa.Schema) -> str:
    columns = ", ".join(f"CAST(NULL AS {_sql_type(column.type)}) AS {_quoted(column.name)}" for column in schema)
    return f"SELECT {columns}, CAST(NULL AS VARCHAR) AS filename WHERE false"


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        fields = ", ".join(f"{_quoted(field.name)} {_sql_type(field.type)}" for field in kind)
        return f"STRUCT({fields})"
    return _SQL_TYPES[str(kind)]


_ONLY_IDS = pa.schema([("id", pa.string())])
_SQL_TYPES = {
    "string": "VARCHAR",
    "large_string": "VARCHAR",
    "bool": "BOOLEAN",
    "uint8": "UTINYINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "binary": "BLOB",
    "large_binary": "BLOB",
}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(path: str) -> str:
    exact = "".join(f"[{sign}]" if sign in "*?[" else sign for sign in path)
    return "'" + exact.replace("'", "''") + "'"
