"""Findings of a source beside its rows (R4): files without a row, partners that are missing or damaged."""

import logging
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fuseline.stores.forgotten import Forgotten
from fuseline.stores.schemas import FINDINGS as FOUND
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.routing import HashSet
from fuseline.tasks.documents.source_files import name_hashes
from fuseline.tasks.readers import READERS
from fuseline.tasks.readers.base import FINDINGS, Finding

LISTED = 1000  # findings of one kind that are listed; all are counted
NAMED = 3  # that a line names
lines = logging.getLogger("fuseline")  # what the user reads


class References:
    """The files that the rows of a source refer to, by the hashes of their names: 8 bytes each.

    What lies in an archive is known as "archive:offset".
    """

    def __init__(self) -> None:
        self._seen = HashSet()

    def add(self, images: pa.ChunkedArray) -> None:
        """Add the images of some rows."""
        uris, offsets = (pc.struct_field(images, name) for name in ("uri", "offset"))
        within = pc.binary_join_element_wise(uris, offsets.cast(pa.string()), ":")  # null where one is
        hashes = np.unique(name_hashes(pc.coalesce(within, uris).drop_null().to_pylist()))
        self._seen.add(hashes[~self._seen.has(hashes)])

    def has(self, names: list[str]) -> NDArray[np.bool_]:
        """Return which of some files are referred to, (n,) bool."""
        return self._seen.has(name_hashes(names))


def findings_table(label: str, source: SourceConfig, references: References, forgotten: Forgotten) -> pa.Table:
    """Return the findings, in the schema FINDINGS, and log one line per kind.

    Args:
        label: of the ingest.
        source: where the documents come from.
        references: the files that its rows refer to.
        forgotten: documents that are left out.

    Raises:
        DataError: a companion file has nothing to do with the rows.
    """
    search = READERS[source.reader].findings
    kinds: dict[str, list[Finding]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    for finding in search(source.path, source.parsed(), references.has) if search else ():
        if finding.id is not None and finding.id in forgotten:
            continue
        counts[finding.slug] += 1
        if counts[finding.slug] <= LISTED:
            kinds[finding.slug].append(finding)
    rows: list[Finding] = []
    for slug, listed in sorted(kinds.items()):
        first = ", ".join(finding.place for finding in listed[:NAMED])
        lines.info("%s: %s %s (%s); first: %s", label, f"{counts[slug]:,}", FINDINGS[slug], slug, first)
        rest = counts[slug] - len(listed)
        rows += [*listed, *([Finding(slug, f"and {rest:,} more")] if rest else [])]
    columns = [
        [finding.slug for finding in rows],
        [finding.place for finding in rows],
        [finding.id for finding in rows],
    ]
    return pa.table(columns, schema=FOUND)
