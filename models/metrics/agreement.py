"""Agreement of ordered classes: Cohen's kappa with quadratic weights, the measure of the PetFinder competition."""

from collections.abc import Iterable

import numpy as np

from fuseline.models.metrics.metric import Counts, Metric
from fuseline.models.metrics.scores import NOTHING, Tally


def quadratic_kappa(tally: Tally) -> float:
    """Return kappa of true and best labels, as scikit-learn's `cohen_kappa_score(weights="quadratic")`.

    Classes are ordered as numbers; those that occur are one step apart. Where truth and predictions are all of one
    class nothing can disagree by chance: 0.
    """
    pairs = {pair: n for pair, n in tally.confusion.items() if NOTHING not in pair}
    place = {label: i for i, label in enumerate(sorted({label for pair in pairs for label in pair}, key=float))}
    table = np.zeros((len(place), len(place)))
    for (true, best), n in pairs.items():
        table[place[true], place[best]] += n
    by_chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(1.0, table.sum())
    distance = np.subtract.outer(np.arange(len(place)), np.arange(len(place))) ** 2
    expected = float((distance * by_chance).sum())
    return 1.0 - float((distance * table).sum()) / expected if expected else 0.0


def _value(counts: Counts) -> float:
    return quadratic_kappa(counts.tally)


def _documents(tally: Tally) -> int:
    """Return the documents with a prediction; 0 unless every class is a number."""
    names = {label for pair in tally.confusion for label in pair if label != NOTHING}
    return sum(n for (_, best), n in tally.confusion.items() if best != NOTHING) if _are_numbers(names) else 0


def _are_numbers(names: Iterable[str]) -> bool:
    try:
        return bool(np.isfinite([float(name) for name in names]).all())
    except ValueError:
        return False


KAPPA = Metric(
    "quadratic_kappa",
    "Cohen's kappa with quadratic weights, of classes that are numbers; documents without input are left out",
    _value, _documents, unit="kappa", title="kappa", shown=(),
)  # fmt: skip
