"""Cut short anywhere and resumed, a training equals one that nothing disturbed, to the bit."""

import logging

import pytest

from fuseline.models.training import loop as loops
from fuseline.models.training.loop import Loop
from fuseline.models.training.optimizers import OPTIMIZERS
from fuseline.models.training.state import FILE
from tests.models.training.linear_family import bits, data, fit

ALWAYS = {"save_seconds": 0.0, "batch": 16, "epochs": 3}  # 60 documents: 4 steps an epoch


class Killed(BaseException):
    """What no code catches."""


@pytest.fixture
def killed_after(monkeypatch):
    """Return what fits until so many steps are done, and cuts it short."""

    def run(steps: int, scratch, **options):
        step, done = Loop._step, []

        def counted(self, *args):
            if len(done) == steps:
                raise Killed
            done.append(step(self, *args))

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Loop, "_step", counted)
            fit(data(), scratch=scratch, **{**ALWAYS, **options})

    return run


def resumed(scratch, monkeypatch, **options):
    """Fit on from the folder; return the model and how many steps it took."""
    step, done = Loop._step, []
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", lambda self, *args: done.append(step(self, *args)))
        return fit(data(), scratch=scratch, **{**ALWAYS, **options}), len(done)


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 8, 11])
def test_resumed_within_and_between_epochs(steps, tmp_path, killed_after, monkeypatch):
    options = {"dropout": 0.3, "schedule": "cosine", "warmup": 0.2, "clip": 1.0}
    killed_after(steps, tmp_path / "s", **options)
    model, more = resumed(tmp_path / "s", monkeypatch, **options)
    assert more == 12 - steps
    assert bits(model) == bits(fit(data(), **{**ALWAYS, **options}))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_every_optimiser_keeps_is_kept(name, tmp_path, killed_after, monkeypatch):
    options = {"optimizer": name, "optimizer_options": {"momentum": 0.9} if name == "sgd" else {}}
    killed_after(6, tmp_path / "s", **options)
    model, more = resumed(tmp_path / "s", monkeypatch, **options)
    assert more == 6
    assert bits(model) == bits(fit(data(), **{**ALWAYS, **options}))


def test_killed_again_and_again_over_several_groups_of_blocks(tmp_path, killed_after, monkeypatch):
    monkeypatch.setattr("fuseline.models.blocks.CHUNK", 25)  # groups of 25, 25, 10: 2 + 2 + 1 steps an epoch
    whole = bits(fit(data(), **{**ALWAYS, "rows": 25, "dropout": 0.2}))
    for _ in range(4):
        killed_after(3, tmp_path / "s", rows=25, dropout=0.2)
    model, more = resumed(tmp_path / "s", monkeypatch, rows=25, dropout=0.2)
    assert more == 3
    assert bits(model) == whole


def test_the_best_epoch_and_its_wait_are_kept(tmp_path, killed_after, monkeypatch):
    options = {
        "valid": data(seed=1), "select": "accuracy", "patience": 3, "epochs": 8, "lr": 0.5, "schedule": "plateau",
        "schedule_options": {"patience": 0},
    }  # fmt: skip
    whole = fit(data(), **{**ALWAYS, **options})
    for _ in range(2):
        killed_after(7, tmp_path / "s", **options)
    model, _ = resumed(tmp_path / "s", monkeypatch, **options)
    assert bits(model) == bits(whole)


def test_a_training_of_other_settings_or_a_damaged_state_starts_over(tmp_path, killed_after, monkeypatch, caplog):
    killed_after(5, tmp_path / "s")
    with caplog.at_level(logging.WARNING):
        _, steps = resumed(tmp_path / "s", monkeypatch, seed=1)
    assert steps == 12
    assert "of another training (seed differ): it starts over" in caplog.text
    caplog.clear()
    data_ = (tmp_path / "s" / FILE).read_bytes()
    (tmp_path / "s" / FILE).write_bytes(data_[: len(data_) // 2])
    with caplog.at_level(logging.WARNING):
        model, steps = resumed(tmp_path / "s", monkeypatch)
    assert steps == 12
    assert "is damaged" in caplog.text
    assert bits(model) == bits(fit(data(), **ALWAYS))


def test_settings_that_change_no_bytes_may_change(tmp_path, killed_after, monkeypatch):
    killed_after(5, tmp_path / "s")
    model, steps = resumed(tmp_path / "s", monkeypatch, save_seconds=100.0)
    assert steps == 7
    assert bits(model) == bits(fit(data(), **ALWAYS))


def test_the_state_is_written_so_often_and_no_more(tmp_path, monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(loops.time, "monotonic", lambda: float(next(clock)))
    saved = []
    monkeypatch.setattr(loops.StateStore, "save", lambda self, loop: saved.append(loop.at.epoch))
    fit(data(), scratch=tmp_path / "s", **{**ALWAYS, "save_seconds": 5.0})
    assert 2 <= len(saved) <= 4
    assert not (tmp_path / "s").exists()
