"""A modality that is empty in every document is refused before any work over it, and told by the plan."""

import logging
from dataclasses import replace

import pytest
from drive import Source, nodes, run
from PIL import Image

from fuseline.models.config import FrozenConfig
from fuseline.stores.errors import DataError
from fuseline.tasks.documents.presence import check_present
from fuseline.tasks.engine.nodes import Read, ShardStage
from fuseline.tasks.engine.planner import PlanOptions, plan_node


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data" / "images").mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def caplog(caplog, monkeypatch):
    """Collect the lines for the user, which the command line keeps from other loggers."""
    monkeypatch.setattr(logging.getLogger("fuseline"), "propagate", True)
    caplog.set_level("INFO")
    return caplog


def rows(n, **more):
    return [{"id": f"d{i}", "text": "t", **{name: value.format(i=i) for name, value in more.items()}} for i in range(n)]


def over_images(wanted):
    """A stage over the images of some documents."""
    return ShardStage(
        role="embed", short="image", flow="embed", version=1, config=FrozenConfig(), transform=lambda *_: None,
        reads=(Read(wanted.documents, ("image",), ("image_digest",)),),
    )  # fmt: skip


def note(wanted, root):
    return plan_node(wanted.documents, root, PlanOptions()).why


def test_ids_where_paths_belong(folder, root, caplog):
    wanted = nodes(Source(folder / "x.jsonl").write(rows(2560, image="{i}")), shard_size=1000)
    told = f"0 of 2,560 images found; first tried: {folder}/0, {folder}/1, {folder}/2"
    assert told in note(wanted, root)
    run([wanted.documents], root, look=False)
    assert told in caplog.text
    assert told == note(wanted, root)  # and again whenever somebody plans
    for lenient in (False, True):
        with pytest.raises(DataError, match=r"embed/image: 0 of 2,560 images found.*images\.pattern"):
            check_present(over_images(wanted), root, lenient=lenient)
    check_present(wanted.clean, root)


def test_one_image_is_enough(folder, root, caplog):
    Image.new("RGB", (4, 4)).save(folder / "images" / "3.png")
    wanted = nodes(Source(folder / "x.jsonl").write(rows(25, image="images/{i}.png")))
    run([wanted.documents], root)
    assert f"1 of 25 images found; first not found: {folder}/images/0.png" in caplog.text
    assert note(wanted, root) == ""
    check_present(over_images(wanted), root)


def test_a_shard_without_images_is_fine(folder, root, caplog):
    Image.new("RGB", (4, 4)).save(folder / "images" / "0.png")
    wanted = nodes(Source(folder / "x.jsonl").write([*rows(10, image="images/0.png"), *rows(30)[10:]]))
    run([wanted.documents], root)
    check_present(over_images(wanted), root)
    assert "images found" not in caplog.text


def test_documents_without_any_image(folder, root):
    wanted = nodes(Source(folder / "x.jsonl").write(rows(25)))
    run([wanted.documents], root)
    assert note(wanted, root) == ""  # texts alone are a data set too
    with pytest.raises(DataError, match=r"embed/image: expected 'an image.*', got '25 without any'.*columns\.image"):
        check_present(over_images(wanted), root)
    check_present(over_images(wanted), root, lenient=True)  # new documents may bring less


def test_urls_are_never_fetched(folder, root):
    source = Source(folder / "x.jsonl").write(rows(3, image="https://example.com/{i}.jpg"))
    wanted = nodes(source)
    told = "0 of 3 images found, 3 are URLs, which are never fetched; first tried: https://example.com/0.jpg"
    assert told in note(wanted, root)
    run([wanted.documents], root)
    dataset = wanted.documents.dataset(root)
    assert dataset.read(dataset.record(0), ("image_digest",))["image_digest"].to_pylist() == ["remote"] * 3
    with pytest.raises(DataError, match="download them first"):
        check_present(over_images(wanted), root)


def test_texts_that_are_all_empty(folder, root):
    wanted = nodes(Source(folder / "x.jsonl").write([{"id": f"d{i}", "title": "t"} for i in range(25)]))
    run([wanted.documents, wanted.clean], root)
    vector = replace(wanted.vector, role="embed", short="text")
    with pytest.raises(DataError, match=r"embed/text over clean/text: expected .*, got 'missing 25'; correct"):
        check_present(vector, root)
    check_present(vector, root, lenient=True)


def test_a_field_that_failed_may_leave_others(folder, root):
    """A status of the cleaning speaks of one field: the document may have text all the same."""
    wanted = nodes(Source(folder / "x.jsonl").write([{"id": "d0", "text": "bad"}]))
    run([wanted.documents, wanted.clean], root)
    check_present(wanted.vector, root)


def test_vectors_that_all_failed(folder, root):
    wanted = nodes(Source(folder / "x.jsonl").write([{"id": f"d{i}", "text": "bad"} for i in range(3)]))
    run([wanted.documents, wanted.clean], root)
    embedded = replace(wanted.clean, role="embed", short="bad", flow="embed", transform=wanted.clean.transform)
    run([embedded], root)
    fit = replace(wanted.model, reads=(Read(wanted.documents, ("split", "labels")), Read(embedded, ("text",))))
    with pytest.raises(DataError, match=r"train/longest over embed/bad: .* got 'bad_text 3'"):
        check_present(fit, root)
