"""Check that some document has what a stage reads: a modality that is empty everywhere is a mistake."""

from collections import Counter

from fuseline.stores.errors import DataError, mismatch
from fuseline.stores.root import Root
from fuseline.tasks.documents.image_digests import ABSENT, ImageCounts
from fuseline.tasks.engine.nodes import Fit, Ingest, Node, Read, ShardStage

NEEDY = ("embed", "detect", "quantize", "train")  # flows whose stages are refused over nothing
CURE = "correct the source or the stage before, or take out what reads it; --retry-failed tries failed rows again"
LOCATE = (
    'say where they lie with source.options.images.pattern ("images/{id}.jpg"), images.archive or root, or take out '
    "the stages over images"
)
DOWNLOAD = "download them first, as img2dataset does, and refer to the files; or remove the stages over images"


def check_present(node: Node, root: Root, *, lenient: bool = False) -> None:
    """Raise DataError when a modality that a stage reads is empty in every document: image, text, vectors or codes.

    Args:
        node: a stage with something to do; its inputs exist.
        root: output root.
        lenient: documents that bring no modality at all are fine, as new ones to predict may be; references to images
            of which none is there are not.
    """
    if node.flow not in NEEDY or not isinstance(node, ShardStage | Fit):
        return
    for read in node.reads:
        if isinstance(read.node, Ingest):
            if "image" in read.columns:
                _check_images(node, read.node, root, lenient=lenient)
        elif not lenient and isinstance(read.node, ShardStage):
            _check_rows(node, read, root)


def images_note(node: Ingest, root: Root) -> str:
    """Return a note on ingested documents whose references lead to no image at all; "" otherwise."""
    counts = count_images(node, root)
    return counts.line if counts.referenced and not counts.present else ""


def count_images(node: Ingest, root: Root) -> ImageCounts:
    """Count the images of ingested documents by the records of their shards.

    If none is present at all, the first missing ones are named, which reads some data.
    """
    dataset, counts = node.dataset(root), ImageCounts(node.source.image_root())
    records = [record for _, record in sorted(dataset.records().items())]
    tally = Counter[str]()
    for record in records:
        tally.update(record.tallies.get("image_digest", {}))
    if not any(kind not in (*ABSENT, str(None)) for kind in tally):
        for record in records:
            if set(record.tallies.get("image_digest", {})) & set(ABSENT) and not counts.full:
                table = dataset.read(record, ("image", "image_digest"))
                counts.name(table["image"], table["image_digest"])
    return counts.tallied(tally)


def _check_images(node: Node, documents: Ingest, root: Root, *, lenient: bool) -> None:
    counts = count_images(documents, root)
    if counts.present or not counts.documents or (lenient and not counts.referenced):
        return
    if counts.referenced:
        cure = DOWNLOAD if counts.remote == counts.referenced else LOCATE
        raise DataError(f"{node.label}: {counts.line}; {cure}")
    cure = "map the column of their images (source.options.columns.image), or remove the stages over images"
    raise DataError(
        mismatch(node.label, "an image in one document at least", f"{counts.documents:,} without any", cure)
    )


def _check_rows(node: Node, read: Read, root: Root) -> None:
    """Raise when every row of another stage's output is empty."""
    statuses = Counter[str]()
    for record in read.node.dataset(root).records().values():
        statuses.update(record.tallies.get("status", {}))
    # the rest of a document's text may be there although a field of it failed
    empty = {"missing"} if read.node.flow == "clean" else set(statuses) - {"ok"}
    if statuses and empty >= set(statuses):
        listed = ", ".join(f"{slug} {n:,}" for slug, n in statuses.most_common())
        what = f"{node.label} over {read.node.label}"
        raise DataError(mismatch(what, "one row at least that is not empty", listed, CURE))
