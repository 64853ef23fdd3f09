"""How text is cut into words before byte-level BPE: the patterns of the models, in the standard library's regular expressions.

They are written with Unicode's classes, which ``re`` has not: letters are what is a word character and neither a digit, nor an
underscore, nor one of the numerals that are no decimal digits (categories Nl and No), whose ranges stand here as of Unicode 16. So do
the letters and digits that came after Unicode 14, which is what Python 3.11 knows.

Patterns: GPT-2 (Radford et al. 2019, encoder.py), Llama 3, Qwen 2 and SmolLM, as their tokenizer files state them.
"""

import re
from collections.abc import Callable

from ...errors import ModelError

NUMERALS = (
    "\u00b2-\u00b3\u00b9\u00bc-\u00be\u09f4-\u09f9\u0b72-\u0b77\u0bf0-\u0bf2\u0c78-\u0c7e\u0d58-\u0d5e\u0d70-\u0d78\u0f2a-\u0f33\u1369-\u137c"
    "\u16ee-\u16f0\u17f0-\u17f9\u19da\u2070\u2074-\u2079\u2080-\u2089\u2150-\u2182\u2185-\u2189\u2460-\u249b\u24ea-\u24ff\u2776-\u2793\u2cfd"
    "\u3007\u3021-\u3029\u3038-\u303a\u3192-\u3195\u3220-\u3229\u3248-\u324f\u3251-\u325f\u3280-\u3289\u32b1-\u32bf\ua6e6-\ua6ef\ua830-\ua835"
    "\U00010107-\U00010133\U00010140-\U00010178\U0001018a-\U0001018b\U000102e1-\U000102fb\U00010320-\U00010323\U00010341\U0001034a"
    "\U000103d1-\U000103d5\U00010858-\U0001085f\U00010879-\U0001087f\U000108a7-\U000108af\U000108fb-\U000108ff\U00010916-\U0001091b"
    "\U000109bc-\U000109bd\U000109c0-\U000109cf\U000109d2-\U000109ff\U00010a40-\U00010a48\U00010a7d-\U00010a7e\U00010a9d-\U00010a9f"
    "\U00010aeb-\U00010aef\U00010b58-\U00010b5f\U00010b78-\U00010b7f\U00010ba9-\U00010baf\U00010cfa-\U00010cff\U00010e60-\U00010e7e"
    "\U00010f1d-\U00010f26\U00010f51-\U00010f54\U00010fc5-\U00010fcb\U00011052-\U00011065\U000111e1-\U000111f4\U0001173a-\U0001173b"
    "\U000118ea-\U000118f2\U00011c5a-\U00011c6c\U00011fc0-\U00011fd4\U00012400-\U0001246e\U00016b5b-\U00016b61\U00016e80-\U00016e96"
    "\U0001d2c0-\U0001d2d3\U0001d2e0-\U0001d2f3\U0001d360-\U0001d378\U0001e8c7-\U0001e8cf\U0001ec71-\U0001ecab\U0001ecad-\U0001ecaf"
    "\U0001ecb1-\U0001ecb4\U0001ed01-\U0001ed2d\U0001ed2f-\U0001ed3d\U0001f100-\U0001f10c"
)
LATER_LETTERS = (
    "\u1c89-\u1c8a\ua7cb-\ua7cd\ua7da-\ua7dc\U000105c0-\U000105f3\U00010d4a-\U00010d65\U00010d6f-\U00010d85\U00010ec2-\U00010ec4"
    "\U0001123f-\U00011240\U00011380-\U00011389\U0001138b\U0001138e\U00011390-\U000113b5\U000113b7\U000113d1\U000113d3"
    "\U00011bc0-\U00011be0\U00011f02\U00011f04-\U00011f10\U00011f12-\U00011f33\U0001342f\U00013441-\U00013446\U00013460-\U000143fa"
    "\U00016100-\U0001611d\U00016d40-\U00016d6c\U00018cff\U0001b132\U0001b155\U0001df25-\U0001df2a\U0001e030-\U0001e06d"
    "\U0001e4d0-\U0001e4eb\U0001e5d0-\U0001e5ed\U0001e5f0\U0002b739\U0002ebf0-\U0002ee5d\U00031350-\U000323af"
)
LATER_DIGITS = (
    "\U00010d40-\U00010d49\U000116d0-\U000116e3\U00011bf0-\U00011bf9\U00011f50-\U00011f59\U00016130-\U00016139\U00016d70-\U00016d79"
    "\U0001ccf0-\U0001ccf9\U0001e4f0-\U0001e4f9\U0001e5f1-\U0001e5fa"
)
SPACES = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's White_Space; ``re`` counts \x1c-\x1f too
LETTERS = rf"(?:[^\W\d_{NUMERALS}]++|[{LATER_LETTERS}])+"  # one or more
_NUMBER = rf"\d{NUMERALS}{LATER_DIGITS}"
N = f"[{_NUMBER}]"
S = f"[{SPACES}]"
_OTHER = rf"(?:(?![{SPACES}{_NUMBER}{LATER_LETTERS}])(?:\W|_))"  # neither space, nor letter, nor number
_SHORT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"  # as in "it's", and with the long s too
_END = rf"{S}+(?!(?![{SPACES}])[\s\S])|{S}+"  # spaces but for the one before a word


def _modern(digits: str) -> str:
    prefix = rf"(?:(?![\r\n{_NUMBER}{LATER_LETTERS}])(?:\W|_))?"
    return rf"{_SHORT}|{prefix}{LETTERS}|{N}{digits}| ?{_OTHER}+[\r\n]*|{S}*[\r\n]+|{_END}"


_GPT2 = rf"'(?:s|t|re|ve|m|ll|d)| ?{LETTERS}| ?{N}+| ?{_OTHER}+|{_END}"

PATTERNS = {
    **dict.fromkeys(("lfm2", "llama3", "llama-bpe", "llama-v3"), _modern("{1,3}")),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), _modern("")),
    **dict.fromkeys(("gpt-2", "default", "smollm"), _GPT2),
}


APART = {"smollm": re.compile(f"({N})")}  # cut out before the pattern is applied to what is between


def splitter(name: str) -> Callable[[str], list[str]]:
    """Cuts a text into words, which together are the text. ModelError for a name that is not known."""
    if name not in PATTERNS:
        raise ModelError(f"the pre-tokenizer {name!r} is not known; {', '.join(PATTERNS)} are")
    words = re.compile(PATTERNS[name]).findall
    if name not in APART:
        return words
    return lambda text: [word for part in APART[name].split(text) for word in words(part)]
