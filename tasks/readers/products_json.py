"""Amazon Berkeley Objects and Amazon metadata: JSON lines whose fields are lists and nested objects."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fuseline.stores.errors import DataError, mismatch
from fuseline.tasks.readers.base import documents, image_array, mark
from fuseline.tasks.readers.json_objects import Objects, parse_block
from fuseline.tasks.readers.mapping import TableOptions, as_labels, as_text, check_ids
from fuseline.tasks.readers.overlay import overlay
from fuseline.tasks.readers.places import Place, check_keys, safe_references, same_root, walk
from fuseline.tasks.readers.records import csv_records
from fuseline.tasks.readers.streams import file_blocks

Columns = dict[str, Sequence[object]]  # id, group, title, description, text, labels, image, cat_*
SPOKEN = ("brand", "color", "style")  # categories of ABO


def abo(path: str, options: TableOptions, languages: tuple[str, ...]) -> Iterator[pa.Table]:
    """Yield the listings; an item appears once per domain, so the id is item and domain, the group the item."""
    root = same_root(path)
    names = [file.uri for file in walk(root)]
    table = next((name for name in names if name.endswith(("images.csv.gz", "images.csv"))), None)
    images = {} if table is None else image_paths(root / table, table, options)
    folder = "images/small/" if any(name.startswith("images/small/") for name in names) else "images/original/"

    shown_ids: set[str] = set()

    def columns(objects: Objects) -> Columns:
        items, domains, shown = (objects.ids(name) for name in ("item_id", "domain_name", "main_image_id"))
        texts = {name: _spoken(objects, name, languages) for name in ("item_name", "bullet_point", "item_keywords")}
        kinds = [_objects(values) for values in objects.column("product_type", digits=False)]
        shown_ids.update(one for one in shown if isinstance(one, str))
        return {
            "id": [f"{one}@{domain}" if one and domain else one for one, domain in zip(items, domains, strict=True)],
            "group": items,
            "title": list(map(first, texts["item_name"])),
            "description": ["\n".join(values) for values in texts["bullet_point"]],
            "text": [" ".join(values) for values in texts["item_keywords"]],
            "labels": [[one["value"] for one in some if isinstance(one.get("value"), str)] for some in kinds],
            "image": [folder + images[one] if one in images else None for one in map(_name, shown)],
            **{f"cat_{name}": list(map(first, _spoken(objects, name, languages))) for name in SPOKEN},
        }

    wanted = [name for name in names if "listings_" in name and name.endswith((".json.gz", ".json"))]
    yield from _documents(root, wanted, options, columns)
    if images and shown_ids and not shown_ids & images.keys():
        cure = "take it from the release of the listings"
        raise DataError(mismatch(str(table), "the images of the listings", f"none of {len(images):,}", cure))


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def image_paths(file: Place, name: str, options: TableOptions) -> dict[str, str]:
    """Return image id -> path of images.csv: image_id, height, width, path."""
    batches = csv_records(file, name, options, delimiter=",")
    return {row[0]: row[3] for batch in batches for row in batch.fields if row is not None and len(row) == 4}


def _spoken(objects: Objects, name: str, languages: tuple[str, ...]) -> list[list[str]]:
    return [spoken(values, languages) for values in objects.column(name, digits=False)]


def spoken(values: Any, languages: tuple[str, ...]) -> list[str]:
    """Return the values of a {language_tag, value} list in the first preferred language that it has, else in any."""
    if not isinstance(values, list):
        return []
    tagged = [
        (str(one.get("language_tag", "")), one["value"])
        for one in values
        if isinstance(one, dict) and isinstance(one.get("value"), str) and one["value"]
    ]
    if len(tagged) > 1:
        for start in languages:
            if mine := [value for tag, value in tagged if tag.startswith(start)]:
                return mine
    return [value for tag, value in tagged if tag == tagged[0][0]]


def amazon(path: str, options: TableOptions, chosen: str | None) -> Iterator[pa.Table]:
    """Yield the metadata of 2023 (meta_*.jsonl) or 2018 (meta_*.json.gz); images are URLs and stay so."""
    root = same_root(path)
    seen: set[str] = set()
    label = chosen or "main_category"

    def columns(objects: Objects) -> Columns:
        seen.update(objects.keys())
        items = objects.ids("parent_asin")
        return {
            "id": _either(items, objects.ids("asin")),
            "group": items,
            "title": objects.column("title"),
            "description": objects.column("description"),
            "text": _either(objects.column("features"), objects.column("feature")),
            "labels": _either(objects.column(label), objects.column(OLD.get(label, label))),
            "image": [web_image(row or {}) for row in objects.rows],
            "cat_store": _either(objects.column("store"), objects.column("brand")),
        }

    wanted = [file.uri for file in walk(root) if file.uri.rsplit("/", 1)[-1].startswith("meta_")]
    yield from _documents(root, wanted, options, columns)
    if chosen is not None and OLD.get(chosen) not in seen:
        check_keys("label", [chosen], seen)


def _either(new: list[object], old: list[object]) -> list[object]:
    return [one if one else other for one, other in zip(new, old, strict=True)]


def web_image(row: Mapping[str, Any]) -> str | None:
    """Return the largest URL of the first image."""
    for one in _objects(row.get("images")):
        url = one.get("hi_res") or one.get("large") or one.get("thumb")
        if isinstance(url, str):
            return url
    urls = row.get("imageURLHighRes") or row.get("imageURL")
    return urls[0] if isinstance(urls, list) and urls and isinstance(urls[0], str) else None


def _documents(
    root: Place, names: list[str], options: TableOptions, columns: Callable[[Objects], Columns]
) -> Iterator[pa.Table]:
    for name in names:
        for member, block in file_blocks(root / name, options):
            objects = parse_block(block, f"{name}/{member}" if member else name, options)
            if objects.rows:
                table = _table(columns(objects), objects)
                for start in range(0, len(table), options.batch_rows):
                    yield table.slice(start, options.batch_rows)


def _table(columns: Columns, objects: Objects) -> pa.Table:
    bad = objects.bad
    texts = {name: as_text(columns[name]) for name in ("group", "title", "description", "text")}
    labels, odd = as_labels(columns["labels"], TableOptions())
    uris, climbs = safe_references(as_text(columns["image"])[0])
    table = documents(
        len(bad),
        id=as_text(columns["id"])[0],
        source=objects.places,
        labels=labels,
        image=image_array(uris),
        extra={name: as_text(values)[0] for name, values in columns.items() if name.startswith("cat_")},
        **{name: text for name, (text, _) in texts.items()},
    )
    for nested in (odd, *(wrong for _, wrong in texts.values())):
        table = mark(table, nested, "bad_value")
    return check_ids(overlay(mark(table, climbs, "bad_path", blank=False), objects.slugs, bad))


def _objects(values: Any) -> list[dict[str, Any]]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def first(values: Sequence[str]) -> str | None:
    """Return the first value; None when there is none."""
    return values[0] if values else None


OLD = {"main_category": "main_cat", "categories": "category"}  # names of 2018
