"""Garbage collection rests for imports only."""

import gc

import pytest

from fuseline.flows.imports import uncollected


def test_it_goes_on_after_the_block_and_after_an_error_in_it() -> None:
    with uncollected(), uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()
