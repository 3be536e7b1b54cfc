"""Commands that read results, ask and export models, and fetch or make backbones. `cli` has the others."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from speechllm_bench.errors import UserError

if TYPE_CHECKING:
    from speechllm_bench.commands.asking import Answer


def cite_numbers(chosen: argparse.Namespace) -> None:
    """Print numbers in the chosen form. For BibTeX without ids, print the entries of
    the papers and the suite.
    """
    from speechllm_bench.cite import bib, forms, sliced

    found = [number for pattern in chosen.id for number in sliced.matching(pattern)]
    if chosen.form == "bib":
        print(bib.of_numbers(found) if found else bib.references())
    elif not found:
        raise UserError("name at least one id, as mini/lora/mlp_lora/A/f1, or a pattern, as 'mini/lora/*/f1'")
    else:
        print(*map(forms.FORMS[chosen.form], found), sep="\n")


def check_papers(chosen: argparse.Namespace) -> int:
    """Print the faults of the numbers in a paper. Return 1 if there are any, else 0."""
    from speechllm_bench.cite import check

    found = check.check_papers(chosen.paper)
    print(check.told(found))
    return 1 if found.faults else 0


def tell_why(chosen: argparse.Namespace) -> None:
    from speechllm_bench.cite import sliced, why

    print(why.told(sliced.find(chosen.id)))


def ask(chosen: argparse.Namespace) -> None:
    from speechllm_bench.commands import asking

    wanted = asking.listed(chosen.slots or "")
    model = asking.load(chosen.study, chosen.variant, chosen.profile, chosen.seed)
    beside = asking.cascade(model.run) if wanted and not chosen.alone else None
    for file in chosen.file:
        answer = model.ask(file, wanted, cascade=beside, channel=chosen.channel)
        print(_jsonl(file, answer) if chosen.format == "jsonl" else _text(file, answer), flush=True)


def export(chosen: argparse.Namespace) -> None:
    """Export a trained model as a folder, or a repository of the hub, that peft loads. Print where it is."""
    from speechllm_bench.commands import asking, exporting
    from speechllm_bench.storage import paths

    run = asking.load(chosen.study, chosen.variant, chosen.profile, chosen.seed).run
    hub, folder = chosen.hub, chosen.peft
    print(exporting.publish(run, hub) if hub else paths.shown(exporting.export(run, folder)))


def fetch_paper(chosen: argparse.Namespace) -> None:
    """Fetch what profile `paper` lacks on this machine. Sizes and licences are printed first."""
    from speechllm_bench.commands import doctor
    from speechllm_bench.fetch import paper
    from speechllm_bench.planning import studies
    from speechllm_bench.settings import profiles

    if chosen.to:
        raise UserError(
            "--to is for profile small; models go to the hub's cache (HF_HOME) and corpora to "
            "SPEECHLLM_BENCH_DATA"
        )
    profile: profiles.Profile = studies.profile_named("paper")
    names = [name for _, name in profile.backbones()]
    models, corpora = paper.chosen(names, profile.heard(), chosen.only)
    found = list(paper.items(models, corpora, doctor.model_lacks, doctor.corpus_lacks))
    print(paper.table(found), flush=True)
    if not chosen.dry_run:
        for name in paper.fetch_items(found, lambda step: print(step, file=sys.stderr, flush=True)):
            print(f"{name} is there.", flush=True)


def write_site(chosen: argparse.Namespace) -> None:
    from speechllm_bench.site import build
    from speechllm_bench.storage import paths

    print(paths.shown(build.write(chosen.profiles, chosen.out and chosen.out.resolve())))


def rescore_profile(chosen: argparse.Namespace) -> None:
    from speechllm_bench.commands import rescore

    print(rescore.rescore_runs(chosen.profile))


def annotate(chosen: argparse.Namespace) -> None:
    from speechllm_bench.commands import annotating

    print(annotating.annotate(chosen.what, chosen.profile, chosen.turns))


def fetch_files(chosen: argparse.Namespace) -> None:
    """Fetch files. Complete ones are kept, so that a second call continues where the first was stopped."""
    if chosen.profile == "paper":
        return fetch_paper(chosen)
    from tqdm import tqdm

    from speechllm_bench.fetch import folders
    from speechllm_bench.storage import paths

    names, at_terminal = folders.known(chosen.only), sys.stderr.isatty()
    form = "{percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} MiB [{elapsed}]{postfix}"
    total = sum(map(folders.cost, names))
    with tqdm(total=total, bar_format=form, disable=not at_terminal) as bar:

        def tell(step: str, done: float) -> None:
            bar.set_postfix_str(step, refresh=not done)
            bar.update(done)
            if not at_terminal and not done:
                print(step, file=sys.stderr)

        made = list(folders.fetch_folders(names, chosen.to, tell=tell))
    print(*map(paths.shown, made), sep="\n")


def make_backbones(chosen: argparse.Namespace) -> None:
    from speechllm_bench.running import runner
    from speechllm_bench.zoo import recipes

    recipes.load_recipe(chosen.name)  # a wrong name is told before torch is imported
    from speechllm_bench.zoo import making, measuring

    act = {"train": making.train_backbones, "evaluate": measuring.evaluate_backbones}[chosen.action]
    for folder in act(chosen.name, runner.cores()):
        print(f"zoo/{folder.name}")


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "cite": cite_numbers,
    "check": check_papers,
    "why": tell_why,
    "site": write_site,
    "ask": ask,
    "export": export,
    "rescore": rescore_profile,
    "annotate": annotate,
    "fetch": fetch_files,
    "zoo": make_backbones,
}


def _jsonl(file: str, answer: Answer) -> str:
    record = {**vars(answer), "cascade": answer.cascade and vars(answer.cascade)}
    return json.dumps({"file": str(file), **record}, ensure_ascii=False)


def _text(file: str, answer: Answer) -> str:
    both = [answer, *([answer.cascade] if answer.cascade else [])]
    width = max(len(one.model) for one in both)
    lines = [f"{file} ({answer.audio_seconds:.1f} s)", f"  {'heard':{width}}  {answer.transcript}"]
    for one in both:
        value = one.raw if one.value is None else json.dumps(one.value, ensure_ascii=False)
        wrong = "  (cannot be parsed)" if one.value is None else ""
        lines.append(f"  {one.model:{width}}  {value}{wrong}  {one.seconds:.2f} s")
    return "\n".join(lines)
