"""How every bench says what it measured: a table on the screen, JSON in tests/bench/out, the machine beside the figures."""

import json
import os
import platform
from pathlib import Path

OUT = Path(__file__).parent / "out"


def machine() -> dict[str, object]:
    cpu = platform.processor() or "unknown"
    try:
        with open("/proc/cpuinfo") as info:
            cpu = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), cpu)
    except OSError:
        pass
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}


def report(name: str, figures: dict[str, object]) -> None:
    """Prints the figures and writes them to tests/bench/out/NAME.json."""
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps({"machine": machine(), "figures": figures}, indent=2) + "\n")
    width = max(map(len, figures))
    print("\n".join(f"{label:{width}}  {value}" for label, value in figures.items()))  # noqa: T201
