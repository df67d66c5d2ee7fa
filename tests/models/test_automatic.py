"""Options that a fit chooses: which are left open, what they are dumped as, and that given ones stay."""

from typing import ClassVar

import pytest
from pydantic import Field, ValidationError

from fuseline.models.automatic import AutomaticConfig, automatic, choices
from fuseline.models.config import key_values
from fuseline.models.fasttext.config import FastTextConfig


class Options(AutomaticConfig):
    together: ClassVar = (("least", "most"),)
    rate: float = automatic(0.1, choices=(0.1, 0.2), gt=0)
    least: int = automatic(0, choices=(0, 3))
    most: int = automatic(0, choices=(0, 6))
    seed: int = Field(3)


def test_what_is_not_given_or_given_as_auto_is_left_open() -> None:
    assert Options().automatic == Options.model_validate({"rate": "auto"}).automatic == ("rate", "least", "most")
    assert Options(rate=0.5, seed=1).automatic == ("least", "most")
    assert Options().rate == 0.1


def test_options_that_go_together_are_chosen_together_or_not_at_all() -> None:
    assert Options(most=4).automatic == ("rate",)
    assert Options(most=4).least == 0


def test_a_dump_gives_the_same_options_left_open() -> None:
    for given in ({}, {"rate": 0.3}, {"least": 1, "most": 2}):
        config = Options.model_validate(given)
        for dumped in (config.model_dump(), key_values(config)):
            again = Options.model_validate(dumped)
            assert (again, again.automatic) == (config, config.automatic)
    assert key_values(Options(rate=0.3)) == {"rate": 0.3, "least": "auto", "most": "auto", "seed": 3}


def test_a_value_over_a_dump_is_given() -> None:
    assert Options.model_validate({**key_values(Options()), "rate": 0.7}).automatic == ("least", "most")


def test_chosen_options_leave_nothing_open() -> None:
    chosen = Options(seed=9).chosen(rate=0.2)
    assert (chosen.automatic, chosen.rate, chosen.seed) == ((), 0.2, 9)


def test_other_words_are_refused() -> None:
    with pytest.raises(ValidationError, match="valid number"):
        Options.model_validate({"rate": "automatic"})
    with pytest.raises(ValidationError, match="valid integer"):
        Options.model_validate({"seed": "auto"})


def test_choices_are_known_of_automatic_options_alone() -> None:
    assert choices(Options, "rate") == [0.1, 0.2]
    assert choices(Options(), "seed") is None


def test_the_programs_preset_leaves_open_only_what_is_called_auto() -> None:
    assert FastTextConfig(preset="fasttext").automatic == ()
    assert FastTextConfig.model_validate({"preset": "fasttext", "lr": "auto"}).automatic == ("lr",)
    program = FastTextConfig(preset="fasttext")
    assert (program.lr, program.dim, program.epochs, program.word_ngrams, program.maxn) == (0.1, 100, 5, 1, 0)
