"""Learns the byte-level BPE vocabulary by CLIP's rules and writes vocab.json, merges.txt and their configs."""
import argparse
import json
from pathlib import Path

import texts

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
SPLIT = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def byte_symbols():
    """CLIP's 256 byte symbols in its order: printable bytes as themselves, the others from U+0100."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def learn(lines, size):
    """The list of merges, such that 512 byte symbols + merges + 2 special tokens make `size`."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    tokenizer = Tokenizer(models.BPE(unk_token=EOS, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    # The trainer counts only the byte symbols that it saw, so ask for more and cut.
    trainer = trainers.BpeTrainer(vocab_size=size + 512, end_of_word_suffix="</w>", show_progress=False,
                                  initial_alphabet=byte_symbols())
    tokenizer.train_from_iterator(lines, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [m.split() if isinstance(m, str) else m for m in merges][: size - 514]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    parts = texts.corpus(args.packages, args.tiny)
    # Everyday picture words weigh most; rare WordNet nouns (Latin names) would eat the vocabulary.
    emoji = texts.emoji_texts(args.packages)
    lines = [t for kind, times in (("labels", 4), ("classes", 4), ("glosses", 1)) for t in parts[kind] for _ in range(times)]
    lines += [t for t in emoji for _ in range(40)]
    merges = learn(lines, args.size)
    symbols = byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols] + ["".join(m) for m in merges] + [BOS, EOS]
    assert len(set(tokens)) == len(tokens) and (args.tiny or len(tokens) == args.size)
    args.out.mkdir(parents=True, exist_ok=True)

    def write(name, value):
        (args.out / name).write_text(json.dumps(value, ensure_ascii=False, indent=None if name == "vocab.json" else 2) + "\n",
                                     encoding="utf-8")

    write("vocab.json", {t: i for i, t in enumerate(tokens)})
    (args.out / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    write("special_tokens_map.json", {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": EOS})
    write("tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True,
                                    "add_prefix_space": False, "errors": "replace", "bos_token": BOS, "eos_token": EOS,
                                    "unk_token": EOS, "pad_token": EOS})
    print(f"{len(tokens)} tokens, {len(merges)} merges from {len(lines)} lines")


if __name__ == "__main__":
    main()
