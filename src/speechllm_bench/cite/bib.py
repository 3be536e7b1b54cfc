"""BibTeX entries of the papers and of this suite, from CITATION.cff."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from speechllm_bench.planning import studies
from speechllm_bench.settings.strict import read_yaml
from speechllm_bench.storage import paths
from speechllm_bench.storage.numbers import Number, escaped

ARXIV = re.compile(r"https://arxiv\.org/abs/(\d{4}\.\d{5})")
SUITE = "speechllm_bench"
ARTICLES = {"a", "an", "the"}


def references() -> str:
    """Return all entries, this suite's first, then the papers'. This is the content of references.bib."""
    cff = _cff()
    return "\n".join([_suite(cff), *(_paper(entry) for entry in cff["references"])])


def of_numbers(numbers: Iterable[Number]) -> str:
    """Return this suite's entry with the cited ids and commits, and the entries of their studies' papers."""
    numbers = list(numbers)
    ids = ", ".join(number.id for number in numbers)
    commits = ", ".join(sorted({commit for number in numbers for commit in number.row.commits}))
    note = f"Numbers {ids}" + (f"; commit {commits}" if commits else "")
    return noted(note, {studies.load(number.row.study, number.profile)[0].paper for number in numbers})


def noted(note: str, papers: Collection[str]) -> str:
    """Return this suite's entry with a note, and the entries of these papers (arXiv numbers)."""
    cff = _cff()
    of_papers = [_paper(entry) for entry in cff["references"] if _arxiv(entry) in papers]
    return "\n".join([_suite(cff, note), *of_papers])


def _cff() -> dict:
    return read_yaml(paths.PROJECT / "CITATION.cff")


def _suite(cff: Mapping, note: str | None = None) -> str:
    fields = {
        "title": f"{{{cff['title']}}}: {cff['abstract'].rstrip('.')}",
        "author": " and ".join(f"{{{one['name']}}}" for one in cff["authors"]),
        "year": str(cff["date-released"])[:4],
        "howpublished": f"Software, version {cff['version']}",
        "url": cff.get("url") or cff.get("repository-code"),
        "note": note and escaped(note),
    }
    return _entry(SUITE, fields)


def _paper(entry: Mapping) -> str:
    names = [f"{one['family-names']}, {one['given-names']}" for one in entry["authors"]]
    fields = {
        "title": f"{{{entry['title']}}}",
        "author": " and ".join(names),
        "year": entry["year"],
        "howpublished": f"arXiv:{_arxiv(entry)}",  # old styles print no eprint
        "eprint": _arxiv(entry),
        "archiveprefix": "arXiv",
        "url": entry["url"],
    }
    return _entry(_key(entry), fields)


def _key(entry: Mapping) -> str:
    """Return first author, year and first word of the title, the usual form of keys."""
    words = re.findall(r"[a-z]+", entry["title"].lower())
    first = next(word for word in words if word not in ARTICLES)
    return f"{entry['authors'][0]['family-names'].lower()}{entry['year']}{first}"


def _arxiv(entry: Mapping) -> str | None:
    found = ARXIV.fullmatch(entry["url"])
    return found and found[1]


def _entry(key: str, fields: Mapping[str, object]) -> str:
    """Return an entry of the type misc, as arXiv does: every style knows it, and it needs no journal."""
    width = max(map(len, fields))
    lines = [f"  {name:{width}} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{key},", *lines, "}", ""])
