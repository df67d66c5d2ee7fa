"""Schedules against torch's own, and rates of a training by hand."""

import pytest
import torch
from torch.optim import lr_scheduler

from fuseline.models.training.schedules import SCHEDULES, Plateau, factor

STEPS, EPOCHS = 40, 10.0


def peer(name: str, options: dict[str, float], optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    """Return torch's schedule, stepped once per step of the training."""
    per_epoch = STEPS / EPOCHS
    if name == "linear":
        return lr_scheduler.LinearLR(optimizer, 1.0, options["end"], STEPS)
    if name == "polynomial":
        return lr_scheduler.PolynomialLR(optimizer, STEPS, options["power"])
    if name == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=options["end"])
    if name == "step":
        return lr_scheduler.StepLR(optimizer, int(options["every"] * per_epoch), options["gamma"])
    if name == "exponential":
        return lr_scheduler.ExponentialLR(optimizer, options["gamma"] ** (1 / per_epoch))
    return lr_scheduler.ConstantLR(optimizer, 1.0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("constant", {}),
        ("plateau", {"gamma": 0.1, "patience": 3.0}),
        ("linear", {"end": 0.25}),
        ("polynomial", {"power": 2.0}),
        ("cosine", {"end": 0.1}),
        ("step", {"gamma": 0.5, "every": 3.0}),
        ("exponential", {"gamma": 0.9}),
    ],
)
def test_schedules_are_torchs(name, options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = peer(name, options, optimizer)
    for step in range(STEPS):
        ours = factor(name, options, done=step / STEPS, after=(step + 1) / STEPS, epochs=step * EPOCHS / STEPS)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12), step
        optimizer.step()
        schedule.step()
    assert {"constant", "plateau", "linear", "polynomial", "cosine", "step", "exponential"} == SCHEDULES.keys()


def test_warm_up_rises_in_a_line_and_the_schedule_has_the_rest():
    rates = [factor("linear", {"end": 0.0}, done=s / 8, after=(s + 1) / 8, epochs=s, warmup=0.5) for s in range(8)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25])


def test_plateau_is_torchs():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=0.5, patience=1, threshold=0.0)
    ours, scale, waited, best = Plateau(0.5, 1), 1.0, 0, -1.0
    for value in [0.1, 0.3, 0.3, 0.2, 0.1, 0.1, 0.5, 0.4, 0.4, 0.4, 0.6]:
        schedule.step(value)
        scale, waited = ours.after(value > best, scale, waited)
        best = max(best, value)
        assert scale == pytest.approx(optimizer.param_groups[0]["lr"])
    assert scale == 0.125
