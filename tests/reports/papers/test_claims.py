"""The claims of paper K as rules: what comes of them on its own cells, and on numbers that go the other way."""

import math

import pytest

from fuseline.reports.papers.claims import CLAIMS, Mean, Scored, Varied
from fuseline.reports.papers.kiela_tables import published_scores


def verdicts(data):
    return [claim.on(data).verdict for claim in CLAIMS]


def test_the_paper_bears_out_its_own_claims_where_its_cells_say_anything():
    found = {name: verdicts(published_scores(name)) for name in ("food101", "mmimdb", "flickrtag1")}
    # On Food101 bilinear is .1 above text, with deviations of .3 and .1.
    assert found["food101"] == ["narrowly holds", "holds", "holds", "holds", "holds", "not measured", "not measured"]
    # Bilinear-gated is .1 above max-pooling there, with deviations of .2 and .1.
    assert found["mmimdb"] == ["holds", "holds", "narrowly holds", "holds", "holds", "not measured", "not measured"]
    # On FlickrTag-1 gated and bilinear do outperform them. The bound of 3.0 points is taken from there.
    assert found["flickrtag1"] == ["holds", "holds", "holds", "fails", "narrowly holds", "not measured", "holds"]


def test_the_comparison_that_decides_is_told():
    finding = CLAIMS[0].on(published_scores("food101"))
    assert finding.margin is not None
    assert finding.margin.said == "bilinear − text +0.1"
    assert finding.margin.deviations == pytest.approx(0.1 / math.hypot(0.3, 0.1))


def scored(**means):
    return Scored({kind: Mean(value, 1.0) for kind, value in means.items()})


def test_a_rule_fails_where_one_comparison_does():
    data = scored(text=50, image=40, additive=60, max=48.9, gated=55, bilinear=55, bilinear_gated=54, pq=54, rspq=56)
    assert verdicts(data)[:5] == ["narrowly fails", "holds", "fails", "holds", "fails"]
    assert CLAIMS[4].on(data).margin.said == "pq − additive -6.0"


def test_what_was_not_run_decides_nothing():
    assert set(verdicts(Scored({}))) == {"not measured"}
    assert verdicts(scored(text=50))[:5] == ["not measured"] * 5


def test_one_seed_has_no_margin_in_deviations():
    finding = CLAIMS[1].on(Scored({"text": Mean(50), "image": Mean(40)}))
    assert (finding.verdict, finding.margin.deviations) == ("holds", None)


@pytest.mark.parametrize(("changed", "verdict"), [(50.5, "holds"), (52.5, "narrowly holds"), (44, "fails")])
def test_options_that_change_nothing_stay_within_the_spread(changed, verdict):
    varied = (Varied("text", "threads", "4", Mean(changed, 1.0), Mean(50.0, 1.0)),)
    assert CLAIMS[5].on(Scored({}, varied=varied)).verdict == verdict


def test_as_fast_means_at_most_twice_the_time():
    assert CLAIMS[6].on(Scored({}, times={"text": 1, "pq": 1, "rspq": 2})).verdict == "holds"
    finding = CLAIMS[6].on(Scored({}, times={"text": 1, "pq": 1, "rspq": 2.5}))
    assert (finding.verdict, finding.margin.said) == ("fails", "rspq 2.5 times text")
