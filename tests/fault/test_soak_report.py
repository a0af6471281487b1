"""The judge of a soak sees growth, and a load that was not there."""
import soak_report
import xml.etree.ElementTree


def samples(n=40, **change):
    made = []
    for i in range(n):
        sample = {"seconds": 10.0 * (i + 1), "rate": 50.0, "rss": 400.0 * 2**20, "fds": 60.0, "threads": 30.0, "p99_ms": 20.0}
        sample.update({name: grow(i / n) for name, grow in change.items()})
        made.append(sample)
    return made


def judge(made, rate=50.0):
    return soak_report.judge(made, rate, 400.0)


def test_a_level_run_is_well():
    assert judge(samples()) == []
    # What grows at first and then rests is a cache.
    assert judge(samples(rss=lambda part: 400 * 2**20 * min(1 + part * 4, 1.5))) == []


def test_growth_is_seen():
    assert "memory" in judge(samples(rss=lambda part: (300 + 200 * part) * 2**20))[0]
    assert "fds" in judge(samples(fds=lambda part: 60 + 40 * part))[0]
    assert "threads" in judge(samples(threads=lambda part: 30 + 20 * part))[0]
    assert "p99" in judge(samples(p99_ms=lambda part: 20 + 100 * part))[0]


def test_a_run_without_its_load_is_void():
    assert "void" in judge(samples(), rate=60.0)[0]
    assert "void" in judge(samples(n=20))[0]
    assert "void" in judge([])[0]


def test_the_picture_is_svg_with_every_series():
    text = soak_report.draw(samples(), "a title")
    root = xml.etree.ElementTree.fromstring(text)
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == len(soak_report.PANELS)
