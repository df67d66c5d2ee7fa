"""Learning-rate schedules by name: pure functions of how much of a training is done, every option with its default.

`plateau` alone depends on more: it waits for a better value of the metric that the best epoch is chosen by.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Schedule:
    """`factor(done, epochs, **options)` of the learning rate: share 0..1 of the training done, epochs done."""

    factor: Callable[..., float]
    options: Mapping[str, float] = field(default_factory=dict)


def constant(done: float, epochs: float) -> float:
    """Return 1."""
    return 1.0


def linear(done: float, epochs: float, *, end: float) -> float:
    """Return a straight line from 1 to `end`."""
    return 1.0 + (end - 1.0) * done


def polynomial(done: float, epochs: float, *, power: float) -> float:
    """Return (1 - done) to a power."""
    return float((1.0 - done) ** power)


def cosine(done: float, epochs: float, *, end: float) -> float:
    """Return half a wave from 1 to `end` (Loshchilov 2017, without restarts)."""
    return end + (1.0 - end) * (1.0 + math.cos(math.pi * done)) / 2.0


def step(done: float, epochs: float, *, gamma: float, every: float) -> float:
    """Return gamma for every so many epochs, multiplied."""
    return float(gamma ** math.floor(epochs / every))


def exponential(done: float, epochs: float, *, gamma: float) -> float:
    """Return gamma per epoch, falling at every step."""
    return float(gamma**epochs)


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(constant),
    "linear": Schedule(linear, {"end": 0.0}),
    "polynomial": Schedule(polynomial, {"power": 1.0}),
    "cosine": Schedule(cosine, {"end": 0.0}),
    "step": Schedule(step, {"gamma": 0.1, "every": 10.0}),
    "exponential": Schedule(exponential, {"gamma": 0.95}),
    "plateau": Schedule(constant, {"gamma": 0.1, "patience": 10.0}),
}


def factor(
    name: str, options: Mapping[str, float], *, done: float, after: float, epochs: float, warmup: float = 0.0
) -> float:
    """Return what the learning rate of a step is multiplied with.

    Args:
        name: in SCHEDULES.
        options: all of them.
        done: share of the training that is done before this step, 0..1.
        after: share of it that is done after this step.
        epochs: epochs that are done, with the fraction of this one.
        warmup: share of the training in which the rate rises in a line; the schedule has the rest.
    """
    rising = min(1.0, after / warmup) if warmup > 0 else 1.0
    rest = max(0.0, done - warmup) / (1.0 - warmup)
    return rising * SCHEDULES[name].factor(rest, epochs, **({} if name == "plateau" else options))


@dataclass(frozen=True)
class Plateau:
    """Lowers the learning rate when a metric has not become better for more than `patience` epochs."""

    gamma: float
    patience: float

    def after(self, better: bool, scale: float, waited: int) -> tuple[float, int]:
        """Return the rate's scale and the epochs waited after an epoch."""
        waited = 0 if better else waited + 1
        return (scale * self.gamma, 0) if waited > self.patience else (scale, waited)
