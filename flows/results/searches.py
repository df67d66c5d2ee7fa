"""What models that choose their own options tried, and what they took: from the records of their fits."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.models.automatic import SEARCH, AutomaticConfig
from fuseline.plain import JsonObject
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.stores.schemas import SEARCHES
from fuseline.tasks.engine.nodes import Fit, Node
from fuseline.tasks.stages import train


def search_table(nodes: list[Node], root: Root) -> pa.Table:
    """Return a SEARCHES row per trial of every model that chose its own options."""
    rows = []
    for name, facts in fitted_facts(nodes, root).items():
        for part, own in searched(facts):
            for trial, chosen in trials_of(own[SEARCH]):
                options = orjson.dumps(trial["options"], option=orjson.OPT_SORT_KEYS).decode()
                rows.append({**trial, "model": name, "part": part or None, "options": options, "chosen": chosen})
    return pa.Table.from_pylist(rows, schema=SEARCHES)


def searched(facts: Mapping[str, Any], part: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the facts that hold a search, and before them whose they are: "" the model's, "text" those of its part."""
    if SEARCH in facts:
        yield part, facts
    for name, inner in facts.items():
        if name != SEARCH and isinstance(inner, dict):
            yield from searched(inner, f"{part} {name}".strip())


def trials_of(search: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield every trial, and whether its options were chosen on its documents."""
    for trial in search["trials"]:
        yield trial, trial["options"] == search["chosen"] and trial["documents"] == search["documents"]


def choices(config: Config) -> Iterator[str]:
    """Yield a sentence per model that leaves options open: what its fit chose, or that this is still to come.

    Raises FuselineError or MissingWeights where the models' nodes, and so their keys, cannot be known.
    """
    left = {name: model.parsed() for name, model in config.models.items()}
    open_ = {name: one.automatic for name, one in left.items() if isinstance(one, AutomaticConfig) and one.automatic}
    fitted = fitted_facts(build(config), open_root(config.root)) if open_ else {}
    for name, options in open_.items():
        facts, names = fitted.get(name), ", ".join(options)
        if facts is None:
            yield f"model {name}: {names} are chosen at the fit"
        elif found := [*searched(facts)]:
            for part, own in found:
                whose = f"model {name}, {part}" if part else f"model {name}"
                yield f"{whose}: chosen at the fit: {_chosen(own[SEARCH], options)}{_restarts(own)}"
        else:
            yield f"model {name}: {names} were left as they start: there was nothing to choose by"


def fitted_facts(nodes: list[Node], root: Root) -> dict[str, JsonObject]:
    """Return what the fit of every model tells of itself, by the model's name; of those that are fitted."""
    fits = [node for node in nodes if isinstance(node, Fit) and node.role == train.ROLE and node.fold is None]
    records = {node.short: node.fitted(root).record() for node in fits}
    return {name: record.facts for name, record in records.items() if record is not None}


def _chosen(search: Mapping[str, Any], order: tuple[str, ...]) -> str:
    """Return "lr 0.5, epochs 25; precision at 1 on valid 61.0 %, 48 trials on up to 900 documents"."""
    taken = search["chosen"]
    options = ", ".join(f"{name} {taken[name]}" for name in sorted(taken, key=order.index))
    score = "none finite" if search["valid_p1"] is None else f"{100 * search['valid_p1']:.1f} %"
    trials, documents = search["trials"], search["documents"]
    return f"{options}; precision at 1 on valid {score}, {len(trials):,} trials on up to {documents:,} documents"


def _restarts(facts: Mapping[str, Any]) -> str:
    if "restarts" not in facts:
        return ""
    return f"; at that lr the loss was not finite: fitted with lr {facts['lr']}"
