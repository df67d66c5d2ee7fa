"""Shelves of documents by who is right: in the order of quadrants, then by class."""

from fuseline.reports.sections.who_is_right import shelves

ROW = {"models": ["text", "image"], "answers": [[], []], "thumbnail": None, "label": None, "place": 1}


def test_quadrants_stand_before_classes_and_documents_in_their_places() -> None:
    rows = [
        {**ROW, "part": "class", "label": "b", "right": [], "id": "4"},
        {**ROW, "part": "quadrant", "right": [], "id": "3"},
        {**ROW, "part": "quadrant", "right": ["text"], "id": "2", "place": 2},
        {**ROW, "part": "quadrant", "right": ["text"], "id": "1"},
        {**ROW, "part": "class", "label": "all", "right": [], "id": "5"},
        {**ROW, "part": "quadrant", "right": ["text", "image"], "id": "6"},
    ]
    found = [(shelf.title, [row["id"] for row in shelf.rows], shelf.apart) for shelf in shelves(rows)]
    assert found == [
        ("Right: text only", ["1", "2"], False), ("Right: all", ["6"], False), ("Right: none", ["3"], False),
        ("all", ["5"], True), ("b", ["4"], True),
    ]  # fmt: skip
