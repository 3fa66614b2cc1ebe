"""`make bench`: every benchmark, each ending in one JSON line. Name some to run only those."""

import sys

from tests.benchmarks import chat, engine

BENCHMARKS = {"engine": engine.main, "chat": chat.main}

for name in sys.argv[1:] or BENCHMARKS:
    print(f"== {name}", flush=True)
    BENCHMARKS[name]()
