"""Training speed against the fastText package, and of every fusion against our own text model.

python -m bench.train_speed --docs 100000 --rounds 5 --more --json

All runs of one round follow each other, so that a busy machine slows them alike; ratios are of medians over rounds.
The last line is {"ratios": {...}}: text_vs_fasttext (hierarchical softmax) and softmax_vs_fasttext (2,000 classes, a
fifth of the documents) are our wall time over fastText's, tokenising and reading included; the others are the wall
time of a model over our text model's. The line before it has the same ratios of processor time, which other programs
on the machine disturb less. Compilation is done before. Before both comes a table of all runs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import corpus as corpora
from bench.corpus import Corpus
from bench.reader_speed import peak_mb
from fuseline.models.blocks import cut
from fuseline.models.fasttext.warm import warm_up
from fuseline.models.registry import MODELS

DIM, EPOCHS, LR = 20, 5, 0.25
LENGTH = 0.25  # of images: at 1, the paper's, such a rate diverges on them
FUSIONS = ["additive", "max", "gated", "bilinear", "bilinear_gated", "pq", "rspq"]
CLASSES = 1000
LARGE = 2000
TAGS = 312_116  # of FlickrTag
RATIOS = {
    "text_vs_fasttext": ("text hs", "fasttext hs"),
    "softmax_vs_fasttext": ("text softmax", "fasttext softmax"),
    **{name: (name, "text hs") for name in FUSIONS},
}
MORE = {
    "text, 312,116 tags / fastText": ("text tags", "fasttext tags"),
    "text, one thread / all": ("text, one thread", "text hs"),
    "additive, one thread / all": ("additive, one thread", "additive"),
    "fastText, one thread / all": ("fasttext, one thread", "fasttext hs"),
}

Run = Callable[[], dict[str, float]]
Runs = dict[str, list[dict[str, float]]]


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


def ours(corpus: Corpus, name: str, loss: str, threads: int, **options: Any) -> dict[str, float]:
    """Return seconds and accuracy of one of our models."""
    kind = MODELS[name]
    given = {"dim": DIM, "epochs": EPOCHS, "lr": LR, "loss": loss, "threads": threads, "lowercase": False}
    if "image_length" in kind.Config.model_fields:
        given["image_length"] = LENGTH
    config = kind.Config(**{"preset": "fasttext", **given, **options})
    corpus = replace(corpus, coded=name in ("pq", "rspq"))
    started = time.process_time()
    model: Any = kind(config).fit(corpus, None, seed=0)  # type: ignore[arg-type]
    cpu = time.process_time() - started
    test = cut(corpus.block("test"), 0, 5000)
    best = model.predict_logits(test).argmax(axis=1)
    hits = [model.labels[y] in labels for y, labels in zip(best, test.labels.to_pylist(), strict=True)]
    return {"accuracy": float(np.mean(hits)), "cpu": cpu, **model.timing}


def measure(folder: Path, documents: int, *, threads: int, rounds: int) -> Runs:
    """Return the runs of every row of the ratios, in rounds."""
    whole = corpora.make(folder / "whole", documents, classes=CLASSES, dim=512)
    fifth = corpora.make(folder / "fifth", max(1000, documents // 5), classes=LARGE, dim=0)
    rows: dict[str, Run] = {
        "fasttext hs": lambda: fasttext(whole, "hs", threads),
        "text hs": lambda: ours(whole, "text", "hs", threads),
        "fasttext softmax": lambda: fasttext(fifth, "softmax", threads),
        "text softmax": lambda: ours(fifth, "text", "softmax", threads),
        **{name: partial(ours, whole, name, "hs", threads) for name in FUSIONS},
    }
    return in_rounds(rows, rounds)


def more(folder: Path, documents: int, *, threads: int, rounds: int) -> Runs:
    """Return the runs of the rows beside the ratios: 312,116 tags, one thread, memory of a tenth and of the whole."""
    tagged = corpora.make(folder / "tagged", documents, classes=TAGS, dim=0, tags=3)
    whole, tenth = folder / "whole", corpora.make(folder / "tenth", documents // 10, classes=CLASSES, dim=512).folder
    rows: dict[str, Run] = {
        "fasttext tags": lambda: fasttext(tagged, "hs", threads),
        "text tags": lambda: ours(tagged, "text", "hs", threads),
    }
    for name in ("text", "additive"):
        rows[f"{name}, one thread"] = partial(ours, Corpus(whole, documents, 512), name, "hs", 1)
    rows["fasttext, one thread"] = lambda: fasttext(Corpus(whole, documents, 512), "hs", 1)
    runs = in_rounds(rows, rounds)
    once: dict[str, Run] = {
        f"{name}, {size:,}, {memory_mb} MB": partial(alone, place, size, name, memory_mb)
        for name in ("text", "additive", "pq")
        for memory_mb in (256, 32)
        for place, size in [(tenth, documents // 10), (whole, documents)]
    }
    once["fasttext, a tenth"] = lambda: fasttext(Corpus(tenth, documents // 10, 512), "hs", threads)
    return runs | in_rounds(once, 1)


def in_rounds(rows: dict[str, Run], rounds: int) -> Runs:
    """Run every row once a round, one after the other, and print each run."""
    runs: Runs = {}
    for _ in range(rounds):
        for row, run in rows.items():
            runs.setdefault(row, []).append(run())
            print(f"{row:26s}" + "".join(f" {key} {value:.4g}" for key, value in runs[row][-1].items()), flush=True)
    return runs


def alone(folder: Path, documents: int, name: str, memory_mb: int) -> dict[str, float]:
    """Return what `ours` returns, and the peak memory, of a process that does nothing else."""
    given = {"--child": name, "--folder": folder, "--docs": documents, "--memory-mb": memory_mb}
    command = [sys.executable, "-m", "bench.train_speed", *(str(part) for pair in given.items() for part in pair)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ratios(runs: Runs, measure: str = "seconds") -> dict[str, float]:
    """Return the ratios of medians of wall time, or of processor time (`cpu`)."""
    seconds = {row: median(run[measure] for run in done) for row, done in runs.items()}
    result = {name: seconds[row] / seconds[base] for name, (row, base) in RATIOS.items()}
    return {name: round(value, 3) for name, value in result.items()}


def table(runs: Runs) -> str:
    """Return every row's seconds and every ratio, paired by round, as Markdown: minimum, median, maximum."""
    lines = ["| row | seconds | processor seconds | peak MB | accuracy |", "|---|---|---|---|---|"]
    for row, done in runs.items():
        cells = [spread([run[key] for run in done if key in run]) for key in ("seconds", "cpu", "peak_mb", "accuracy")]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += ["", "| ratio | wall | processor |", "|---|---|---|"]
    for name, (row, base) in {**RATIOS, **MORE}.items():
        if row in runs and base in runs:
            pairs = list(zip(runs[row], runs[base], strict=True))
            cells = [spread([one[key] / other[key] for one, other in pairs]) for key in ("seconds", "cpu")]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Return the least, the middle and the largest value as text."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3g}" if values[0] < 100 else f"{values[0]:,.0f}"
    return " / ".join(f"{value:.3g}" for value in (min(values), median(values), max(values)))


def main() -> None:
    """Parse the command line and print the runs, a table, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--more", action="store_true", help="also 312,116 tags, one thread against all, and memory")
    parser.add_argument("--json", action="store_true", help="the last line is JSON in any case")
    parser.add_argument("--folder", type=Path, help="where the corpus is written; default: a temporary folder")
    parser.add_argument("--memory-mb", type=int, default=256, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=["text", *FUSIONS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warm_up()
    if arguments.child is not None:
        corpus, memory_mb = Corpus(arguments.folder, arguments.docs, 512), arguments.memory_mb
        found = ours(corpus, arguments.child, "hs", arguments.threads, memory_mb=memory_mb)
        print(json.dumps({**found, "peak_mb": peak_mb()}))
        return
    with tempfile.TemporaryDirectory(prefix="fuseline-bench-", dir=arguments.folder) as name:
        folder, options = Path(name), {"threads": arguments.threads, "rounds": arguments.rounds}
        runs = measure(folder, arguments.docs, **options)
        if arguments.more:
            runs |= more(folder, arguments.docs, **options)
    print(table(runs))
    print(json.dumps({"cpu_ratios": ratios(runs, "cpu")}))
    print(json.dumps({"ratios": ratios(runs)}))


if __name__ == "__main__":
    main()
