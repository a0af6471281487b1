"""Reads the artwork packages and yields (key, SVG text, label, tags) per picture, style by style."""
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

# Emoji styles carry the same subjects; every other style has only its own names.
EMOJI = ["twemoji", "noto", "noto-v1", "fluent-emoji", "fluent-emoji-flat",
         "fluent-emoji-high-contrast", "emojione", "emojione-monotone", "fxemoji", "streamline-emojis"]
FLAGS = ["circle-flags", "flag"]
ICONS = ["game-icons", "mdi", "tabler", "lucide", "lucide-lab", "ph", "icon-park", "flat-color-icons",
         "healthicons", "fluent-color", "meteocons", "fa6-solid", "streamline-plump",
         "streamline-plump-color", "streamline-pixel", "streamline-ultimate",
         "streamline-ultimate-color", "streamline-freehand-color", "maki"]
CLIPART = ["openclipart"]
HELD_OUT_STYLE = "openmoji"  # share-alike art: never trained on, looked at once at the end
VALIDATION_STYLES = ["noto-v1", "fxemoji"]  # kept out until every choice is made
# Drawings made from others: every shape inked with a black line, flags in a thin black frame. Few packages draw in
# coloured outlines, and a model that never saw them takes the line for the subject.
INKED = {f"{style}+ink": style for style in ("twemoji", "noto", "noto-v1", "fluent-emoji-flat", "emojione")}
FRAMED = {f"{style}+frame": style for style in ("flag",)}
VALIDATION_STYLES += ["noto-v1+ink"]
STYLES = EMOJI + FLAGS + ICONS + CLIPART + list(INKED) + list(FRAMED)

SKIN = re.compile(r"(medium-light|medium-dark|light|medium|dark)-skin-tone|-(light|medium|dark|medium-light|medium-dark)$")
SUFFIX = re.compile(r"-(outline|outlined|filled|fill|bold|duotone|thin|light|solid|remix|flat|variant|alt|negative|"
                    r"1x1|4x3|square|circle|box|\d+px|\d+)$")


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def squash(text):
    return re.sub(r"[^a-z0-9]", "", text.lower())


def words(slug):
    return re.sub(r"\s+", " ", re.sub(r"[-_/]+", " ", slug)).strip().lower()


def strip_vs(hexcode):
    return hexcode.upper().replace("-FE0F", "")


class Emoji:
    """The English emoji list (emojibase-data, MIT): label and tags by code points."""

    def __init__(self, modules):
        rows = read_json(modules / "emojibase-data/en/data.json")
        rows = [r for r in rows if not r["label"].startswith("regional indicator")]
        self.label = {strip_vs(r["hexcode"]): r["label"].lower() for r in rows}
        self.tags = {strip_vs(r["hexcode"]): [t.lower() for t in r.get("tags", [])] for r in rows}
        self.by_name = {}
        for style in ("noto", "twemoji"):  # their slugs are also used by sets without code points
            for code, name in read_json(modules / f"@iconify-json/{style}/chars.json").items():
                if strip_vs(code) in self.label:
                    self.by_name.setdefault(squash(name), strip_vs(code))
        for code, label in self.label.items():
            self.by_name[squash(label)] = code

    def held_out_tags(self, percent=13):
        """The fixed share of tags kept out of all training text: chosen by hash, never a label."""
        labels = set(self.label.values())
        count = Counter(t for ts in self.tags.values() for t in set(ts))
        return sorted(t for t in count if t not in labels and re.fullmatch(r"[a-z][a-z '-]{2,}", t)
                      and int(hashlib.sha1(t.encode()).hexdigest(), 16) % 100 < percent)

    def pictures(self, modules, style):
        """One picture per subject: {code: icon name}."""
        folder = modules / "@iconify-json" / style
        icons = read_json(folder / "icons.json")["icons"]
        found = {}
        if (folder / "chars.json").exists():
            for code, name in read_json(folder / "chars.json").items():
                if strip_vs(code) in self.label and name in icons:
                    found.setdefault(strip_vs(code), name)
        if len(found) < 100:  # no code points: match by name
            for name, icon in icons.items():
                if icon.get("hidden") or SKIN.search(name):
                    continue
                for key in (name, re.sub(r"-\d+$", "", name)):
                    if squash(key) in self.by_name:
                        found.setdefault(self.by_name[squash(key)], name)
                        break
        return found


def svg_of(icon, defaults):
    box = [icon.get(k, defaults.get(k, d)) for k, d in (("left", 0), ("top", 0), ("width", 16), ("height", 16))]
    body = icon["body"].replace("currentColor", "#000")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{box[0]} {box[1]} {box[2]} {box[3]}" width="{box[2]}" height="{box[3]}">{body}</svg>')


def some_width(key, low, high):
    """A line width in [low, high), fixed by the picture's key."""
    return low + (high - low) * (int(hashlib.sha1(key.encode()).hexdigest()[:8], 16) / 2 ** 32)


def inked(key, svg):
    """The same picture with a black line of 1.5 to 3.5 % of its side around every shape."""
    head, _, rest = svg.partition(">")
    side = max(float(x) for x in re.search(r'viewBox="([^"]+)"', head).group(1).split()[2:])
    line = f"stroke:#000 !important;stroke-width:{side * some_width(key, 0.015, 0.035):.3f};stroke-linejoin:round;stroke-linecap:round"
    return f"{head}><style>path,circle,rect,ellipse,polygon,polyline{{{line}}}</style>{rest}"


def framed(key, svg):
    """The same picture inset by 8 to 20 % of its width, in a black frame."""
    head, _, rest = svg.partition(">")
    left, top, width, height = (float(x) for x in re.search(r'viewBox="([^"]+)"', head).group(1).split())
    inset, line = width * some_width(key, 0.08, 0.2), width * some_width(key[::-1], 0.02, 0.045)
    box = f'{left - inset} {top - inset} {width + 2 * inset} {height + 2 * inset}'
    head = re.sub(r'viewBox="[^"]+" width="[^"]+" height="[^"]+"',
                  f'viewBox="{box}" width="{width + 2 * inset}" height="{height + 2 * inset}"', head)
    frame = (f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#000" '
             f'stroke-width="{line}" stroke-linejoin="round"/>')
    return f"{head}>{rest.removesuffix('</svg>')}{frame}</svg>"


def extra_tags(modules, style):
    """Tags that ship beside an icon set, by icon name."""
    if style == "mdi":
        return {r["name"]: [words(t) for t in r["aliases"] + r["tags"]]
                for r in read_json(modules / "@mdi/svg/meta.json")}
    if style == "tabler":
        return {k: [words(str(t)) for t in v["tags"]] for k, v in read_json(modules / "@tabler/icons/icons.json").items()}
    if style == "lucide":
        return {k: [words(t) for t in v] for k, v in read_json(modules / "lucide-static/tags.json").items()}
    return {}


def emoji_style(modules, emoji, style):
    icons = read_json(modules / f"@iconify-json/{style}/icons.json")
    for code, name in sorted(emoji.pictures(modules, style).items()):
        yield code, svg_of(icons["icons"][name], icons), emoji.label[code], emoji.tags[code]


def flag_style(modules, emoji, style):
    """Round or plain flags, named by country code: the label is the flag emoji's."""
    data = read_json(modules / f"@iconify-json/{style}/icons.json")
    for name, icon in sorted(data["icons"].items()):
        country = name.removesuffix("-4x3")
        if not re.fullmatch("[a-z]{2}", country):
            continue
        code = "-".join(f"{0x1F1E6 + ord(c) - 97:X}" for c in country)
        if code in emoji.label:
            yield code, svg_of(icon, data), emoji.label[code], emoji.tags[code]


def icon_style(modules, style):
    """Icons by name, at most two drawings of one name (an outline and a filled one, say)."""
    data = read_json(modules / f"@iconify-json/{style}/icons.json")
    tags, seen = extra_tags(modules, style), Counter()
    limit = 1 if style in ("mdi", "tabler", "ph") else 2
    for name, icon in data["icons"].items():
        base = name
        while SUFFIX.search(base):
            base = SUFFIX.sub("", base)
        label = words(base)
        if icon.get("hidden") or len(label) < 2 or "logo" in name or "brand" in name or "numeric" in name:
            continue
        seen[label] += 1
        if seen[label] <= limit:
            yield name, svg_of(icon, data), label, tags.get(name) or tags.get(base, [])


def clipart_style(root):
    """Public-domain clip art: title, keywords and the folder's name."""
    seen = Counter()
    for path in sorted(root.rglob("*.svg")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if len(text) > 900_000:
            continue
        title = re.search(r"<dc:title>\s*([^<]+?)\s*</dc:title>", text)
        keys = [k.strip().lower() for k in re.findall(r"<rdf:li>\s*([^<]+?)\s*</rdf:li>", text)]
        keys = [k for k in keys if re.fullmatch(r"[a-z][a-z '-]{2,25}", k) and k not in ("unsorted", "clip art", "clipart")]
        folder = words(path.parent.name)
        label = words(re.sub(r"[\d_.]+", " ", title.group(1))) if title else ""
        if not re.fullmatch(r"[a-z][a-z ',-]{2,40}", label):
            label = keys[0] if keys else ""
        if not label:
            continue
        seen[label] += 1
        if seen[label] <= 3:
            yield str(path.relative_to(root)), text, label, keys[:8] + [folder]


def style_pictures(packages, style):
    """(key, svg, label, tags) of every picture of a style; `packages` holds node_modules and deb."""
    modules = Path(packages) / "node_modules"
    for made, change in ((INKED, inked), (FRAMED, framed)):
        if style in made:
            yield from ((key, change(key, svg), label, tags) for key, svg, label, tags in style_pictures(packages, made[style]))
            return
    if style in CLIPART:
        yield from clipart_style(Path(packages) / "deb/usr/share/openclipart/svg")
        return
    emoji = Emoji(modules)
    if style in EMOJI or style == HELD_OUT_STYLE:
        yield from emoji_style(modules, emoji, style)
    elif style in FLAGS:
        yield from flag_style(modules, emoji, style)
    else:
        yield from icon_style(modules, style)
