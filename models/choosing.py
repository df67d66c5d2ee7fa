"""Options of any classifier chosen by fitting it: slow families have few of them, and the base asks here."""

from typing import Any

import numpy as np

from fuseline.models.automatic import AutomaticConfig, Chosen, choices
from fuseline.models.errors import TrainingError
from fuseline.models.features import Classifier, Features
from fuseline.models.halving import Dimension, search
from fuseline.models.metrics.registry import scores
from fuseline.models.progress import note, note_doing
from fuseline.models.scoring import count
from fuseline.models.subset import HashedPart, share

TRAIN, VALID = 20_000, 5_000  # documents that choose, at most
VALID_SHARE = 0.1  # of the training documents, where there are no valid ones
FIRST, REFINED = 12, 6  # trials of the first step, and of the last
LEAST = 2000  # documents below which a trial says too little


def choose_by_fitting(
    kind: type[Classifier], config: AutomaticConfig, train: Features, valid: Features | None
) -> Chosen:
    """Return the options that `config` leaves open, those with the best precision at 1 on valid documents.

    Without valid documents a tenth of the training documents takes their place, drawn by a hash of the ids.
    """
    dimensions = [
        Dimension(tuple({name: value} for value in values), values.index(getattr(config, name)))
        for name in config.automatic
        if (values := choices(config, name))
    ]
    start = 0.0 if valid is not None else VALID_SHARE
    held_out = HashedPart(train, 0.0, VALID_SHARE) if valid is None else HashedPart(valid, 0.0, share(VALID, valid))
    n = sum(len(block) for block in HashedPart(train, start, 1.0).blocks())
    if not dimensions or not n or not any(True for _ in held_out.blocks()):
        return Chosen({}, {})
    done = 0

    def run(options: list[dict[str, Any]], size: int) -> list[tuple[float, float]]:
        part = HashedPart(train, start, start + (1 - start) * min(1.0, size / n))
        return [trial(one, part) for one in options]

    def trial(options: dict[str, Any], part: HashedPart) -> tuple[float, float]:
        nonlocal done
        done += 1
        note_doing(f"choosing options, trial {done}")
        note(done, 0)
        try:
            classifier = kind(config.chosen(**options)).fit(part, None, seed=0)
            values = scores(count(classifier, held_out), multi_label=classifier.multi_label)
        except TrainingError:
            return -np.inf, 0.0
        return float(values["p_at_1"][0]), float(np.exp(-values["log_loss"][0])) if "log_loss" in values else 0.0

    most = min(n, TRAIN)
    sizes = sorted({max(most // 3, min(most, LEAST)), most})
    found = search(dimensions, sizes, run, allowed=lambda _: True, first=FIRST, refined=REFINED)
    note_doing("")
    facts = {
        "chosen": found.chosen,
        "valid_p1": found.score,
        "documents": most,
        "trials": [one.as_dict() for one in found.trials],
    }
    return Chosen(found.chosen, facts)
