"""Compilation is no cost of a model: kernels are there before the clock starts."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fuseline.models.fasttext import warm
from fuseline.models.registry import MODELS
from tests.models.synthetic import Blocks, documents

CODE = """
import json, sys
from fuseline.models.fasttext import dictionary, pretrained
from fuseline.models.fasttext.kernels import gemm, hidden, model as kernels, output_losses
from fuseline.models.fasttext.kernels import tokenizer as tokens, tree_search
from fuseline.models.fasttext.warm import warm_up
from fuseline.models.registry import MODELS
from fuseline.models.scoring import score
from tests.models.synthetic import Blocks, documents

def compiled():
    modules = (gemm, kernels, output_losses, hidden, tokens, tree_search)
    kinds = {f"{m.__name__}.{name}": k for m in modules for name, k in vars(m).items() if hasattr(k, "signatures")}
    return {name: len(kind.signatures) for name, kind in kinds.items()}

first, second = warm_up(), warm_up()
before, block = compiled(), documents(80)
options = [{"loss": loss} for loss in ("softmax", "hs", "ns", "ova")] + [
    {"word_ngrams": 2, "buckets": 9}, {"minn": 1, "maxn": 3, "buckets": 9}, {"lowercase": False},
    {"pretrained_vectors": sys.argv[1]},
]
for kind in ("text", "image", "additive", "gated", "bilinear", "pq"):
    for more in options:
        if kind == "image" and "pretrained_vectors" in more:
            continue
        config = MODELS[kind].Config(preset="fasttext", dim=3, epochs=2, lr=0.1, threads=2, **more)
        model = MODELS[kind](config).fit(Blocks(block, 30), Blocks(block), seed=0)
        model.probabilities(model.predict_logits(block))
        list(score(model, block, k=2))
after = compiled()
print(json.dumps({
    "new": sorted(name for name in after if after[name] != before[name]), "times": [first, second], "n": len(before),
    "there": sum(map(bool, before.values())),
}))
"""


def test_nothing_is_compiled_after_the_warm_up(tmp_path: Path) -> None:
    vectors = tmp_path / "own.vec"
    vectors.write_text("2 3\nw01 1 2 3\nmars 4 5 6\n")
    done = subprocess.run([sys.executable, "-c", CODE, str(vectors)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["new"] == []
    assert told["there"] > 8
    assert told["times"][1] < 0.01 < told["times"][0]


@pytest.mark.parametrize("kind", ["text", "avg_probs"])
def test_the_times_of_a_fit_leave_it_out(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def slow() -> float:
        time.sleep(0.3)
        return 0.3

    entry, block = MODELS[kind], documents(60)
    config = entry.Config(preset="fasttext", dim=3, epochs=1, threads=1)
    entry(config).fit(Blocks(block), None, seed=0)
    monkeypatch.setattr("fuseline.models.fasttext.classifier.warm_up", slow)
    told = entry(config).fit(Blocks(block), None, seed=0).describe()
    assert told["compile_seconds"] == pytest.approx(0.6 if kind == "avg_probs" else 0.3)
    assert 0 < told["seconds"] < 0.3
    text = told["text"] if kind == "avg_probs" else told
    assert text["seconds"] == pytest.approx(text["encode_seconds"] + text["train_seconds"])


def test_two_that_come_at_once_both_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    ran: list[int] = []

    def slow() -> None:
        time.sleep(0.1)
        ran.append(1)

    monkeypatch.setattr(warm, "_run", slow)
    monkeypatch.setattr(warm, "_DONE", [False])
    with ThreadPoolExecutor(2) as pool:
        times = list(pool.map(lambda _: warm.warm_up(), range(2)))
    assert ran == [1]
    assert min(times) > 0.05


def double(x: float) -> float:
    return 2 * x


def test_compiled_code_that_names_modules_of_another_version_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update numba finds what the old version left, and cannot even read which version that was."""
    from numba.core.caching import IndexDataCacheFile

    from fuseline.models.fasttext.kernels.jit import is_compiled, kernel

    def gone(self: object) -> dict[object, str]:
        raise ModuleNotFoundError("No module named 'models'")

    monkeypatch.setattr(IndexDataCacheFile, "_load_index", gone)
    compiled = kernel(double)
    assert not is_compiled(compiled)
    assert compiled(2.0) == 4.0
