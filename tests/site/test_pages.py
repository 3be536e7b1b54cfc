"""The pages in a browser: what they compute is what the suite computes, and they ask nobody else."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chromium import Browser

from speechllm_bench import stats
from speechllm_bench.cite import bib, forms
from speechllm_bench.cite.comparing import answers_of as answered
from speechllm_bench.cite.comparing import flipped
from speechllm_bench.evaluation import score, seeds
from speechllm_bench.planning import studies
from speechllm_bench.planning.stored_runs import predictions
from speechllm_bench.reports import study as reports
from speechllm_bench.site import build, payload, run_answers
from speechllm_bench.storage import numbers, paths
from speechllm_bench.tasks import METRICS

STUDY = "#/study/mini/adapter_size"
SLICE = "words=6-9"
AGAINST = "Exact F1; SLU-F1"


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory):
    opened = Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


def test_the_pages_work_from_disk_and_find_our_intervals(browser: Browser, answered: Path):
    reports.write("adapter_size", "mini", draw=False)
    turned = _reversed()
    page = build.write(["mini"], answered / "site")

    browser.go(page, "#/")
    assert browser.evaluate("document.querySelectorAll('main table').length") > 3
    assert "not run" in browser.evaluate("document.querySelector('main').textContent")
    mark = "getComputedStyle(document.querySelector('.verdict.none'), '::before').content"
    assert browser.evaluate(mark) == '"○"'
    assert "at most 4 B" in browser.evaluate("document.querySelector('main').textContent")

    _our_intervals(browser, page)
    _every_rule(browser)
    _marked(browser, page)
    _reversal_is_told(browser, page, turned)
    _sorted_by_a_click(browser, page)
    _cited_by_keyboard(browser, page)
    _flips(browser, page)

    _addresses(browser, page)
    _curves(browser, page)
    browser.go(page, "#/effects")
    assert browser.until("document.querySelectorAll('figure svg circle').length") == len(_claims())
    _labels_fit_a_phone(browser)
    browser.go(page, "#/about")

    assert browser.errors == []
    assert browser.requests and {url.split(":")[0] for url in browser.requests} <= {"file", "data", "blob"}


def _labels_fit_a_phone(browser: Browser) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True
    )
    row = {"label": "a label of many words " * 9, "short": "short" * 40, "value": 0, "low": -1, "high": 1}
    drawn = f"Bench.charts.forest([{json.dumps(row)}], {{ axis: 'difference' }})"
    browser.evaluate(f"{{ document.querySelector('main').replaceChildren({drawn}) }}")
    texts = "[...document.querySelectorAll('figure svg text')]"
    assert browser.until(f"{texts}.find((t) => t.textContent.startsWith('short'))?.textContent.includes('…')")
    assert browser.evaluate(f"Math.max(...{texts}.map((t) => t.getBoundingClientRect().right))") <= 390
    browser.call("Emulation.clearDeviceMetricsOverride")


def _our_intervals(browser: Browser, page: Path) -> None:
    browser.go(page, f"{STUDY}/compare")
    browser.choose("Baseline", "cnn")
    rows = {(r["variant"], r["seed"]): r for r in studies.records("adapter_size", "mini")}
    scores = {v: [rows[v, s]["score"] for s in (0, 1)] for v in ("mlp", "cnn", "linear")}
    for metric in ("f1", "exact_f1", "parse_failures"):
        browser.choose("Metric", metric)
        shown = _shown(browser)
        for variant in ("mlp", "linear"):
            _same(shown[variant][0], score.interval(scores[variant], metric))
            _same(shown[variant][1], score.difference(scores[variant], scores["cnn"], metric))
        of_one_seed = score.difference([rows["no_audio", 0]["score"]], [scores["cnn"][0]], metric)
        _same(shown["no_audio"][1], of_one_seed)

    browser.choose("Metric", "f1")
    assert _of_one_seed(browser) == {"no_audio": ["†", "†"]}
    assert "† one seed" in browser.evaluate("document.querySelector('p.marks').textContent")
    browser.choose("Slice", SLICE)
    sums = {v: stats.stack_seeds([_answered(v, s).sums(SLICE) for s in (0, 1)]) for v in ("mlp", "cnn")}
    between = seeds.variance(
        [scores[v][0] for v in ("mlp", "cnn")], [1, -1], "f1", n_seeds=len(scores["mlp"])
    )
    ours = stats.contrast([sums["mlp"], sums["cnn"]], [1, -1], METRICS["f1"].rule, score.rng(), between)
    _same(_shown(browser)["mlp"][1], ours)
    n = sum(6 <= len(p.transcript.split()) < 10 for p in _answered("mlp", 0).predictions)
    assert f"{n} turns of 8 speakers" in browser.evaluate("document.querySelector('main').textContent")


def _of_one_seed(browser: Browser) -> dict[str, list[str]]:
    """By variant the marks on Compare, but asterisks, of those that have any."""
    return browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('main tbody tr')].map((row) =>"
        "[row.querySelector('code').textContent, [...row.querySelectorAll('.mark')].map((m) =>"
        "m.textContent.replace('*', '')).filter(Boolean)]).filter(([, marks]) => marks.length))"
    )


def _marked(browser: Browser, page: Path) -> None:
    """Tables have marks and captions, dialogs say what a mark means, and claims say what they claim."""
    browser.go(page, STUDY)
    caption = (paths.results("mini") / "tables" / "adapter_size.md").read_text("utf-8").split("\n\n")[0]
    assert browser.evaluate("document.querySelector('p.caption').textContent") == html.unescape(caption)
    id = "mini/adapter_size/no_audio/A/f1"
    number = f"document.querySelector('button[data-id={json.dumps(id)}]')"
    assert browser.evaluate(f"{number}.querySelector('.mark').textContent") == "†"
    browser.evaluate(f"{number}.click()")
    assert "the variance between seeds" in browser.until(
        "document.querySelector('dialog[open] dl')?.textContent"
    )
    browser.press("Escape")
    claims = "[...document.querySelectorAll('h2')].find((one) => one.textContent === 'Claims of the paper')"
    told = browser.evaluate(
        f"(() => {{ let at = {claims}; while (!at.querySelector?.('table')) at = at.nextElementSibling;"
        "return at.querySelector('table').innerText; })()"
    )
    study = studies.load("adapter_size", "mini")[0]
    assert "Difference" in told and "Verdict" in told and "p (Holm)" in told
    assert all(claim.claim in told and study.compared(claim) in told for claim in study.claims)


def _reversed() -> str:
    """Store that other scores reverse one claim's difference; return its id."""
    row = next(row for row in _claims() if row.name == "mlp-cnn")
    cells = row.cells | {"reversed_by": numbers.Cell(AGAINST)}
    rows = [replace(one, cells=cells) if one is row else one for one in numbers.read("mini").values()]
    numbers.update("mini", "adapter_size", {one.table for one in rows}, rows)
    return f"mini/{row.key}/difference"


def _reversal_is_told(browser: Browser, page: Path, id: str) -> None:
    """The other scores are named on every page that shows the difference, and nowhere else."""
    main = "document.querySelector('main').textContent"
    number = f"document.querySelector('main button[data-id={json.dumps(id)}]')"

    browser.go(page, "#/")
    assert browser.evaluate(main).count(f"reversed by {AGAINST}") == 1
    assert browser.evaluate(f"{number}.parentElement.textContent").endswith(f"reversed by {AGAINST}")
    assert "other scores reverse 1 of the differences" in browser.evaluate(main)

    browser.go(page, "#/effects")
    assert browser.evaluate(f"{number}.closest('tr').textContent").count(AGAINST) == 1
    assert browser.evaluate(main).count(AGAINST) == 1
    dots = "[...document.querySelectorAll('figure svg circle')].map((one) => one.getAttribute('fill'))"
    assert browser.until(f"{dots}.length") == len(_claims())
    assert browser.evaluate(dots).count("var(--paper)") == 1
    assert "Hollow: other scores reverse" in browser.evaluate(
        "document.querySelector('figcaption').textContent"
    )

    browser.go(page, STUDY)
    row = f"{number}.closest('tr')"
    assert browser.evaluate(f"{row}.textContent").endswith(AGAINST)
    assert browser.evaluate(f"{row}.closest('table').tHead.textContent").count("Reversed by") == 1
    browser.evaluate(f"{number}.click()")
    told = browser.until("document.querySelector('dialog[open] dl')?.textContent")
    assert f"reversed by{AGAINST}" in told and "verdict" in told
    browser.press("Escape")


def _addresses(browser: Browser, page: Path) -> None:
    """What is chosen stands in the address; a wrong one is told, and studies can still be chosen."""
    browser.go(page, f"{STUDY}/compare")
    browser.choose("Baseline", "linear")
    browser.choose("Metric", "exact_f1")
    query = browser.evaluate("location.hash.split('?')[1]")
    assert "baseline=linear" in query and "metric=exact_f1" in query
    browser.call("Page.navigate", url="about:blank")
    browser.call("Page.navigate", url=f"{page.as_uri()}{STUDY}/compare?{query}")
    browser.until("document.body?.dataset.shown === 'study/mini/adapter_size/compare'")
    assert browser.evaluate("document.querySelector('[name=Baseline]').value") == "linear"
    assert browser.evaluate("document.querySelector('[name=Metric]').value") == "exact_f1"
    browser.evaluate("document.querySelector('button[data-low]').click()")
    told = "document.querySelector('dialog[open] button[data-form=BibTeX]')"
    browser.until(f"!!{told}")
    browser.evaluate(f"{told}.click()")
    assert "@misc{speechllm_bench," in browser.until("document.querySelector('dialog pre')?.textContent")
    browser.press("Escape")
    data = {"baselines": ["a", "b"], "systems": {"c": {"floor": False}, "b": {"floor": False}}}
    assert browser.evaluate(f"Bench.base({json.dumps(data)}, ['c', 'b'])") == "b"
    assert browser.evaluate(f"Bench.base({json.dumps(data)}, ['c'])") == "c"
    chosen = "document.getElementById('pick').selectedOptions[0].text"
    for wrong, study in {"#/study/mini/nothing": 0, "#/nothing": 0, f"{STUDY}/nothing": 1}.items():
        browser.go(page, wrong)
        assert f"no page “{wrong[2:]}”" in browser.evaluate("document.querySelector('main').textContent")
        assert browser.evaluate(chosen) == ("Study …", "adapter_size (mini)")[study]


def _curves(browser: Browser, page: Path) -> None:
    """A line ends where its stage does, and labels of floors lie apart."""
    browser.go(page, f"{STUDY}/curves")
    assert browser.until("document.querySelectorAll('figure svg path').length") > 4
    drawn = (
        "((lines) => { const at = Bench.charts.curves(lines, [['f1', 'F1']], {a: ['a', '#000000', '']},"
        " new Set(['a']), []); document.body.append(at); return new Promise((done) => setTimeout(() => {"
        "done([...at.querySelectorAll('[aria-label=line] path')].length); at.remove(); }, 500)); })"
    )
    line = {"variant": "a", "seed": 0, "metric": "f1", "stage": "one", "points": [[0, 0.1], [9, 0.2]]}
    assert browser.evaluate(f"{drawn}({json.dumps([line, line | {'stage': 'two'}])})") == 2
    floors = [{"value": value, "label": "f"} for value in (0.20, 0.21, 0.9)]
    ups = browser.evaluate(f"Bench.charts.apart({json.dumps(floors)}, (v) => 300 - 250 * v).map((f) => f.up)")
    assert ups == pytest.approx([0, 14 - 2.5, 0])


def _every_rule(browser: Browser) -> None:
    """Of counts that no stored run here has: classes, words."""
    assert set(browser.evaluate("Object.keys(Bench.stats.RULES)")) == set(payload.RULES.values())
    assert {m.rule for m in METRICS.values() if m.column} <= payload.RULES.keys()
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 9, (2, 2, 8, 6)) + np.array([0, 9, 9, 0, 9, 9])  # systems, seeds, speakers, k
    systems = [stats.SpeakerSums(8, "", tuple("abcdefgh"), sums) for sums in counts]
    for rule in {m.rule for m in METRICS.values() if m.column}:
        ours = stats.contrast(systems, [1, -1], rule, score.rng(), 4e-4)
        found = browser.evaluate(
            "Bench.stats.draws(8).then((d) => Bench.stats.contrast("
            f"{counts.tolist()}, [1, -1], {json.dumps(rule.__name__)}, d, 4e-4))"
        )
        _same([found["value"], found["low"], found["high"]], ours)
        assert found["p"] == pytest.approx(ours.p, abs=1e-9)


def _sorted_by_a_click(browser: Browser, page: Path) -> None:
    browser.go(page, STUDY)
    click = "document.querySelector('th[data-key=\"f1\"] button').click()"
    values = (
        "[...document.querySelectorAll('main table')[0].querySelectorAll('button[data-id$=\"/f1\"]')]"
        ".map((b) => parseFloat(b.textContent))"
    )
    browser.evaluate(click)
    down = browser.evaluate(values)
    assert down == sorted(down, reverse=True) and len(set(down)) > 2
    browser.evaluate("document.querySelector('th[data-key=\"f1\"]').click()")  # anywhere in the cell
    assert browser.evaluate(values) == down[::-1]
    assert browser.evaluate("document.querySelector('th[data-key=\"f1\"]').ariaSort") == "ascending"
    assert not browser.evaluate("document.querySelector('th[data-key=\"slu_f1\"]')")
    browser.evaluate("document.querySelector('input[name=\"slu_f1\"]').click()")
    assert browser.evaluate("document.querySelector('th[data-key=\"slu_f1\"]').textContent") == "SLU-F1"


def _cited_by_keyboard(browser: Browser, page: Path) -> None:
    browser.go(page, STUDY)
    browser.evaluate("document.querySelector('button[data-id$=\"/cnn/A/f1\"]').focus()")
    browser.press("ArrowRight")
    id = browser.evaluate("document.activeElement.dataset.id")
    assert id == "mini/adapter_size/cnn/A/difference"
    reached = "[...document.querySelectorAll('main table')[0].querySelectorAll('tbody [tabindex=\"0\"]')]"
    assert browser.evaluate(f"{reached}.map((one) => one.dataset.id)") == [id]  # one Tab stop
    browser.press("Enter")
    browser.until("!!document.querySelector('dialog[open] code')")
    number = numbers.find(id)
    wanted = {
        "LaTeX": forms.as_latex(number),
        "Markdown": forms.as_markdown(number),
        "BibTeX": bib.of_numbers([number]),
    }
    for form, text in wanted.items():
        browser.evaluate(f"document.querySelector('dialog button[data-form={json.dumps(form)}]').click()")
        assert browser.until("document.querySelector('dialog pre')?.textContent") == text
    browser.press("Escape")
    assert browser.until("!document.querySelector('dialog[open]')")


def _flips(browser: Browser, page: Path) -> None:
    browser.go(page, f"{STUDY}/answers")
    browser.choose("First", "mlp")
    browser.choose("Second", "linear")
    browser.choose("Show", "flipped")
    a, b = _answered("mlp", 0), _answered("linear", 0)
    places = flipped(a, b)
    first = browser.evaluate("document.querySelector('article').textContent")
    for said in (a, b):
        assert said.predictions[places[0]].raw in first
    assert a.predictions[places[0]].transcript in first
    assert f"({len(places)})" in browser.evaluate(
        "document.querySelector('[name=Show]').selectedOptions[0].text"
    )
    while browser.evaluate("!document.querySelector('.turns + button').hidden"):
        browser.evaluate("document.querySelector('.turns + button').click()")
    assert browser.evaluate("document.querySelectorAll('article').length") == len(places) > 0
    whole = browser.evaluate("document.querySelector('.turns').textContent")
    assert all(said.predictions[place].raw in whole for said in (a, b) for place in places)
    assert any(isinstance(run_answers.short(a.predictions[place]), list) for place in places)


def _shown(browser: Browser) -> dict[str, list[list[float]]]:
    """By variant, [value, low, high] of itself and of its difference."""
    return browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('main tbody tr')].map((row) =>"
        "[row.querySelector('code').textContent, [...row.querySelectorAll('button[data-low]')].map((b) =>"
        "[b.dataset.value, b.dataset.low, b.dataset.high].map(Number))]))"
    )


def _same(shown: list[float], ours: stats.Comparison) -> None:
    assert shown == pytest.approx([ours.value, ours.low, ours.high], abs=1e-9, rel=0)


def _answered(variant: str, seed: int):
    run = studies.run("adapter_size", variant, seed, "mini")
    return answered(predictions(run), run.config.model_dump(), "mini")


def _claims() -> list[numbers.Row]:
    rows = numbers.read("mini").values()
    return [row for row in rows if row.table == "adapter_size_claims" and "difference" in row.cells]
