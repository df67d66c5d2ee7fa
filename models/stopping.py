"""Epochs of a network and its other open options: trained until valid documents are told apart no better."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fuseline.models.automatic import Chosen, choices
from fuseline.models.choosing import choose_by_fitting, open_options, try_options
from fuseline.models.features import Features
from fuseline.models.halving import Search, Tried
from fuseline.models.network import NetworkClassifier, NetworkConfig
from fuseline.models.subset import HashedPart

REFINED = 2  # neighbours of the best options that are tried on the most documents, for each that is open
SELECT = "p_at_1"  # what decides
# Passes of a trial at most, and passes without a better one after which it stops. A pass over few documents is few
# steps, so that both are counted in steps as well, and the longer one holds.
MOST_EPOCHS, MOST_STEPS = 60, 1000
PATIENCE, PATIENT_STEPS = 5, 150


def choose_by_stopping(
    kind: Callable[[NetworkConfig], NetworkClassifier], config: NetworkConfig, train: Features, valid: Features | None
) -> Chosen:
    """Return the options that `config` leaves open: epochs are those after which precision at 1 on valid was best.

    One training of the most epochs passes all fewer ones on its way. Without valid documents a tenth of the training
    documents takes their place. Where the epochs are given, the others are chosen as by `choose_by_fitting`.
    """
    if "epochs" not in config.automatic:
        return choose_by_fitting(kind, config, train, valid)
    names = [name for name in open_options(config) if name != "epochs"]
    epochs: dict[str, int] = {}  # by options and documents

    def trial(
        options: dict[str, Any], size: int, part: HashedPart, held_out: HashedPart, seed: int
    ) -> tuple[float, float]:
        longest = config.chosen(**options, **limits(size, config.batch), select=SELECT)
        facts: dict[str, Any] = {**kind(longest).fit(part, held_out, seed=seed).facts}
        epochs[repr((options, size))] = best = facts["best_epoch"]
        return facts[f"valid_{SELECT}"][best - 1], 0.0

    def with_epochs(tried: Tried) -> Tried:
        known = epochs.get(repr((tried.options, tried.documents)), config.epochs)
        return replace(tried, options={**tried.options, "epochs": known})

    first = 1 + sum(len(choices(config, name) or ()) - 1 for name in names)
    found = try_options(names, config, train, valid, trial, first=first, refined=REFINED * max(1, len(names)))
    if found is None:
        return Chosen({}, {})
    best = with_epochs(found.best)
    return Chosen(best.options, Search(best, tuple(map(with_epochs, found.trials))).as_dict())


def limits(documents: int, batch: int) -> dict[str, int]:
    """Return the most `epochs` of a trial over so many documents, and its `patience`."""
    steps = -(-documents // batch)  # of a pass
    return {"epochs": max(MOST_EPOCHS, -(-MOST_STEPS // steps)), "patience": max(PATIENCE, -(-PATIENT_STEPS // steps))}
