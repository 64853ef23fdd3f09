"""Writes the questions that the small model is scored on: of forms, verbs and names that training never has.

    python web/build/smallmodel/heldout.py OUT [--count 200] [--seed 7]

Each is {"passages": [[heading, text], ...], "question", "answer", "number"}; number 0: nothing answers.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[3])]

from examples import Maker  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    maker = Maker(options.seed, held_out=True)
    lines = []
    for _ in range(options.count):
        example = maker.example(maker.r.randrange(1, 5), refuse=0.25)
        asked = {"passages": example.passages, "question": example.question, "answer": example.answer, "number": example.number}
        lines.append(json.dumps(asked, ensure_ascii=False))
    options.out.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
