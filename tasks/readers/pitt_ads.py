"""Pitt Image Ads: JSON objects keyed by image path, one list of answers per annotator."""

import re
from collections.abc import Iterator
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from fuseline.tasks.readers.base import ReaderOptions, SourceFile, SourceFormat, documents, image_array, mark
from fuseline.tasks.readers.image_files import copied, folder_files
from fuseline.tasks.readers.mapping import as_text, check_ids
from fuseline.tasks.readers.places import Place, safe_references, same_root, walk
from fuseline.tasks.readers.sidecars import required_json, whole_text
from fuseline.tasks.readers.strays import stray_images

PUBLISHED = {"documents": 64_832}
TARGETS = ("Topics", "Sentiments", "Strategies")
TEXTS = ("Slogans", "QA_Combined_Action_Reason", "QA_Action", "QA_Reason")
LOOKS_FOR = "Topics.json, Sentiments.json, Strategies.json, Slogans.json or QA_*.json"


class PittAdsOptions(ReaderOptions):
    """Options of the Pitt Ads reader."""

    target: Literal["Topics", "Sentiments", "Strategies"] = Field(
        "Topics", description="Annotation that gives the labels"
    )
    votes: Literal["majority", "all"] = Field(
        "majority", description="majority: the label most annotators gave; all: every label that any gave"
    )
    ties: Literal["keep", "drop"] = Field("keep", description="keep: all labels of a tie; drop: none of them")
    text: tuple[Literal["Slogans", "QA_Combined_Action_Reason", "QA_Action", "QA_Reason"], ...] = Field(
        ("Slogans",), description="Annotations that are joined to the text"
    )


def read(path: str, options: PittAdsOptions) -> Iterator[pa.Table]:
    """Yield one document per image that any of the JSON files names, in sorted order.

    A label is the abbreviation of its list file, or what the annotator wrote. A tie of votes is flagged in
    `cat_tie`. No annotation is no label. Statuses: bad_path, missing_id.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: PittAdsOptions) -> Iterator[pa.Table]:
    root = same_root(path)
    at = {file.uri.rsplit("/", 1)[-1]: file.uri for file in walk(root) if file.uri.endswith((".json", ".txt"))}
    data = {
        name: required_json(root / at[f"{name}.json"], options, dict)
        for name in _wanted(options)
        if f"{name}.json" in at
    }
    every = {file.uri for file in walk(root)}
    names = label_names(root, at, options)
    keys = sorted({key for one in data.values() for key in one})
    folder = at.get(f"{options.target}.json", "").rpartition("/")[0]
    for start in range(0, len(keys), options.batch_rows):
        yield _table(keys[start : start + options.batch_rows], data, names, folder, every, options)


def _wanted(options: PittAdsOptions) -> list[str]:
    return list(dict.fromkeys((*TARGETS, *TEXTS)))


def _table(
    keys: list[str],
    data: dict[str, dict[str, Any]],
    names: dict[str, str],
    folder: str,
    every: set[str],
    options: PittAdsOptions,
) -> pa.Table:
    decided = [decide(data.get(options.target, {}).get(key), names, options) for key in keys]
    texts = [
        "\n".join([one for name in options.text for one in _texts(data.get(name, {}).get(key))]) or None for key in keys
    ]
    # the photos' zips may be unpacked beside the annotations' folder or in it
    inner = [f"{folder}/{key}" if folder and f"{folder}/{key}" in every else key for key in keys]
    uris, climbs = safe_references(as_text(inner)[0])
    table = documents(
        len(keys),
        id=as_text(keys)[0],
        source=[f"{options.target}.json:{key}" for key in keys],
        labels=[labels for labels, _ in decided],
        text=texts,
        image=image_array(uris),
        extra={"cat_tie": pa.array(["yes" if tie else "no" for _, tie in decided], pa.string())},
    )
    return check_ids(mark(table, climbs, "bad_path", blank=False))


def decide(votes: object, names: dict[str, str], options: PittAdsOptions) -> tuple[list[str], bool]:
    """Return the labels that the annotators' votes give, and whether the first place was shared."""
    counts: dict[str, int] = {}
    for vote in votes if isinstance(votes, list) else ():
        for text in (vote.strip(),) if isinstance(vote, str) else dict.fromkeys(_texts(vote)):
            if text:
                label = names.get(text, text)
                counts[label] = counts.get(label, 0) + 1
    if options.votes == "all" or not counts:
        return sorted(counts), False
    best = max(counts.values())
    winners = [label for label, count in counts.items() if count == best]
    tie = len(winners) > 1
    return ([] if tie and options.ties == "drop" else sorted(winners)), tie


def _texts(values: Any) -> list[str]:
    some = values if isinstance(values, list) else [values]
    return [text for one in some if isinstance(one, str | int) and (text := str(one).strip())]


def label_names(root: Place, at: dict[str, str], options: PittAdsOptions) -> dict[str, str]:
    """Return number -> abbreviation of the target's list; topic 39 (unclear) is used but not listed.

    Topics_List.txt is UTF-16LE, the others Latin-1 (R10).
    """
    file = at.get(f"{options.target}_List.txt")
    if file is None:
        return {}
    wide = whole_text(root / file, options, encoding="utf-16-le")[0] or ""
    narrow = whole_text(root / file, options, encoding="latin-1")[0] or ""
    # in Latin-1 a UTF-16 text has a NUL after each letter, which whole_text drops; its numbers show which is right
    text = wide if re.search(r"^\s*\d+", wide) else narrow
    names = {"39": "unclear"} if options.target == "Topics" else {}
    for line in text.splitlines():
        number = re.match(r"\s*(\d+)", line)
        short = re.search(r'ABBREVIATION:?\s*"?([^"]+?)"?\s*\)?\s*$', line, re.IGNORECASE)
        if number and short:
            names[number.group(1)] = short.group(1).strip()
    return names


def vocabulary(path: str, options: PittAdsOptions) -> tuple[str, ...]:
    """Return the list's labels in the order of their numbers."""
    root = same_root(path)
    at = {file.uri.rsplit("/", 1)[-1]: file.uri for file in walk(root) if file.uri.endswith(".txt")}
    names = label_names(root, at, options)
    return tuple(names[number] for number in sorted(names, key=int))


def files(path: str, options: PittAdsOptions) -> Iterator[SourceFile]:
    """List the annotations, and the images unless `watch_images` is off."""
    return folder_files(path, options, (".json", ".txt"))


findings = stray_images


FORMAT = SourceFormat(
    "pitt_ads", "Pitt Image Ads annotations", PittAdsOptions, read, files,
    published=PUBLISHED, vocabulary=vocabulary, findings=findings, looks_for=LOOKS_FOR,
)  # fmt: skip
