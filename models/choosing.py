"""Options of any classifier chosen by fitting it: slow families have few of them, and the base asks here."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fuseline.models.automatic import AutomaticConfig, Chosen, choices
from fuseline.models.errors import TrainingError
from fuseline.models.features import Classifier, Features
from fuseline.models.halving import Dimension, Search, search
from fuseline.models.metrics.registry import scores
from fuseline.models.progress import note, note_doing
from fuseline.models.scoring import count
from fuseline.models.subset import HashedPart, deciding_parts

TRAIN, VALID = 20_000, 5_000  # documents that choose, at most
FIRST, REFINED = 12, 6  # trials of the first step, and of the last
LEAST = 2000  # documents below which a trial says too little


# Fits options on a part of so many training documents from a seed; returns score and sureness on held-out ones.
Trial = Callable[[dict[str, Any], int, HashedPart, HashedPart, int], tuple[float, float]]


def choose_by_fitting(
    kind: Callable[[Any], Classifier], config: AutomaticConfig, train: Features, valid: Features | None
) -> Chosen:
    """Return the options that `config` leaves open, those with the best precision at 1 on valid documents.

    Without valid documents a tenth of the training documents takes their place, drawn by a hash of the ids.
    """
    names = open_options(config)
    if not names:
        return Chosen({}, {})
    done, quick = 0, config.for_trial()

    def trial(
        options: dict[str, Any], size: int, part: HashedPart, held_out: HashedPart, seed: int
    ) -> tuple[float, float]:
        nonlocal done
        done += 1
        note(done, FIRST + REFINED)
        classifier = kind(quick.chosen(**options)).fit(part, None, seed=seed)
        values = scores(count(classifier, held_out), multi_label=classifier.multi_label)
        return float(values["p_at_1"][0]), float(np.exp(-values["log_loss"][0])) if "log_loss" in values else 0.0

    found = try_options(names, config, train, valid, trial, first=FIRST, refined=REFINED)
    return Chosen({}, {}) if found is None else Chosen(found.best.options, found.as_dict())


def open_options(config: AutomaticConfig) -> list[str]:
    """Return the names of the options that are chosen among values."""
    return [name for name in config.automatic if choices(config, name)]


def try_options(
    names: Sequence[str],
    config: AutomaticConfig,
    train: Features,
    valid: Features | None,
    trial: Trial,
    *,
    first: int,
    refined: int,
) -> Search | None:
    """Search for the best values of the named options; None where no document could decide.

    A trial whose loss is not finite is the worst. Without names the options as they are, are tried alone.
    """
    tried, held_out = deciding_parts(train, valid, most=TRAIN, most_valid=VALID)
    n = sum(len(block) for block in tried.blocks())
    if not n or held_out.is_empty():
        return None

    def fitted(options: dict[str, Any], size: int, seed: int) -> tuple[float, float]:
        note_doing("choosing options")
        try:
            return trial(options, size, tried.first(size / n), held_out, seed)
        except TrainingError:
            return -np.inf, 0.0

    def run(options: list[dict[str, Any]], size: int, seed: int) -> list[tuple[float, float]]:
        return [fitted(one, size, seed) for one in options]

    values = {name: list(choices(config, name) or ()) for name in names}
    dimensions = [
        Dimension(tuple({name: value} for value in own), own.index(getattr(config, name)))
        for name, own in values.items()
    ] or [Dimension(({},))]
    sizes = sorted({max(n // 3, min(n, LEAST)), n})
    found = search(dimensions, sizes, run, allowed=lambda _: True, first=first, refined=refined)
    note_doing("")
    return found
