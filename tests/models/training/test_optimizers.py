"""The registry of optimisers against torch.optim: none forgotten, defaults as written, options and groups checked."""

import inspect

import pytest
import torch

from fuseline.models.training.optimizers import ABSENT, OPTIMIZERS, build_optimizer


def parameters() -> list[tuple[str, torch.nn.Parameter]]:
    torch.manual_seed(0)
    return [(name, torch.nn.Parameter(torch.randn(3, 2))) for name in ("encoder.W", "encoder.b", "head.W")]


def test_every_optimiser_of_torch_is_here_or_named_as_absent():
    classes = {
        name for name, one in vars(torch.optim).items()
        if inspect.isclass(one) and issubclass(one, torch.optim.Optimizer) and one is not torch.optim.Optimizer
    }  # fmt: skip
    assert classes - ABSENT.keys() == {entry.name for entry in OPTIMIZERS.values()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_defaults_written_out_are_torchs(name):
    """A release of torch with other defaults changes nothing here; where ours shall differ, this test says so."""
    entry = OPTIMIZERS[name]
    known = inspect.signature(getattr(torch.optim, entry.name).__init__).parameters
    assert {option: known[option].default for option in entry.options} == dict(entry.options)
    left_out = known.keys() - entry.options.keys() - {"self", "params", "lr"}
    twice = {"decoupled_weight_decay"} if name == "adam" else set()  # that is adamw
    assert left_out <= {"foreach", "maximize", "capturable", "differentiable", "fused", *twice}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_torchs(name):
    ours, own = parameters(), parameters()
    left = build_optimizer(name, ours, lr=0.05, options={})
    right = getattr(torch.optim, OPTIMIZERS[name].name)([p for _, p in own], lr=0.05)
    for _ in range(3):
        for named, optimizer in ((ours, left), (own, right)):
            optimizer.zero_grad()
            sum((p**2).sum() for _, p in named).backward()
            optimizer.step()
    for (_, a), (_, b) in zip(ours, own, strict=True):
        assert torch.equal(a, b)


def test_groups_share_the_rate_and_freeze():
    groups = [("encoder.b", 0.0, {}), ("encoder.*", 0.1, {"weight_decay": 0.5})]
    named = parameters()
    optimizer = build_optimizer("adamw", named, lr=0.2, options={"weight_decay": 0.1}, groups=groups)
    told = [(len(g["params"]), g["lr"], g["lr_share"], g["weight_decay"]) for g in optimizer.param_groups]
    assert told == [(1, pytest.approx(0.02), 0.1, 0.5), (1, 0.2, 1.0, 0.1)]
    assert [p.requires_grad for _, p in named] == [True, False, True]


@pytest.mark.parametrize(
    ("options", "groups", "message"),
    [
        ({"momentum": 0.9}, [], r"optimizer_options: expected options among .*, got 'momentum'"),
        ({"amsgrad": 1}, [], r"optimizer_options.amsgrad: expected a value like False, got 1"),
        ({"betas": [0.9]}, [], r"optimizer_options.betas: expected a value like"),
        ({"eps": "x"}, [], r"optimizer_options.eps: expected a value like"),
        ({}, [("decoder.*", 1.0, {})], r"groups: expected a pattern of parameter names, got 'decoder.\*'"),
        ({}, [("*", 0.0, {})], r"groups: expected a share of the learning rate above 0"),
        ({}, [("head.*", 1.0, {"nesterov": True})], r"groups.options: expected options among"),
    ],
)
def test_refusals(options, groups, message):
    with pytest.raises(ValueError, match=message):
        build_optimizer("adam", parameters(), lr=0.1, options=options, groups=groups)
