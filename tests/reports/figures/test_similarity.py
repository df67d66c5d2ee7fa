"""The matrix of classes: in its order, the least alike without colour, a class and itself the darkest."""

from fuseline.reports.figures.similarity import lines, similarity

COSINES = {("a", "b"): 0.8, ("a", "c"): -0.25, ("b", "c"): 0.1}
PLACES = {"b": 1, "a": 2, "c": 3}


def rows():
    both = COSINES | {(b, a): value for (a, b), value in COSINES.items()} | {(one, one): 1.0 for one in PLACES}
    return [{"label": a, "other": b, "place": PLACES[a], "cosine": value} for (a, b), value in both.items()]


def test_lines_and_cells_stand_in_the_order_of_the_table():
    found = lines(rows())
    assert [line.label for line in found] == ["b", "a", "c"]
    assert [[cell.other for cell in line.cells] for line in found] == [["b", "a", "c"]] * 3
    assert [cell.text for cell in found[1].cells] == ["80", "", "-25"]
    assert [round(cell.depth) for cell in found[1].cells] == [84, 100, 0]


def test_equal_classes_have_a_figure():
    alike = [{**row, "cosine": 1.0} for row in rows()]
    assert similarity(alike).count("<td") == 9
