"""What the samples of a soak say: growth, a load below its floor, and a picture of them."""
import statistics

# Of the second half against the quarter before it: the first quarter is the caches' and the allocators'.
MAX_MEMORY_GROWTH = 0.10
MAX_MEMORY_GROWTH_BYTES = 32 << 20  # what is less than this is noise
MAX_DESCRIPTOR_GROWTH = 8
MAX_THREAD_GROWTH = 4
MAX_P99_GROWTH = 1.5
MAX_P99_GROWTH_MS = 20
MIN_LOAD = 0.95


def part(samples, name, begin, end):
    """The median of a stretch of the run."""
    values = [sample[name] for sample in samples[int(len(samples) * begin):max(int(len(samples) * end), 1)]]
    return statistics.median(values)


def change(samples, name):
    return part(samples, name, 0.25, 0.5), part(samples, name, 0.75, 1)


def judge(samples, rate, seconds):
    """What is wrong, as sentences; nothing when all is well."""
    problems = []
    if len(samples) < 8 or samples[-1]["seconds"] < 0.9 * seconds:
        problems.append(f"void: only {len(samples)} samples over {samples[-1]['seconds'] if samples else 0} s")
        return problems
    achieved = statistics.mean(sample["rate"] for sample in samples)
    if achieved < MIN_LOAD * rate:
        problems.append(f"void: {achieved:.1f} calls a second in place of {rate:.1f}")
    before, after = change(samples, "rss")
    if after > before * (1 + MAX_MEMORY_GROWTH) and after > before + MAX_MEMORY_GROWTH_BYTES:
        problems.append(f"resident memory grew from {before / 2**20:.0f} to {after / 2**20:.0f} MiB")
    for name, most in (("fds", MAX_DESCRIPTOR_GROWTH), ("threads", MAX_THREAD_GROWTH)):
        before, after = change(samples, name)
        if after > before + most:
            problems.append(f"{name} grew from {before:.0f} to {after:.0f}")
    before, after = change(samples, "p99_ms")
    if after > before * MAX_P99_GROWTH and after > before + MAX_P99_GROWTH_MS:
        problems.append(f"p99 of searches grew from {before:.0f} to {after:.0f} ms")
    return problems


def describe(samples):
    def told(name, unit="", scale=1.0):
        before, after = change(samples, name)
        return f"{before / scale:.0f} -> {after / scale:.0f}{unit}"

    return (f"medians of the second quarter -> the last: resident {told('rss', ' MiB', 2**20)}, descriptors {told('fds')},"
            f" threads {told('threads')}, p99 of searches {told('p99_ms', ' ms')}")


PANELS = (("rss", "resident memory, MiB", 2**20), ("fds", "open descriptors", 1), ("threads", "threads", 1),
          ("p99_ms", "p99 of searches, ms", 1), ("rate", "calls a second", 1))
WIDTH, HEIGHT, LEFT, TOP, GAP = 760, 110, 60, 46, 36


def draw(samples, title):
    """An SVG with a panel for each series over the minutes of the run; every axis begins at 0."""
    minutes = max(samples[-1]["seconds"] / 60, 1e-9)
    total = TOP + len(PANELS) * (HEIGHT + GAP) + 10
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 30} {total}" font-family="sans-serif"'
           f' font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
           f'<text x="{LEFT}" y="22" font-size="15">{title}</text>']
    for row, (name, label, scale) in enumerate(PANELS):
        top = TOP + row * (HEIGHT + GAP)
        values = [sample[name] / scale for sample in samples]
        most = max(values) * 1.1 or 1
        points = " ".join(f"{LEFT + WIDTH * sample['seconds'] / 60 / minutes:.1f},{top + HEIGHT * (1 - value / most):.1f}"
                          for sample, value in zip(samples, values))
        out.append(f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#bbb"/>'
                   f'<text x="{LEFT + 6}" y="{top + 15}" fill="#333">{label}</text>'
                   f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.0f}</text>'
                   f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>'
                   f'<polyline points="{points}" fill="none" stroke="#1667b7" stroke-width="1.3"/>')
        for tick in range(5):
            x = LEFT + WIDTH * tick / 4
            out.append(f'<text x="{x:.0f}" y="{top + HEIGHT + 14}" text-anchor="middle" fill="#777">'
                       f'{minutes * tick / 4:.0f} min</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
