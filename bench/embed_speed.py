"""How fast embedding, detection and cleaning are, beside the bare models: one JSON line of ratios.

    python -m bench.embed_speed [--documents DOCUMENTS.parquet --source FOLDER] [--images 160] [--processes 1]

Without a data set it draws 640 x 480 pictures with a caption. Every number is the median of three interleaved rounds;
each process uses one thread. `embed`: images/s of the embedding stage over those of the network on tensors that are
ready. `text`: the same for texts. `pass`: time of one pass of OCR, faces, objects and image encoder over the sum of
their bare times. `_work`: the same ratios of processor seconds, which other programs disturb less.
`clean_processes`: pages/s with two processes over those with one.
"""

import argparse
import io
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from models.encoders import get_encoder
from models.threads import limit_threads
from stores.schemas import IMAGE
from tasks.clean import CleanConfig, clean
from tasks.detect import DetectConfig, ImageDetector
from tasks.embed import ImageEmbedConfig, ImageEmbedder, TextEmbedConfig, embed_images, embed_text
from tasks.image_pass import Account, Consumer, SharedImage, run_pass

DETECTORS = ("rapidocr", "mtcnn", "ssdlite_coco")
WORDS = ["red", "apple", "pie", "with", "cinnamon", "and", "butter", "from", "the", "old", "town", "market"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path)
    parser.add_argument("--source", default=".")
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--detect", type=int, default=16, help="images for the detectors")
    parser.add_argument("--processes", type=int, default=1)
    args = parser.parse_args()
    documents = pictures(args.images) if args.documents is None else pq.read_table(args.documents).slice(0, args.images)
    with multiprocessing.get_context("spawn").Pool(args.processes, initializer=limit_threads, initargs=(1,)) as pool:
        result: dict[str, Any] = {"processes": args.processes, "images": documents.num_rows}
        result |= _ratio(
            "embed", *_interleaved(pool, args.processes, bare_images, stage_images, documents, args.source)
        )
        result |= _ratio("text", *_interleaved(pool, args.processes, bare_texts, stage_texts, captions(400), ""))
        few = documents.slice(0, args.detect)
        ratios, account = pool.apply(one_pass, (few, args.source))
        result |= ratios
        result["account_seconds"] = {name: round(value, 2) for name, value in account.items()}
    result |= clean_scaling()
    print(json.dumps(result))


def pictures(n: int) -> pa.Table:
    """Draw n JPEGs of 640 x 480 with a caption, kept in the table."""
    rng, rows, font = np.random.default_rng(0), [], ImageFont.load_default(32)
    for _ in range(n):
        image = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
        ImageDraw.Draw(image).text((40, 400), " ".join(rng.choice(WORDS, 4)), fill="white", font=font)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=88)
        rows.append({"bytes": buffer.getvalue()})
    return pa.table({"id": [str(row) for row in range(n)], "image": pa.array(rows, IMAGE)})


def captions(n: int) -> pa.Table:
    """Draw n cleaned texts of 3 to 40 words."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(3, 40))) for _ in range(n)]
    return pa.table({"id": [str(row) for row in range(n)], "text": texts})


def bare_images(documents: pa.Table, source: str) -> Callable[[], None]:
    """Return a loop of the network over tensors that are ready."""
    config = ImageEmbedConfig()
    consumer = ImageEmbedder(config)
    encoder = get_encoder(config.encoder, config.options)
    ready = _prepared(documents, consumer, source)

    def loop() -> None:
        for start in range(0, len(ready), config.batch_size):
            encoder.encode(ready[start : start + config.batch_size])

    return loop


def stage_images(documents: pa.Table, source: str) -> Callable[[], None]:
    """Return the embedding stage over the same images."""
    return lambda: embed_images(documents, ImageEmbedConfig(), source=source) and None


def bare_texts(cleaned: pa.Table, source: str) -> Callable[[], None]:
    """Return a loop of the text network, longest texts first."""
    config = TextEmbedConfig()
    encoder = get_encoder(config.encoder, config.options)
    texts = sorted(cleaned["text"].to_pylist(), key=len, reverse=True)

    def loop() -> None:
        for start in range(0, len(texts), config.batch_size):
            encoder.encode(texts[start : start + config.batch_size])

    return loop


def stage_texts(cleaned: pa.Table, source: str) -> Callable[[], None]:
    """Return the text stage over the same texts."""
    return lambda: embed_text(cleaned, TextEmbedConfig()) and None


def one_pass(documents: pa.Table, source: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return one pass of three detectors and an encoder over the sum of their bare times, and its account."""
    consumers: list[Consumer] = [
        *(ImageDetector(DetectConfig(detector=name)) for name in DETECTORS),
        ImageEmbedder(ImageEmbedConfig()),
    ]
    run_pass(documents.slice(0, 2), consumers, source=source)
    bare, whole, accounts = [], [], []
    for _ in range(3):
        ready = [_prepared(documents, consumer, source) for consumer in consumers]
        wall, work = time.perf_counter(), time.process_time()
        for consumer, items in zip(consumers, ready, strict=True):
            for at in range(0, len(items), consumer.batch_size):
                consumer.compute(items[at : at + consumer.batch_size])
        bare.append((time.perf_counter() - wall, time.process_time() - work))
        wall, work = time.perf_counter(), time.process_time()
        accounts.append(run_pass(documents, consumers, source=source).account.numbers())
        whole.append((time.perf_counter() - wall, time.process_time() - work))
    (wall, work), (bare_wall, bare_work) = _median(whole), _median(bare)
    ratios = {"pass": round(wall / bare_wall, 3), "pass_work": round(work / bare_work, 3)}
    return ratios, sorted(accounts, key=lambda one: one["total"])[1]


def timed(make: Callable[[pa.Table, str], Callable[[], None]], documents: pa.Table, source: str) -> tuple[float, float]:
    """Return the wall and processor seconds of one call; models stay loaded in the process."""
    loop = make(documents, source)
    make(documents.slice(0, 4), source)()
    wall, processor = time.perf_counter(), time.process_time()
    loop()
    return time.perf_counter() - wall, time.process_time() - processor


def clean_scaling() -> dict[str, float]:
    """Return how much faster two processes clean pages with html2text than one."""
    rng = np.random.default_rng(0)
    pages = [
        "<html><body>" + "".join(f"<p>{' '.join(rng.choice(WORDS, 40))}</p>" for _ in range(60)) for _ in range(300)
    ]
    table = pa.table({"id": [str(row) for row in range(300)], "html": pages})
    seconds = {}
    for processes in (1, 2):
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            pool.map(_clean, [table.slice(0, 5)] * processes, chunksize=1)
            rounds = []
            for _ in range(3):
                start = time.perf_counter()
                pool.map(_clean, [table.slice(at, 50) for at in range(0, 300, 50)], chunksize=1)
                rounds.append(time.perf_counter() - start)
            seconds[processes] = statistics.median(rounds)
    return {"clean_processes": round(seconds[1] / seconds[2], 2), "clean_pages_per_s": round(300 / seconds[1])}


def _clean(table: pa.Table) -> int:
    return int(clean(table, CleanConfig()).num_rows)


def _prepared(documents: pa.Table, consumer: Any, source: str) -> list[Any]:
    ready = []
    for row, reference in enumerate(documents["image"].to_pylist()):
        image = SharedImage(reference, source, Account())
        pixels = image.pixels(limits=consumer.limits, min_side=consumer.min_side, background=consumer.background)
        ready.append(consumer.prepare(pixels, row))
    return ready


def _interleaved(
    pool: Any, processes: int, bare: Any, stage: Any, documents: pa.Table, source: str
) -> tuple[Any, Any, int]:
    """Return median (wall, processor) seconds of the bare loop and of the stage, all processes at work at once."""
    rounds: dict[Any, list[tuple[float, float]]] = {bare: [], stage: []}
    for _ in range(3):
        for make, seconds in rounds.items():
            seconds.append(max(pool.starmap(timed, [(make, documents, source)] * processes, chunksize=1)))
    return _median(rounds[bare]), _median(rounds[stage]), documents.num_rows * processes


def _median(seconds: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(wall for wall, _ in seconds), statistics.median(work for _, work in seconds)


def _ratio(name: str, bare: tuple[float, float], stage: tuple[float, float], n: int) -> dict[str, float]:
    return {
        name: round(bare[0] / stage[0], 3),
        f"{name}_work": round(bare[1] / stage[1], 3),
        f"{name}_per_s": round(n / stage[0], 1),
        f"{name}_bare_per_s": round(n / bare[0], 1),
    }


if __name__ == "__main__":
    main()
