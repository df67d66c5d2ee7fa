"""Where the images of YFCC100M lie: the template of their paths filled row by row, in folders or in zips."""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.stores.errors import ConfigError, mismatch
from fuseline.tasks.readers.base import ReaderOptions, image_array
from fuseline.tasks.readers.places import image_root, place, safe_references
from fuseline.tasks.readers.zipindex import MARK, ZipStore, zipped

PIECES = ("hash", "h3", "h6", "id", "line", "ext", "l2", "l3", "m3")
USUAL = "jpg"  # what photos are stored as, whatever was uploaded, with some exceptions


class YfccImages:
    """The images of one source by the template of their paths; without a template there are none."""

    def __init__(self, path: str, template: str | None, options: ReaderOptions) -> None:
        self._pieces = pieces(template)
        self._root = place(image_root(path, options)) if template else None
        self._zips = ZipStore(self._root, options) if self._root is not None and in_zips(template) else None

    def of(self, column: Callable[[str], pa.Array], video: pa.Array) -> pa.Array:
        """Return the references of some rows, (n,); null where a part of the path is unknown.

        Args:
            column: gives the fields photoid, hash, line and ext, each (n,) string. The hash counts as it is stored:
                it may have 30 or 31 digits.
            video: which rows are videos, (n,) bool.
        """
        if self._root is None:
            return pa.nulls(len(video))
        fields = {name: _PARTS[name](column) for name in self._pieces[1::2] if name != "ext"}
        uris = self._filled({**fields, "ext": pc.if_else(video, "mp4", USUAL)})
        if "ext" in self._pieces[1::2]:
            fields["ext"] = column("ext")
            other = pc.and_not(pc.invert(pc.is_in(fields["ext"], pa.array(["", USUAL, None]))), video)
            if pc.any(other).as_py():
                theirs = self._filled({name: values.filter(other) for name, values in fields.items()})
                uris = pc.replace_with_mask(uris, other, self._found(uris.filter(other), theirs))
        return image_array(uris)

    def placed(self, table: pa.Table) -> pa.Table:
        """Return documents whose references into zips are the places of the bytes there; others as they are."""
        return table if self._zips is None else zipped(table, self._zips)

    def _filled(self, fields: Mapping[str, pa.Array]) -> pa.Array:
        parts = [fields[piece] if index % 2 else pa.scalar(piece) for index, piece in enumerate(self._pieces)]
        return safe_references(pc.binary_join_element_wise(*parts, ""))[0]

    def _found(self, usual: pa.Array, original: pa.Array) -> pa.Array:
        """Return the usual reference, or the original one where only that leads to a file."""
        missing = [not there for there in self._exist(usual.to_pylist())]
        there = self._exist([uri if gone else None for uri, gone in zip(original.to_pylist(), missing, strict=True)])
        return pc.if_else(pa.array(there, pa.bool_()), original, usual)

    def _exist(self, uris: Sequence[str | None]) -> list[bool]:
        if self._zips is not None:
            return [member is not None for member in self._zips.find(uris)]
        return [uri is not None and self._root is not None and (self._root / uri).exists() for uri in uris]


def _hash(column: Callable[[str], pa.Array]) -> pa.Array:
    hashes = column("hash")
    return pc.if_else(pc.equal(hashes, ""), pa.scalar(None, pa.string()), hashes)


def _line(column: Callable[[str], pa.Array], start: int, stop: int | None) -> pa.Array:
    """Return digits of the line number as eight."""
    return pc.utf8_slice_codeunits(pc.utf8_lpad(column("line"), 8, "0"), start, stop)


_PARTS: dict[str, Callable[[Callable[[str], pa.Array]], pa.Array]] = {
    "hash": _hash,
    "h3": lambda column: pc.utf8_slice_codeunits(_hash(column), 0, 3),
    "h6": lambda column: pc.utf8_slice_codeunits(_hash(column), 3, 6),
    "id": lambda column: column("photoid"),
    "line": lambda column: column("line"),
    "l2": lambda column: _line(column, 0, 2),
    "l3": lambda column: _line(column, 2, 5),
    "m3": lambda column: _line(column, 5, None),
}


def pieces(template: str | None) -> list[str]:
    """Return the pieces of a template: text and, at odd places, the names in braces."""
    return (template or "").replace("}", "{").split("{")


def in_zips(template: str | None) -> bool:
    """Return whether the images lie in zips."""
    return template is not None and MARK in template


def check_template(template: str | None) -> None:
    """Raise ConfigError for a template that names anything but PIECES, or nothing: all rows would share one image."""
    names = pieces(template)[1::2]
    for piece in names if names or template is None else [template]:
        if piece not in PIECES:
            cure = "use one of the names in braces"
            raise ConfigError(mismatch("source.options.image", PIECES, piece, cure))
