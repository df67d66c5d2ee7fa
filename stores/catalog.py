"""One DuckDB file over the datasets of the last complete run, for analysts.

Small tables lie in the file itself. Large ones are views over the datasets' Parquet files, whose names hold the digest
of their content, so that a view reads the right rows or fails. Where the root is, a view finds out when it is used:

1. the variable `fuseline_root`, if the session has set it;
2. else the folder of the catalog, if it was opened as the session's main database: its temporary files go beside it;
3. else, as in a session that attaches it, the root's place when the catalog was written.

Where the root is no folder of this machine, no view could read its files: then the catalog holds all rows itself.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa

from fuseline.stores.dataset import ROW_INPUTS
from fuseline.stores.errors import StorageError
from fuseline.stores.root import Root
from fuseline.stores.schemas import comment_of
from fuseline.stores.tables import PublishedTable, in_catalog

CATALOG = "catalog.duckdb"
ROOT_VARIABLE = "fuseline_root"
# What every DuckDB since 1.0 reads; the default is the newest, which only the writer's version reads.
STORAGE_VERSION = "v1.0.0"


class Part(NamedTuple):
    """Files of one dataset behind a view, by name, and the values of further columns that all their rows have.

    Files that vary in their columns are all opened to know them, else the first alone.
    """

    files: Sequence[str]
    constants: Mapping[str, str | bool | None] = {}
    vary: bool = False


def build_catalog(root: Root, tables: Mapping[str, Sequence[str]], views: Mapping[str, Sequence[Part]]) -> None:
    """Write the catalog of an output root, and put it in place at once.

    Args:
        root: the output root, which all files lie below.
        tables: Parquet files to copy into the catalog, by name of TABLES, each by its name below the root.
        views: files to read in place, by name of TABLES.

    What has no files is empty with the right columns. Every table and column has a comment. Later files are seen only
    after the next call. An analyst who holds the old file open keeps it.

    Raises:
        StorageError: the file cannot be written, or a file behind it cannot be read.
    """
    try:
        with root.writing(CATALOG) as partial, duckdb.connect() as connection, ExitStack() as lent:
            target = f"{_literal(str(partial))} AS catalog (STORAGE_VERSION {_literal(STORAGE_VERSION)})"
            connection.execute(f"ATTACH {target}; USE catalog")
            for name, table in in_catalog().items():
                kind = "VIEW" if (name in views and root.local()) or table.query else "TABLE"
                parts = views.get(name) or [Part(tables.get(name) or [], vary=True)]
                body = table.query or _body(root, table, parts, lent)
                connection.execute(f"CREATE {kind} {_quoted(name)} AS {body}")
                types = connection.execute(_TYPES, [name]).fetchall()  # DESCRIBE would open every file once more
                connection.execute(_comments(kind, name, table, dict(types)))
            connection.execute("CHECKPOINT; USE memory; DETACH catalog")
    except duckdb.Error as error:
        cure = "free some space, or see what `fuseline verify` says"
        raise StorageError(f"cannot write {root.uri(CATALOG)}: {error}; {cure}") from error


def _body(root: Root, table: PublishedTable, parts: Sequence[Part], lent: ExitStack) -> str:
    selects = (_over_files(root, part, lent) for part in parts if part.files)
    return " UNION ALL BY NAME ".join([_empty(table.schema), *selects])


def _over_files(root: Root, part: Part, lent: ExitStack) -> str:
    if (folder := root.local()) is not None:
        names = ", ".join(_literal(_exact(file)) for file in part.files)
        files = f"list_transform([{names}], lambda file: {_place(folder.absolute())} || file)"
    else:
        paths = (lent.enter_context(root.reading(file)) for file in part.files)
        files = f"[{', '.join(_literal(_exact(str(path))) for path in paths)}]"
    # The digests that row reuse compares are of no use to an analyst.
    columns = f"COLUMNS(lambda name: name <> {_literal(ROW_INPUTS)})"
    constants = "".join(f", {_literal(value)} AS {_quoted(name)}" for name, value in part.constants.items())
    return f"SELECT {columns}{constants} FROM read_parquet({files}, union_by_name = {_literal(part.vary)})"  # noqa: S608


def _place(root: Path) -> str:
    """Return SQL for the root's place, "/" at its end, as the module says; constant, so that DuckDB can bind a view."""
    beside = "current_setting('temp_directory')"
    end = f"/{CATALOG}.tmp"
    opened = f"CASE WHEN ends_with({beside}, '{end}') THEN left({beside}, length({beside}) - {len(end)}) END"
    given = f"rtrim(getvariable('{ROOT_VARIABLE}'), '/')"
    place = f"coalesce({given}, {opened}, {_literal(str(root))})"
    return f"regexp_replace({place}, '([*?\\[])', '[\\1]', 'g') || '/'"


def _empty(schema: pa.Schema) -> str:
    columns = ", ".join(f"CAST(NULL AS {_sql_type(column.type)}) AS {_quoted(column.name)}" for column in schema)
    return f"SELECT {columns} WHERE false"


def _comments(kind: str, name: str, table: PublishedTable, types: Mapping[str, str]) -> str:
    said = [f"COMMENT ON {kind} {_quoted(name)} IS {_literal(table.summary)}"]
    for column, sql_type in types.items():
        text = _literal(f"{sql_type}: {comment_of(column, table.schema)}")
        said.append(f"COMMENT ON COLUMN {_quoted(name)}.{_quoted(column)} IS {text}")
    return "; ".join(said)


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        fields = ", ".join(f"{_quoted(field.name)} {_sql_type(field.type)}" for field in kind)
        return f"STRUCT({fields})"
    return _SQL_TYPES[str(kind)]


def _exact(path: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in path)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str | bool | None) -> str:
    if value is None:
        return "CAST(NULL AS VARCHAR)"
    return str(value).lower() if isinstance(value, bool) else "'" + value.replace("'", "''") + "'"


_TYPES = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index"
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
