"""How good choices between models are: who should decide against who does, and what asking fewer of them gives."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


class ChoiceScores(NamedTuple):
    """A choice as a yes-or-no question: should another model than the first decide?"""

    accuracy: float
    balanced: float  # mean of the shares of yes and of no that are answered so; of one where the other is empty
    auc: float | None  # chance that a yes is wished for more than a no; None unless there are both
    precision: float  # 0/0 is 0
    recall: float  # 0/0 is 0


def choice_scores(should: Mask, called: Mask, wish: NDArray[np.float32]) -> ChoiceScores:
    """Return the scores of n > 0 answers: what is true (n,), what was said (n,), how much it was wished for (n,)."""
    hit, yes, said = int((should & called).sum()), int(should.sum()), int(called.sum())
    no, right = len(should) - yes, int((should == called).sum())
    rates = [part / whole for part, whole in ((hit, yes), (right - hit, no)) if whole]
    return ChoiceScores(
        right / len(should), sum(rates) / len(rates), _auc(should, wish), hit / max(1, said), hit / max(1, yes)
    )


def _auc(should: Mask, wish: NDArray[np.float32]) -> float | None:
    yes, no = int(should.sum()), int((~should).sum())
    if not yes or not no:
        return None
    from scipy.stats import rankdata

    return float((rankdata(wish)[should].sum() - yes * (yes + 1) / 2) / (yes * no))


def call_curve(gains: NDArray[np.int64], wish: NDArray[np.float32], rates: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many more documents are right when the share `rates` (k,) with the highest wish asks the others (k,).

    Args:
        gains: (n,) 1 where another model is right and the first wrong, -1 the other way round, else 0.
        wish: (n,) how much another model is wished for; of equals the first come first.
        rates: shares of the documents, 0..1.
    """
    total = np.concatenate([[0], np.cumsum(gains[np.argsort(-wish, kind="stable")])])
    return np.asarray(total[np.rint(rates * len(gains)).astype(np.int64)])
