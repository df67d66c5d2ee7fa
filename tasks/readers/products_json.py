"""Amazon Berkeley Objects and Amazon metadata: JSON lines whose fields are lists and nested objects."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from tasks.readers.jsonl import JsonlOptions, line_id, parse_block
from tasks.readers.mapping import TableOptions
from tasks.readers.overlay import map_objects
from tasks.readers.places import Place, same_root, walk
from tasks.readers.records import csv_records
from tasks.readers.streams import file_blocks

if TYPE_CHECKING:
    from tasks.readers.products import ProductsOptions

Row = dict[str, Any]
ROLES = {name: name for name in ("id", "title", "description", "text", "labels", "image", "group")}


def abo(path: str, options: "ProductsOptions") -> Iterator[pa.Table]:
    """Yield the listings; an item appears once per domain, so the id is item and domain, the group the item."""
    root = same_root(path)
    names = [file.uri for file in walk(root)]
    images = image_paths(
        root, next((name for name in names if name.endswith(("images.csv.gz", "images.csv"))), None), options
    )
    folder = "images/small/" if any(name.startswith("images/small/") for name in names) else "images/original/"

    def made(row: Row) -> Row:
        item, domain = row.get("item_id"), row.get("domain_name")
        where = images.get(str(row.get("main_image_id") or ""))
        bullets = spoken(row.get("bullet_point"), options.languages)
        return {
            "id": f"{item}@{domain}" if item and domain else item,
            "group": item,
            "title": first(spoken(row.get("item_name"), options.languages)),
            "description": "\n".join(bullets) or None,
            "text": " ".join(spoken(row.get("item_keywords"), options.languages)) or None,
            "labels": [one["value"] for one in _objects(row.get("product_type")) if isinstance(one.get("value"), str)],
            "image": folder + where if where else None,
            **{f"cat_{name}": first(spoken(row.get(name), options.languages)) for name in ("brand", "color", "style")},
        }

    wanted = [name for name in names if "listings_" in name and name.endswith((".json.gz", ".json"))]
    return _documents(root, wanted, options, made, ("brand", "color", "style"))


def image_paths(root: Place, name: str | None, options: "ProductsOptions") -> dict[str, str]:
    """Return image id -> path of images.csv: image_id, height, width, path."""
    if name is None:
        return {}
    settings = TableOptions(max_line_bytes=options.max_line_bytes)
    rows = (record.fields for record in csv_records(root / name, name, settings, delimiter=","))
    return {row[0]: row[3] for row in rows if row is not None and len(row) == 4}


def spoken(values: Any, languages: tuple[str, ...]) -> list[str]:
    """Return the values of a {language_tag, value} list in the first preferred language that it has, else in any."""
    found = [one for one in _objects(values) if isinstance(one.get("value"), str) and one["value"]]
    for language in languages:
        mine = [one["value"] for one in found if str(one.get("language_tag", "")).startswith(language)]
        if mine:
            return mine
    tag = found[0].get("language_tag") if found else None
    return [one["value"] for one in found if one.get("language_tag") == tag]


def amazon(path: str, options: "ProductsOptions") -> Iterator[pa.Table]:
    """Yield the metadata of 2023 (meta_*.jsonl) or 2018 (meta_*.json.gz); images are URLs and stay so."""
    root = same_root(path)
    label = options.label or "main_category"

    def made(row: Row) -> Row:
        names = row.get(label, row.get("main_cat") if label == "main_category" else row.get("category"))
        features = row.get("features", row.get("feature"))
        return {
            "id": row.get("parent_asin") or row.get("asin"),
            "group": row.get("parent_asin"),
            "title": row.get("title"),
            "description": row.get("description"),
            "text": features,
            "labels": names,
            "image": web_image(row),
            "cat_store": row.get("store", row.get("brand")),
        }

    wanted = [file.uri for file in walk(root) if file.uri.rsplit("/", 1)[-1].startswith("meta_")]
    return _documents(root, wanted, options, made, ("store",))


def web_image(row: Mapping[str, Any]) -> str | None:
    """Return the largest URL of the first image."""
    for one in _objects(row.get("images")):
        found = one.get("hi_res") or one.get("large") or one.get("thumb")
        if isinstance(found, str):
            return found
    urls = row.get("imageURLHighRes") or row.get("imageURL")
    return urls[0] if isinstance(urls, list) and urls and isinstance(urls[0], str) else None


def _documents(
    root: Place, names: list[str], options: "ProductsOptions", made: Callable[[Row], Row], categories: tuple[str, ...]
) -> Iterator[pa.Table]:
    settings = JsonlOptions(
        tabular={f"cat_{name}": "category" for name in categories},
        **{
            name: getattr(options, name) for name in ("max_line_bytes", "max_ratio", "batch_rows", "max_unpacked_bytes")
        },
    )
    for name in names:
        for _, block in file_blocks(root / name, options):
            rows, slugs, places, heads = parse_block(block, name, settings)
            for start in range(0, len(rows), options.batch_rows):
                part = slice(start, start + options.batch_rows)
                ids = [
                    line_id(head, "asin", where) if head else None
                    for head, where in zip(heads[part], places[part], strict=True)
                ]
                mapped = [None if row is None else made(row) for row in rows[part]]
                table = map_objects(mapped, slugs[part], places[part], ids, settings, ROLES, split=None)
                yield table.rename_columns([one.replace("cat_cat_", "cat_") for one in table.column_names])


def _objects(values: Any) -> list[dict[str, Any]]:
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def first(values: list[str]) -> str | None:
    """Return the first value; None when there is none."""
    return values[0] if values else None
