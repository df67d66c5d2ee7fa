"""A first configuration for a source: its reader and columns, an embedding and models that fit, and words on each."""

import re
from pathlib import PurePosixPath

import yaml

from fuseline.flows.config import parse_config
from fuseline.tasks.readers.guess import Guess, guess, has_labels

DEFAULT_IMAGES = "efficientnet_lite2"
ROLES = "roles: id, title, description, text, html, image, labels, split, group"


def starting_config(source: str, *, file: str, reader: str | None = None) -> str:
    """Return the YAML of a configuration for a source, with comments; it is valid.

    Args:
        source: file, folder or URL.
        file: what the YAML file will be called, for the commands in its head.
        reader: name of the reader; by default the one that reads the source's first rows.

    Raises:
        ConfigError: no reader reads the source.
    """
    guessed = guess(source, reader)
    name = configuration_name(source)
    lines = [
        f"# fuseline run {file}",
        f"# A start, to be changed. What is not said here has its default: `fuseline config show {file}` prints all,",
        f"# `fuseline config check {file}` says what is missing, `fuseline describe model text` what an option means.",
        _line("name", name),
        _line("root", f"runs/{name}") + "  # everything is written below this folder",
        "source:",
        *_source(source, guessed),
        *_models(guessed),
    ]
    text = "\n".join(lines) + "\n"
    parse_config(yaml.safe_load(text))
    return text


def _source(source: str, guessed: Guess) -> list[str]:
    lines = [
        f"  {_line('reader', guessed.reader)}  # the others: `fuseline list readers`",
        f"  {_line('path', source)}",
    ]
    options = [_line(name, value) for name, value in guessed.options.items() if value]
    if guessed.columns:
        options.insert(0, f"# found: {', '.join(map(_flow, guessed.columns))}; {ROLES}")
    if guessed.tabular:
        options.append(f"# {_line('tabular', guessed.tabular)}  # for models: number or category")
    # A mapping of comments alone would be null.
    head = ["  options:"] if any(not line.startswith("#") for line in options) else []
    return [*lines, *head, *(f"    {line}" for line in options)]


def _models(guessed: Guess) -> list[str]:
    sample = guessed.sample
    texts = any(sample[name].null_count < len(sample) for name in ("title", "description", "text", "html"))
    images = sample["image"].null_count < len(sample)
    lines: list[str] = []
    if images:
        lines += ["embed:", f"  image: {{encoder: {DEFAULT_IMAGES}}}  # the others: `fuseline list encoders`"]
    if images and texts:
        lines += ["quantize:", "  pq: {quantizer: pq, embedding: image}  # visual tokens, for the model pq"]
    if not has_labels(sample):
        lines.append("# No row that was looked at has a label: models learn from labels, so name their column first.")
        return lines
    lines.append("models:  # the others: `fuseline list models`; small collections want more epochs and a higher lr")
    if texts or not images:
        lines.append("  text: {kind: text}")
    if images:
        lines.append("  image: {kind: image}")
    if images and texts:
        lines += ["  additive: {kind: additive}", "  pq: {kind: pq}"]
    return lines


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
