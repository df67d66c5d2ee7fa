"""Remove what is no longer needed from an output root."""

from fuseline.flows.config import Config
from fuseline.flows.experiments.trials import sweep_nodes
from fuseline.flows.graph import build
from fuseline.flows.runs import RUNS, last_configs
from fuseline.stores.dataset import list_datasets
from fuseline.stores.errors import DataError, mismatch
from fuseline.stores.fitted import Fitted
from fuseline.stores.places import open_root
from fuseline.stores.published import Published
from fuseline.tasks.engine.fit import stale_scratch


def find_garbage(config: Config) -> list[str]:
    """Return the names that neither this configuration nor the last run of any other needs: old versions, left-overs.

    Bytes whose record cannot be read are no garbage. Raises DataError when the record of a run is damaged or missing:
    what its configuration needs is not known then.
    """
    root = open_root(config.root)
    if unknown := Published.damaged(root, RUNS):
        cure = "run `fuseline repair` first"
        raise DataError(mismatch(root.uri(unknown[0]), "a record that tells what runs need", "a damaged one", cure))
    configs = {**last_configs(root), config.name: config}.values()
    nodes = [node for config in configs for node in [*build(config), *sweep_nodes(config)]]
    kept = {(node.name, node.key) for node in nodes}
    garbage = root.leftovers()
    for dataset in list_datasets(root):
        if (dataset.manifest.stage, dataset.key) not in kept:
            garbage.append(dataset.name)
        elif dataset.manifest.kind != "checkpoint":
            garbage += [f"{dataset.name}/{dataset.store.file(name)}" for name in dataset.superseded()]
        else:
            garbage += [f"{dataset.name}/{name}" for name in Fitted(root, dataset.manifest).superseded()]
    garbage += [f"{fit}/{folder}" for fit, folder in stale_scratch(nodes, root) if fit not in garbage]
    return sorted(garbage)
