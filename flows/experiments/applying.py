"""The best options of a sweep as the options of the configuration's models."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fuseline.flows.config_edits import write_options
from fuseline.flows.experiments.trials import Grid
from fuseline.tasks.experiments.grid import trial_options
from fuseline.tasks.stages.train import ModelConfig


class Change(NamedTuple):
    """An option that was written."""

    model: str
    option: str
    before: Any  # "auto" where the fit chose it
    after: Any


def apply_best(grid: Grid, path: Path, before: bytes, *, overrides: Sequence[str]) -> list[Change]:
    """Write the best options of every model into its configuration file, and return what changed.

    All options of the best trial are written that the model leaves open, so that its fit has the trial's. Models of
    which no trial has ended well stay as they are; where nothing changes the file is not touched.

    Raises ConfigError as `write_options` does.
    """
    models, changes, written = dict(grid.config.models), list[Change](), dict[str, dict[str, Any]]()
    for name in grid.names:
        if (point := grid.chosen(name)) is None:
            continue
        model = models[name]
        best = trial_options(model, point)
        changed = [*_changes(name, model, model.model_copy(update={"options": best}))]
        if changed:
            changes += changed
            written[name] = {change.option: best[change.option] for change in changed}
            models[name] = model.model_copy(update={"options": {**model.options, **written[name]}})
    if changes:
        wanted = grid.config.model_copy(update={"models": models})
        write_options(path, before, written, wanted=wanted, overrides=overrides)
    return changes


def applied_lines(changes: Sequence[Change], file: str) -> Iterator[str]:
    """Yield a line per model whose options were written, or one that says that none was."""
    if not changes:
        yield f"{file}: has the best options"
    for name in dict.fromkeys(change.model for change in changes):
        own = (f"{one.option} {one.before} -> {one.after}" for one in changes if one.model == name)
        yield f"{file}: model {name}: {', '.join(own)}"


def _changes(name: str, model: ModelConfig, best: ModelConfig) -> Iterator[Change]:
    """Yield the options that differ, those that a fit chooses among them."""
    old, new = (one.parsed().model_dump(mode="json") for one in (model, best))
    for option in best.options:
        if old[option] != new[option]:
            yield Change(name, option, old[option], new[option])
