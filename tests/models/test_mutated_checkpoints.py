"""A checkpoint that was broken in any way is refused, or used within valid memory: never a crash, never another error.

Digests are none of this module's business: what is broken here could have been written so.
"""

import collections
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fuseline.models.encoders import ENCODERS
from fuseline.models.quantizers import QUANTIZERS
from fuseline.models.registry import MODELS
from tests.models.mutations import KINDS, VARIANTS

FEW, MANY = 10, 2000
DECISIONS = {"fixed_mean", "fixed_max", "avg_weighted", "ensemble", "policy", "policy both"}
FITTED = {name for name, entry in ENCODERS.items() if entry.modality in ("tabular", "indices")}


def outcomes(count: int, *variants: str, seed: int = 0) -> dict[str, collections.Counter[str]]:
    """Break checkpoints in a process of their own; return how often what came of it, by variant."""
    folder = Path(__file__).parent
    paths = os.pathsep.join(map(str, (folder.parents[1], folder.parent, folder)))
    command = [sys.executable, str(folder / "mutations.py"), str(seed), str(count), *variants]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    lines: list[dict[str, Any]] = list(map(json.loads, done.stdout.splitlines()))
    assert done.returncode == 0, f"{lines[-1:]} ended the process with {done.returncode}: {done.stderr[-2000:]}"
    found: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for line in lines:
        if "outcome" in line:
            found[line["variant"]][line["outcome"].split(":")[0]] += 1
    return found


def test_everything_that_is_fitted_is_broken_here() -> None:
    assert {name for name in KINDS.values() if name in MODELS} == MODELS.keys()
    assert {kind for name, kind in KINDS.items() if name.startswith("quantizer ")} == QUANTIZERS.keys()
    assert {kind for name, kind in KINDS.items() if name.startswith("encoder ")} == FITTED


def test_a_few_mutations_of_each_are_refused_or_harmless() -> None:
    found = outcomes(FEW)
    assert found.keys() == VARIANTS.keys()
    total = sum(found.values(), collections.Counter())
    assert total.keys() <= {"refused", "used", "declined"}
    assert total["refused"] > total["used"] > 0
    assert sum(total.values()) == FEW * len(VARIANTS)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_many_mutations_are_refused_or_harmless(variant: str) -> None:
    found = outcomes(MANY, variant, seed=1)[variant]
    assert found.keys() <= {"refused", "used", "declined"}
    assert found["refused"] > MANY / 4
    # Of a decision the labels are all there is: other ones can't be told from the right ones before it meets a model.
    assert found["declined"] <= MANY / (50 if variant in DECISIONS else 100)
