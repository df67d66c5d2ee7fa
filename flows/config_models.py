"""What a configuration says of its models that one model alone cannot tell: whom they name, and of which labels."""

import difflib
from collections.abc import Iterable, Mapping

from fuseline.models.features import hidden_name
from fuseline.stores.errors import mismatch
from fuseline.tasks.stages.hidden import has_hidden
from fuseline.tasks.stages.train import ModelConfig, has_branches, in_order


def known(field: str, name: str, there: Mapping[str, object]) -> None:
    """Refuse a name that is not there; raises ValueError with the nearest."""
    if name not in there:
        cure = (
            f"did you mean {close[0]!r}?" if (close := difflib.get_close_matches(name, there, cutoff=0.5)) else "add it"
        )
        raise ValueError(mismatch(field, sorted(there), name, cure))


def check_bases(models: Mapping[str, ModelConfig]) -> None:
    """Refuse models that read or start from others which are not there, cannot give it, or read them in a circle.

    Raises ValueError.
    """
    for name, model in models.items():
        for base in sorted(model.reads()):
            known(f"models.{name}.options.models", base, models)
        for base in model.between():
            if models[base].labels != model.labels:
                what, cure = f"models.{name}.labels", f"decide between models of the same labels as {base}"
                raise ValueError(mismatch(what, str(models[base].labels), str(model.labels), cure))
        for base in sorted(model.reads_hidden()):
            if not has_hidden(kind := models[base].kind):
                what, cure = f"models.{name}.options", f"{kind} has no hidden vectors"
                raise ValueError(mismatch(what, "hidden vectors of a network", hidden_name(base), cure))
        for base in model.starts():
            if not has_branches(kind := models[base].kind):
                what, cure = f"models.{name}.options.start", f"{kind} has no branches to start from"
                raise ValueError(mismatch(what, "a network with a branch per input", base, cure))
    in_order(models)


def check_hidden(field: str, names: Iterable[str], models: Mapping[str, ModelConfig]) -> None:
    """Refuse names of models that are not there, or have no hidden vectors; raises ValueError."""
    for name in names:
        known(field, name, models)
        if not has_hidden(models[name].kind):
            cure = "name a network, or the embeddings that it reads"
            raise ValueError(mismatch(field, "a model with a hidden layer", name, cure))


def check_whole(field: str, names: Iterable[str], models: Mapping[str, ModelConfig]) -> None:
    """Refuse names of models that are not there, or that learn a part of the labels alone; raises ValueError."""
    for name in names:
        known(field, name, models)
        if models[name].labels is not None:
            raise ValueError(mismatch(field, "models of all labels", name, "leave it out"))
