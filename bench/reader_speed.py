"""Speed and memory of the readers on generated sets: python bench/reader_speed.py [--rows 100000] [--million]

Prints one JSON line per layout: rows in, documents, rows without id, rows a second of the clock and of the processor
(on a busy machine the clock says little), share of the processor's time that is parsing and not reading bytes, and
the peak memory of a process that does nothing else; then all of it as a Markdown table. Images are references.
Layouts whose documents are one small file each are written with fewer rows; archives are read once with texts alone
and, as `<layout>+images`, once with an image per document inside.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[1] / "tests")]

from fixtures.layouts import LAYOUTS  # noqa: E402

from fuseline.tasks.readers import READERS  # noqa: E402
from fuseline.tasks.readers.streams import blocks  # noqa: E402

FILES = {"imagefolder", "img2dataset_files", "food101", "mmimdb", "petfinder"}  # a file or two per document
ARCHIVES = {"webdataset", "img2dataset", "img2dataset_parquet", "yfcc_slip", "yfcc_hex"}  # hold images, if asked
LIMIT = 50_000  # rows a second that text-only sources must reach
TEXT_ONLY = {"yfcc", "jsonl", "csv", "fasttext", "flickrtag", "webdataset"}


def child(layout: str, folder: Path) -> None:
    """Read one set in this process and print what it took."""
    made = LAYOUTS[layout]
    entry = READERS[made.reader]
    options = entry.options(**made.options)
    raw = _bytes_only(folder, options)
    start, busy = time.perf_counter(), time.process_time()
    rows = nameless = 0
    for table in entry.read(str(folder), options):
        rows += len(table)
        nameless += table["id"].null_count
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    line = {
        "layout": layout,
        "rows": rows,
        "documents": rows - nameless,
        "without_id": nameless,
        "rows_per_s": round(rows / seconds),
        "rows_per_cpu_s": round(rows / busy),
        "parsing_share": round(max(0.0, 1 - raw / busy), 3),
        "peak_mb": peak_mb(),
    }
    print(json.dumps(line))


def _bytes_only(folder: Path, options: object) -> float:
    """Return the processor seconds that reading the set's bytes takes, cut into lines and nothing more."""
    start = time.process_time()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as stream:
                for _ in blocks(stream, options):
                    pass
    return time.process_time() - start


def peak_mb() -> int:
    """Return the most memory this program held: ru_maxrss would count what the parent held before it started us."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def measured(layout: str, folder: Path) -> dict[str, object]:
    """Run `child` in a process of its own."""
    command = [sys.executable, __file__, "--child", layout, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def million(root: Path) -> dict[str, object]:
    """Show that memory is flat: ten times the rows of YFCC100M lines, in at most 15 % more memory."""
    small = root / "yfcc0"
    large = root / "yfcc_large"
    large.mkdir()
    for part in range(10):
        shutil.copyfile(small / "yfcc100m_dataset", large / f"yfcc100m_dataset-{part}")
    few, many = measured("yfcc", small), measured("yfcc", large)
    ratio = int(str(many["peak_mb"])) / int(str(few["peak_mb"]))
    line = {**many, "layout": "yfcc x 10", "memory_ratio": round(ratio, 3), "flat": ratio <= 1.15}
    print(json.dumps(line), flush=True)
    return line


def table(lines: list[dict[str, object]]) -> str:
    """Return the lines as a Markdown table."""
    heads = {"layout": "layout", "rows": "rows in", "documents": "documents", "without_id": "without id",
             "rows_per_s": "rows/s", "parsing_share": "share of parsing", "peak_mb": "peak MB"}  # fmt: skip
    rows = ["| " + " | ".join(heads.values()) + " |", "|---" * len(heads) + "|"]
    for line in lines:
        cells = [line[key] for key in heads]
        rows.append("| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Measure every layout, or the one that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--layouts", nargs="*", choices=sorted(LAYOUTS), default=sorted(LAYOUTS))
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--child", choices=sorted(LAYOUTS))
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.child is not None:
        child(given.child, given.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        lines = []
        for layout in given.layouts:
            for images in [layout in FILES] + [True] * (layout in ARCHIVES):
                rows = given.rows // 20 if layout in FILES else given.rows
                folder = root / f"{layout}{images:d}"
                LAYOUTS[layout].make(folder, rows, images=images)
                line = measured(layout, folder)
                if layout in TEXT_ONLY and not images:
                    line["fast_enough"] = int(str(line["rows_per_s"])) >= LIMIT
                if images and layout in ARCHIVES:
                    line["layout"] = f"{layout}+images"
                print(json.dumps(line), flush=True)
                lines.append(line)
                if not (given.million and layout == "yfcc"):
                    shutil.rmtree(folder)
        if given.million:
            lines.append(million(root))
        print(table(lines))


if __name__ == "__main__":
    main()
