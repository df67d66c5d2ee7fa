"""Optimisers of torch.optim by name, every option with the default that is taken here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Option = bool | int | float | str | tuple[float, float] | tuple[float, float, float] | None


@dataclass(frozen=True)
class Optimizer:
    """A class of torch.optim, and the defaults of its options; `lr` stands beside them in every configuration."""

    name: str  # in torch.optim
    options: Mapping[str, Option] = field(default_factory=dict)


BETAS = (0.9, 0.999)
OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Optimizer("Adam", {"betas": BETAS, "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False}),
    "adamw": Optimizer("AdamW", {"betas": BETAS, "eps": 1e-8, "weight_decay": 0.01, "amsgrad": False}),
    "adamax": Optimizer("Adamax", {"betas": BETAS, "eps": 1e-8, "weight_decay": 0.0}),
    "nadam": Optimizer(
        "NAdam",
        {"betas": BETAS, "eps": 1e-8, "weight_decay": 0.0, "momentum_decay": 4e-3, "decoupled_weight_decay": False},
    ),
    "radam": Optimizer("RAdam", {"betas": BETAS, "eps": 1e-8, "weight_decay": 0.0, "decoupled_weight_decay": False}),
    "sgd": Optimizer("SGD", {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}),
    "asgd": Optimizer("ASGD", {"lambd": 1e-4, "alpha": 0.75, "t0": 1e6, "weight_decay": 0.0}),
    "adagrad": Optimizer(
        "Adagrad", {"lr_decay": 0.0, "weight_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10}
    ),
    "adadelta": Optimizer("Adadelta", {"rho": 0.9, "eps": 1e-6, "weight_decay": 0.0}),
    "adafactor": Optimizer(
        "Adafactor",
        {"beta2_decay": -0.8, "eps": (None, 1e-3), "d": 1.0, "weight_decay": 0.0},  # type: ignore[dict-item]
    ),
    "rmsprop": Optimizer(
        "RMSprop", {"alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0, "centered": False}
    ),
    "rprop": Optimizer("Rprop", {"etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0)}),
}
# Of torch.optim, and why they are not here: the loop takes one step per gradient, over parameters of any shape.
ABSENT = {
    "LBFGS": "asks for the loss several times a step",
    "SparseAdam": "takes sparse gradients alone",
    "Muon": "takes matrices alone",
}


def checked_options(what: str, known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known options with those given in their place; raises ValueError for others, or another type."""
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{what}: expected options among {sorted(known)}, got {name!r}; leave it out")
        default = known[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = isinstance(value, bool) if isinstance(default, bool) else number
        if isinstance(default, tuple):
            fits = isinstance(value, list | tuple) and len(value) == len(default)
        if not fits:
            raise ValueError(f"{what}.{name}: expected a value like {default!r}, got {value!r}; correct it")
    return {**known, **{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}}


def build_optimizer(
    name: str,
    parameters: Iterable[tuple[str, "torch.nn.Parameter"]],
    *,
    lr: float,
    options: Mapping[str, object],
    groups: Iterable[tuple[str, float, Mapping[str, Any]]] = (),
) -> "torch.optim.Optimizer":
    """Return an optimiser of named parameters; every group of it carries its share of the learning rate as `lr_share`.

    Args:
        name: in OPTIMIZERS.
        parameters: names and parameters; each goes to the first group whose pattern it matches, else to the common one.
        lr: the learning rate.
        options: of the optimiser, beside its defaults.
        groups: pattern of names ("encoder.*"), share of the learning rate, own options; a share of 0 freezes.

    Raises:
        ValueError: an option is unknown, a pattern matches no parameter, or nothing is left to train.
    """
    import torch

    entry = OPTIMIZERS[name]
    common = checked_options("optimizer_options", entry.options, options)
    patterns = [*groups, ("*", 1.0, {})]
    members: list[list[torch.nn.Parameter]] = [[] for _ in patterns]
    for key, parameter in parameters:
        members[next(i for i, (pattern, *_) in enumerate(patterns) if fnmatchcase(key, pattern))].append(parameter)
    param_groups = []
    for (pattern, share, own), mine in zip(patterns, members, strict=True):
        if not mine and pattern != "*":
            raise ValueError(f"groups: expected a pattern of parameter names, got {pattern!r}; it matches none")
        for parameter in mine:
            parameter.requires_grad_(share > 0)
        if mine and share > 0:
            values = checked_options("groups.options", common, own)
            param_groups.append({"params": mine, "lr": lr * share, "lr_share": share, **values})
    if not param_groups:
        raise ValueError("groups: expected a share of the learning rate above 0, got none; train something")
    optimizer: torch.optim.Optimizer = getattr(torch.optim, entry.name)(param_groups, lr=lr, **common)
    return optimizer
