"""Which shards are fresh, stale or missing, and why: the one decision-maker for `plan`, the flows and `status`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Never, cast

from fuseline.plain import JsonObject
from fuseline.stores.dataset import MANIFEST, Dataset, versions
from fuseline.stores.digests import combine
from fuseline.stores.fitted import FittedRecord
from fuseline.stores.manifest import Kind, ShardRecord
from fuseline.stores.root import Root
from fuseline.tasks.engine.image_pass import ImageTransform
from fuseline.tasks.engine.images import CHANGED
from fuseline.tasks.engine.inputs import split_rows
from fuseline.tasks.engine.nodes import Fit, Ingest, Node, Read, Scan, ShardStage, Summary
from fuseline.tasks.engine.shard import SETTLED
from fuseline.tasks.engine.snapshot import fit_shards, seen_input

Refit = Literal["manual", "on_change", "drift"]


@dataclass(frozen=True)
class PlanOptions:
    """What the user asked for beside the configuration."""

    source: str = ""
    retry_failed: bool = False
    refit: Refit | Literal["now"] = "manual"
    drifted: Mapping[str, str] = field(default_factory=dict)  # fit -> why its drift report asks for another one
    last: Mapping[str, str] = field(default_factory=dict)  # stage -> dataset key of the last run: what changed since
    look: bool = True  # False: a changed source is not read, for its ingest follows at once
    changed: frozenset[int] = frozenset()  # documents shards with images that are no longer what was ingested


@dataclass(frozen=True)
class Plan:
    """What one node has to do."""

    node: Node
    fresh: tuple[int, ...] = ()
    stale: dict[int, str] = field(default_factory=dict)  # shard -> why
    missing: dict[int, str] = field(default_factory=dict)
    note: str = ""
    snapshot: "InputsSnapshot | None" = None  # by a fit whose checkpoint is lost: it is fitted on these shards again
    warning: str = ""  # what the user must know when another checkpoint comes of it than the one that is lost
    scan: Scan | None = None  # of an ingest whose source changed

    @property
    def todo(self) -> list[int]:
        """The shards to make, in order."""
        return sorted([*self.stale, *self.missing])

    @property
    def why(self) -> str:
        """The reasons, each once with the number of shards it concerns."""
        counts: dict[str, int] = {}
        for reason in [*self.missing.values(), *self.stale.values()]:
            counts[reason] = counts.get(reason, 0) + 1
        reasons = [reason if n == 1 else f"{reason} ({n} shards)" for reason, n in counts.items()]
        return "; ".join([*reasons, *([self.note] if self.note else [])])

    def to_row(self) -> JsonObject:
        """Return the row that `fuseline plan --json` prints."""
        return {
            "stage": self.node.label,
            "fresh": len(self.fresh),
            "stale": len(self.stale),
            "missing": len(self.missing),
            "why": self.why,
        }


@dataclass(frozen=True)
class InputsSnapshot:
    """What a fit would see now: digest per shard, digest per fitted upstream (None: not fitted yet)."""

    shards: dict[str, str]
    fitted: dict[str, str | None]

    @property
    def digest(self) -> str:
        """A digest of all."""
        return combine(f"{name}={digest}" for name, digest in sorted([*self.shards.items(), *self.fitted.items()]))


def snapshot_of(node: Fit, root: Root) -> InputsSnapshot:
    """Return what a fit would see now; equal for fits with equal reads and fits."""
    return InputsSnapshot(fit_shards(node, root), _fitted_now(node, root, {}))


def fit_is_due(node: Fit, root: Root, options: PlanOptions, snapshot: InputsSnapshot) -> bool:
    """Plan a fit whose upstream is fresh, as `plan_node` does, given the snapshot of what it would read."""
    record = node.fitted(root).record()
    if record is None or options.refit == "now" or record.fitted != snapshot.fitted:
        return True
    return options.refit == "on_change" and record.shards != snapshot.shards


def plan_all(nodes: Sequence[Node], root: Root, options: PlanOptions) -> list[Plan]:
    """Plan every node, in order: what is to do upstream counts as changed downstream."""
    plans: dict[str, Plan] = {}
    for node in nodes:
        plans[node.name] = plan_node(node, root, options, plans)
    return list(plans.values())


def plan_node(node: Node, root: Root, options: PlanOptions, before: dict[str, Plan] | None = None) -> Plan:
    """Plan one node.

    Args:
        node: what to plan.
        root: output root.
        options: what the user asked for.
        before: plans of the upstream nodes that have not run yet; without them, what lies on disk is taken as final.
    """
    upstream = {n.name: before[n.name] for n in node.upstream if before and n.name in before}
    return _PLANS[node.kind](cast(Never, node), root, options, upstream)


def _plan_ingest(node: Ingest, root: Root, options: PlanOptions, upstream: dict[str, Plan]) -> Plan:
    dataset = node.dataset(root)
    records = dataset.records()
    gone = {i: "its file is missing" for i, r in records.items() if not dataset.store.has(r.files)}
    scan = node.scan(
        cast(Never, node), root, broken=frozenset(gone), again=options.changed & records.keys(), look=options.look
    )
    gone |= dict.fromkeys(scan.lost, "its record is lost")
    why = explain_key(node, root, options.last) if not records else "new documents"
    stale = {**{i: "documents changed or gone" for i in scan.changed if i in records and i not in gone}}
    missing = {**gone, **dict.fromkeys(scan.new, why)}
    fresh = tuple(i for i in records if i not in stale and i not in missing)
    read = stale or missing or scan.stale_state
    note = scan.images if read else node.note(node, root)
    if scan.stale_state and not options.look:
        note = f"the source is read: {'it changed' if records else why}"
    return Plan(node, fresh, stale, missing, note, scan=scan if read else None)


def _plan_shards(node: Node, root: Root, options: PlanOptions, upstream: dict[str, Plan]) -> Plan:
    dataset = node.dataset(root)
    own, theirs = dataset.records(), {read.node.name: read.node.dataset(root).records() for read in node.reads}
    fits = _fitted_now(node, root, upstream)
    first = theirs[node.reads[0].node.name]
    pending = upstream.get(node.reads[0].node.name)
    indices = sorted({*first, *(pending.todo if pending else ())})
    absent = "" if own else explain_key(node, root, options.last)
    fresh, stale, missing = [], {}, {}
    for index in indices:
        record = own.get(index)
        if record is None:
            missing[index] = absent or "new shard"
        elif not dataset.store.has(record.files):
            missing[index] = "its file is missing or cut"
        elif why := _stale_because(node, record, theirs, fits, upstream, options):
            stale[index] = why
        else:
            fresh.append(index)
    return Plan(node, tuple(fresh), stale, missing)


def _stale_because(
    node: Node,
    record: ShardRecord,
    theirs: dict[str, dict[int, ShardRecord]],
    fits: dict[str, str | None],
    upstream: dict[str, Plan],
    options: PlanOptions,
) -> str:
    for read in node.reads:
        name, now = read.node.name, theirs[read.node.name].get(record.index)
        plan = upstream.get(name)
        if now is None or (plan and record.index in (*plan.stale, *plan.missing)):
            return f"{name} changes"
        if record.inputs.get(name) != now.digest(read.key_columns):
            return f"{name} changed"
    for name, digest in fits.items():
        if digest is None:
            return f"{name} will be fitted"
        if record.inputs.get(name) != digest:
            return f"{name} was fitted again"
    if over_images(node) and _has_changed(record):
        return "images changed after they were ingested"
    failed = sum(n for status, n in record.tallies.get("status", {}).items() if status not in SETTLED)
    if options.retry_failed and failed and isinstance(node, ShardStage) and node.by_row:
        return "failed rows are tried again"
    return ""


def over_images(node: Node) -> bool:
    """Return whether a node is made in a pass over images."""
    return isinstance(node, ShardStage) and isinstance(node.transform, ImageTransform)


def changed_images(nodes: Sequence[Node], root: Root) -> frozenset[int]:
    """Return the shards in which a stage met images that differ from their digests in the documents."""
    records_of_nodes = (node.dataset(root).readable_records() for node in nodes if over_images(node))
    return frozenset(i for records in records_of_nodes for i, record in records.items() if _has_changed(record))


def _has_changed(record: ShardRecord) -> bool:
    return CHANGED in record.tallies.get("status", {})


def _fitted_now(node: Node, root: Root, upstream: dict[str, Plan]) -> dict[str, str | None]:
    digests: dict[str, str | None] = {}
    for fit in node.fits:
        plan, record = upstream.get(fit.name), fit.fitted(root).record()
        digests[fit.name] = None if record is None or (plan and plan.todo) else record.digest
    return digests


def _plan_summary(node: Summary, root: Root, options: PlanOptions, upstream: dict[str, Plan]) -> Plan:
    """Plan the tables of a summary, which are made together and count as one piece of work."""
    dataset = node.dataset(root)
    all_records = [dataset.record(index) for index in range(len(node.tables))]
    records = [record for record in all_records if record is not None]
    if not records:
        return Plan(node, missing={0: explain_key(node, root, options.last)})
    if len(records) < len(all_records) or not all(dataset.store.has(record.files) for record in records):
        return Plan(node, missing={0: "its file is missing or cut"})

    def differs(name: str, digest: str | None) -> bool:
        return any(record.inputs.get(name) != digest for record in records)

    for read in node.reads:
        plan = upstream.get(read.node.name)
        if plan and plan.todo:
            return Plan(node, stale={0: f"{read.node.name} changes"})
        if differs(read.node.name, _all_shards(read, root)):
            return Plan(node, stale={0: f"{read.node.name} changed"})
    for name, digest in _fitted_now(node, root, upstream).items():
        if differs(name, digest):
            return Plan(node, stale={0: f"{name} was fitted again"})
    if any(differs(name, now) for name, now in seen_input(node, root).items()):
        return Plan(node, stale={0: "other shards are new to the codebook"})
    return Plan(node, fresh=(0,))


def _plan_fit(node: Fit, root: Root, options: PlanOptions, upstream: dict[str, Plan]) -> Plan:
    fitted = node.fitted(root)
    record = fitted.record() or fitted.last()
    if record is None:
        return (
            _plan_again(node, root)
            if fitted.is_lost()
            else Plan(node, missing={0: explain_key(node, root, options.last)})
        )
    if options.refit == "now":
        return Plan(node, stale={0: "--refit was given"})
    for name, digest in _fitted_now(node, root, upstream).items():
        if record.fitted.get(name) != digest:
            return Plan(node, stale={0: f"{name} was fitted again"})
    if options.refit == "drift" and node.name in options.drifted:
        return Plan(node, stale={0: options.drifted[node.name]})
    pending = [name for name, plan in upstream.items() if plan.todo]
    changed = bool(pending) or fit_shards(node, root) != record.shards
    if changed and options.refit == "on_change":
        return Plan(node, stale={0: "training documents changed and refit is on_change"})
    if fitted.is_lost():
        return _plan_again(node, root)
    return Plan(node, fresh=(0,), note=_seen(node, root, record) if changed else "")


def _plan_again(node: Fit, root: Root) -> Plan:
    """Plan a fit whose checkpoint is lost: on the shards that it saw, so that the same comes of it, if they are there.

    What was forgotten or edited since cannot be seen again: then today's documents are taken, and the user is told.
    """
    last, now = node.fitted(root).last(), snapshot_of(node, root)
    if last is None:
        why, then = "its record is lost", "those"
    elif last.shards.items() <= now.shards.items():
        return Plan(node, missing={0: "its checkpoint is missing or cut"}, snapshot=replace(now, shards=last.shards))
    else:
        why, then = "its checkpoint is missing or cut, and documents that it saw changed", f"the {last.n_rows:,}"
    warning = (
        f"{node.label}: {why}: fitted on today's {training_rows(node, root):,} training documents instead of {then} of "
        "before, which gave another one; codes, models and predictions that rest on it follow"
    )
    return Plan(node, missing={0: f"{why}; it is fitted on today's"}, warning=warning)


def _seen(node: Fit, root: Root, record: FittedRecord) -> str:
    now = training_rows(node, root)
    if record.n_rows == now:
        return f"fitted on {now:,} training documents, some of which change"
    return f"fitted on {record.n_rows:,} of {now:,} training documents"


def training_rows(node: Fit, root: Root) -> int:
    """Return how many documents have been ingested that a fit would learn from."""
    documents = next(read.node for read in node.reads if isinstance(read.node, Ingest))
    return sum(split_rows(documents, root, node.rows.fit, node.fold).values())


def _all_shards(read: Read, root: Root) -> str:
    records = read.node.dataset(root).records()
    return combine(records[index].digest(read.key_columns) for index in sorted(records))


def explain_key(node: Node, root: Root, last: Mapping[str, str] | None = None) -> str:
    """Say which part of the key differs from the dataset of the last run, or that there is none.

    Args:
        node: what has another key.
        root: output root.
        last: stage -> key of the last run; of stages that it does not name the newest other version is taken.
    """
    new, wanted = node.manifest, (last or {}).get(node.name)
    others = [dataset for dataset in versions(root, node.name) if dataset.key != node.key]
    if not others:
        strange = any(root.exists(f"{node.name}/{key}/{MANIFEST}") for key in root.children(node.name))
        return "never made by this version of Fuseline" if strange else "never made"
    others = [dataset for dataset in others if dataset.key == wanted] or others
    # Predictions of other documents lie beside ours: compare like with like.
    alike = [dataset for dataset in others if dataset.manifest.upstream.keys() == new.upstream.keys()] or others
    old = max(alike, key=Dataset.written).manifest
    parts = [f"version: {old.version} -> {new.version}"] if old.version != new.version else []
    parts += [f"{name}: {a!r} -> {b!r}" for name, a, b in _differences(old.config, new.config)]
    if not parts:
        names = {*old.upstream, *new.upstream}
        parts = [
            f"upstream {name} has another key"
            for name in sorted(names)
            if old.upstream.get(name) != new.upstream.get(name)
        ]
    return "; ".join(parts) or "never made"


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    differences: list[tuple[str, Any, Any]] = []
    for name in sorted({*old, *new}):
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            differences += _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            differences.append((f"{prefix}{name}", a, b))
    return differences


_PLANS: dict[Kind, Callable[[Never, Root, PlanOptions, dict[str, Plan]], Plan]] = {
    "documents": _plan_ingest,
    "shards": _plan_shards,
    "checkpoint": _plan_fit,
    "tables": _plan_summary,
}
