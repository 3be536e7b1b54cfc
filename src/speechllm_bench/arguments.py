"""Arguments of the command line: options that several commands share, and a parser that explains itself."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from speechllm_bench import paths
from speechllm_bench.errors import UserError
from speechllm_bench.profiles import profile_file


class Parser(argparse.ArgumentParser):
    """Refuses in one sentence, with what is allowed."""

    def error(self, message: str):
        raise UserError(f"{message}; see `{self.prog} --help`")

    def parse_args(self, args=None, namespace=None):
        chosen, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = self._subparsers._group_actions[0].choices[chosen.name_of_command]
            options = [o for a in command._actions for o in a.option_strings if o.startswith("--")]
            known = ", ".join(options)
            raise UserError(f"'{chosen.name_of_command}' does not know {' '.join(unknown)}; it knows {known}")
        return chosen


def seed(text: str) -> int:
    if not text.strip().isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not a seed; seeds are whole numbers from 0, as 0,1,2")
    return int(text)


def seeds(text: str) -> list[int]:
    return [seed(part) for part in text.split(",")]


def count(text: str) -> int:
    if not text.strip().isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def settle(chosen: argparse.Namespace) -> None:
    """Check what the parser cannot: the profile named must be one of those there are.

    A folder of the user's own goes to the environment, where the processes that this one starts find it.
    """
    if getattr(chosen, "experiments", None):
        os.environ[paths.OWN_EXPERIMENTS] = str(Path(chosen.experiments).resolve())
    if "profile" in chosen:
        profile_file(chosen.profile)


STUDIES = {"nargs": "*", "help": "names of studies, or all (default: the profile's headline studies)"}

OPTIONS = {
    "profile": {"default": "smoke", "metavar": "NAME", "help": "scale of the suite (default: smoke)"},
    "experiments": {
        "metavar": "FOLDER",
        "help": f"further studies, and profiles in FOLDER/profiles (default: ${paths.OWN_EXPERIMENTS})",
    },
    "seed": {"type": seed, "default": 0, "help": "seed of the run (default: 0)"},
    "seeds": {"type": seeds, "metavar": "0,1,2", "help": "default: the profile's"},
    "study": {"help": "a study of experiments/, where the notebook asks for one"},
    "variant": {"help": "a variant of that study"},
    "variants": {"type": lambda text: text.split(","), "metavar": "A,B", "help": "default: all of the study"},
    "jobs": {
        "type": count,
        "metavar": "N",
        "help": "processes at a time (default: what cores and memory bear)",
    },
    "threads": {"type": count, "metavar": "N", "help": "threads of this process (default: the cores)"},
    "time-limit": {"type": count, "metavar": "MINUTES", "help": "of the whole notebook"},
}
