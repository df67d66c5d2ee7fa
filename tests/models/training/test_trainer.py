"""The loop: against torch by hand, equal bits, parts of a batch, choice of an epoch, stops, and refusals."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from fuseline.models.config import key_values
from fuseline.models.errors import TrainingError
from fuseline.models.labels import classes_of
from fuseline.models.training.loop import Loop, Part
from fuseline.models.training.tasks import LabelTask
from tests.models.synthetic import Blocks
from tests.models.training.linear_family import Linear, LinearConfig, bits, data, fit

CPU = torch.device("cpu")


def loop(block, **options: Any) -> Loop:
    """Return a training that has not begun."""
    model = Linear(LinearConfig(**options))
    classes = classes_of(Blocks(block))
    model._take_labels(classes.names, classes.most)
    model.sizes = {one.name: block.column(*one).size for one in model.inputs(model.config)}
    torch.manual_seed(0)
    return Loop(model.config, model, LabelTask(model.config, classes, multi_label=model.multi_label), CPU)


@pytest.mark.parametrize("several", [False, True])
def test_a_training_is_torchs_by_hand(several):
    """Two epochs of SGD with momentum, a falling rate, a clipped gradient and class weights, written out."""
    block = data(40, several=several)
    options = {
        "epochs": 2, "batch": 15, "lr": 0.3, "optimizer": "sgd", "optimizer_options": {"momentum": 0.9}, "clip": 0.5,
        "schedule": "linear", "warmup": 0.25, "class_weights": "balanced", "bias": "frequencies",
    }  # fmt: skip
    model = fit(block, seed=3, **options)
    classes = classes_of(Blocks(block))
    Y = torch.from_numpy(classes.truth(block.labels)(np.arange(40)))
    X = torch.from_numpy(block.columns["embed/image"].values)
    weights = torch.tensor(40 / (len(classes.names) * classes.counts)).float()
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        net = torch.nn.Linear(4, len(classes.names))
        share = torch.tensor(classes.counts / (40 if several else classes.counts.sum())).float()
        smooth = torch.tensor((classes.counts + 0.5) / (40 - classes.counts + 0.5)).float().log()
        net.bias.data = smooth if several else share.log()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
        for epoch in range(2):
            order = torch.randperm(40)
            for lo in range(0, 40, 15):
                rows = order[lo : lo + 15]
                done, after = (40 * epoch + lo) / 80, (40 * epoch + lo + len(rows)) / 80
                rate = 0.3 * min(1, after / 0.25) * (1 - max(0, done - 0.25) / 0.75)
                logits, y = net(X[rows]), Y[rows]
                if several:
                    p = torch.sigmoid(logits)
                    loss = -(weights * (y * p.log() + (1 - y) * (1 - p).log())).sum() / len(rows)
                else:
                    loss = -(weights * y * torch.log_softmax(logits, 1)).sum() / len(rows)
                optimizer.zero_grad()
                loss.backward()
                norm = torch.sqrt(sum((p.grad**2).sum() for p in net.parameters()))
                for p in net.parameters():
                    p.grad *= min(1, 0.5 / norm)
                optimizer.param_groups[0]["lr"] = rate
                optimizer.step()
    np.testing.assert_allclose(model._arrays()["1.weight"], net.weight.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model._arrays()["1.bias"], net.bias.detach().numpy(), rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 24), part=st.integers(1, 24), several=st.booleans(), loss=st.sampled_from(["auto", "squared"]))
def test_the_gradient_of_a_batch_does_not_depend_on_its_parts(n, part, several, loss):
    block = data(24, several=several)
    run = loop(block, loss=loss, class_weights="sqrt")
    gather, rows = run.family.gather(block), np.arange(n)
    truth = run.task.truth(block)(rows)
    found = []
    for size in (None, part):
        run.batches.largest = size
        found.append(
            (float(run.gradient([Part(gather, rows, truth)])), [p.grad.clone() for p in run.module.parameters()])
        )
    (whole, expected), (parts, gradients) = found
    assert parts == pytest.approx(whole, rel=1e-5)
    for a, b in zip(expected, gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_batches_halve_when_memory_is_out_and_what_was_begun_is_dropped(monkeypatch, caplog):
    """A gradient that was left half made would count its first part twice."""
    forward, sizes = torch.nn.Linear.forward, list[int]()

    def full(self, x):
        sizes.append(len(x))
        if len(x) > 5 or sizes == [4, 4]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, x)

    block, whole = data(), fit(data(), optimizer="sgd")
    monkeypatch.setattr(torch.nn.Linear, "forward", full)
    monkeypatch.setattr(Linear, "predict_logits", lambda *_: None)
    with caplog.at_level(logging.WARNING):
        model = fit(block, optimizer="sgd")
    assert sizes[:4] == [16, 8, 4, 4]
    assert [record.message.split(": ")[1].split(",")[0] for record in caplog.records] == [
        "batches of 8 from now on", "batches of 4 from now on"
    ]  # fmt: skip
    np.testing.assert_allclose(model._arrays()["1.weight"], whole._arrays()["1.weight"], rtol=1e-3, atol=1e-5)


def test_memory_for_not_even_one_is_the_devices_own_error(monkeypatch):
    def full(self, x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Linear, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        fit(data())


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 70), dropout=st.sampled_from([0.0, 0.4]))
def test_equal_seeds_give_equal_bits_however_shards_are_cut_and_whatever_else_draws(seed, rows, dropout):
    torch.manual_seed(seed + 1)
    one = fit(data(), seed=seed, dropout=dropout)
    torch.rand(seed % 5)
    state = torch.get_rng_state()
    again = fit(data(), seed=seed, rows=rows, dropout=dropout)
    assert bits(one) == bits(again)
    assert torch.equal(torch.get_rng_state(), state), "the process's own stream was used"
    assert bits(fit(data(), seed=seed + 1, dropout=dropout)) != bits(one)


@pytest.mark.parametrize(("select", "better"), [("accuracy", max), ("log_loss", min)])
def test_the_best_epoch_on_valid_is_kept(select, better, monkeypatch):
    values = iter([0.4, 0.2, 0.6, 0.6, 0.5, 0.3])
    taken = []

    def evaluate(self, valid, module):
        taken.append({name: tensor.clone() for name, tensor in module.state_dict().items()})
        return {select: next(values)}

    monkeypatch.setattr(Linear, "_evaluate", evaluate)
    model = fit(data(), valid=data(seed=1), epochs=6, select=select)
    metrics = model.facts[f"valid_{select}"]
    best = metrics.index(better(metrics))  # of equal ones the first
    assert model.facts["best_epoch"] == best + 1
    assert all(np.array_equal(array, taken[best][name]) for name, array in model._arrays().items())
    assert not np.array_equal(model._arrays()["1.weight"], taken[-1]["1.weight"])


def test_an_epoch_is_selected_by_the_five_best_on_valid():
    """Paper M chooses by the top-5 accuracy on valid: more than five classes, so that it says something."""
    valid = data(80, seed=1, classes=9)
    model = fit(data(300, classes=9), valid=valid, epochs=5, lr=0.3, select="top_5")
    values = model.facts["valid_top_5"]
    logits = model.predict_logits(valid)
    five = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    own = [[model.labels.index(label) for label in labels] for labels in valid.labels.to_pylist()]
    hits = np.mean([bool({*row} & {*labels}) for row, labels in zip(five.tolist(), own, strict=True)])
    assert hits == pytest.approx(max(values))
    assert model.facts["best_epoch"] == 1 + values.index(max(values))
    assert len({*values}) > 1


def test_a_metric_that_the_documents_do_not_have_is_refused():
    with pytest.raises(ValueError, match=r"select: expected one of .*'top_5'.*got 'quadratic_kappa'; these documents"):
        fit(data(), valid=data(seed=1), select="quadratic_kappa")


def test_training_stops_after_epochs_in_vain(monkeypatch):
    values = iter([0.5, 0.4, 0.6, 0.6, 0.1, 0.9])
    monkeypatch.setattr(Linear, "_evaluate", lambda *_: {"f1_micro": next(values)})
    facts = fit(data(), valid=data(seed=1), epochs=6, select="f1_micro", patience=2).facts
    assert facts["epochs"] == 5
    assert facts["best_epoch"] == 3
    assert facts["valid_f1_micro"] == [0.5, 0.4, 0.6, 0.6, 0.1]


def test_metrics_on_valid_are_those_of_the_predictions():
    valid = data(50, seed=1)
    model = fit(data(), valid=valid, epochs=2, select="accuracy")
    best = model.predict_logits(valid).argmax(axis=1)
    right = [model.labels[y] in own for y, own in zip(best, valid.labels.to_pylist(), strict=True)]
    assert max(model.facts["valid_accuracy"]) == pytest.approx(np.mean(right))


def test_epochs_are_chosen_by_a_metric_of_every_class():
    valid = data(50, seed=1)
    model = fit(data(), valid=valid, epochs=4, select="auc")
    p, own = model.probabilities(model.predict_logits(valid)), valid.labels.to_pylist()
    truth = np.array([[name in labels for name in model.labels] for labels in own])
    mixed = truth.any(axis=0) & ~truth.all(axis=0)
    areas = [roc_auc_score(truth[:, c], p[:, c]) for c in np.flatnonzero(mixed)]
    assert max(model.facts["valid_auc"]) == pytest.approx(np.mean(areas))
    assert len(model.facts["valid_auc"]) == 4


def test_the_rate_falls_on_a_plateau(monkeypatch):
    rates: list[float] = []
    step = Loop._set_rate

    def noted(self, n):
        step(self, n)
        rates.append(self.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(Loop, "_set_rate", noted)
    monkeypatch.setattr(Linear, "_evaluate", lambda *_: {"accuracy": 0.5})
    options = {"schedule": "plateau", "schedule_options": {"gamma": 0.5, "patience": 1}, "select": "accuracy"}
    fit(data(), valid=data(seed=1), epochs=6, batch=60, lr=0.8, **options)
    assert rates == pytest.approx([0.8, 0.8, 0.8, 0.4, 0.4, 0.2])


def test_a_loss_that_is_not_finite_stops_with_a_cure():
    with pytest.raises(TrainingError, match=r"loss: expected a finite number, got (nan|inf) in epoch \d after \d+ doc.*"
                                            r"lower lr=1e\+30"):  # fmt: skip
        fit(data(), optimizer="sgd", lr=1e30, loss="squared", epochs=50)


def test_frozen_parameters_stay_and_bfloat16_trains():
    still = fit(data(), epochs=1, lr=1e-9)
    model = fit(data(), epochs=3, groups=[{"match": "*.weight", "lr": 0}], precision="bfloat16")
    np.testing.assert_allclose(model._arrays()["1.weight"], still._arrays()["1.weight"], atol=1e-6)
    assert not np.allclose(model._arrays()["1.bias"], still._arrays()["1.bias"], atol=1e-3)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model, block = fit(data(several=True), valid=data(seed=1, several=True), loss="squared"), data(90, seed=2)
    model.save(tmp_path)
    again = Linear.load(tmp_path)
    np.testing.assert_array_equal(again.predict_logits(block), model.predict_logits(block))
    assert again.probabilities(again.predict_logits(block)).max() <= 1
    assert again.predict_logits(block.at(slice(0, 0))).shape == (0, len(model.labels))
    assert (again.labels, again.threshold, again.facts) == (model.labels, model.threshold, model.facts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "lion"}, "expected one of .*'adamw'.*, got 'lion'"),
        ({"schedule": "onecycle"}, "expected one of .*'cosine'.*, got 'onecycle'"),
        ({"optimizer_options": {"momentum": 0.9}}, "optimizer_options: expected options among .*, got 'momentum'"),
        ({"schedule_options": {"end": 0.1}}, "schedule_options: expected options among .*, got 'end'"),
        ({"patience": 3}, r"select: expected one of .* for patience, got None"),
        ({"schedule": "plateau"}, r"select: expected one of .* for schedule: plateau, got None"),
        ({"select": "no_input"}, "select"),
        ({"groups": [{"match": "*", "options": {"nesterov": True}}]}, "groups.options: expected options among"),
        ({"loss": "softmax", "positive_weight": 2.0}, "positive_weight: expected 1 under softmax, got 2.0"),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_once(options, message):
    with pytest.raises(ValidationError, match=message):
        LinearConfig(**options)


def test_what_only_the_data_tells_is_refused_before_the_first_step():
    with pytest.raises(ValueError, match="valid: expected documents to select by 'accuracy', got none"):
        fit(data(), select="accuracy")
    with pytest.raises(ValueError, match=r"positive_weight: expected 1 under softmax, got 3\.0"):
        fit(data(), positive_weight=3.0)
    with pytest.raises(ValueError, match="bias: expected 'zero' for linear_test, got 'frequencies'"):
        monkey = type("NoBias", (Linear,), {"bias": ""})
        monkey(LinearConfig(bias="frequencies")).fit(Blocks(data()), None, seed=0)


@pytest.mark.parametrize(("megabytes", "passes"), [(1024, 2), (0, 5)])
def test_documents_that_fit_into_memory_are_read_once(megabytes, passes, monkeypatch):
    """Once for the labels, once for all epochs; else in every one of four."""
    blocks, read = Blocks.blocks, []

    def counted(self):
        read.append(1)
        return blocks(self)

    expected = bits(fit(data(), epochs=4))
    monkeypatch.setattr(Blocks, "blocks", counted)
    assert bits(fit(data(), epochs=4, memory_mb=megabytes)) == expected
    assert len(read) == passes + 1  # the first block alone, for its sizes


def test_options_at_their_defaults_leave_old_keys_alone():
    assert key_values(LinearConfig()).keys() == {"task", "lr", "epochs", "batch", "dropout"}
    assert key_values(LinearConfig(optimizer="sgd", device="cpu", save_seconds=1))["optimizer"] == "sgd"
    assert "save_seconds" not in key_values(LinearConfig(save_seconds=1.0))
