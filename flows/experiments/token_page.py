"""The page of all visual tokens of a sweep."""

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.flows.experiments.trials import TOKEN_PAGE, Grid
from fuseline.flows.graph import build
from fuseline.reports.papers.token_page import made_of, render_tokens
from fuseline.stores.digests import key_digest
from fuseline.stores.published import publishing
from fuseline.stores.schemas import TOKENS
from fuseline.tasks.engine.inputs import upstream_tables
from fuseline.tasks.engine.nodes import Node
from fuseline.tasks.evaluation.token_dictionary import ROLE, with_pictures

LAYOUT = 1  # raised when the page is to be drawn again from the same tokens
SIDE = 48  # pixels of a thumbnail: there are thousands


def publish_tokens(grid: Grid, tokens: pa.Table) -> None:
    """Write the page of all tokens in TOKENS, unless it is there, made of the same; without tokens there is none."""
    root, nodes = grid.root, _readers(grid)
    names = [name for name in nodes if pc.any(pc.equal(tokens["model"], name)).as_py()]
    if not names:
        return
    counted = [
        record.columns for name in names for record in nodes[name].reads[0].node.dataset(root).records().values()
    ]
    digest = key_digest(
        [LAYOUT, grid.config.name, [trial.node.key for n in names for trial in grid.timings(n)], counted]
    )
    if root.exists(TOKEN_PAGE) and made_of(root.get(TOKEN_PAGE).decode("utf-8", "replace")) == digest:
        return
    tables = [_pictured(grid, nodes[name], tokens.filter(pc.equal(tokens["model"], name))) for name in names]
    page = render_tokens(pa.concat_tables([TOKENS.empty_table(), *tables]), title=grid.config.name, made_of=digest)
    with publishing(root, TOKEN_PAGE):
        root.put(TOKEN_PAGE, page.encode())


def _readers(grid: Grid) -> dict[str, Node]:
    """Return for every model with tokens a node that reads their counts and the documents; it needs no fitted model."""
    nodes = (node for node in build(grid.config) if node.role == ROLE and node.short in grid.names)
    return {node.short: replace(node, fits=()) for node in nodes}


def _pictured(grid: Grid, node: Node, tokens: pa.Table) -> pa.Table:
    indices = sorted(node.reads[0].node.dataset(grid.root).records())

    def shards() -> Iterator[list[pa.Table]]:
        return (upstream_tables(node, grid.root, index) for index in indices)

    parts, _ = grid.config.quantize[node.reads[0].node.short].token_names()
    documents, source = grid.config.report.tokens.documents, grid.config.source.image_root()
    return with_pictures(tokens, shards, parts=parts, documents=documents, source=source, side=SIDE)
