"""One load: ``python -m benchmarks.loads NAME SPEC`` (the spec as JSON). Prints its result as JSON, last."""

from __future__ import annotations

import json
import sys

from benchmarks.loads import bulk, single
from benchmarks.loads.window import Window

LOADS = {
    "produce": bulk.produce,
    "consume": bulk.consume,
    "groups": bulk.groups,
    "one_at_a_time": single.one_at_a_time,
    "many_producers": single.many_producers,
    "end_to_end": single.end_to_end,
}


def main(name: str, spec: str) -> None:
    window = Window()
    result = LOADS[name](json.loads(spec), window)
    print(json.dumps(result | {"seconds": window.seconds, "client_cpu": window.client_cpu}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
