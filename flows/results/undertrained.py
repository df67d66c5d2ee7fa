"""Models that learnt next to nothing: what is compared with them looks better than it is."""

from collections.abc import Iterator
from typing import Any

from fuseline.models.automatic import SEARCH
from fuseline.tasks.stages.train import FREQUENCY_LOSSES

# Of the loss of label frequencies alone. Of 115 trainings on texts of six real sets, under four losses, the 70 above it
# scored at most 73 % of the best on their set, half of them below 30 %.
LEARNT_LITTLE = 0.75


def undertrained(name: str, facts: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence with the cure where the best epoch of a model, or of its part, lost about what frequencies lose.

    Args:
        name: of the model.
        facts: of its fit; those of classifiers without epochs, and of older versions, tell nothing.
    """
    for part, known in facts.get(FREQUENCY_LOSSES, {}).items():
        own = facts[part] if part else facts
        # A rate that is right for the first epochs may lift later losses, whatever was learnt.
        least = min(own["loss_per_epoch"])
        if least > LEARNT_LITTLE * known:
            cure = (
                "no options that were tried do better on valid, so its input may say little of the labels"
                if SEARCH in own
                else "leave lr and epochs out of its options, to be chosen on valid, or raise them"
            )
            whose = f"{name}, {part}," if part else name
            yield (
                f"{whose} has learnt little: its loss in training is {least:.3g}, "
                f"that of label frequencies alone {known:.3g}; {cure}"
            )
