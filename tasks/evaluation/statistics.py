"""What a data set holds, as counts that add over shards (paper K, Table 1; paper M, Table 3)."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.models.config import FrozenConfig
from fuseline.stores.schemas import STATISTICS
from fuseline.tasks.documents.image_digests import ABSENT
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary

TEXTS = ("title", "description", "text", "html")
UNASSIGNED = "(none)"  # split of a document that ingest gave none
ROLE, TOTAL = "statistics", "total"


class StatisticsConfig(FrozenConfig):
    """No options."""


def statistics(documents: pa.Table, cleaned: pa.Table) -> pa.Table:
    """Return STATISTICS rows of one shard; `merge` adds those of several.

    Per split and source folder (google/ and flickr/, say): documents (all, failed = status other than ok, without
    labels), words of the cleaned text, labels in total and documents per label (field `label:<name>`), and per field
    of the source how many documents lack it. A blank string, an empty list and an image with neither uri nor bytes
    count as missing; an image whose file is not there as failed.
    """
    keys = pa.table(
        {"split": pc.fill_null(documents["split"], UNASSIGNED), "source": origins(documents["source_file"])}
    )
    parts = [_sums(keys, field, measure, values) for field, measure, values in _measures(documents, cleaned)]
    labels = documents["labels"].combine_chunks()
    fields = pc.binary_join_element_wise("label:", pc.list_flatten(labels), "")
    carrying = keys.take(pc.list_parent_indices(labels)).append_column("field", fields)
    counted = carrying.group_by(["split", "source", "field"]).aggregate([([], "count_all")])
    return merge([*parts, _rows(counted, counted["field"], "documents", counted["count_all"])])


def origins(sources: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the first folder that each document's source lies in, (n,) string; "" at the top."""
    return pc.fill_null(pc.struct_field(pc.extract_regex(sources, r"^(?P<folder>[^/:]+)/"), "folder"), "")


def merge(tables: Iterable[pa.Table]) -> pa.Table:
    """Add STATISTICS rows of several shards; sorted by split, source, field and measure."""
    keys = ["split", "source", "field", "measure"]
    joined = pa.concat_tables([STATISTICS.empty_table(), *tables])
    summed = joined.group_by(keys).aggregate([("value", "sum")]).rename_columns([*keys, "value"])
    return summed.select(STATISTICS.names).sort_by([(key, "ascending") for key in keys]).cast(STATISTICS)


def _measures(documents: pa.Table, cleaned: pa.Table) -> Iterator[tuple[str, str, pa.ChunkedArray]]:
    """Yield (field, measure, (n,) int or bool to be summed)."""
    has_source = pc.is_valid(documents["source_file"])
    yield "documents", "documents", has_source
    yield "documents", "failed", pc.not_equal(documents["status"], "ok")
    yield "clean", "failed", pc.invert(pc.is_in(cleaned["status"], pa.array(["ok", "missing"])))
    yield "clean", "missing", pc.equal(cleaned["words"], 0)
    yield "clean", "words", cleaned["words"]
    sizes = pc.fill_null(pc.list_value_length(documents["labels"]), 0)
    yield "labels", "labels", sizes
    yield "labels", "missing", pc.equal(sizes, 0)
    for name in TEXTS:
        yield name, "missing", pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(documents[name])), 0), True)
    image = documents["image"]
    nowhere = pc.and_(pc.is_null(pc.struct_field(image, "uri")), pc.is_null(pc.struct_field(image, "bytes")))
    yield "image", "missing", pc.or_(pc.is_null(image), nowhere)
    yield "image", "failed", pc.fill_null(pc.is_in(documents["image_digest"], pa.array(ABSENT)), False)
    for name in documents.column_names:
        if name.startswith(("num_", "cat_")):
            yield name, "missing", pc.is_null(documents[name], nan_is_null=name.startswith("num_"))


def _sums(keys: pa.Table, field: str, measure: str, values: pa.ChunkedArray) -> pa.Table:
    """Sum one measure per split and source."""
    table = keys.append_column("value", values.cast(pa.int64()))
    summed = table.group_by(["split", "source"]).aggregate([("value", "sum")])
    return _rows(summed, pa.repeat(field, len(summed)), measure, summed["value_sum"])


def _rows(keys: pa.Table, fields: pa.Array, measure: str, values: pa.ChunkedArray) -> pa.Table:
    columns = {
        "split": keys["split"],
        "field": fields,
        "measure": pa.repeat(measure, len(keys)),
        "value": values,
        "source": keys["source"],
    }
    return pa.table(columns, schema=STATISTICS)


def count_shard(tables: list[pa.Table], config: StatisticsConfig, context: Context) -> pa.Table:
    """Count one shard of documents and cleaned texts; the counts of shards add."""
    documents, cleaned = tables
    return statistics(documents, cleaned)


def add_counts(shards: Shards, config: StatisticsConfig, context: Context) -> dict[str, pa.Table]:
    """Add the counts of all shards."""
    return {ROLE: merge(tables[0] for tables in shards())}


def stage(documents: Ingest, cleaned: ShardStage) -> Summary:
    """Return the node of the counts of all documents; it reads one that counts shard by shard."""
    fields = ("split", "status", "source_file", "labels", "image", "image_digest", *TEXTS, "num_*", "cat_*")
    counted = ShardStage(
        role=ROLE, short="shards", flow="evaluate", main=False, version=3, config=StatisticsConfig(), by_row=False,
        reads=(Read(documents, fields), Read(cleaned, ("status", "words"))), transform=count_shard,
    )  # fmt: skip
    return Summary(
        role=ROLE, short=TOTAL, flow="evaluate", main=False, version=2, config=StatisticsConfig(), tables=(ROLE,),
        reads=(Read(counted, ("split", "field", "measure", "value", "source")),), summarise=add_counts,
    )  # fmt: skip
