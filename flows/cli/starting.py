"""A first configuration for a source: its reader and columns, an embedding and models that fit, and words on each."""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from fuseline.flows.cli.estimates import Extent, estimate_lines, estimates
from fuseline.flows.config import parse_config
from fuseline.flows.presets import FAST
from fuseline.models.quantizers.product import PQConfig
from fuseline.tasks.evaluation.label_leaks import label_leaks, sentence
from fuseline.tasks.readers.guess import Guess, Survey, answered, guess, has_labels, is_named, survey
from fuseline.tasks.readers.mapping import LINE

MARKUP = re.compile("<[^>]*>")
VECTORS, FITTED = 2, 0.7  # vectors per codeword at least, and the share of the images that a codebook learns from
DEFAULT_IMAGES = "efficientnet_lite2"
LOOKED_AT, COUNTED = 10_000, 200_000  # documents: among which leaks are looked for, and up to which they are counted
Ask = Callable[[list[str], dict[str, str]], dict[str, str]]  # (columns, role -> column found) -> role -> column


class Start(NamedTuple):
    """A first configuration, and what is to be said with it."""

    text: str  # YAML with comments
    warnings: list[str]  # a sentence per column that gives the label away, and on names of splits
    estimates: list[tuple[str, ...]]  # stage, datasets, time, disk
    documents: str  # how many there are


def start(source: str, *, file: str, reader: str | None = None, ask: Ask | None = None) -> Start:
    """Return a valid first configuration for a source.

    Args:
        source: file, folder or URL.
        file: what the YAML file will be called, for the commands in its head.
        reader: name of the reader; by default the one that reads the source's first rows.
        ask: chooses the columns of the roles, given all columns and those that were found; default: take these.

    Raises:
        ConfigError: no reader reads the source.
    """
    guessed = guess(source, reader)
    if ask is not None and guessed.columns:
        guessed = _asked(source, guessed, ask)
    seen = survey(source, guessed, looked_at=LOOKED_AT, counted=COUNTED)
    found = label_leaks(seen.first, [name for name in seen.first.column_names if name != "labels"]).to_pylist()
    rows = [{**row, "column": row["column"].partition("_")[2]} for row in found]  # without num_, cat_
    leaks = {
        name: " and ".join(sentence(row) for row in rows if row["column"] == name)
        + (": left out of tabular" if name in guessed.tabular else "")
        for name in dict.fromkeys(row["column"] for row in rows)
    }
    why = "the first that reads it" if reader is None else "as named"
    text = _yaml(source, guessed, file, leaks, why=why, seen=seen)
    config = parse_config(yaml.safe_load(text))
    lines = estimate_lines(estimates(config, _extent(guessed, seen)))
    documents = f"{'' if seen.whole else 'the first '}{seen.documents:,} documents"
    odd = [f"{_odd_splits(seen)}: splits in source.options"] if seen.odd_splits else []
    return Start(text, [*leaks.values(), *odd], [*lines], documents)


def _extent(guessed: Guess, seen: Survey) -> Extent:
    """Return how much there is, by the first documents."""
    texts = (guessed.sample[name].drop_null().to_pylist() for name in ("title", "description", "text", "html"))
    words = sum(len(MARKUP.sub(" ", text).split()) for column in texts for text in column)
    lengths, labels = pc.list_value_length(seen.first["labels"]), pc.list_flatten(seen.first["labels"])
    return Extent(
        documents=seen.documents,
        images=seen.images,
        labelled=np.count_nonzero(pc.fill_null(lengths, 0)) / max(1, len(lengths)),
        words=words / max(1, len(guessed.sample)),
        labels=len(pc.unique(labels)),
    )


def _asked(source: str, guessed: Guess, ask: Ask) -> Guess:
    found = cast(dict[str, str], guessed.options.get("columns", {}))
    roles = ask(guessed.columns, {role: column for role, column in found.items() if column != LINE})
    return answered(source, guessed, {"id": LINE, **roles})


def _yaml(source: str, guessed: Guess, file: str, leaks: dict[str, str], *, why: str, seen: Survey) -> str:
    name = configuration_name(source)
    lines = [
        f"# fuseline run {file}",
        f"# A start, to be changed. What is not said here has its default: `fuseline config show {file}` prints all,",
        f"# `fuseline config check {file}` says what is missing, `fuseline describe model text` what an option means.",
        _line("name", name),
        _line("root", f"runs/{name}") + "  # everything is written below this folder",
        "source:",
        *_source(source, guessed, leaks, why),
        *([f"    # splits: {{holdout: test}}  # {_odd_splits(seen)}"] if seen.odd_splits else []),
        *_models(guessed, seen.images),
    ]
    return "\n".join(lines) + "\n"


def _source(source: str, guessed: Guess, leaks: dict[str, str], why: str) -> list[str]:
    lines = [
        f"  {_line('reader', guessed.reader)}  # {why}; the others: `fuseline list readers`",
        f"  {_line('path', source)}",
    ]
    options: list[str] = []
    if guessed.columns:
        options.append(f"# found: {', '.join(map(_flow, guessed.columns))}")
    for name, value in guessed.options.items():
        options += [*_columns(guessed)] if name == "columns" else [_line(name, value)] if value else []
    options += [f"# {text}" for text in leaks.values()]
    if tabular := {name: kind for name, kind in guessed.tabular.items() if name not in leaks}:
        options.append(f"# {_line('tabular', tabular)}  # for models: number or category")
    # A mapping of comments alone would be null.
    head = ["  options:"] if any(not line.startswith("#") for line in options) else []
    return [*lines, *head, *(f"    {line}" for line in options)]


def _odd_splits(seen: Survey) -> str:
    """Return the sentence on documents that no split takes."""
    n = f"{seen.odd_splits:,} of {'' if seen.whole else 'the first '}{seen.documents:,} documents"
    return f"{n} name a split other than train, valid and test; say what their names mean"


def _columns(guessed: Guess) -> Iterator[str]:
    """Yield the column of each role, and why it was taken."""
    yield "columns:  # roles: id, title, description, text, html, image, labels, split, group"
    for role, column in cast(dict[str, str], guessed.options["columns"]).items():
        yield f"  {_line(role, column)}  # {_why(role, column, guessed)}"


def _why(role: str, column: str, guessed: Guess) -> str:
    sample, archive = guessed.sample, cast(dict[str, str], guessed.options.get("images", {})).get("archive")
    by = "by its name" if is_named(role, column) else "as answered"
    if column == LINE:
        return "no column is called so: rows are known by their place"
    if role == "labels":
        different = len(pc.unique(pc.list_flatten(sample["labels"])))
        return f"{by}; {different:,} different, {_filled(pc.greater(pc.list_value_length(sample['labels']), 0))}"
    if role == "image" and archive is not None:
        return f"{by}; it names members of {archive}"
    return f"{by}; {_filled(sample[role].is_valid())}"


def _filled(there: pa.ChunkedArray) -> str:
    return f"in {pc.sum(there).as_py() or 0:,} of the first {len(there):,} rows"


def _models(guessed: Guess, n_images: int) -> list[str]:
    sample = guessed.sample
    texts = any(sample[name].null_count < len(sample) for name in ("title", "description", "text", "html"))
    images = sample["image"].null_count < len(sample)
    lines: list[str] = []
    if images:
        lines += ["embed:", f"  image: {{encoder: {DEFAULT_IMAGES}}}  # the others: `fuseline list encoders`"]
    if images and texts:
        book = {"quantizer": "pq", "embedding": "image", **_codewords(n_images)}
        lines += ["quantize:", f"  {_line('pq', book)}  # visual tokens, for the model pq"]
    if not has_labels(sample):
        lines.append("# No row that was looked at has a label: models learn from labels, so name their column first.")
        return lines
    if images and not texts:
        return [*lines, "models:  # the others: `fuseline list models`", "  image: {kind: image}"]
    return [
        *lines,
        f"models: {{preset: fast}}  # {', '.join(FAST if images else FAST[:1])}; or good: `fuseline list presets`",
    ]


def _codewords(images: int) -> dict[str, object]:
    """Return the option for a codebook that fewer images are to be learnt from than its default needs."""
    fitting = max(2, 2 ** int(math.log2(max(1, images * FITTED / VECTORS))))
    return {"options": {"codewords": fitting}} if fitting < PQConfig().codewords else {}


def configuration_name(source: str) -> str:
    """Return the name of a configuration for a source: the last part of its path, without the query of a URL."""
    path = re.split("[?#]", source, maxsplit=1)[0] if "://" in source else source
    stem = PurePosixPath(path.rstrip("/")).name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:100] or "documents"


def _line(key: str, value: object) -> str:
    return f"{key}: {_flow(value)}"


def _flow(value: object) -> str:
    """Return a value in YAML, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
