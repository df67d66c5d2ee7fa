"""Make examples/clipart from the full Open Clip Art extract.

    python examples/make_clipart.py FULL_SET examples/clipart

FULL_SET holds `documents.parquet` and an uncompressed `images.tar`, made from the Debian packages openclipart-png and
openclipart-svg 1:0.18+dfsg-19. Every choice is a function of the document id, so the same input gives the same bytes.
"""

import argparse
import collections
import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

SEED = 0
SMALLEST_CLASS = 40
LARGEST_CLASS = 150
MISSING_SHARE = 0.02  # of the documents lose their image, as many others lose their text
BROKEN = ("truncated", "not_an_image", "empty_file", "no_file")  # one document each, from train
# Folders too fine to tell apart from pictures of 260 pixels, or that hold the same kind of drawing.
MERGED = {
    r"^recreation/games/cards/.*": "recreation/games/cards",
    r"^signs_and_symbols/flags/europe/france$": "signs_and_symbols/flags/europe",
    r"^signs_and_symbols/flags/america/.*": "signs_and_symbols/flags/america",
    r"^people/clothing/hats$": "people/clothing",
    r"^education/books$": "education",
}

Row = dict[str, Any]


def draw(purpose: str, document: str) -> float:
    """Return a number in [0, 1) that depends on the seed, the purpose and the document's id alone."""
    digest = hashlib.sha256(f"{SEED}:{purpose}:{document}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def merge(label: str) -> str:
    """Return the class that a folder belongs to."""
    for pattern, name in MERGED.items():
        label = re.sub(pattern, name, label)
    return label


def choose(rows: list[Row]) -> list[Row]:
    """Keep folders without subfolders that have enough documents, and cut the largest ones by hash."""
    names = {row["label"] for row in rows}
    leaves = {name for name in names if not any(other.startswith(f"{name}/") for other in names)}
    by_label: dict[str, list[Row]] = collections.defaultdict(list)
    for row in rows:
        if row["label"] in leaves:
            by_label[row["label"]].append(row)
    kept = []
    for group in by_label.values():
        if len(group) >= SMALLEST_CLASS:
            kept += sorted(group, key=lambda row: draw("keep", row["id"]))[:LARGEST_CLASS]
    return sorted(kept, key=lambda row: row["id"])


def damage(rows: list[Row]) -> dict[str, str]:
    """Take the image or the text from some documents; return which documents get a broken image, and how."""
    for row in rows:
        share = draw("missing", row["id"])
        if share < MISSING_SHARE:
            row["image"] = None
        elif share < 2 * MISSING_SHARE:
            row["text"] = None
    whole = [row["id"] for row in rows if row["split"] == "train" and row["image"] and row["text"]]
    return dict(zip(sorted(whole, key=lambda name: draw("broken", name)), BROKEN, strict=False))


def write_images(rows: list[Row], broken: dict[str, str], *, archive: Path, folder: Path) -> None:
    """Copy the chosen members of the archive byte for byte, but for the few that are broken on purpose."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    with tarfile.open(archive) as tar:
        for row in rows:
            if row["image"] is None:
                continue
            member = tar.extractfile(Path(row["image"]).name)
            if member is None:
                raise FileNotFoundError(row["image"])
            data = member.read()
            how = broken.get(row["id"])
            if how == "truncated":
                data = data[: len(data) // 3]
            elif how == "not_an_image":
                data = b"<html><title>404 Not Found</title></html>\n"
            elif how == "empty_file":
                data = b""
            if how != "no_file":
                (folder / Path(row["image"]).name).write_bytes(data)


def write_documents(rows: list[Row], path: Path) -> None:
    """Write one JSON object per line."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_attribution(rows: list[Row], path: Path) -> None:
    """Name every creator with the number of drawings."""
    creators = collections.Counter(row["creator"] or "(no name given)" for row in rows)
    head = (
        "# Attribution\n\n"
        "The drawings come from the Open Clip Art Library, release 0.18, as packaged by Debian (source package "
        "openclipart, 1:0.18+dfsg-19).\nThe metadata inside every file names the Public Domain as its licence "
        "(`cc:license` = `http://web.resource.org/cc/PublicDomain` or\n`http://creativecommons.org/licenses/publicdomain/`)"
        "; files that do not were left out. Their authors dedicated them to the public domain:\nno attribution is "
        "needed, and they are thanked all the same. The texts are from the same metadata.\n\n"
        "| Creator | Drawings |\n|---|---:|\n"
    )
    body = [f"| {re.sub(r'[|<>&]', ' ', name)} | {count} |\n" for name, count in sorted(creators.items(), key=by_count)]
    path.write_text(head + "".join(body), encoding="utf-8")


def by_count(entry: tuple[str, int]) -> tuple[int, str]:
    """Sort largest first, then by name."""
    return -entry[1], entry[0]


def class_table(rows: list[Row]) -> str:
    """Return a Markdown table of documents per class and split."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for row in rows:
        counts[row["label"]][row["split"]] += 1
    counts["all"] = sum(counts.values(), collections.Counter())
    lines = ["| label | train | valid | test | all |", "|---|---:|---:|---:|---:|"]
    for name in [*sorted(set(counts) - {"all"}), "all"]:
        per = counts[name]
        lines.append(f"| {name} | {per['train']} | {per['valid']} | {per['test']} | {per.total()} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the arguments, write the folder and print the class table for its README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full_set", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    columns = ["id", "text", "label", "split", "image", "creator"]
    rows = pq.read_table(arguments.full_set / "documents.parquet", columns=columns).to_pylist()
    for row in rows:
        row["label"] = merge(row["label"])
        row["image"] = f"images/{row['image']}"
    rows = choose(rows)
    broken = damage(rows)
    write_images(rows, broken, archive=arguments.full_set / "images.tar", folder=arguments.out / "images")
    write_documents(rows, arguments.out / "documents.jsonl")
    write_attribution(rows, arguments.out / "ATTRIBUTION.md")
    print(class_table(rows))
    for name, how in broken.items():
        print(name, how)
    for field in ("image", "text"):
        missing = collections.Counter(row["split"] for row in rows if row[field] is None)
        print("no", field, dict(sorted(missing.items())))


if __name__ == "__main__":
    main()
