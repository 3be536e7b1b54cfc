"""Downloads files by HTTP, with resume after a stop, and extracts folders from archives."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.fetch.sources import Archive
from speechllm_bench.storage import paths, runs

CHUNK = 2**20  # bytes
SECONDS = 60  # time-out without any received byte


def take(archive: Archive, folder: Path) -> None:
    """Fetch the targets of an archive or file into `folder`. Existing targets are kept.

    Raises UserError if the download fails, has another MD5 than published, or lacks a folder.
    """
    if all((folder / target).exists() for target in archive.targets):
        return
    kept = paths.cache() / "downloads" / f"{runs.digest(archive.url)}-{archive.url.rpartition('/')[2]}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    # Another process may take the same archive, and needs its file until all is unpacked.
    with runs.lock(kept):
        wanted = [target for target in archive.targets if not (folder / target).exists()]
        if not wanted:
            return
        download(archive, kept)
        if archive.to:
            (folder / archive.to).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(kept, folder / archive.to)
            return
        for inside, target in archive.folders.items():
            if target in wanted:
                unpack(kept, inside, folder / target)
        kept.unlink()


def download(archive: Archive, kept: Path) -> None:
    """Download the file of an archive to `kept`, if it is not there. A partial download is resumed."""
    if kept.is_file():
        return
    part = kept.with_name(kept.name + ".part")
    _continue(archive.url, part)
    if archive.md5 and (found := _md5(part)) != archive.md5:
        part.unlink()
        raise UserError(
            f"{archive.url} is not what its publisher says (md5 {found} and not {archive.md5}), and "
            "was thrown away; start again"
        )
    os.replace(part, kept)


def unpack(file: Path, inside: str, target: Path) -> None:
    """Extract one folder of a .tar.gz as `target`, completely or not at all. Raises UserError on damage."""
    begin = inside.rstrip("/") + "/"
    try:
        with runs.whole_folder(target) as folder, tarfile.open(file, "r:gz") as archive:
            found = False
            for member in archive:
                name = member.name.removeprefix("./")
                if name.startswith(begin):
                    member.name, found = name.removeprefix(begin), True
                    archive.extract(member, folder, filter="data")
            if not found:
                raise UserError(f"{file.name} has no folder {inside}; its publisher may have changed it")
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # errors of the system, such as a full disk
            raise
        raise UserError(f"{file} is damaged ({error}); delete it and start again") from None


def _continue(url: str, part: Path) -> None:
    """Fetch the missing rest of `part`, or the whole file if it has changed on the server."""
    mark = part.with_suffix(".etag")
    have = part.stat().st_size if part.is_file() and mark.is_file() else 0
    asked = urllib.request.Request(url, headers={"User-Agent": "speechllm-bench"})
    if have:
        asked.add_header("Range", f"bytes={have}-")
        asked.add_header("If-Range", mark.read_text("utf-8"))
    try:
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
            have = have if answer.status == 206 else 0
            told = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
            mark.write_text(told, "utf-8") if told else mark.unlink(missing_ok=True)
            wanted = have + int(answer.headers.get("Content-Length") or 0)
            with open(part, "ab" if have else "wb") as file:
                shutil.copyfileobj(answer, file, CHUNK)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to fetch
            return
        raise UserError(f"{url} cannot be fetched: the server answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        why = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise UserError(f"{url} cannot be fetched ({why}); start again, what has arrived stays") from None
    if part.stat().st_size < wanted:
        raise UserError(f"{url} ended early, after {part.stat().st_size} of {wanted} bytes; start again")


def _md5(file: Path) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
