"""The shipped example is what its README says."""

import collections
import json
import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "examples" / "clipart"
ROWS = [json.loads(line) for line in (FOLDER / "documents.jsonl").read_text("utf-8").splitlines()]
README = (FOLDER / "README.md").read_text("utf-8")


def test_the_table_of_classes_and_splits_is_true():
    counts = collections.Counter((row["label"], row["split"]) for row in ROWS)
    table = re.findall(r"^\| (\S+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", README, flags=re.M)
    assert len(table) == 36 + 1
    for label, *numbers in table[:-1]:
        found = [counts[label, split] for split in ("train", "valid", "test")]
        assert [*found, sum(found)] == [int(number) for number in numbers], label
    assert table[-1][-1] == str(len(ROWS)) == str(len({row["id"] for row in ROWS}))


def test_what_is_missing_or_broken_is_what_the_readme_lists():
    listed = set(re.findall(r"^\| (oca-\w+) \|", README, flags=re.M))
    files = {path.name for path in (FOLDER / "images").iterdir()}
    named = {Path(row["image"]).name: row["id"] for row in ROWS if row["image"]}
    assert files <= set(named)
    unreadable = {
        name for path in (FOLDER / "images").iterdir() if path.read_bytes()[8:12] != b"WEBP" for name in [path.name]
    }
    assert {named[name] for name in set(named) - files | unreadable} < listed
    assert f"{sum(row['image'] is None for row in ROWS)} documents have no image" in README
    assert f"{sum(row['text'] is None for row in ROWS)} others have no text" in README
    assert all(row["image"] or row["text"] for row in ROWS)


def test_it_stays_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 15_000_000
