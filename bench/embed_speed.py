"""How fast extraction, cleaning and writing are, beside the bare models: ratios, and where the time goes.

    python -m bench.embed_speed [--documents DOCUMENTS.parquet] [--images 160] [--detect 16] [--rounds 3]

Without a data set it draws 640 x 480 pictures with a caption; with one, pictures lie in the images.tar beside it.
Rounds follow each other in turn, figures are medians, and stages are measured whole: inputs read, rows committed. The
last line holds the ratios, the line before it the rest; `_work` is the same ratio in processor seconds, which other
programs disturb less.

embed, text: rate of the stage over that of its network alone on ready inputs, one process, one thread.
pass: time of OCR, faces, objects and image encoder in one pass over the sum of their bare times.
clean_processes: rate of html2text with two workers over one.
store_mb_s: MB/s of float16 vectors written in shards of 16,384 x 2,048.
memory_growth: peak memory of ingest, clean and image pass over four times the documents, over that of the first run.
workers_vs_threads: images/s of two processes of one thread over one process of two threads.
"""

import argparse
import io
import json
import multiprocessing
import multiprocessing.pool
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console

from bench.reader_speed import peak_mb
from fuseline.flows.cli.console import time_table
from fuseline.flows.config import parse_config
from fuseline.flows.graph import build
from fuseline.models.encoders import get_encoder
from fuseline.models.threads import limit_threads
from fuseline.stores.layouts.zarr import ZarrStore
from fuseline.stores.places import open_root
from fuseline.stores.root import Root
from fuseline.stores.schemas import DOCUMENTS, IMAGE
from fuseline.tasks.documents.ingest import ingest
from fuseline.tasks.engine.image_pass import Consumer, ImageTransform, SharedImage
from fuseline.tasks.engine.images import ImageError
from fuseline.tasks.engine.nodes import Ingest, ShardStage
from fuseline.tasks.engine.pool import Pool
from fuseline.tasks.engine.shard import make_shards
from fuseline.tasks.engine.timings import ShardReport, Timings

DETECT = {"faces": {"detector": "mtcnn"}, "objects": {"detector": "ssdlite_coco"}, "ocr": {"detector": "rapidocr"}}
EMBED = {"image": {"encoder": "efficientnet_lite2"}, "text": {"encoder": "minilm"}}
IMAGE_STAGES = ("detect/faces", "detect/objects", "detect/ocr", "embed/image")
WORDS = ["red", "apple", "pie", "with", "cinnamon", "and", "butter", "from", "the", "old", "town", "market"]
PAGES, PAGE_SHARDS = 64, 8

Work = tuple[float, float]  # seconds of the clock and of the processor
Loop = Callable[[], list[ShardReport]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--detect", type=int, default=16, help="images for the pass with detectors")
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=5_000, help="documents of the smaller run")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak is not None:
        print(peak(args.peak))
        return
    with tempfile.TemporaryDirectory() as folder:
        source, documents = Path(folder), pictures(args.images)
        if args.documents is not None:
            source, documents = args.documents.parent, photos(args.documents, args.images)
        found = extraction(documents, str(source), args)
        found |= clean_scaling(Path(folder), args.rounds)
        found |= store_speed(Path(folder), args.rounds)
    found |= memory(args.memory)
    print(json.dumps(found))
    names = ("embed", "text", "pass", "clean_processes", "store_mb_s", "memory_growth")
    print(json.dumps({name: found[name] for name in names}))


def extraction(documents: pa.Table, source: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return the ratios of embedding and of the pass, and print where the time went."""
    few, texts = documents.slice(0, args.detect), captions(args.texts)
    found: dict[str, Any] = {"images": documents.num_rows}
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, limit_threads, (1,)) as one:
        run = {"embed": (documents, ("embed/image",)), "text": (texts, ("embed/text",)), "pass": (few, IMAGE_STAGES)}
        summaries: dict[str, Timings] = {}
        for name, (table, stages) in run.items():
            rounds = [one.apply(bare_and_stage, (table, source, stages)) for _ in range(args.rounds)]
            (bare, bare_work), (whole, work) = (_median([pair[which] for pair in rounds]) for which in range(2))
            up = name == "pass"
            found[name] = round(whole / bare if up else bare / whole, 3)
            found[f"{name}_work"] = round(work / bare_work if up else bare_work / work, 3)
            found[f"{name}_per_s"], found[f"{name}_bare_per_s"] = _rates(table.num_rows, whole, bare)
            summaries |= {f"{name}: {stage}": timings for stage, timings in rounds[-1][2].items()}
    rows = [{"stage": stage, "timings": timings.to_dict()} for stage, timings in summaries.items()]
    Console(width=120).print(time_table(rows))
    with context.Pool(2, limit_threads, (1,)) as two, context.Pool(1, limit_threads, (2,)) as threads:
        seconds: dict[str, list[float]] = {"two": [], "threads": []}
        for _ in range(args.rounds):
            found_two = two.map(stage_alone, [(documents, source)] * 2, chunksize=1)
            seconds["two"].append(max(found_two) / 2)
            seconds["threads"].append(threads.apply(stage_alone, ((documents, source),)))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    found["workers_vs_threads"] = round(medians["threads"] / medians["two"], 2)
    return found


def bare_and_stage(documents: pa.Table, source: str, names: tuple[str, ...]) -> tuple[Work, Work, dict[str, Timings]]:
    """Return what networks take over ready inputs, what their stages take, and where the stages' time went."""
    with tempfile.TemporaryDirectory() as folder:
        stages = prepared(documents.slice(0, 2), open_root(Path(folder) / "warm"), names)
        make_shards(stages, open_root(Path(folder) / "warm"), 0, source=source)
        stages = prepared(documents, open_root(Path(folder) / "out"), names)
        bare = timed(bare_loop(stages, documents, source))
        reports: list[ShardReport] = []
        whole = timed(lambda: reports.extend(make_shards(stages, open_root(Path(folder) / "out"), 0, source=source)))
    assert not any(report.error for report in reports), reports
    return bare, whole, {report.stage: report.timings for report in reports}


def stage_alone(given: tuple[pa.Table, str]) -> float:
    """Return the seconds that the image encoder's stage takes in this process."""
    return bare_and_stage(*given, ("embed/image",))[1][0]


def prepared(documents: pa.Table, root: Root, names: tuple[str, ...]) -> list[ShardStage]:
    """Commit documents as the only shard of what some stages read, and return the stages."""
    nodes = build(parse_config({"name": "bench", "root": str(root), "detect": DETECT, "embed": EMBED}))
    stages = [node for node in nodes if node.name in names and isinstance(node, ShardStage)]
    stages[0].reads[0].node.dataset(root).commit(0, documents, {})
    return stages


def bare_loop(stages: list[ShardStage], documents: pa.Table, source: str) -> Callable[[], None]:
    """Return a loop of the stages' networks over inputs that are ready."""
    loops: list[Callable[[], Any]] = []
    for stage in stages:
        transform, config = stage.transform, stage.config
        if isinstance(transform, ImageTransform):
            consumer = transform.consumer([documents], config)
            ready, compute = ready_images(documents, consumer, source), consumer.compute
            step = consumer.batch_size
        else:
            encoder: Any = get_encoder(config.encoder, config.options)  # type: ignore[attr-defined]
            ready, step = sorted(documents["text"].to_pylist(), key=len, reverse=True), config.batch_size  # type: ignore[attr-defined]
            compute = encoder.encode
        loops += [lambda c=compute, r=ready[at : at + step]: c(r) for at in range(0, len(ready), step)]  # type: ignore[misc]
    return lambda: [loop() for loop in loops] and None


def ready_images(documents: pa.Table, consumer: Consumer, source: str) -> list[Any]:
    """Return every image as the consumer's network wants it."""
    ready = []
    for row, reference in enumerate(documents["image"].to_pylist()):
        try:
            ready.append(consumer.prepare(SharedImage(reference, source).pixels(consumer, Timings()), row))
        except ImageError:
            continue
    return ready


def timed(loop: Callable[[], Any]) -> Work:
    """Return the wall and processor seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    loop()
    return time.perf_counter() - wall, time.process_time() - processor


def pictures(n: int) -> pa.Table:
    """Draw n JPEGs of 640 x 480 with a caption, kept in the table."""
    rng, images, font = np.random.default_rng(0), [], ImageFont.load_default(32)
    for _ in range(n):
        image = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
        ImageDraw.Draw(image).text((40, 400), " ".join(rng.choice(WORDS, 4)), fill="white", font=font)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=88)
        images.append({"bytes": buffer.getvalue()})
    return documents_of(images)


def photos(documents: Path, n: int) -> pa.Table:
    """Refer to n pictures of an uncompressed images.tar beside a table whose column `image` names its members."""
    wanted = pq.read_table(documents, columns=["image"])["image"].drop_null().to_pylist()[:n]
    with tarfile.open(documents.with_name("images.tar"), "r:") as archive:
        places = {member.name: (member.offset_data, member.size) for member in archive if member.isfile()}
    return documents_of(
        [{"uri": "images.tar", "offset": places[name][0], "length": places[name][1]} for name in wanted]
    )


def documents_of(images: list[dict[str, Any]]) -> pa.Table:
    """Return ingested documents with these images."""
    digests = [str(number) for number in range(len(images))]
    return pa.table({"id": digests, "image": pa.array(images, IMAGE), "image_digest": digests})


def captions(n: int) -> pa.Table:
    """Draw n cleaned texts of 3 to 40 words."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(3, 40))) for _ in range(n)]
    return pa.table({"id": [str(row) for row in range(n)], "text": texts})


def clean_scaling(folder: Path, rounds: int) -> dict[str, float]:
    """Return how much faster two workers clean pages with html2text than one."""
    rng, root = np.random.default_rng(0), open_root(folder / "clean")
    nodes = build(parse_config({"name": "bench", "root": str(root)}))
    (stage,) = (node for node in nodes if node.name == "clean/text" and isinstance(node, ShardStage))
    documents = stage.reads[0].node.dataset(root)
    for index in range(PAGE_SHARDS):
        paragraphs = [[" ".join(rng.choice(WORDS, 40)) for _ in range(60)] for _ in range(PAGES)]
        pages = ["<html><body><p>" + "</p><p>".join(page) + "</p></body></html>" for page in paragraphs]
        rows = [{"id": f"{index}-{row}", "source": "s", "status": "ok", "labels": [], "html": page}
                for row, page in enumerate(pages)]  # fmt: skip
        documents.commit(index, pa.Table.from_pylist(rows, schema=DOCUMENTS), {})
    seconds: dict[int, list[float]] = {1: [], 2: []}
    pools = {workers: Pool(workers) for workers in seconds}
    for attempt in range(rounds + 1):  # the first starts the workers
        for workers, pool in pools.items():
            for index in range(PAGE_SHARDS):
                stage.dataset(root).drop(index)
            started = time.perf_counter()
            with multiprocessing.pool.ThreadPool(workers) as threads:
                threads.map(lambda index, pool=pool: pool.make_shards([stage], root, index, source=""),  # type: ignore[misc]
                            range(PAGE_SHARDS), chunksize=1)  # fmt: skip
            if attempt:
                seconds[workers].append(time.perf_counter() - started)
    for pool in pools.values():
        pool.close()
    one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
    return {"clean_processes": round(one / two, 2), "clean_pages_per_s": round(PAGES * PAGE_SHARDS / one)}


def store_speed(folder: Path, rounds: int) -> dict[str, float]:
    """Return how fast shards of vectors are written, synced to the disk and digested."""
    values = np.random.default_rng(0).standard_normal(16_384 * 2_048, np.float32).astype(np.float16)
    ids = [f"document-{row}" for row in range(16_384)]
    table = pa.table({"id": ids, "embedding": pa.FixedSizeListArray.from_arrays(pa.array(values), 2_048)})
    store, found = ZarrStore(open_root(folder / "store")), []
    for attempt in range(2 * rounds):
        found.append(timed(lambda name=f"{attempt:06d}": store.write(name, table)))  # type: ignore[misc]
        store.delete(f"{attempt:06d}")
    wall, work = _median(found)
    return {"store_mb_s": round(values.nbytes / 1e6 / wall), "store_mb_per_cpu_s": round(values.nbytes / 1e6 / work)}


def memory(n: int) -> dict[str, float]:
    """Return the peak memory of a run over n and over 4 n documents, each in a process of its own."""
    found = []
    for documents in (n, 4 * n):
        command = [sys.executable, __file__, "--peak", str(documents)]
        found.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]))
    return {"memory_growth": round(found[1] / found[0], 3), "memory_mb": found[0], "memory_mb_4n": found[1]}


def peak(n: int) -> int:
    """Ingest and clean n documents, embed the image of every hundredth; return the peak memory in MB."""
    limit_threads(1)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "data"
        place.mkdir()
        for row, image in enumerate(pictures(8)["image"].to_pylist()):
            (place / f"{row}.jpg").write_bytes(image["bytes"])
        with (place / "documents.jsonl").open("wb") as file:
            for row in range(n):
                image = {"image": f"{row // 100 % 8}.jpg"} if row % 100 == 0 else {}
                file.write(orjson.dumps({"id": f"d{row}", "text": " ".join(rng.choice(WORDS, 40)), **image}) + b"\n")
        source = {"reader": "jsonl", "path": str(place / "documents.jsonl")}
        root = open_root(Path(folder) / "out")
        values = {"name": "bench", "root": str(root), "source": source, "shard_size": 1000}
        nodes = build(parse_config({**values, "embed": {"image": EMBED["image"]}}))
        first = next(node for node in nodes if isinstance(node, Ingest))
        ingest(first, root, done=lambda report: None)
        stages = [node for node in nodes if isinstance(node, ShardStage) and node.flow in ("clean", "embed")]
        for index in first.dataset(root).records():
            for report in make_shards(stages, root, index, source=str(place)):
                assert not report.error, report
    return peak_mb()


def _median(seconds: list[Work]) -> Work:
    return statistics.median(wall for wall, _ in seconds), statistics.median(work for _, work in seconds)


def _rates(n: int, *seconds: float) -> tuple[float, ...]:
    return tuple(round(n / one, 1) for one in seconds)


if __name__ == "__main__":
    main()
