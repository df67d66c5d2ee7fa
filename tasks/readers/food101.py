"""UPMC Food-101: the original tree with one text per image, the Kaggle re-release with a titles CSV per split, and the
JSON files of papers."""

import posixpath
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.tasks.readers.base import (
    Encoding,
    Finding,
    ReaderOptions,
    Refers,
    SourceFile,
    SourceFormat,
    Split,
    chosen,
    documents,
    image_array,
    mark,
)
from fuseline.tasks.readers.image_files import copied, is_image
from fuseline.tasks.readers.mapping import TableOptions, as_labels, as_text, check_ids
from fuseline.tasks.readers.places import LOOKED_AT, Place, companion, is_utf8, listed, nearest, same_root, walk
from fuseline.tasks.readers.sidecars import required_json, whole_text
from fuseline.tasks.readers.streams import file_blocks, text_lines
from fuseline.tasks.splits import hash_split

PUBLISHED = {"train": 67_988, "test": 22_716, "labels": 101}
SPLIT_FILE: dict[str, Split] = {"train": "train", "val": "valid", "test": "test"}
LOOKS_FOR = "images/<split>/<class>/*.jpg with texts_txt/<class>/*.txt, texts/<split>_titles.csv, or text.json"


class Food101Options(ReaderOptions):
    """Options of the Food-101 reader."""

    form: Literal["auto", "tree", "titles", "json"] = Field(
        "auto",
        description="tree: a page per document; titles: texts/{train,test}_titles.csv; json: text.json of {file name: "
        "title}, and split.json beside it",
    )
    text_folder: str = Field("texts_txt", description="Folder of the texts")
    text_suffix: str = Field(
        ".txt",
        description="Suffix of the texts; .html or .htm: pages under either, which fill `html` instead of `text`",
    )
    encoding: Encoding = Field(
        "utf-8", description="Encoding of the texts; the release declares none. A page's own charset comes first"
    )
    split_file: str | None = Field(
        None,
        description="split.json of {train, val, test: [file name]}, as prompt-tuning papers use it; form json "
        "takes the one beside text.json",
    )
    valid: float = Field(
        0.0, ge=0, lt=1, description="Share of the pages of train that becomes valid: the release has none"
    )


class Food101Row(NamedTuple):
    """One document before it is a row of a table."""

    source: str
    name: str  # file name of the image, e.g. apple_pie_0.jpg
    uri: str | None
    split: Split | None
    label: str | None
    title: Any = None  # of text.json, whatever it holds
    text: str | None = None
    html: str | None = None
    status: str = "ok"


def read(path: str, options: Food101Options) -> Iterator[pa.Table]:
    """Yield one document per image, and per row of the titles files, or name in the JSON files, without one (R4).

    The id is the file's name without suffix, the group what comes before "-2" in it: such numbers are probably
    images of one page. Statuses: bad_row, bad_name, bad_value (a title that is no text), too_large, bad_file, bomb.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: Food101Options) -> Iterator[pa.Table]:
    wrapper, root = release_root(path)
    names = [file.uri for file in walk(root) if file.uri.endswith(("_titles.csv", TITLES))]
    titles = sorted(name for name in names if not name.endswith(TITLES))
    papers = sorted(name for name in names if posixpath.basename(name) == TITLES)
    form = _form(root, titles, papers, options)
    if form == "json":
        beside = posixpath.join(posixpath.dirname(papers[0]), "split.json")
        if options.split_file is None and (root / beside).exists():
            options = options.model_copy(update={"split_file": beside})
    splits, matched = given_splits(path, wrapper, options), False
    if form == "json":
        rows = _json_rows(root, papers[0], splits, wrapper, options)
    else:
        rows = _title_rows(root, titles, wrapper, options) if form == "titles" else _tree_rows(root, wrapper, options)
    batch: list[Food101Row] = []
    for row in rows:
        batch.append(row if splits is None else row._replace(split=splits.get(row.name)))
        matched = matched or splits is None or row.name in splits
        if len(batch) == options.batch_rows:
            yield with_valid(table(batch), options.valid)
            batch = []
    if batch:
        yield with_valid(table(batch), options.valid)
        if not matched:
            _check_names("source.options.split_file", splits or (), [row.name for row in batch])


def _form(root: Place, titles: list[str], papers: list[str], options: Food101Options) -> str:
    """Return where the texts come from; ConfigError when that is not there, or not one place."""
    if options.form not in ("auto", "json") or not (papers or options.form == "json"):
        return options.form if options.form != "auto" else ("titles" if titles else "tree")
    texts = [*papers, *titles, *([options.text_folder] if (root / options.text_folder).is_dir() else ())]
    if not papers:
        raise ConfigError(mismatch("source.options.form", f"a {TITLES}", options.form, "leave it out, or add the file"))
    if len(papers) > 1 or (options.form == "auto" and len(texts) > 1):
        cure = "set it to json, titles or tree" if len(papers) == 1 else f"leave one {TITLES}"
        raise ConfigError(mismatch("source.options.form", "one source of texts", texts, cure))
    return "json"


def _check_names(what: str, names: Collection[str], images: list[str]) -> None:
    """Raise ConfigError when none of some images is named."""
    if images and not any(image in names for image in images):
        cure = f"it names {nearest(images[0], names).removeprefix('there are ')}"
        raise ConfigError(mismatch(what, "names of the images", images[0], cure))


def with_valid(table: pa.Table, share: float) -> pa.Table:
    """Move a share of the training pages to valid, by a hash of their names: more documents move none of the others."""
    if not share:
        return table
    taken = pc.equal(hash_split(pc.coalesce(table["group"], table["id"], ""), valid=share, test=0, seed=0), "valid")
    moved = pc.if_else(pc.and_(pc.equal(table["split"], "train"), taken), "valid", table["split"])
    return table.set_column(table.schema.get_field_index("split"), table.schema.field("split"), moved)


def release_root(path: str) -> tuple[str, Place]:
    """Return the folder of the release, one level down at most, and its name below the source: it holds images/."""
    root = same_root(path)
    for name in ("", *sorted({file.uri.split("/", 1)[0] for file in walk(root) if "/" in file.uri})):
        inner = root / name if name else root
        if any((inner / part).is_dir() for part in (*IMAGES, "texts")):
            return name, inner
    raise DataError(
        mismatch("source.path", "a folder with images/ or texts/ in it", path, "give the folder of the release")
    )


def _image_folder(root: Place) -> str:
    return next((name for name in IMAGES if (root / name).is_dir()), IMAGES[0])


def _tree_rows(root: Place, wrapper: str, options: Food101Options) -> Iterator[Food101Row]:
    images = _image_folder(root)
    suffixes = _suffixes(options)
    field = "html" if options.text_suffix.lower().startswith(".htm") else "text"
    n_texts, rows = 0, 0
    for uri, split, label in _images(root, images):
        stem = posixpath.splitext(posixpath.basename(uri))[0]
        text, slug = None, "missing"
        for name in (f"{options.text_folder}/{label}/{stem}{suffix}" for suffix in suffixes):
            text, slug = whole_text(root / name, options, encoding=options.encoding, page=field == "html")
            if slug != "missing":
                break
        n_texts, rows = n_texts + (slug != "missing"), rows + 1
        status = slug if slug not in ("ok", "missing") else "ok"
        row = image_row(posixpath.join(wrapper, images, uri), split, label)
        row = row if status == "ok" or row.status != "ok" else row._replace(status=status)
        yield row._replace(html=text or None) if field == "html" else row._replace(text=text or None)
    if rows and not n_texts:
        _check_texts(root, options)


def _suffixes(options: Food101Options) -> tuple[str, ...]:
    """Return the suffixes that texts may have: pages lie under either of two."""
    asked = options.text_suffix
    return (asked, *(one for one in PAGES if one != asked)) if asked in PAGES else (asked,)


def _check_texts(root: Place, options: Food101Options) -> None:
    """Raise ConfigError when no image has a text although there are texts, of another folder or with another suffix."""
    texts = [file.uri for file in islice(walk(root), LOOKED_AT) if file.uri.endswith((".txt", *PAGES))]
    places = sorted({f"{uri.split('/', 1)[0]}/**/*{posixpath.splitext(uri)[1]}" for uri in texts if "/" in uri})
    if texts or options.model_fields_set & {"text_folder", "text_suffix"}:
        wanted = f"{options.text_folder}/<class>/<image>{options.text_suffix}"
        cure = f"there are texts as {', '.join(places)}: set both to them" if places else "there is no text at all"
        what = "source.options.text_folder and text_suffix"
        raise ConfigError(mismatch(what, "texts of the images", f"none as {wanted}", cure))


def image_row(uri: str, split: Split | None, label: str) -> Food101Row:
    """Return the document of an image file; a name that is no UTF-8 makes it a `bad_name` without id and image."""
    if not is_utf8(uri):
        return Food101Row(uri, "", None, split, None, status="bad_name")
    return Food101Row(uri, posixpath.basename(uri), uri, split, label)


def _images(root: Place, images: str) -> Iterator[tuple[str, Split | None, str]]:
    """Yield (path below the images, split, class) of every image."""
    for file in walk(root / images) if (root / images).is_dir() else ():
        parts = file.uri.split("/")
        if is_image(file.uri):
            label = parts[-2] if len(parts) > 1 else class_of(parts[-1])
            yield file.uri, chosen(parts[0]), label


def class_of(name: str) -> str:
    """Return the class in a file name: what comes before the last underscore (classes hold underscores themselves)."""
    return posixpath.splitext(name)[0].rpartition("_")[0]


def _title_rows(root: Place, titles: list[str], wrapper: str, options: Food101Options) -> Iterator[Food101Row]:
    images = posixpath.join(wrapper, _image_folder(root))
    seen: set[str] = set()
    for name in titles:
        split = chosen(posixpath.basename(name).removesuffix("_titles.csv"))
        folder = posixpath.join(images, split or "")
        for _, block in file_blocks(root / name, options, options.encoding):
            lines, _ = text_lines(block, holes=True)
            for number, line in enumerate(lines, block.first):
                row = title_row(line, f"{name}:{number}", split, folder)
                if block.fault:
                    row = (row or Food101Row(f"{name}:{number}", "", None, split, None))._replace(status=block.fault)
                if row is not None:
                    seen.add(row.name)
                    yield row
    for uri, image_split, label in _images(root, _image_folder(root)):
        if posixpath.basename(uri) not in seen:
            yield image_row(posixpath.join(images, uri), image_split, label)


def _json_rows(
    root: Place, file: str, splits: Mapping[str, Split] | None, wrapper: str, options: Food101Options
) -> Iterator[Food101Row]:
    """Yield a row per image, and per name without one; an image that is nowhere lies where the release has it."""
    titles: dict[str, Any] = required_json(root / file, options, dict)
    images, seen = posixpath.join(wrapper, _image_folder(root)), set[str]()
    for uri, split, label in _images(root, _image_folder(root)):
        row = image_row(posixpath.join(images, uri), split, label)
        if row.name:
            seen.add(row.name)
        yield row._replace(title=titles.get(row.name) if row.name else None)
    for name, names in ((file, titles), (options.split_file, splits)):
        if names is not None:
            _check_names(posixpath.join(wrapper, name or ""), names, sorted(seen))
    for name, names in ((file, titles), (options.split_file, splits or {})):
        for number, image in enumerate(names, 1):
            if image not in seen:
                seen.add(image)
                source = f"{posixpath.join(wrapper, name or '')}:{number}"
                folder = "test" if (splits or {}).get(image) == "test" else "train"
                label = class_of(image)
                uri = posixpath.join(images, folder, label, image)
                good = bool(label) and "/" not in image and "\0" not in image
                row = Food101Row(source, image, uri, None, label, title=titles.get(image))
                yield row if good else Food101Row(source, "", None, None, None, status="bad_row")


def title_row(line: str, source: str, split: Split | None, folder: str) -> Food101Row | None:
    """Parse one physical line: before the first comma the file, after the last the class, the title in between (R3).

    One row of the release opens a quote that is never closed: a CSV reader loses the rows after it. In that stretch
    the names end in .txt where the image is a .jpg. None for blank lines and a header. `folder` holds the classes'.
    """
    name, comma, rest = line.partition(",")
    title, second, label = rest.rpartition(",")
    if not line or line.isspace() or name.strip('"').lower() in HEADERS:
        return None
    name, label = name.strip().strip('"'), label.strip().strip('"')
    if name.endswith(".txt"):
        name = name[:-4] + ".jpg"
    if not comma or not second or not label or not name:
        return Food101Row(source, name if comma else "", None, split, None, status="bad_row")
    if len(title) > 1 and title[0] == title[-1] == '"':
        title = title[1:-1]
    title = title.replace('""', '"').removeprefix('"').strip()
    uri = f"{folder}/{label}/{name}" if "/" not in name + label else posixpath.join(folder, label, name)
    return Food101Row(source, name, uri, split, label, title=title or None)


def given_splits(path: str, wrapper: str, options: Food101Options) -> dict[str, Split] | None:
    """Return file name -> split of the split file; None when none is asked for."""
    if options.split_file is None:
        return None
    lists = required_json(companion(path, posixpath.join(wrapper, options.split_file), "split_file"), options, dict)
    named = {split: lists.get(key) for key, split in SPLIT_FILE.items()}
    return {str(name): split for split, names in named.items() if isinstance(names, list) for name in names}


def table(rows: list[Food101Row]) -> pa.Table:
    """Build the documents of some rows."""
    columns = dict(zip(Food101Row._fields, zip(*rows, strict=True), strict=True))
    good = pa.array([status == "ok" for status in columns["status"]])
    names = as_text(columns["name"])[0]
    stems = pc.replace_substring_regex(names, r"(?s)^(\.*[^.].*)\.[^./]*$", r"\1")
    none = pa.scalar(None, pa.string())
    titles, odd = as_text(columns["title"])
    table = documents(
        len(rows),
        id=stems,
        source=columns["source"],
        status=columns["status"],
        split=columns["split"],
        group=pc.if_else(good, pc.replace_substring_regex(stems, r"-\d+$", ""), none),
        labels=as_labels(pc.if_else(good, as_text(columns["label"])[0], none), TableOptions())[0],
        title=titles,
        text=columns["text"],
        html=columns["html"],
        image=image_array(columns["uri"]),
    )
    return check_ids(mark(table, odd, "bad_value", blank=False))


def vocabulary(path: str, options: Food101Options) -> tuple[str, ...]:
    """Return the classes in the order of class_idx.json, which is not alphabetical (R7); () when there is none."""
    for file in walk(same_root(path)):
        if file.uri.rsplit("/", 1)[-1] == "class_idx.json":
            index: dict[str, Any] = required_json(same_root(path) / file.uri, options, dict)
            if any(type(number) is not int for number in index.values()):
                cure = "take this file from the release again"
                raise DataError(mismatch(file.uri, "class -> number", sorted(map(str, index.values()))[:5], cure))
            return tuple(sorted(index, key=lambda name: int(index[name])))
    return ()


def findings(path: str, options: Food101Options, refers: Refers) -> Iterator[Finding]:
    """Yield the texts of the original tree that have no image of their class and name."""
    wrapper, root = release_root(path)
    texts = root / options.text_folder
    if options.form in ("titles", "json") or not texts.is_dir():
        return
    images = _images(root, _image_folder(root))
    shown = {f"{label}/{posixpath.splitext(posixpath.basename(uri))[0]}" for uri, _, label in images}
    for file in walk(texts):
        suffix = next((one for one in _suffixes(options) if file.uri.endswith(one)), None)
        if suffix is not None and file.uri.removesuffix(suffix) not in shown:
            yield Finding("no_image", posixpath.join(wrapper, options.text_folder, file.uri))


def files(path: str, options: Food101Options) -> Iterator[SourceFile]:
    """List every image and text of the release."""
    yield from (file for file in walk(same_root(path)) if is_image(file.uri) or file.uri.endswith(TEXTS))
    extra = [posixpath.join(release_root(path)[0], options.split_file)] if options.split_file else []
    beside = [(companion(path, name, "split_file"), name) for name in extra]
    yield from (listed(file, name) for file, name in beside if not name.endswith(TEXTS))


IMAGES = ("images", "image")
HEADERS = frozenset({"image_path", "image", "file", "filename", "file_name", "name", "img", "path"})
TITLES = "text.json"
PAGES = (".html", ".htm")
TEXTS = (".txt", *PAGES, ".csv", ".json")


FORMAT = SourceFormat(
    "food101", "UPMC Food-101: original tree, Kaggle titles or JSON", Food101Options, read, files,
    published=PUBLISHED, vocabulary=vocabulary, findings=findings, looks_for=LOOKS_FOR,
)  # fmt: skip
