"""The test suites of ``build.sh test``: how each is run, and one summary at the end."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import assemble
import environment
from distribution import lane_wheels
from kernels import kernels
from steps import BUILD, DIST, ROOT, WEB, Failure, once, say

Command = list[str | Path]
LIMIT = 30 * 60  # seconds for one suite; none comes near it unless it hangs, on a machine two times slower than usual either
OF_NODE = """
browser_host.py driver.py embedder.py pack.py registry.py
models.py::TestChunks models.py::test_a_dropped_file_is_read_in_any_order
onnx_lm.py::TestOnnxruntimeWeb
adapters.py::TestVectorStore::test_with_jspi_it_can_be_waited_for
models.py::TestGenerated::test_an_answer_is_written_and_names_its_sources
runtime.py::TestInTheBrowser::test_a_sealed_memory_is_locked_and_opened_again
runtime.py::TestInTheBrowser::test_answers_quote_the_right_note_and_say_why
runtime.py::TestInTheBrowser::test_everything_is_there_after_reopening
runtime.py::TestInTheBrowser::test_export_and_restore
tabs.py::test_either_tab_remembers_asks_rates_and_forgets
tabs.py::test_the_writer_closes_and_the_other_goes_on_writing
""".split()
LANES = (("unit",), ("lint", "types", "web", "node", "chromium"))  # run beside each other; e2e after them: people's patience is in it


@dataclass
class Outcome:
    name: str
    code: int
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)


def pytest(name: str, *arguments: str) -> Command:
    temporary = BUILD / "tmp" / name
    temporary.parent.mkdir(parents=True, exist_ok=True)
    return [environment.PYTHON, "-m", "pytest", "--color=no", f"--basetemp={temporary}", *arguments]


def tests_of(rest: Sequence[str], *default: str) -> list[str]:
    """pytest's arguments: with the files that were named, else with those that are meant."""
    return [*rest, *([] if any(each.startswith("tests/") for each in rest) else default)]


def lint(rest: Sequence[str]) -> list[Command]:
    return [[environment.PYTHON, "-m", "ruff", "check", "."]]


def types(rest: Sequence[str]) -> list[Command]:
    compiler = WEB / "node_modules" / "typescript" / "bin" / "tsc"
    return [[environment.node(), compiler, "-p", WEB / name] for name in ("tsconfig.json", "tsconfig.worker.json")]


def unit(rest: Sequence[str]) -> list[Command]:
    return [pytest("unit", "-q", *tests_of(rest, "tests/unit"))]


def web(rest: Sequence[str]) -> list[Command]:
    bundled = sorted((BUILD / "web-tests").rglob("*.test.cjs"))
    return [[environment.node(), "--test", "--test-reporter=spec", *rest, *bundled]]


def node(rest: Sequence[str]) -> list[Command]:
    """Without arguments what Node itself has a part in (assets, IndexedDB without locks, onnxruntime, signatures, values that cross), and a
    look at the rest, which computes the same in Chromium, whose engine it shares.
    """
    given = tests_of(rest, *(f"tests/pyodide/suite/test_{each}" for each in OF_NODE))
    return [[environment.node(), *stack_switching(), ROOT / "tests" / "pyodide" / "node.mjs", *given]]


def chromium(rest: Sequence[str]) -> list[Command]:
    return [[environment.PYTHON, ROOT / "tests" / "pyodide" / "chromium_lane.py", *rest]]


def e2e(rest: Sequence[str]) -> list[Command]:
    # Playwright has no time limit for what a page evaluates, and a dead page may never answer
    hangs = ["-o", "faulthandler_timeout=600", "-o", "faulthandler_exit_on_timeout=true"]
    return [pytest("e2e", "-v", *hangs, *tests_of(rest, "-n", "2", "--dist", "worksteal", "tests/e2e"))]


def inside_pyodide() -> None:
    assemble.bridge()
    assemble.model()
    lane_wheels(environment.WHEELS)
    assemble.lane()


def web_tests() -> None:
    node_modules = environment.packages()
    inputs = [WEB / "test", WEB / "src", assemble.BUNDLER, node_modules / ".package-lock.json"]
    once("web-tests", inputs, lambda: assemble.bundle("tests"))


def browser() -> None:
    if subprocess.run([environment.PYTHON, WEB / "build" / "chromium.py"]).returncode:
        raise Failure("The browser tests have no browser (above: why).")


SUITES: dict[str, tuple[Callable[[Sequence[str]], list[Command]], list[Callable[[], object]]]] = {
    "lint": (lint, [environment.python]),
    "types": (types, [environment.packages]),
    "unit": (unit, [environment.python, assemble.model, kernels]),
    "web": (web, [web_tests]),
    "node": (node, [inside_pyodide]),
    "chromium": (chromium, [inside_pyodide, browser]),
    "e2e": (e2e, [assemble.site, browser]),
}


def needs(names: Sequence[str]) -> list[Callable[[], object]]:
    """What has to be built for these suites, each once."""
    return list(dict.fromkeys(step for name in names for step in SUITES[name][1]))


def stack_switching() -> list[str]:
    """The flag under which this Node can suspend WebAssembly stacks, which pytest inside Pyodide needs."""
    ask = "process.exit(WebAssembly.Suspending || WebAssembly.Suspender ? 0 : 1)"
    for flags in ([], ["--experimental-wasm-jspi"], ["--experimental-wasm-stack-switching"]):
        if subprocess.run([environment.node(), *flags, "-e", ask], capture_output=True).returncode == 0:
            return flags
    raise Failure("This Node has no WebAssembly stack switching (JSPI), which the tests inside Pyodide need: use Node 20, 22 or newer.")


def surroundings() -> dict[str, str]:
    """The environment of tests and measurements: models from this build, nothing written beside the sources or into the user's folders."""
    ours = {"PYRUVLLM_ASSETS": DIST, "PYTHONPYCACHEPREFIX": BUILD / "pycache"}
    ours |= {f"XDG_{name.upper()}_HOME": BUILD / name for name in ("config", "data")}
    plain = {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "240"}  # why a test failed is in its line
    return {**os.environ, **plain, **{name: str(path) for name, path in ours.items()}}


def run(names: Sequence[str], rest: Sequence[str]) -> int:
    outcomes: dict[str, Outcome] = {}
    running: set[int] = set()
    over = threading.Event()

    def lane(members: Sequence[str], label: bool) -> None:
        for name in members:
            if not over.is_set():
                say(f"\n== {name}")
                outcomes[name] = suite(name, rest, running, f"{name:<8} | " if label else "")

    lanes = [members for members in ([name for name in lane if name in names] for lane in LANES) if members]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 2)) as threads:
        jobs = [threads.submit(lane, members, len(lanes) > 1) for members in lanes]
        try:
            for job in jobs:
                job.result()
            lane([name for name in names if name not in outcomes], False)
        finally:
            over.set()
            for group in list(running):
                end(group)
    summary([outcomes[name] for name in names])
    return int(any(outcome.code for outcome in outcomes.values()))


def suite(name: str, rest: Sequence[str], running: set[int], label: str) -> Outcome:
    """Runs one suite's commands, shows their output as it comes, each line behind the label, and reads the counts from it."""
    outcome = Outcome(name, 0, 0.0)
    begun = time.monotonic()
    for command in SUITES[name][0](rest):
        code, lines = stream(command, running, label)
        outcome.code = outcome.code or code
        count(lines, outcome)
    outcome.seconds = time.monotonic() - begun
    if outcome.code == 0 and name not in ("lint", "types") and outcome.passed == 0:
        outcome.code = 5
        outcome.failures.append("no test ran")
    return outcome


def stream(command: Command, running: set[int], label: str) -> tuple[int, list[str]]:
    """Runs a command in a process group of its own; all of the group is ended when it is over or takes too long."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        env={**surroundings(), "OPENBLAS_NUM_THREADS": "1"},  # the other core is another suite's
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    running.add(process.pid)
    lines = []
    late = threading.Timer(LIMIT, end, [process.pid])
    late.start()
    try:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            say(label + lines[-1])
        code = process.wait()
    finally:
        if not late.is_alive():
            lines.append(f"FAILED stopped after {LIMIT // 60} minutes")
        late.cancel()
        end(process.pid)
        process.wait()
        running.discard(process.pid)
    return code, lines


def end(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def count(lines: Sequence[str], outcome: Outcome) -> None:
    """Adds what the closing lines of pytest or ``node --test`` say."""
    for line in lines:
        if re.match(r"(=+ )?(\d+ \w+, )*\d+ \w+( in |, )?.* in [\d.]+s", line):
            for number, word in re.findall(r"(\d+) (passed|failed|errors?|skipped|xfailed)", line):
                add(outcome, word, int(number))
        elif found := re.match(r"\S (pass|fail|skipped) (\d+)$", line):
            add(outcome, found[1], int(found[2]))
        elif line.startswith(("FAILED ", "ERROR ", "✖ ")) and line != "✖ failing tests:":
            outcome.failures.append(line)


def add(outcome: Outcome, word: str, number: int) -> None:
    if word.startswith("pass"):
        outcome.passed += number
    elif word.startswith(("fail", "error")):
        outcome.failed += number
    else:
        outcome.skipped += number


def summary(outcomes: Sequence[Outcome]) -> None:
    say("\n== summary")
    for each in outcomes:
        counts = f"{each.passed} passed, {each.failed} failed, {each.skipped} skipped" if each.passed or each.failed else ""
        say(f"{'ok    ' if each.code == 0 else 'FAILED'} {each.name:<9} {each.seconds:6.1f} s  {counts}")
        for line in each.failures:
            say(f"         {line}")
    passed, failed, skipped = (sum(getattr(each, name) for each in outcomes) for name in ("passed", "failed", "skipped"))
    failed += sum(1 for each in outcomes if each.code and not each.failed)
    say(f"{passed} passed, {failed} failed, {skipped} skipped")
