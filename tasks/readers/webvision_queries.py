"""queries_synsets_map.txt of WebVision: it counts synsets from 1 in 1.0, from 0 in 2.0; the file lists decide."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from fuseline.tasks.readers.base import ReaderOptions, Split
from fuseline.tasks.readers.places import Openable
from fuseline.tasks.readers.streams import file_blocks, text_lines
from fuseline.tasks.readers.webvision_tars import Release

logger = logging.getLogger(__name__)

MAP = "queries_synsets_map.txt"
SAMPLE = 20_000  # training lines that are compared with the map
Lists = Sequence[tuple[Split, Sequence[tuple[str, str, str]]]]  # what `webvision.file_lists` returns


def query_synsets(release: Release, lists: Lists, options: ReaderOptions) -> dict[int, int]:
    """Return query number -> label from 0; {} without the map, or when the file lists do not bear it out."""
    file = release.info(MAP)
    if file is None:
        return {}
    synsets = dict(pairs(_lines(file, options)))
    names = [name for split, some in lists if split == "train" for name, _, _ in some]
    base = map_base(synsets, (line for name in names for line in _head(release.lists[name][1], options)))
    if base is None:
        logger.warning("%s does not agree with the training file lists and is not used", MAP)
        return {}
    return {query: synset - base for query, synset in synsets.items()}


def map_base(synsets: dict[int, int], lines: Iterable[str]) -> int | None:
    """Return 0 or 1, what the map counts from; None when fewer than 99 of 100 training lines bear either out.

    Lines without a query number or a label are ignored.
    """
    votes: Counter[int] = Counter()
    for line in lines:
        uri, _, label = line.rstrip().rpartition(" ")
        query = query_number(uri)
        if query in synsets and label.isdecimal() and len(label) < 10:
            votes[synsets[query] - int(label)] += 1
    base, count = max(votes.items(), key=lambda item: item[1], default=(-1, 0))
    return base if base in (0, 1) and count >= 0.99 * votes.total() else None


def query_number(uri: str) -> int | None:
    """Return 12 of "google/q0012/x.jpg"; 2.0 has more than four digits."""
    match = re.search(r"(?:^|/)q(\d{1,9})/[^/]*$", uri)
    return int(match.group(1)) if match else None


def pairs(lines: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield the two numbers of each line "<query> <synset>"; other lines are skipped."""
    for line in lines:
        parts = line.split()
        if len(parts) == 2 and all(part.isdecimal() and len(part) < 10 for part in parts):
            yield int(parts[0]), int(parts[1])


def _lines(file: Openable, options: ReaderOptions) -> Iterator[str]:
    for _, block in file_blocks(file, options):
        if block.fault is None:
            yield from text_lines(block)[0]


def _head(file: Openable, options: ReaderOptions) -> Iterator[str]:
    for index, line in enumerate(_lines(file, options)):
        if index == SAMPLE:
            return
        yield line
