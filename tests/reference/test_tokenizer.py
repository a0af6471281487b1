"""Token ids identical to transformers' CLIPTokenizer."""
import json
import random
import struct
import subprocess
import unicodedata

import pytest
from transformers import CLIPTokenizer

CONTEXT = 77


def ours(tools, folder, strings, tmp_path, context=CONTEXT):
    (tmp_path / "in").write_bytes(
        b"".join(struct.pack("<i", len(b)) + b for b in (s.encode("utf-8") for s in strings)))
    subprocess.run([tools / "tokenize_tool", folder, str(context), tmp_path / "in", tmp_path / "out"], check=True)
    numbers = memoryview((tmp_path / "out").read_bytes()).cast("i")
    result, at = [], 0
    while at < len(numbers):
        count = numbers[at]
        result.append(None if count < 0 else list(numbers[at + 1 : at + 1 + count]))
        at += 1 + max(count, 0)
    assert len(result) == len(strings)
    return result


def theirs(folder, strings, context=CONTEXT):
    tokenizer = CLIPTokenizer.from_pretrained(str(folder))
    return tokenizer(strings, truncation=True, max_length=context)["input_ids"]


def assert_same(tools, folder, strings, tmp_path, context=CONTEXT):
    wrong = [(s, a, b) for s, a, b in
             zip(strings, ours(tools, folder, strings, tmp_path, context), theirs(folder, strings, context)) if a != b]
    assert not wrong, f"{len(wrong)} of {len(strings)} differ, first: {wrong[:3]!r}"


def is_text(s):
    """A string that can be a query: not empty, no NUL, no lone surrogate."""
    return s and "\0" not in s and not any("\ud800" <= c <= "\udfff" for c in s)


def generated_strings(count, seed):
    """Words, numbers, contractions, symbols, emoji sequences and many scripts, mixed at random."""
    rng = random.Random(seed)
    blocks = [(0x20, 0x7E), (0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x530, 0x58F),
              (0x5D0, 0x5F4), (0x600, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x10A0, 0x10FF), (0x1100, 0x11FF),
              (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2190, 0x23FF),
              (0x2460, 0x24FF), (0x2600, 0x27BF), (0x3000, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xADFF),
              (0xFB00, 0xFB4F), (0xFF00, 0xFFEF), (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x1F1E6, 0x1F1FF),
              (0x1F300, 0x1F6FF), (0xE0020, 0xE007F)]
    words = ["a photo of a", "cat", "DOG", "it's", "I'LL", "we've", "they're", "o'clock", "'s", "can't've", "2024",
             "3.14", "100%", "$5", "C++", "e-mail@example.com", "#tag", "<|endoftext|>", "<|startoftext|>",
             "<|ENDOFTEXT|>", "naïve", "nai\u0308ve", "ΣΑΣ", "İstanbul", "ß", "ﬁ", "Ǆ", "½", "²", "٣", "一二三", "日本語",
             "한국어", "हिन्दी", "ไทย", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "\u200d", "\ufeff", "\u00a0", "\u2028", "\u3000",
             "\t", "\n", "\r\n", "\x0b", "\x1c", "\x85", "\u180e", "&amp;", "…", "—", "''", "’s"]
    strings = []
    while len(strings) < count:
        parts = []
        for _ in range(rng.randint(1, 8)):
            if rng.random() < 0.5:
                parts.append(rng.choice(words))
            else:
                low, high = rng.choice(blocks)
                parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6))))
            parts.append(rng.choice(["", " ", " ", "  "]))
        text = "".join(parts)
        if is_text(text):
            strings.append(text)
    return strings


def test_ids_of_naughty_and_generated_strings_are_the_references(tools, corpora, clip_tokenizer_dir, tmp_path):
    strings = generated_strings(24_000, seed=1)
    if corpora:
        naughty = json.loads((corpora / "strings/blns.json").read_text(encoding="utf-8"))
        strings += [s for s in naughty if is_text(s)]
    print(f"{len(strings)} strings")
    assert_same(tools, clip_tokenizer_dir, strings, tmp_path)


def test_every_assigned_character_is_classed_and_lowered_as_the_reference_does(tools, clip_tokenizer_dir, tmp_path):
    strings = [f"a{chr(c)}b {chr(c)} 1{chr(c)}" for c in range(1, 0x110000)
               if not 0xD800 <= c <= 0xDFFF and unicodedata.category(chr(c)) not in ("Cn", "Co")]
    strings = [s for s in strings if not "\u4e00" <= s[1] <= "\u9f00" and not "\uac10" <= s[1] <= "\ud780"]
    strings = [s for s in strings if not 0x17000 <= ord(s[1]) <= 0x18AFF and not ord(s[1]) >= 0x20000]
    print(f"{len(strings)} characters")
    assert_same(tools, clip_tokenizer_dir, strings, tmp_path)


def test_long_texts_are_cut_where_the_reference_cuts_them(tools, clip_tokenizer_dir, tmp_path):
    strings = ["word " * n for n in (74, 75, 76, 200)] + ["x" * 4096, "!" * 4096, "é" * 2048, "ab" * 2000]
    for context in (77, 16, 2, 3):
        assert_same(tools, clip_tokenizer_dir, strings, tmp_path, context)


@pytest.mark.parametrize("layout", ["tokenizer.json", "openai", "added-tokens-decoder", "exclamation-pad"])
def test_every_folder_layout_gives_the_references_ids(tools, clip_tokenizer_dir, clip_vocabulary, tmp_path, layout):
    vocab, merges = clip_vocabulary
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes((clip_tokenizer_dir / name).read_bytes())
    token = {"lstrip": False, "rstrip": False, "single_word": False}
    if layout == "tokenizer.json":
        CLIPTokenizer.from_pretrained(str(clip_tokenizer_dir)).save_pretrained(folder)
        (folder / "vocab.json").unlink(missing_ok=True)
        (folder / "merges.txt").unlink(missing_ok=True)
    elif layout == "openai":  # as openai/clip-vit-base-patch32 has it
        (folder / "special_tokens_map.json").write_text(json.dumps({
            "bos_token": {**token, "content": "<|startoftext|>", "normalized": True},
            "eos_token": {**token, "content": "<|endoftext|>", "normalized": True},
            "unk_token": {**token, "content": "<|endoftext|>", "normalized": True}, "pad_token": "<|endoftext|>"}))
    elif layout == "added-tokens-decoder":
        (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": {
            "49406": {**token, "content": "<|startoftext|>", "normalized": True, "special": True},
            "49407": {**token, "content": "<|endoftext|>", "normalized": False, "special": True},
            "49408": {"content": "<cut>", "lstrip": True, "rstrip": True, "normalized": False, "single_word": False,
                      "special": True},
            "49409": {**token, "content": "Word", "single_word": True, "normalized": True, "special": False}}}))
    else:  # as laion's folders have it
        (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "!"}))
    strings = generated_strings(500, seed=2) + [
        "a <|startoftext|> b<|ENDOFTEXT|>c <|endoftext|>!", "so! what!!", "x  <cut>  y<cut>z", "word swordfish WORD 'Word'",
        "Words", "word", " word ", "<|startoftext|", "<|<|endoftext|>|>"]
    assert_same(tools, folder, strings, tmp_path)


def test_symbols_that_a_vocabulary_lacks_become_its_unknown_token(tools, tmp_path):
    tokens = [*"abcdefgh", *(c + "</w>" for c in "abcdefgh"), "ab", "ab</w>", "<|startoftext|>", "<|endoftext|>"]
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b\na b</w>\n")
    assert_same(tools, folder, ["abba", "xyz", "a x ab", "é", "abz", "zab", "!!"], tmp_path)
