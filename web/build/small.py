"""./build.sh small-model: trains the model that ships with the package, in an environment of its own, and puts it into the package.

An hour and a half on two cores, and a download of gigabytes (torch). The result is committed: no other command needs this one.
"""

import subprocess
import sys
from pathlib import Path

from steps import BUILD, ROOT, WEB, Failure, say

PACKAGES = ("torch==2.13.0", "transformers==5.24.0", "tokenizers==0.23.3", "numpy")
SOURCES = WEB / "build" / "smallmodel"
GOAL = ROOT / "pyruvllm" / "models" / "builtin"
QUESTIONS = ROOT / "tests" / "generators" / "held_out_questions.json"
RUN = BUILD / "small-model"


def small_model() -> None:
    """Goes on where an earlier call was stopped; a finished run is only exported again."""
    python = interpreter()
    for command in (
        [SOURCES / "train.py", "--out", RUN],
        [SOURCES / "export.py", RUN, GOAL],
        [SOURCES / "heldout.py", QUESTIONS],
    ):
        say(f"Small model: {command[0].name}")
        if subprocess.run([python, *command], cwd=ROOT).returncode:
            raise Failure(f"{command[0].relative_to(ROOT)} did not finish (above: why).")
    say("Small model: written. ./build.sh bench small_model measures it; docs/small-model.md has the figures.")


def interpreter() -> Path:
    python = BUILD / "torch" / "bin" / "python"
    if not python.exists():
        say(f"Small model: installing {', '.join(PACKAGES)}")
        made = [[sys.executable, "-m", "venv", BUILD / "torch"], [python, "-m", "pip", "install", "--quiet", *PACKAGES]]
        if any(subprocess.run(command).returncode for command in made):
            raise Failure("torch could not be installed (above: why).")
    return python
