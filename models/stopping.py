"""Learning rate and epochs of a network: every rate is trained until valid documents are told apart no better."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fuseline.models.automatic import Chosen, choices
from fuseline.models.choosing import LEAST, choose_by_fitting
from fuseline.models.errors import TrainingError
from fuseline.models.features import Features
from fuseline.models.halving import Dimension, Search, Tried, search
from fuseline.models.network import NetworkClassifier, NetworkConfig
from fuseline.models.progress import note_doing
from fuseline.models.subset import HashedPart, deciding_parts

TRAIN, VALID = 20_000, 5_000  # documents that choose, at most
REFINED = 2  # neighbours of the best rate that are tried on the most documents
MOST_EPOCHS = 60  # passes of a trial at most
SELECT, PATIENCE = "p_at_1", 5  # what decides, and epochs without a better one after which a trial stops


def choose_by_stopping(
    kind: Callable[[NetworkConfig], NetworkClassifier], config: NetworkConfig, train: Features, valid: Features | None
) -> Chosen:
    """Return the options that `config` leaves open: epochs are those after which precision at 1 on valid was best.

    One training of the most epochs passes all fewer ones on its way. Without valid documents a tenth of the training
    documents takes their place. Where the epochs are given, the others are chosen as by `choose_by_fitting`.
    """
    if "epochs" not in config.automatic:
        return choose_by_fitting(kind, config, train, valid)
    dimensions = [
        Dimension(tuple({name: value} for value in values), values.index(getattr(config, name)))
        for name in config.automatic
        if (values := choices(config, name)) and name != "epochs"
    ] or [Dimension(({},))]
    tried, held_out = deciding_parts(train, valid, most=TRAIN, most_valid=VALID)
    n = sum(len(block) for block in tried.blocks())
    if not n or held_out.is_empty():
        return Chosen({}, {})
    epochs: dict[str, int] = {}  # by options and documents
    stop = {"epochs": max(choices(config, "epochs") or [config.epochs]), "select": SELECT, "patience": PATIENCE}

    def run(options: list[dict[str, Any]], size: int, seed: int) -> list[tuple[float, float]]:
        return [trial(one, size, tried.first(size / n), seed) for one in options]

    def trial(options: dict[str, Any], size: int, part: HashedPart, seed: int) -> tuple[float, float]:
        note_doing("choosing options")
        try:
            facts: dict[str, Any] = {**kind(config.chosen(**options, **stop)).fit(part, held_out, seed=seed).facts}
        except TrainingError:
            return -np.inf, 0.0
        epochs[repr((options, size))] = best = facts["best_epoch"]
        return facts[f"valid_{SELECT}"][best - 1], 0.0

    def with_epochs(tried: Tried) -> Tried:
        known = epochs.get(repr((tried.options, tried.documents)), config.epochs)
        return replace(tried, options={**tried.options, "epochs": known})

    sizes = sorted({max(n // 3, min(n, LEAST)), n})
    found = search(dimensions, sizes, run, allowed=lambda _: True, first=len(dimensions[0].values), refined=REFINED)
    note_doing("")
    best = with_epochs(found.best)
    return Chosen(best.options, Search(best, tuple(map(with_epochs, found.trials))).as_dict())
