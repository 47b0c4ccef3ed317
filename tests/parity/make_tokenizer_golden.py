#!/usr/bin/env python3
"""Writes tests/parity/tokenizer_golden.h: what the reference tokenizers make of texts that the C test makes again.

    pip install tokenizers tiktoken
    tests/parity/make_tokenizer_golden.py FOLDER > tests/parity/tokenizer_golden.h
    clang-format -i tests/parity/tokenizer_golden.h

FOLDER holds GPT-2's vocab.json and merges.txt. Both references (Hugging Face tokenizers and tiktoken, which share
no code) must agree before anything is written. A text is fragments drawn by SplitMix64, so it takes no room here.
"""
import json
import sys

import tiktoken
from tokenizers import ByteLevelBPETokenizer

MASK = (1 << 64) - 1
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

WORDS = [" the", " of", " and", "The", "hello", " world", " tokenizer", " HTTP", " iPhone", "don't", "we'll", "I've",
         " it's", "'S", "'re", " antidisestablishmentarianism", " 1234567890", "3.14159", " 2024-05-20", ", ", ". ", "?!",
         " --", "...", "\n", "\n\n", "\r\n", "    ", "\t\t", " \n ", "<|endoftext|>", " <html>", "&nbsp;"]
CODE = ["for (int i = 0; i < n; i++) {\n", "        return x->next;\n", "#include <stdio.h>\n", "def f(self, *args):\n    ",
        "=====", "// ", "/* ", " */", "::", "->", "!=", "&&", "0xDEADBEEF", "printf(\"%d\\n\", x);", "\\u0041", "$HOME", "```"]
WORLD = ["中文", "日本語のテキスト", "한국어", " Ελληνικά", " русский", " עברית", " العربية", " हिन्दी", "ไทย", "é", "e\u0301", "ﬁ", "Ⅷ",
         "½", "٣", "Ǆ", "ß", "İ", "𝔘𝔫𝔦", "𐍈", "\u2603", "。", "、", "«", "»", "—", "\u2019s"]
EMOJI = ["😀", "👩\u200d👩\u200d👧", "🇩🇪", "❤\ufe0f", "👍🏽", " 🎉🎉", "\U0001fae0", "☕"]
SPACES = ["\u00a0", "\u1680", "\u180e", "\u2000", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u0085",
          "\ufeff", "\v", "\f", " \u00a0 "]
CONTROL = ["\0", "\x01", "\x07", "\x08", "\x1b[31m", "\x1c", "\x1f", "\x7f", "\u0080", "\u009f", "\ufffd", "\uffff", "\U0010ffff"]
BROKEN = [b"\xff", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98", b"\xe4\xb8", b"\x80",
          b"\xbf\xbf", b"\xf8\x88\x80\x80\x80", b"\xc3", b" \xe2\x80", b"\xe2\x80 ", b"\xc2", b"a\xccb"]
RUNS = ["a", " ", "\n", "=", "-", "7", "ab", "é", "中", "\u00a0", "\t", "!", "😀", " x"]


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return x ^ x >> 31


def encode(fragments):
    return [f if isinstance(f, bytes) else f.encode() for f in fragments]


FRAGMENTS = [encode(WORDS), encode(CODE), encode(WORLD), encode(EMOJI), encode(SPACES), encode(CONTROL), BROKEN, encode(RUNS)]
RUN_GROUP = len(FRAGMENTS) - 1
# Name, seed, least size in bytes, longest run, and how many parts in all each group has.
TEXTS = [("prose", 1, 150_000, 8, (20, 1, 1, 1, 1, 0, 0, 1)),
         ("code", 2, 150_000, 40, (5, 20, 1, 0, 1, 0, 0, 3)),
         ("world", 3, 150_000, 5, (2, 0, 20, 5, 3, 0, 0, 1)),
         ("control", 4, 100_000, 5, (3, 1, 1, 1, 4, 10, 0, 1)),
         ("broken", 5, 150_000, 9, (3, 1, 3, 2, 2, 2, 10, 1)),
         ("runs", 6, 150_000, 5000, (0, 0, 0, 0, 0, 0, 1, 6)),
         ("all", 7, 200_000, 100, (3, 3, 3, 3, 3, 3, 3, 3))]


def make_text(seed, size, longest_run, weights):
    groups = [g for g, weight in enumerate(weights) for _ in range(weight)]
    out, drawn = bytearray(), 0

    def draw(count):
        nonlocal drawn
        drawn += 1
        return mix(mix(seed) ^ drawn) % count

    while len(out) < size:
        group = groups[draw(len(groups))]
        fragment = FRAGMENTS[group][draw(len(FRAGMENTS[group]))]
        out += fragment * (1 + draw(longest_run)) if group == RUN_GROUP else fragment
    return bytes(out)


def reference(folder):
    vocab_path, merges_path = f"{folder}/vocab.json", f"{folder}/merges.txt"
    hugging_face = ByteLevelBPETokenizer(vocab_path, merges_path)
    vocab = json.load(open(vocab_path, encoding="utf-8"))
    itself = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = {chr(b): b for b in itself}
    for n, b in enumerate(b for b in range(256) if b not in itself):
        spelled[chr(256 + n)] = b
    ranks = {bytes(spelled[c] for c in token): i for token, i in vocab.items() if token != "<|endoftext|>"}
    openai = tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50256})

    def ids(data):
        text = data.decode("utf-8", errors="replace")
        first, second = hugging_face.encode(text).ids, openai.encode_ordinary(text)
        assert first == second, "the references disagree"
        return first

    return ids


def literal(data):
    # Octal escapes, which end after three digits whatever follows.
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f'\\{b:03o}' for b in data) + '"'


def main():
    ids = reference(sys.argv[1])
    total = 0
    print("/* Made by make_tokenizer_golden.py; do not edit. */\n"
          "#ifndef COL_PARITY_TOKENIZER_GOLDEN_H\n#define COL_PARITY_TOKENIZER_GOLDEN_H\n\n"
          "#include <stddef.h>\n#include <stdint.h>\n")
    print("typedef struct fragment {\n    const char *bytes;\n    size_t size;\n} fragment;\n")
    for g, group in enumerate(FRAGMENTS):
        rows = ",\n    ".join(f"{{{literal(f)}, {len(f)}}}" for f in group)
        print(f"static const fragment group_{g}[] = {{\n    {rows}}};\n")
    groups = ", ".join(f"{{group_{g}, {len(group)}}}" for g, group in enumerate(FRAGMENTS))
    print("static const struct {\n    const fragment *fragments;\n    size_t count;\n} groups[] = {" + groups + "};\n")
    print(f"enum {{ GROUPS = {len(FRAGMENTS)}, RUN_GROUP = {RUN_GROUP}, FIRST_IDS = 12 }};\n")
    print("static const struct {\n    const char *name;\n    uint64_t seed;\n    size_t size, longest_run;\n"
          "    int weights[GROUPS];\n    size_t bytes, count; /* of the text, of its ids */\n"
          "    uint64_t hash;        /* h = mix(h ^ id) over the ids, from 0 */\n    int32_t first[FIRST_IDS];\n} texts[] = {")
    for name, seed, size, longest_run, weights in TEXTS:
        data = make_text(seed, size, longest_run, weights)
        total += len(data)
        got, h = ids(data), 0
        for i in got:
            h = mix(h ^ i)
        numbers = lambda row: "{" + ", ".join(map(str, row)) + "}"
        print(f'    {{"{name}", {seed}, {size}, {longest_run}, {numbers(weights)}, {len(data)}, {len(got)}, '
              f"UINT64_C({h}),\n     {numbers(got[:12])}}},")
    print("};\n\n#endif")
    print(f"{total} bytes of text", file=sys.stderr)


if __name__ == "__main__":
    main()
