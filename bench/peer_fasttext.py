"""Train the fastText package (C++) on a label file in a process of its own; prints one JSON line."""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Read {"train", "test", options...} from the command line, train, test."""
    import fasttext

    options = json.loads(sys.argv[1])
    train, test = options.pop("train"), options.pop("test")
    started = time.perf_counter()
    model = fasttext.train_supervised(train, verbose=0, minCount=1, **options)
    seconds = time.perf_counter() - started
    cpu = time.process_time()
    accuracy = model.test(test)[1]
    status = Path("/proc/self/status").read_text()  # ru_maxrss would count what the parent held
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, "accuracy": accuracy, "peak_mb": peak}))


if __name__ == "__main__":
    main()
