"""Lists the models and corpora of profile `paper` with size and licence, and fetches them one by one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from speechllm_bench.errors import UserError
from speechllm_bench.fetch import archives, hub, hub_data
from speechllm_bench.fetch.sources import Archive, Corpus, load_sources

GIB = 2**30
DATA = "SPEECHLLM_BENCH_DATA"  # environment variable that names the folder of the corpora
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Item:
    """A model or a corpus that the profile needs."""

    name: str
    licence: str
    gated: bool
    gib: float
    lacking: str | None  # what is missing on this machine; None: nothing
    model: hub.Model | None = None

    def line(self) -> str:
        """Return its line in the list that is shown before anything is fetched."""
        state = "is there" if self.lacking is None else "to be fetched"
        gated = ", gated" if self.gated else ""
        return f"{self.name:42} {self.gib:7.1f} GiB  {self.licence}{gated}: {state}"


def chosen(models: Iterable[str], corpora: Iterable[str], only: list[str] | None) -> tuple[list, list]:
    """Return the models and corpora to fetch: those of a profile, or the named ones of `sources.yaml`.

    Models of the zoo and folders of the user are not fetched. Raises UserError for an unknown name.
    """
    known = load_sources()
    if not only:
        fetched = [name for name in corpora if name in known.corpora and known.corpora[name].gib]
        return [name for name in models if name in known.models], fetched
    for name in only:
        if name not in (*known.models, *known.corpora):
            told = ", ".join([*known.models, *known.corpora])
            raise UserError(f"'{name}' cannot be fetched; known are {told}")
    return [name for name in known.models if name in only], [name for name in known.corpora if name in only]


def items(
    models: list[str], corpora: list[str], model_lacks: Callable, corpus_lacks: Callable
) -> Iterator[Item]:
    """Yield models and corpora with licence and size, for missing models from the hub, else from us.

    model_lacks, corpus_lacks: return what is missing of a name on this machine, or None.
    """
    for name in models:
        source, lacking = load_sources().models[name], model_lacks(name)
        if lacking is None:
            yield Item(name, source.licence, source.gated, source.gib, None)
        else:
            found = hub.look_up(name)
            licence = f"{source.licence} (on the hub: {found.licence})" if found.licence else source.licence
            yield Item(name, licence, found.gated, found.size / GIB, lacking, found)
    for name in corpora:
        corpus = load_sources().corpora[name]
        yield Item(name, corpus.licence, corpus.gated, corpus.gib, corpus_lacks(name))


def table(found: list[Item]) -> str:
    """Return what `fetch` is about to do: one line per item, and one for the total."""
    rest = sum(item.gib for item in found if item.lacking is not None)
    return "\n".join([*(item.line() for item in found), f"{rest:.1f} GiB are to be fetched."])


def fetch_items(found: list[Item], tell: Tell) -> Iterator[str]:
    """Fetch missing items, smaller ones first, and yield each name as soon as the item is complete.

    Gated items without accepted conditions, and items to fetch by hand, do not stop the others. A UserError
    at the end names them.
    """
    missing = sorted((item for item in found if item.lacking is not None), key=lambda item: item.gib)
    _refuse_full_disk(missing)
    pages, by_hand = [], []
    for item in missing:
        corpus = None if item.model else load_sources().corpora[item.name]
        if item.model and not hub.admitted(item.model):
            pages.append(f"https://huggingface.co/{item.name}")
            continue
        if corpus and not corpus.parts:
            by_hand.append(f"{item.name} is fetched by hand ({corpus.by_hand})")
            continue
        tell(f"{item.name}, {item.gib:.1f} GiB")
        if corpus is None:
            hub.download(item.model)  # type: ignore[arg-type]  # an item is a model or a corpus
        else:
            _corpus(item.name, corpus, tell)
        yield item.name
    if left := [*([hub.refused(pages)] if pages else []), *by_hand]:
        raise UserError("; ".join(left))


def data_folder() -> Path:
    """Return the folder of the corpora. Raises UserError if its environment variable is not set."""
    if not (named := os.environ.get(DATA)):
        raise UserError(f"{DATA} is not set; let it name the folder that corpora are to be fetched to")
    return Path(named)


def _corpus(name: str, corpus: Corpus, tell: Tell) -> None:
    folder = data_folder() / name
    for part in corpus.parts:
        if isinstance(part, Archive):
            tell(f"{name}: {part.url}")
            archives.take(part, folder)
        else:
            tell(f"{name}: {part.dataset}, {part.config}")
            hub_data.take(part, folder)


def _refuse_full_disk(missing: list[Item]) -> None:
    """Raise UserError if the disk of the hub's cache, or that of the corpora, is too small."""
    corpora = sum(item.gib for item in missing if not item.model)
    models = sum(item.gib for item in missing if item.model)
    places = [(models, _hub_cache())]
    if corpora:
        places.append((2 * corpora, data_folder()))  # packed and unpacked
    for gib, folder in places:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(there).free / GIB
        if free < gib:
            raise UserError(
                f"what is missing needs {gib:.0f} GiB of disk and {folder} has {free:.0f} GiB free; make "
                "room, or name some of it with --only"
            )


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
