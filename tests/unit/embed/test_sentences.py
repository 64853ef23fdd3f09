import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyruvllm.embed.sentences import below_headings, sentences

CASES = {
    "plain": ["It rained.", "We stayed in!", "Why not?"],
    "titles": ["Mr. Okafor met Dr. Li at 5 p.m. on Friday.", "They talked."],
    "time ends it": ["We left at 5 p.m.", "Then it rained."],
    "decimals": ["Pi is 3.14159, not 3.2.", "Version 2.10.3 says so."],
    "initials": ["J. R. Smith wrote it.", "So did I.", "You read it."],
    "references": ["See Fig. 3 and p. 12, e.g. the upper half.", "No.", "He would not say no.", "Nobody did."],
    "etc": ["Bring a tent, a rope, etc. and be there.", "Food is provided."],
    "quotes": ['"Really?" she asked.', "He said “No.”", "(It was late.)", "Then left."],
    "ellipsis": ["Wait... what?", "Well…", "Yes."],
    "address": ["Look at https://example.org/a.b?c=d first.", "Write to a.b@example.org today."],
    "numbered": ["1. The roof.", "2. Bicycles stand there.", "It was 1991.", "She left."],
    "other scripts": ["今日は天気がいい。", "公園まで歩こう！", "यह एक वाक्य है।", "هل وصلت؟", "Να πάμε."],
}


@pytest.mark.parametrize("parts", CASES.values(), ids=CASES.keys())
def test_prose(parts):
    text = " ".join(parts)
    assert [text[start:end] for start, end in sentences(text)] == parts


def test_stops_without_spaces_after_them():
    text = "今日は晴れ。明日は雨！「本当？」と彼は言った。"
    assert [text[start:end] for start, end in sentences(text)] == ["今日は晴れ。", "明日は雨！", "「本当？」", "と彼は言った。"]


def test_markdown():
    lines = [
        "# A title. With a stop",
        "First line\nwraps here.",
        "Second one.",
        "- item one",
        "* item two.",
        "More of it\n  goes on",
        "3) three",
    ]
    text = f"{lines[0]}\n{lines[1]} {lines[2]}\n\n{lines[3]}\n{lines[4]} {lines[5]}\n{lines[6]}\n"
    assert [text[start:end] for start, end in sentences(text)] == lines


def test_lines_of_code_and_tables_stay_whole():
    lines = ["```python", "a = b. C", "# no heading. None", "```", "| 1. A | B. C |", "|---|---|", "Prose. again"]
    text = "\n".join(lines)
    assert [text[start:end] for start, end in sentences(text)] == [*lines[:-1], "Prose. again"]


def test_a_blank_line_ends_what_has_no_stop():
    text = "no stop here\n\n\nnor here\n \nend"
    assert [text[start:end] for start, end in sentences(text)] == ["no stop here", "nor here", "end"]


@given(st.text(st.sampled_from('aB1 .!?。\n\t-#*`|"”(e.g.Mr'), max_size=80) | st.text(max_size=40))
def test_everything_but_white_space_is_in_one_sentence(text):
    spans = sentences(text)
    assert spans == sorted(spans)
    assert all(start < end and text[start:end] == text[start:end].strip() for start, end in spans)
    at = 0
    for start, end in [*spans, (len(text), len(text))]:
        assert at <= start and not text[at:start].strip()
        at = end


@pytest.mark.parametrize(
    "text, under",
    [
        ("# One\n\n## Two #\n\nText. # no heading", "Text. # no heading"),
        ("One\n===\nText\n---\nmore", "more"),
        ("Text\n# One", "Text\n# One"),
        ("\n Text\n\n---\nmore", "\n Text\n\n---\nmore".lstrip("\n")),
        ("# One\n\n", "# One\n\n"),
        ("", ""),
    ],
)
def test_below_the_headings(text, under):
    assert text[below_headings(text) :] == under
