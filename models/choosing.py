"""Options of any classifier chosen by fitting it: slow families have few of them, and the base asks here."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fuseline.models.automatic import AutomaticConfig, Chosen, choices
from fuseline.models.errors import TrainingError
from fuseline.models.features import Classifier, Features
from fuseline.models.halving import Dimension, search
from fuseline.models.metrics.registry import scores
from fuseline.models.progress import note, note_doing
from fuseline.models.scoring import count
from fuseline.models.subset import HashedPart, deciding_parts

TRAIN, VALID = 20_000, 5_000  # documents that choose, at most
FIRST, REFINED = 12, 6  # trials of the first step, and of the last
LEAST = 2000  # documents below which a trial says too little


def choose_by_fitting(
    kind: Callable[[Any], Classifier], config: AutomaticConfig, train: Features, valid: Features | None
) -> Chosen:
    """Return the options that `config` leaves open, those with the best precision at 1 on valid documents.

    Without valid documents a tenth of the training documents takes their place, drawn by a hash of the ids.
    """
    dimensions = [
        Dimension(tuple({name: value} for value in values), values.index(getattr(config, name)))
        for name in config.automatic
        if (values := choices(config, name))
    ]
    tried, held_out = deciding_parts(train, valid, most=TRAIN, most_valid=VALID)
    n = sum(len(block) for block in tried.blocks())
    if not dimensions or not n or held_out.is_empty():
        return Chosen({}, {})
    done, quick = 0, config.for_trial()

    def run(options: list[dict[str, Any]], size: int, seed: int) -> list[tuple[float, float]]:
        return [trial(one, tried.first(size / n), seed) for one in options]

    def trial(options: dict[str, Any], part: HashedPart, seed: int) -> tuple[float, float]:
        nonlocal done
        done += 1
        note_doing("choosing options")
        note(done, FIRST + REFINED)
        try:
            classifier = kind(quick.chosen(**options)).fit(part, None, seed=seed)
            values = scores(count(classifier, held_out), multi_label=classifier.multi_label)
        except TrainingError:
            return -np.inf, 0.0
        return float(values["p_at_1"][0]), float(np.exp(-values["log_loss"][0])) if "log_loss" in values else 0.0

    sizes = sorted({max(n // 3, min(n, LEAST)), n})
    found = search(dimensions, sizes, run, allowed=lambda _: True, first=FIRST, refined=REFINED)
    note_doing("")
    return Chosen(found.best.options, found.as_dict())
