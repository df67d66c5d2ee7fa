"""Train the fastText package (C++) on a label file in a process of its own; prints one JSON line."""

import json
import resource
import sys
import time


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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, "accuracy": accuracy, "peak_mb": peak}))


if __name__ == "__main__":
    main()
