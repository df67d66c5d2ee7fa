"""From a manifest's own columns to documents: the mapping that the generic readers share."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.models.config import runtime_option
from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.tasks.readers.base import (
    BAD_SPLIT,
    ColumnValues,
    Encoding,
    ReaderOptions,
    Split,
    chosen,
    documents,
    image_array,
    mark,
    strings,
)
from fuseline.tasks.readers.places import safe_references

Role = Literal["id", "title", "description", "text", "html", "image", "labels", "split", "group"]

OBVIOUS: dict[str, tuple[str, ...]] = {
    "id": ("id", "key"),
    "title": ("title",),
    "description": ("description",),
    "text": ("text", "caption"),
    "html": ("html", "htm"),
    "image": ("image", "file_name", "img", "image_path"),
    "labels": ("labels", "label", "tags"),
    "split": ("split",),
    "group": ("group",),
}
LINE = "#line"  # columns.id: the place of the row is its id
MAX_ID = 4096  # characters
TEXTS = ("title", "description", "text", "html", "group")
PIECE = re.compile(r"\{([^{}]+)\}")  # of an image template


class TableOptions(ReaderOptions):
    """How the columns of a manifest become documents; obvious names need no word."""

    patterned: ClassVar[bool] = True

    columns: dict[Role, str] = Field(
        default_factory=dict,
        description="Column of each role, such as {text: caption}; obvious names need no word, and image "
        "may be a template: images/{id}.jpg",
    )
    tabular: dict[str, Literal["number", "category"]] = Field(
        default_factory=dict, description="Columns to keep for models, such as {price: number, brand: category}"
    )
    label_separator: str | None = Field(
        None, description="Text between the labels of one cell, such as |; default: a cell is one label"
    )
    label_names: tuple[str, ...] = Field((), description="Names of integer labels: label i means the i-th name, from 0")
    vocabulary: tuple[str, ...] = Field((), description="The only labels that are known; default: all are")
    unknown_label: Literal["drop_label", "drop_row", "error"] = Field(
        "drop_label",
        description="What a label outside the vocabulary does: drop_label leaves it out, drop_row marks "
        "the row, error ends the run",
    )
    splits: dict[str, Split] = Field(
        default_factory=dict, description="The manifest's own names of splits, such as {dev: valid}"
    )
    optional: tuple[Role, ...] = runtime_option(
        (), description="Roles whose column may be absent, as new documents have no labels"
    )
    encoding: Encoding = Field("utf-8", description="Encoding of the text, such as utf-8 or latin-1")
    encoding_errors: Literal["mark", "replace"] = Field(
        "mark", description="What bytes outside the encoding do: mark the row, or become U+FFFD (replace)"
    )


def resolve(options: TableOptions, seen: Sequence[str], *, where: str) -> dict[str, str]:
    """Return role -> column for a manifest with the columns `seen`; ConfigError for a column that is not there."""
    roles = {
        str(role): column
        for role, column in options.columns.items()
        if role not in options.optional or set(template_columns(column)) <= {*seen, LINE}
    }
    if options.image_pattern is not None:
        roles["image"] = _checked_pattern(options.image_pattern, roles)
    for role, names in OBVIOUS.items():
        taken = next((name for name in names if name in seen), None)
        if role == "image" and taken is None:  # Hugging Face's names
            taken = next((name for name in seen if name.endswith(("file_name", "file_names"))), None)
        if role not in roles and taken is not None:
            roles[role] = taken
    if "id" not in roles and "image" in roles and "{" not in roles["image"]:
        roles["id"] = roles["image"]  # an image folder's rows are known by their file
    if "image" in roles:
        roles["image"] = _named_columns(roles["image"], roles, seen)
    for role, column in [*roles.items(), *((f"tabular.{name}", name) for name in options.tabular)]:
        for name in template_columns(column) if role == "image" else [column]:
            if name not in seen and name != LINE:
                field = role if role.startswith("tabular.") else f"columns.{role}"
                field = "images.pattern" if role == "image" and options.image_pattern is not None else field
                raise ConfigError(mismatch(f"{field} in {where}", sorted(seen), name, "name an existing column"))
    if "id" not in roles:
        cure = f"set columns.id to the column that names a document, or to {LINE!r}"
        raise ConfigError(mismatch(f"columns.id in {where}", f"one of {OBVIOUS['id']}", sorted(seen), cure))
    return dict(roles)


def _checked_pattern(pattern: str, roles: Mapping[str, str]) -> str:
    if "image" in roles:
        cure = "give one of the two: a column of paths, or a pattern"
        raise ConfigError(mismatch("images.pattern", "no columns.image beside it", roles["image"], cure))
    if not PIECE.search(pattern):
        cure = 'put a column of the row in braces, as in "images/{id}.jpg"'
        raise ConfigError(mismatch("images.pattern", "a name in braces", pattern, cure))
    return pattern


def _named_columns(template: str, roles: Mapping[str, str], seen: Sequence[str]) -> str:
    """Return an image template whose {id}, {title} and the like name the columns that play these roles."""

    def column(piece: re.Match[str]) -> str:
        name = piece.group(1)
        return f"{{{name if name in seen else roles.get(name, name)}}}"

    return PIECE.sub(column, template)


def template_columns(column: str) -> list[str]:
    """Return the columns that an image template names; a plain column names itself."""
    return PIECE.findall(column) or [column]


def map_rows(
    columns: Mapping[str, ColumnValues],
    sources: pa.Array,
    options: TableOptions,
    roles: Mapping[str, str],
    *,
    split: Split | None,
) -> pa.Table:
    """Turn the columns of some rows into documents.

    `split` holds for rows that have none of their own (inferred from the file's name). Statuses: missing_id, bad_id,
    bad_value (a nested value where text belongs), bad_path, bad_split, unknown_label.
    """
    rows = len(sources)
    none = pa.nulls(rows, pa.string())
    fields: dict[str, ColumnValues] = {}
    fields["id"], bad = as_text(sources if roles["id"] == LINE else columns[roles["id"]])
    for role in TEXTS:
        if role in roles:
            fields[role], odd = as_text(columns[roles[role]])
            bad = pc.or_(bad, odd)
    labels, odd = as_labels(columns[roles["labels"]] if "labels" in roles else none, options)
    unknown = pa.repeat(False, rows)
    unnamed = pa.repeat(False, rows)
    if options.label_names and "labels" in roles:
        unnamed = pa.array(beyond_names(columns[roles["labels"]], options))
    if options.vocabulary:
        labels, unknown = known_labels(labels, options, sources)
    splits, lost = as_splits(columns[roles["split"]] if "split" in roles else none, options, split)
    images, climbs, broken = pa.nulls(rows), None, None
    if "image" in roles:
        images, climbs, broken = as_images({**columns, LINE: sources}, roles["image"], rows)
    extra = {
        f"{'num' if kind == 'number' else 'cat'}_{name}": as_tabular(columns[name], kind)
        for name, kind in options.tabular.items()
    }
    table = documents(
        rows,
        source=sources,
        labels=labels,
        split=splits,
        extra=extra,
        **({"image": images} if climbs is not None else {}),
        **fields,
    )
    table = mark(table, pc.or_(bad, odd), "bad_value")
    if climbs is not None:
        table = mark(mark(table, climbs, "bad_path", blank=False), broken, "bad_value", blank=False)
    table = mark(table, unnamed, "unknown_label", blank=False)
    if options.unknown_label == "drop_row":
        table = _forget(mark(table, unknown, "unknown_label"), unknown)
    # Whether its split matters is decided by the ingest: the row keeps its fields until then.
    return check_ids(mark(table, lost, BAD_SPLIT, blank=False))


def check_ids(table: pa.Table) -> pa.Table:
    """Mark rows whose id is absent or over MAX_ID characters; such an id becomes null."""
    ids = table["id"].combine_chunks()
    absent = ids.is_null()
    long = pc.fill_null(pc.greater(pc.utf8_length(ids), MAX_ID), False)
    if not pc.any(pc.or_(absent, long)).as_py():
        return table
    return _forget(mark(mark(table, absent, "missing_id"), long, "bad_id"), long)


def _forget(table: pa.Table, rows: pa.Array) -> pa.Table:
    ids = pc.if_else(rows, pa.scalar(None, pa.string()), table["id"])
    return table.set_column(0, table.schema.field(0), ids)


def as_text(column: ColumnValues) -> tuple[pa.Array, pa.Array]:
    """Return the column as text, empty as null (R6) and without NUL (R10), and where a nested value stood.

    Numbers keep their digits (R1, R2); a list of texts becomes lines.
    """
    good = pa.repeat(False, len(column))
    try:
        texts = column.cast(pa.string()) if isinstance(column, pa.Array) else strings(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeError):
        values = column.to_pylist() if isinstance(column, pa.Array) else column
        parsed = [_text(value) for value in values]
        texts = strings([text for text, _ in parsed])
        good = pa.array([odd for _, odd in parsed])
    if pc.any(pc.match_substring(texts, "\0")).as_py():
        texts = pc.replace_substring(texts, "\0", "")
    empty = pc.equal(texts, "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), texts) if pc.any(empty).as_py() else texts, good


def _text(value: Any) -> tuple[str | None, bool]:
    """Return (text, whether the value was nested too deep to be one)."""
    if value is None or isinstance(value, str):
        return value, False
    if isinstance(value, bool):
        return str(value).lower(), False
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace"), False
    if isinstance(value, list):
        parts = [_text(part) for part in value if not isinstance(part, list)]
        if len(parts) < len(value) or any(odd for _, odd in parts):
            return None, True
        return "\n".join(part for part, _ in parts if part), False
    return (None, True) if isinstance(value, dict) else (str(value), False)


def as_labels(column: ColumnValues, options: TableOptions) -> tuple[pa.Array, pa.Array]:
    """Return list<string> labels, none as an empty list, and where a value could not be labels (R8)."""
    names, separator = options.label_names, options.label_separator
    if not names and separator is None and _is_plain(column):
        texts, odd = as_text(column)
        there = texts.is_valid()
        offsets = pc.cumulative_sum(pa.concat_arrays([pa.array([0], pa.int32()), there.cast(pa.int32())]))
        return pa.ListArray.from_arrays(offsets, texts.drop_null()), odd
    labels: list[list[str]] = []
    wrong = []
    for value in column.to_pylist() if isinstance(column, pa.Array) else column:
        parts = value if isinstance(value, list) else [value]
        if separator is not None and isinstance(value, str):
            parts = [part.strip() for part in value.split(separator)]
        parsed = [(None, True) if isinstance(part, list) else _text(_named(part, names)) for part in parts]
        wrong.append(any(odd for _, odd in parsed))
        labels.append(list(dict.fromkeys(text.replace("\0", "") for text, _ in parsed if text)))
    return pa.array(labels, pa.list_(pa.string())), pa.array(wrong, pa.bool_())


def _is_plain(column: ColumnValues) -> bool:
    """Return whether a column holds texts and nulls alone."""
    if isinstance(column, pa.Array):
        return bool(pa.types.is_string(column.type) or pa.types.is_null(column.type))
    return set(map(type, column)) <= {str, type(None)}


def _named(label: Any, names: Sequence[str]) -> Any:
    """Translate an integer label by the names that the release gives (R7).

    -1 is no label, as Hugging Face hides those of test rows, and an index beyond the names is none that is known.
    """
    index = _index(label) if names else None
    if index is None:
        return label
    return names[index] if 0 <= index < len(names) else None


def _index(label: Any) -> int | None:
    """Return a label that is an integer, as a number or as text."""
    if isinstance(label, bool):
        return None
    try:
        return int(label)
    except (TypeError, ValueError):
        return None


def beyond_names(column: ColumnValues, options: TableOptions) -> list[bool]:
    """Return which of n rows hold an integer label beyond the names: a class without a name."""
    names, beyond = options.label_names, []
    for value in column.to_pylist() if isinstance(column, pa.Array) else column:
        parts = value if isinstance(value, list) else [value]
        indices = [_index(part) for part in parts]
        beyond.append(any(index is not None and (index >= len(names) or index < -1) for index in indices))
    return beyond


def known_labels(labels: pa.Array, options: TableOptions, sources: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Keep the labels of the vocabulary and mark rows with others; DataError when `unknown_label` is "error"."""
    known = frozenset(options.vocabulary)
    values = labels.to_pylist()
    unknown = [not known.issuperset(row) for row in values]
    if options.unknown_label == "error" and any(unknown):
        index = unknown.index(True)
        stray = sorted(set(values[index]) - known)
        cure = "add them to the vocabulary, or set unknown_label to drop_label or drop_row"
        raise DataError(mismatch(f"labels at {sources[index].as_py()}", "labels of the vocabulary", stray, cure))
    kept = [[label for label in row if label in known] for row in values]
    return pa.array(kept, pa.list_(pa.string())), pa.array(unknown, pa.bool_())


def as_splits(column: ColumnValues, options: TableOptions, default: Split | None) -> tuple[pa.Array, pa.Array]:
    """Return train, valid, test or null, and where a name was given that is none of them."""
    coded = as_text(column)[0].dictionary_encode()
    known = [options.splits.get(name) or chosen(name) for name in coded.dictionary.to_pylist()]
    splits = pa.array(known, pa.string()).take(coded.indices)
    lost = pc.and_(coded.is_valid(), splits.is_null())
    return pc.if_else(coded.is_valid(), splits, pa.scalar(default, pa.string())), lost


def as_images(columns: Mapping[str, ColumnValues], column: str, rows: int) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return the images, which references are refused (R11), and which are not references at all.

    A value is a path, a list of paths (the first present one counts), a data: URL,
    the base64 text of an image, or null.
    """
    if "{" in column:
        return as_references(fill_template(columns, column))
    values = columns[column]
    if isinstance(values, pa.Array) and pa.types.is_nested(values.type):
        values = values.to_pylist()
    if not isinstance(values, pa.Array) and list in map(type, values):
        values = [_first(value) if isinstance(value, list) else value for value in values]
    uris, broken = as_text(values)
    inline = pc.fill_null(pc.match_substring_regex(uris, INLINE), False)
    if not pc.any(inline).as_py():
        images, climbs, _ = as_references(uris)
        return images, climbs, broken
    data = [_inline(uri) if one else None for uri, one in zip(uris.to_pylist(), inline.to_pylist(), strict=True)]
    broken = pc.or_(broken, pc.and_(inline, pa.array([one is None for one in data])))
    uris, climbs = safe_references(pc.if_else(inline, pa.scalar(None, pa.string()), uris))
    return image_array(uris, data=pa.array(data, pa.large_binary())), climbs, broken


def _first(paths: list[Any]) -> Any:
    first = next((path for path in paths if path is not None and path != ""), None)
    return None if isinstance(first, list) else first


def as_references(uris: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return images that are whole files, which were refused, and an all-False array."""
    safe, climbs = safe_references(uris)
    return image_array(safe), climbs, pa.array([False] * len(uris), pa.bool_())


def fill_template(columns: Mapping[str, ColumnValues], template: str) -> pa.Array:
    """Fill "images/{id}.jpg" from the columns of each row; null where a column is null."""
    parts: list[Any] = []
    for index, piece in enumerate(PIECE.split(template)):
        parts.append(as_text(columns[piece])[0] if index % 2 else pa.scalar(piece))
    return pc.binary_join_element_wise(*parts, "")


# A data: URL; or the base64 text of a JPEG, PNG, GIF, WebP, BMP or TIFF: no path begins so and is as long.
INLINE = r"^data:|^(?:/9j/|iVBORw0KGgo|R0lGOD[dl]h|UklGR|Qk[0-9A-Za-z]|SUkqA|TU0AK)[A-Za-z0-9+/\s]{60,}={0,2}\s*$"


def _inline(uri: str) -> bytes | None:
    """Return the bytes of a base64 data: URL, or of bare base64; None when it is damaged."""
    _, comma, body = uri.partition(";base64,")
    if uri.startswith("data:") and not comma:
        return None
    try:
        return base64.b64decode("".join((body if uri.startswith("data:") else uri).split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def as_tabular(column: ColumnValues, kind: str) -> pa.Array:
    """Return a float64 column (null where it is no finite number) or a string column."""
    if kind == "number" and not isinstance(column, pa.Array) and set(map(type, column)) <= {int, float, type(None)}:
        numbers = cast("Sequence[float | None]", column)
        return pa.array([None if value is None else float(value) for value in numbers], pa.float64())
    texts, _ = as_text(column)
    if kind == "category":
        return texts
    trimmed = pc.utf8_trim_whitespace(texts)
    number = pc.match_substring_regex(trimmed, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$")
    values = pc.if_else(number, trimmed, pa.scalar(None, pa.string())).cast(pa.float64())
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))
