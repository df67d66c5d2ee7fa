"""The files of a WebVision release: unpacked, in its tars, or some of each."""

import posixpath
import re
from collections.abc import Iterator
from functools import cached_property, partial

from fuseline.tasks.readers.base import ReaderOptions
from fuseline.tasks.readers.image_files import is_image
from fuseline.tasks.readers.places import Openable, image_root, place, same_root, walk
from fuseline.tasks.readers.tarindex import SUFFIXES, TarMember, TarStore

SOURCES = ("google", "flickr")
LISTS = frozenset(
    {"synsets.txt", "queries_synsets_map.txt", "val_filelist.txt", "test_filelist.txt"}
    | {f"train_{kind}_{source}.txt" for kind in ("filelist", "meta_list") for source in (*SOURCES, "all")}
)
INFO = "info"  # begins the name of the tar of the lists
BARE = re.compile(r"(?:q\d+/)?[^/]+")  # a member that lacks the folder that its tar is named after


class Release:
    """Where the lists, the arrays of metadata and the images of a release lie."""

    def __init__(self, path: str, options: ReaderOptions, metadata_root: str = "") -> None:
        self.root = same_root(path)
        start = image_root(path, options)
        self._options, self._apart = options, options.root is not None
        self._images_at = place(start) if self._apart else self.root
        self._naming = partial(path_of, apart=metadata_root)

    @cached_property
    def tars(self) -> TarStore:
        """The files of the release's folder."""
        return TarStore(self.root, self._found[0], self._options, self._naming)

    @cached_property
    def images(self) -> TarStore:
        """The files below the root of the images."""
        if not self._apart:
            return self.tars
        tars = [file.uri for file in walk(self._images_at) if file.uri.lower().endswith(SUFFIXES)]
        return TarStore(self._images_at, tars, self._options, self._naming)

    @cached_property
    def lists(self) -> dict[str, tuple[str, Openable]]:
        """Name of each existing list -> (where it lies, the file); an unpacked one takes precedence."""
        tars, unpacked = self._found
        images: dict[str, tuple[str, Openable]] = {}
        named = [one for one in tars if posixpath.basename(one).startswith(INFO)]
        searched = named or ([] if "synsets.txt" in unpacked else tars)
        for tar, name, member in TarStore(self.root, searched, self._options, self._naming).listed():
            base = posixpath.basename(name)
            if base in LISTS and member.slug == "ok" and member.offset is not None:
                images[base] = (f"{tar}/{name}", TarMember(self.root / tar, member.offset, member.length))
        return images | {base: (uri, self.root / uri) for base, uri in unpacked.items()}

    def info(self, base: str) -> Openable | None:
        """Return info/`base`, or that file where it lies beside the folders, or in a tar; None without it."""
        for name in (f"{INFO}/{base}", base):
            if (self.root / name).exists():
                return self.root / name
        return self.lists[base][1] if base in self.lists else None

    def image_folder(self, stem: str) -> str:
        """Return the folder of the images of a split, "val" or "test", with a slash."""
        names = (f"{stem}_images_256", f"{stem}_images_resized", f"{stem}_images")
        there = (name for name in names if (self._images_at / name).is_dir() or self.images.has_folder(name))
        return f"{next(there, names[0])}/"

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield ("tar:member", slug) of what cannot be read in the tars, after all that refers to them."""
        for store in dict.fromkeys((self.tars, self.images)):
            yield from store.faults()

    @cached_property
    def _found(self) -> tuple[list[str], dict[str, str]]:
        """Return the tars, and the lists that are unpacked by their names."""
        tars, lists = [], {}
        for file in walk(self.root):
            if file.uri.lower().endswith(SUFFIXES):
                tars.append(file.uri)
            elif (base := posixpath.basename(file.uri)) in LISTS:
                lists[base] = file.uri
        return tars, lists


def path_of(tar: str, member: str, *, apart: str) -> str:
    """Return the path of a member once its tar is unpacked at the root, or where the arrays lie `apart` of it.

    google_resized_256.tar holds google/q0001/x.jpg; without that first folder it is put before. Likewise
    val_images_256/x.jpg in val_images_256.tar, and info/synsets.txt in info.tar.
    """
    name = posixpath.basename(tar).partition(".")[0]
    source = re.match(r"google|flickr|info", name)
    home = f"{source.group(0) if source else name}/{member}" if BARE.fullmatch(member) else member
    return f"{apart}/{home}" if apart and tar.startswith(f"{apart}/") else home


def stray_members(release: Release) -> Iterator[tuple[str, str]]:
    """Yield ("tar:offset", "tar:member") of the training images in tars."""
    for tar, name, member in release.images.members():
        if is_image(name) and name.startswith(SOURCES) and not posixpath.basename(name).startswith("."):
            yield f"{tar}:{member.offset}", f"{tar}:{member.name}"
