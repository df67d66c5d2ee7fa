"""Faults among PetFinder's files beside its rows: photos and JSON files that do not match, by number or by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from fuseline.stores.errors import DataError, mismatch
from fuseline.tasks.readers.base import Finding, ReaderOptions
from fuseline.tasks.readers.places import Place
from fuseline.tasks.readers.records import Columns
from fuseline.tasks.readers.sidecars import whole_json

Photos = Mapping[str, Sequence[tuple[int, str]]]  # PetID -> its photos


def counts(rows: Columns, photos: Photos, sentiments: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the rows whose photo count differs from PhotoAmt, and descriptions without a sentiment file.

    A release without any photos or sentiments has none to miss.
    """
    pets = zip(rows.get("petid"), rows.get("photoamt"), rows.get("description"), rows.sources.to_pylist(), strict=True)
    for pet, amount, description, source in pets:
        if pet is None:
            continue
        number = _number(amount)
        if photos and number is not None and number != len(photos.get(pet, ())):
            yield Finding("photo_count", source, pet)
        if sentiments and description and pet not in sentiments:
            yield Finding("no_sentiment", source, pet)


def _number(amount: str | None) -> float | None:
    """Return PhotoAmt, which may print as 1.0."""
    try:
        return None if amount is None else float(amount)
    except ValueError:
        return None


def strangers(files: Mapping[str, Sequence[str]], known: Callable[[str], bool], what: str) -> Iterator[Finding]:
    """Yield the files whose pet or photo no row knows; DataError when there are some, and all are strangers.

    `files` maps the key by which they are joined to their paths.
    """
    lost = {key: paths for key, paths in files.items() if not known(key)}
    if files and len(lost) == len(files):
        first = next(iter(sorted(path for paths in lost.values() for path in paths)))
        cure = "take both from the same release"
        raise DataError(mismatch(f"{what} of PetFinder", "files of the pets in train.csv or test.csv", first, cure))
    yield from (Finding("no_row", path) for paths in lost.values() for path in paths)


def unreadable(root: Place, files: Mapping[str, str], slug: str, options: ReaderOptions) -> Iterator[Finding]:
    """Yield the JSON files, by PetID or photo, that are no JSON object."""
    for key, path in files.items():
        value: object = whole_json(root / path, options)[0]
        if not isinstance(value, dict):
            yield Finding(slug, path, key)
