"""Training speed against the fastText package, and of every fusion against our own text model.

python -m bench.train_speed --docs 100000 --json

All runs of one round follow each other, so that a busy machine slows them alike; ratios are of medians over rounds.
The last line is {"ratios": {...}}: text_vs_fasttext (hierarchical softmax) and softmax_vs_fasttext (2,000 classes, a
fifth of the documents) are our wall time over fastText's, tokenising and reading included; the others are the wall
time of a model over our text model's. The line before it has the same ratios of processor time, which other programs
on the machine disturb less. Compilation is done before, on a tiny corpus.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from bench import corpus as corpora
from bench.corpus import Corpus
from models.fasttext.corpus import cut
from models.registry import MODELS

DIM, EPOCHS, LR = 20, 5, 0.25
FUSIONS = ["additive", "max", "gated", "bilinear", "bilinear_gated", "pq", "rspq"]
CLASSES = 1000
LARGE = 2000


def fasttext(corpus: Corpus, loss: str, threads: int) -> dict[str, float]:
    """Return seconds and accuracy of the package, which gets fresh zeroed pages: it leaves part of its matrix unset."""
    options = {
        "train": str(corpus.folder / "train.txt"),
        "test": str(corpus.folder / "test.txt"),
        "dim": DIM,
        "epoch": EPOCHS,
        "lr": LR,
        "loss": loss,
        "thread": threads,
    }
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, str(Path(__file__).with_name("peer_fasttext.py")), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ours(corpus: Corpus, name: str, loss: str, threads: int) -> dict[str, float]:
    """Return seconds and accuracy of one of our models."""
    entry = MODELS[name]
    config = entry.config.model_validate(
        {"dim": DIM, "epochs": EPOCHS, "lr": LR, "loss": loss, "threads": threads, "lowercase": False}
    )
    started = time.process_time()
    model = entry.classifier(config).fit(corpus, None, seed=0)
    cpu = time.process_time() - started
    test = cut(corpus.block("test"), 0, 5000)
    best = model.predict_logits(test).argmax(axis=1)
    hits = [model.labels[y] in labels for y, labels in zip(best, test.labels.to_pylist(), strict=True)]
    return {"accuracy": float(np.mean(hits)), "cpu": cpu, **model.timing}


def measure(folder: Path, documents: int, *, threads: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Return the runs of every row, in rounds."""
    tiny = corpora.make(folder / "tiny", 200, classes=300, dim=8)
    for name, loss in [("text", "hs"), ("text", "softmax"), ("additive", "hs")]:
        ours(tiny, name, loss, threads)
    whole = corpora.make(folder / "whole", documents, classes=CLASSES, dim=512)
    fifth = corpora.make(folder / "fifth", max(1000, documents // 5), classes=LARGE, dim=0)
    runs: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for row, run in [
            ("fasttext hs", lambda: fasttext(whole, "hs", threads)),
            ("text hs", lambda: ours(whole, "text", "hs", threads)),
            ("fasttext softmax", lambda: fasttext(fifth, "softmax", threads)),
            ("text softmax", lambda: ours(fifth, "text", "softmax", threads)),
            *((name, lambda name=name: ours(whole, name, "hs", threads)) for name in FUSIONS),
        ]:
            runs.setdefault(row, []).append(run())
            print(f"{row:18s}" + "".join(f" {key} {value:.4g}" for key, value in runs[row][-1].items()), flush=True)
    return runs


def ratios(runs: dict[str, list[dict[str, float]]], measure: str = "seconds") -> dict[str, float]:
    """Return the ratios of medians of wall time, or of processor time (`cpu`)."""
    seconds = {row: median(run[measure] for run in done) for row, done in runs.items()}
    result = {
        "text_vs_fasttext": seconds["text hs"] / seconds["fasttext hs"],
        "softmax_vs_fasttext": seconds["text softmax"] / seconds["fasttext softmax"],
        **{name: seconds[name] / seconds["text hs"] for name in FUSIONS},
    }
    return {name: round(value, 3) for name, value in result.items()}


def main() -> None:
    """Parse the command line and print the runs, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the last line is JSON in any case")
    parser.add_argument("--folder", type=Path, help="where the corpus is written; default: a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuseline-bench-", dir=arguments.folder) as folder:
        runs = measure(Path(folder), arguments.docs, threads=arguments.threads, rounds=arguments.rounds)
    print(json.dumps({"cpu_ratios": ratios(runs, "cpu")}))
    print(json.dumps({"ratios": ratios(runs)}))


if __name__ == "__main__":
    main()
