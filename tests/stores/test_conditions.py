"""Names of evaluations with something masked: written and read alike."""

import pytest

from fuseline.stores.conditions import Masking, masking


@pytest.mark.parametrize("name", ["image", "embed/image", "every image input", "a masked in 3 % b", "100 % wool"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.125, 0.9, 1.0])
def test_a_condition_is_read_as_it_was_written(name, share):
    found = masking(str(Masking(name, share)))
    assert found is not None
    assert found.name == name
    assert found.share == pytest.approx(share)


def test_conditions_as_people_read_them():
    assert str(Masking("image")) == "image masked"
    assert str(Masking("image", 0.3)) == "image masked in 30 %"
    assert masking("with noise") is None
