"""The catalog of an output root: which files are behind its tables and views."""

from collections.abc import Iterator

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.flows.runs import configs_of_runs, runs_of
from fuseline.stores.catalog import CATALOG, Part, build_catalog
from fuseline.stores.dataset import Dataset, list_datasets
from fuseline.stores.errors import StorageError
from fuseline.stores.published import Published, publishing
from fuseline.stores.root import Root
from fuseline.stores.tables import in_catalog
from fuseline.tasks.engine.nodes import Node, whole
from fuseline.tasks.stages import vector_tables

LATEST = "latest"
REPORT = f"{LATEST}/report.html"


def write_catalog(nodes: list[Node], root: Root, run: str) -> None:
    """Write the catalog over what nodes have made, in a run, and what earlier runs left."""
    tables: dict[str, list[str]] = {}
    views: dict[str, list[Part]] = {}
    for name, table in in_catalog().items():
        if table.form == "shards":
            views[name] = [
                _part(node.dataset(root), {"dataset": _shown(node)} if table.named else {})
                for node in whole(nodes)
                if node.layout == "parquet" and node.role in table.roles
            ]
        elif table.form == "versions":
            views[name] = list(_history(nodes, root, run, table.roles))
        elif table.form == "table":
            tables[name] = [file for file in (f"{LATEST}/{name}.parquet",) if root.exists(file)]
        elif table.form == "sweep":
            tables[name] = [table.file] if root.exists(table.file) else []
        elif table.form != "query":
            tables[name] = [file for file in root.list("metrics") if file.endswith(".parquet")]
    build_catalog(root, tables, views)


def _shown(node: Node) -> str:
    """Return the name of a dataset, or of the one that it is a copy of."""
    return (node.reads[0].node if node.role == vector_tables.ROLE else node).name


def rewrite_catalog(config: Config, root: Root) -> None:
    """Write the catalog of what is published again, if there is one."""
    if root.exists(CATALOG):
        run = Published.load(root).run
        write_catalog(build(dict(configs_of_runs(root)).get(run, config)), root, run)


def renew_catalog(config: Config, root: Root) -> bool:
    """Write and list the catalog again, as files behind it went; without room for that remove it and return False."""
    if not root.exists(CATALOG):
        return True
    try:
        with publishing(root, CATALOG):
            rewrite_catalog(config, root)
    except StorageError:
        root.delete(CATALOG)
        return False
    return True


def _history(nodes: list[Node], root: Root, run: str, roles: tuple[str, ...]) -> Iterator[Part]:
    """Yield all versions of the datasets of some roles, those of today among them."""
    latest = {(node.name, node.key): run for node in nodes}
    runs = {version: earlier.run for earlier in runs_of(root) for version in earlier.keys.items()} | latest
    for dataset in list_datasets(root):
        stage, key = dataset.manifest.stage, dataset.key
        if dataset.manifest.role in roles and "rows" not in dataset.manifest.config:  # folds are for scores
            yield _part(dataset, {"key": key, "run": runs.get((stage, key)), "latest": (stage, key) in latest})


def _part(dataset: Dataset, constants: dict[str, str | bool | None]) -> Part:
    records = dataset.readable_records()
    vary = dataset.manifest.kind == "documents"  # columns of the source's own
    return Part(
        [f"{dataset.name}/{name}" for index in sorted(records) for name in records[index].files], constants, vary
    )
