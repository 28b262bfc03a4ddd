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
def session(html: Path) -> Iterator[Browser]:
    if MISSING:
        pytest.skip(f"{', '.join(MISSING)} is not installed (Debian: chromium, chromium-driver)")
    with browser() as session:
        session.open(html.as_uri())
        yield session


@pytest.fixture
def page(session: Browser) -> Iterator[Browser]:
    """The page as it was sent; no test may cause an error in its console."""
    session.run("location.hash = ''; restore(); sections.forEach((s) => s.drawAll())")
    yield session
    assert session.log() == [], "no error and nothing that the page's policy forbids"


COLUMN = """
const rows = [...document.querySelectorAll('#s0 table.numbers tbody tr[data-row]')];
const head = document.querySelector(`#s0 th[data-name="${arguments[0]}"]`);
const cell = (r) => r.querySelector(`td[data-c="${head.dataset.c}"]`);
return rows.filter((r) => !r.hidden).map((r) => cell(r).innerText);
"""
SHOWN = """
return [...document.querySelectorAll('#s0 .pictures thead th[scope=col]')].map(
  (e) => [e.dataset.class, e.dataset.damage]);
"""
SET = """
const control = sections[0].controls.find((c) => c.dataset.key === arguments[0]
  && (c.type !== 'checkbox' || c.value === arguments[1]));
if (control.type === 'checkbox') control.checked = arguments[2]; else control.value = arguments[1];
control.dispatchEvent(new Event('change', {bubbles: true}));
"""
MARKED = """
const found = [...document.querySelectorAll(`#s0 ${arguments[0]}`)];
return found.filter((e) => e.matches('.marked, .chosen')).length;
"""


def heading(name: str) -> str:
    return f'#s0 th[data-name="{name}"] button'


def test_the_page_loads_completely_without_network_requests(page: Browser, html: Path) -> None:
    assert page.run("return document.title") == f"kernels, a{SCRIPT}"
    requests = "return performance.getEntriesByType('resource').map((e) => e.name)"
    assert [name for name in page.run(requests) if not name.startswith(("blob:", "data:"))] == []
    assert page.run("return document.querySelectorAll('.plot .main-svg').length") >= 3
    assert page.run("return document.querySelectorAll('#s0 .pictures .sprite').length") == 12 * 5
    text = html.read_text(encoding="utf-8")
    assert text.count("plotly.js v") == 1
    start = text.index('<script type="text/plain"')
    end = text.index("</script>", start)
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text[:start] + text[end:])


def test_pictures_of_several_seeds_are_labelled_with_the_seed(page: Browser) -> None:
    rows = "return [...document.querySelectorAll('#s0 .pictures tbody th')].map((e) => e.innerText)"
    assert page.run(rows) == ["ks 3:11", "ks 3:9", "ks 3\nseed 0"]
    page.run(SET, "seed", "1")
    page.run(SET, "step", "-1")
    page.open(page.run("return location.href"))
    assert page.run(rows)[2] == "ks 3\nseed 1"
    step = "return document.querySelector('#s0 .steps output').textContent"
    assert page.run(step) == "90,000 images"
    assert page.run("return sections[0].now.map((each) => each.step.seen)") == [90_000] * 3


def test_class_names_are_escaped_as_text(page: Browser) -> None:
    assert page.run("return document.querySelectorAll('script').length") == 4
    names = page.run("return [...document.querySelectorAll('main h2')].map((e) => e.textContent)")
    assert names == ["kernels", f"a{SCRIPT}"]
    question = page.run("return document.querySelector('.question').textContent")
    assert question == "Which kernel <b>restores</b> best?"


def test_table_sorts_by_a_click(page: Browser) -> None:
    assert page.run(COLUMN, "ks") == ["3:11", "3:9", "3"]
    page.click(heading("ks"))
    assert page.run(COLUMN, "ks") == ["3", "3:9", "3:11"]
    page.click(heading("ks"))
    assert page.run(COLUMN, "ks") == ["3:11", "3:9", "3"]
    page.click(heading("parameters"))
    assert page.run(COLUMN, "parameters") == ["5,000", "6,000", "7,000"]
    page.click(heading("parameters"))
    assert page.run(COLUMN, "parameters") == ["7,000", "6,000", "5,000"]
    sorts = "return [...document.querySelectorAll('#s0 th[aria-sort]')].map((e) => e.ariaSort)"
    assert sorted(set(page.run(sorts))) == ["descending", "none"]
    assert page.run("return document.getElementById('status').textContent") == (
        "Sorted by parameters, falling."
    )


@pytest.mark.parametrize(
    "condition", ["3:", "val/l1<0.065", "ks != 3", "val/l1 < 0.065, 3:", "parameters <= 6000"]
)
def test_rows_are_filtered_by_text_and_by_condition(page: Browser, condition: str) -> None:
    page.run(SET, "filter", condition)
    assert page.run(COLUMN, "ks") == ["3:11", "3:9"]
    rows = "return document.querySelectorAll('#s0 .pictures tbody tr:not([hidden])').length"
    assert page.run(rows) == 2, "pictures too"


def test_a_selection_is_highlighted_in_every_panel_and_kept_in_the_url(
    page: Browser, html: Path
) -> None:
    page.run(SET, "chosen", "1", True)
    page.run(SET, "base", "0")
    page.click(heading("parameters"))
    for place in (
        "table.numbers tr",
        ".pictures tr",
        "[data-figure=curves] g.trace",
        "[data-figure=parallel] g.trace",
    ):
        assert page.run(MARKED, place) == 1, place
    assert page.run(COLUMN, "val/l1") == [
        "0.05000",
        "0.06000\n+20.0 %",
        "0.07050 ± 0.00071\n+41.0 %",
    ]
    address = page.run("return location.href")
    page.open("about:blank")
    page.open(address)
    page.run("sections.forEach((s) => s.drawAll())")
    assert page.run(MARKED, "[data-figure=curves] g.trace") == 1
    assert page.run(COLUMN, "val/l1")[1] == "0.06000\n+20.0 %"
    page.click("#s0 [data-do=clear]")
    assert page.run(MARKED, "table.numbers tr") == 0


def test_clicking_a_point_or_brushing_an_axis_selects_rows(page: Browser) -> None:
    event = """
    const plot = document.querySelector(`#s0 [data-figure=${arguments[0]}]`);
    const points = plot.data.filter((t) => arguments[2].includes(t.uid)).map((data) => ({data}));
    plot.emit(arguments[1], {points});
    return [...sections[0].chosen];
    """
    assert page.run(event, "parameters", "plotly_click", ["r1"]) == ["1"]
    assert page.run(event, "curves", "plotly_click", ["r2"]) == ["1", "2"]
    assert page.run(event, "parameters", "plotly_click", ["r1"]) == ["2"]
    assert page.run(event, "parallel", "plotly_selected", ["r0", "r1"]) == ["0", "1"]


def test_clicking_a_row_shows_its_settings_and_command(page: Browser) -> None:
    page.click('#s0 tr[data-row="1"] td.words')
    details = page.run("return document.querySelector('#s0 tr.details').innerText")
    assert "learning rate\n0.0003" in details
    assert "python train.py resconv --ks=3:9" in details
    page.click('#s0 tr[data-row="1"] [data-do=details]')
    assert page.run("return document.querySelectorAll('#s0 tr.details').length") == 0


def test_rows_are_copied_with_unrounded_numbers(page: Browser) -> None:
    page.run(SET, "filter", "3:11")
    copied = """
    let text;
    navigator.clipboard.writeText = (copied) => { text = copied; return Promise.resolve(); };
    sections[0][arguments[0]]();
    return text;
    """
    head, row = page.run(copied, "csv").split("\n")
    assert head.startswith("#,ks,seeds,val/l1,") and row.startswith("1,3:11,1,0.05,")
    head, rule, row = page.run(copied, "markdown").split("\n")
    assert rule.startswith("| --- |") and row.startswith("| 1 | 3:11 | 1 | 0.05000 |")


def test_pictures_are_filtered_by_class_and_damage(page: Browser) -> None:
    everything = [[CLASSES[n % 3], f"{SIDES[n % 4]} erased"] for n in range(12)]
    assert page.run(SHOWN) == everything
    page.run(SET, "class", "Bag")
    assert page.run(SHOWN) == [p for p in everything if p[0] == "Bag"]
    page.run(SET, "damage", "top erased")
    assert page.run(SHOWN) == [["Bag", "top erased"]]
    assert page.run("return document.querySelector('#s0 .shown').textContent") == "1 of 12 pictures"
    page.run(SET, "show", "both")
    assert page.run("return document.querySelectorAll('#s0 .difference').length") == 3


def test_two_settings_are_compared_with_a_slider(page: Browser) -> None:
    page.click("#s0 .pictures tbody button")
    slider = """
    const slider = document.querySelector('#views input');
    slider.value = 25;
    slider.dispatchEvent(new Event('input'));
    return [slider.previousSibling.lastChild.style.clipPath,
            ...[...document.querySelectorAll('#views figcaption')].map((e) => e.textContent)];
    """
    clip, *captions = page.run(slider)
    assert clip == "inset(0px 75% 0px 0px)"
    assert captions[2] == "A 0.0500 | B 0.0600" and len(captions) == 6
    page.click("#compare form button")
    assert page.run("return document.getElementById('compare').open") is False


def test_light_and_dark(page: Browser) -> None:
    colours = """
    const choose = document.getElementById('theme');
    choose.value = arguments[0];
    choose.dispatchEvent(new Event('change'));
    const colour = (e) => getComputedStyle(e).color.match(/[0-9]+/g).slice(0, 3).map(Number);
    const back = getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number);
    const tick = document.querySelector('.plot .xtick text');
    const fill = getComputedStyle(tick).fill.match(/[0-9]+/g).map(Number);
    return [back[0], colour(document.body)[0], fill[0]];
    """
    for system in ("light", "dark"):
        page.prefer(system)
        for chosen in ("", "light", "dark"):
            paper, ink, tick = page.run(colours, chosen)
            dark = (chosen or system) == "dark"
            assert (paper < 60, ink > 200, tick > 200) == (dark,) * 3, (system, chosen)


def test_a_narrow_screen_has_no_overflow_and_no_small_text(page: Browser) -> None:
    page.resize(400, 800)
    small = """
    sections.forEach((s) => s.plots.forEach((p) => s.draw(p.dataset.figure)));
    const shown = [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility()
      && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()));
    return [document.documentElement.scrollWidth,
            Math.min(...shown.map((e) => parseFloat(getComputedStyle(e).fontSize)))];
    """
    width, text = page.run(small)
    page.resize(1280, 1600)
    assert width <= 400 and text >= 12


def test_every_control_has_a_name(page: Browser) -> None:
    nameless = """
    const controls = 'main button, main input:not([type=hidden]), main select, [role=img]';
    return [...document.querySelectorAll(controls)]
      .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.[0]?.textContent.trim()))
      .map((e) => e.outerHTML);
    """
    assert page.run(nameless) == []
