"""`make bench`: every benchmark, each ending in one JSON line. Name some to run only those.

`gpu` is not among them unless it is named; it has options of its own, see `python -m tests.benchmarks.gpu --help`.
"""

import sys
from importlib import import_module

BENCHMARKS = ("engine", "step_time", "latency", "overhead", "preview", "lora_slots", "memory", "chat")

for name in sys.argv[1:] or BENCHMARKS:
    if name not in (*BENCHMARKS, "gpu"):
        sys.exit(f"There is no benchmark “{name}”; there are {', '.join(BENCHMARKS)}, and gpu.")
    print(f"== {name}", flush=True)
    import_module(f"tests.benchmarks.{name}").main()
