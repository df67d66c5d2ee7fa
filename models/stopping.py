"""Learning rate and epochs of a network: every rate is trained until valid documents are told apart no better."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fuseline.models.automatic import Chosen, choices
from fuseline.models.choosing import choose_by_fitting, open_options, try_options
from fuseline.models.features import Features
from fuseline.models.halving import Search, Tried
from fuseline.models.network import NetworkClassifier, NetworkConfig
from fuseline.models.subset import HashedPart

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
    names = [name for name in open_options(config) if name != "epochs"]
    epochs: dict[str, int] = {}  # by options and documents
    stop = {"epochs": max(choices(config, "epochs") or [config.epochs]), "select": SELECT, "patience": PATIENCE}

    def trial(
        options: dict[str, Any], size: int, part: HashedPart, held_out: HashedPart, seed: int
    ) -> tuple[float, float]:
        facts: dict[str, Any] = {**kind(config.chosen(**options, **stop)).fit(part, held_out, seed=seed).facts}
        epochs[repr((options, size))] = best = facts["best_epoch"]
        return facts[f"valid_{SELECT}"][best - 1], 0.0

    def with_epochs(tried: Tried) -> Tried:
        known = epochs.get(repr((tried.options, tried.documents)), config.epochs)
        return replace(tried, options={**tried.options, "epochs": known})

    first = len(choices(config, names[0]) or ()) if names else 1
    found = try_options(names, config, train, valid, trial, first=first, refined=REFINED)
    if found is None:
        return Chosen({}, {})
    best = with_epochs(found.best)
    return Chosen(best.options, Search(best, tuple(map(with_epochs, found.trials))).as_dict())
