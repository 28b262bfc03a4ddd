"""``train.py report --html``: the page is looked at and used in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.compare import report
from tests.browser import MISSING, Browser, browser
from tests.fake_runs import CLASSES, SIDES, fake_run

SCRIPT = "<script>document.title='owned'</script>"


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of one sweep with three settings (one of two seeds) and of one with hostile names."""
    folder = tmp_path_factory.mktemp("page")
    sweep_file = folder / "kernels.yaml"
    sweep_file.write_text(
        "# Question: which kernel <b>restores</b> best?\n#\n# Seeds: 1.\n\nname: kernels\n"
    )
    runs = folder / "runs"
    for ks, seed, loss in ((3, 0, 0.07), (3, 1, 0.071), ("3:11", 0, 0.05), ("3:9", 0, 0.06)):
        fake_run(
            runs, f"k{ks}s{seed}".replace(":", "-"), loss, ks=ks, seed=seed, sweep="kernels",
            sweep_file=str(sweep_file), pictures=True, parameters=round(1e5 * loss),
        )  # fmt: skip
    for run_id, name in (("x1", SCRIPT), ("x2", '" onmouseover="alert(1)')):
        fake_run(runs, run_id, 0.08, name=name, sweep=f"a{SCRIPT}", dataset=f"$x{SCRIPT}", lr=0.1)
    file = folder / "page.html"
    report.main([str(runs), "--html", str(file)], standalone_mode=False)
    return file


@pytest.fixture(scope="module")
def page(html: Path) -> Iterator[Browser]:
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} is not installed (Debian: chromium, chromium-driver)")
    with browser() as session:
        session.open(html.as_uri())
        yield session


COLUMN = """
const table = document.querySelector('table.numbers');
const heads = [...table.tHead.rows[0].cells].map((c) => c.textContent);
return [...table.tBodies[0].rows].map((r) => r.cells[heads.indexOf(arguments[0])].textContent);
"""
SHOWN = """
const shown = [...document.querySelectorAll('.pictures thead th')].filter((e) => e.offsetWidth);
const row = [...document.querySelector('.pictures tbody tr').cells].filter((e) => e.offsetWidth);
return [shown.map((e) => [e.dataset.class, e.dataset.side]), row.length - 1];
"""
CHOOSE = """
const select = document.querySelectorAll('.grid select')[arguments[0]];
select.value = arguments[1];
select.dispatchEvent(new Event('change'));
"""


def heading(n: int) -> str:
    return f"table.numbers th:nth-child({n}) button"


def test_page_loads_whole_and_asks_nothing_of_the_network(page: Browser, html: Path) -> None:
    assert page.run("return document.title") == "2 sweeps compared"
    assert page.run("return performance.getEntriesByType('resource').length") == 0
    assert page.log() == []
    broken = "return [...document.images].filter((i) => i.complete && !i.naturalWidth).length"
    assert page.run(broken) == 0 and page.run("return document.images.length") == 96
    assert page.run("return document.querySelectorAll('svg[role=img]').length") == 3
    text = html.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)


def test_pictures_of_several_seeds_say_of_which_one_they_are(html: Path) -> None:
    heads = re.findall(r'<th scope="row">(ks [^<]+)<small>(.*?)</small></th>', html.read_text())
    assert heads == [
        ("ks 3:11", "val/l1 0.05000"),
        ("ks 3:9", "val/l1 0.06000"),
        ("ks 3", "val/l1 0.07050 (mean of 2 seeds)</small><small>pictures of seed 0"),
    ]


def test_names_are_text_whatever_they_hold(page: Browser) -> None:
    assert page.run("return document.querySelectorAll('script').length") == 1
    names = page.run("return [...document.querySelectorAll('h2')].map((e) => e.textContent)")
    assert names == ["kernels", f"a{SCRIPT}"]
    question = page.run("return document.querySelector('.question').textContent")
    assert question == "Which kernel <b>restores</b> best?"


def test_table_sorts_by_a_click(page: Browser) -> None:
    assert page.run(COLUMN, "ks") == ["3:11", "3:9", "3"]
    page.click(heading(2))
    assert page.run(COLUMN, "ks") == ["3", "3:9", "3:11"]
    page.click(heading(2))
    assert page.run(COLUMN, "ks") == ["3:11", "3:9", "3"]
    page.click(heading(5))
    assert page.run(COLUMN, "parameters") == ["5,000", "6,000", "7,000"]
    page.click(heading(5))
    assert page.run(COLUMN, "parameters") == ["7,000", "6,000", "5,000"]
    sorts = "return [...document.querySelectorAll('#s0 th[aria-sort]')].map((e) => e.ariaSort)"
    assert page.run(sorts).count("none") == 6 and "descending" in page.run(sorts)
    assert page.run("return document.getElementById('status').textContent") == (
        "Sorted by parameters, falling."
    )


def test_pictures_are_filtered_by_class_and_side(page: Browser) -> None:
    everything = [[CLASSES[n % 3], SIDES[n % 4]] for n in range(12)]
    assert page.run(SHOWN) == [everything, 12]
    page.run(CHOOSE, 0, "Bag")
    assert page.run(SHOWN) == [[p for p in everything if p[0] == "Bag"], 4]
    page.run(CHOOSE, 1, "top")
    assert page.run(SHOWN) == [[["Bag", "top"]], 1]
    assert page.run("return document.querySelector('.grid output').textContent") == (
        "1 of 12 pictures"
    )
    visible = (
        "return [...document.querySelectorAll('img.error')].filter((e) => e.offsetWidth).length"
    )
    assert page.run(visible) == 0
    page.click(".grid input")
    assert page.run(visible) == 3, "one for each run"
    page.run(CHOOSE, 0, "")
    page.run(CHOOSE, 1, "")
    assert page.run(SHOWN) == [everything, 12]


def test_light_and_dark(page: Browser) -> None:
    colours = """
    const choose = document.getElementById('theme');
    choose.value = arguments[0];
    choose.dispatchEvent(new Event('change'));
    const colour = (e) => getComputedStyle(e).color.match(/[0-9]+/g).slice(0, 3).map(Number);
    const back = getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number);
    const tick = document.querySelector('svg text');
    const fill = getComputedStyle(tick).fill.match(/[0-9]+/g).map(Number);
    return [back[0], colour(document.body)[0], fill[0]];
    """
    for system in ("light", "dark"):
        page.prefer(system)
        for chosen in ("", "light", "dark"):
            paper, ink, tick = page.run(colours, chosen)
            dark = (chosen or system) == "dark"
            assert (paper < 60, ink > 200, tick > 200) == (dark,) * 3, (system, chosen)
