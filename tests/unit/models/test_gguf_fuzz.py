"""Files that nobody should make get an error of this package, or open (tests/fuzz/gguf.py; ``./build.sh fuzz`` goes on for longer)."""

from tests.fuzz.gguf import attempt, corpus, mutated

ROUNDS = 150


def test_the_files_it_begins_with_open():
    assert {attempt(file) for file in corpus()} == {"opened"}


def test_mutated_files_open_or_are_refused():
    came = [attempt(data) for data in mutated(corpus(), 0, ROUNDS)]
    assert len(came) == ROUNDS and 0 < came.count("opened") < ROUNDS
