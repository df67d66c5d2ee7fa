"""A listing is a digest and two small numbers per file."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fuseline.stores.digests import combine
from fuseline.tasks.documents.source_files import Listing
from fuseline.tasks.readers import SourceFile

FILES = st.lists(
    st.builds(SourceFile, st.text(max_size=8), st.integers(0, 2**50), st.integers(0, 2**62)),
    unique_by=lambda file: file.uri,
    max_size=20,
)


@given(FILES)
def test_the_digest_is_that_of_all_lines(files):
    assert Listing.of(iter(files)).digest == combine(f"{f.uri} {f.size} {f.mtime_ns}" for f in files)


@given(FILES, st.lists(st.text(max_size=8), max_size=5))
def test_each_name_leads_to_its_file(files, others):
    listing = Listing.of(files)
    uris = [file.uri for file in files] + others
    names, stamps, there = listing.find(uris)
    assert there.tolist() == [uri in {file.uri for file in files} for uri in uris]
    by_uri = {file.uri: stamp for file, stamp in zip(files, stamps.tolist(), strict=False)}
    assert stamps.tolist() == [by_uri.get(uri, 0) for uri in uris]
    assert len(set(names.tolist())) == len(set(uris))
    same = [(file.size, file.mtime_ns) for file in files]
    assert len(set(stamps[: len(files)].tolist())) == len(set(same))


def test_a_listing_takes_16_bytes_per_file():
    n = 100_000
    tracemalloc.start()
    listing = Listing.of(SourceFile(f"images/{i:012d}.jpg", 1000 + i, 10**18 + i) for i in range(n))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert listing.names.nbytes + listing.stamps.nbytes == 16 * n
    assert held < 17 * n
    assert peak < 60 * n
    assert np.all(np.diff(listing.names.astype(object)) > 0)


def test_names_that_are_no_text_are_names():
    one, other = (Listing.of([SourceFile(name, 1, 1)]) for name in ("\udcff.jpg", "\udcfe.jpg"))
    assert one.digest != other.digest
    assert one.find(["\udcff.jpg", "\udcfe.jpg"])[2].tolist() == [True, False]
