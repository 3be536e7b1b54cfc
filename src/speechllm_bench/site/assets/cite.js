"use strict";
// A number with its id, what it rests on, and its text for LaTeX, Markdown and BibTeX (speechllm_bench.cite).

Bench.cite = (() => {
  const { h, load, told } = Bench;
  const SPECIAL = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "$<$", "−": "$-$", "–": "--" };
  for (const c of "%&_#${}") SPECIAL[c] = `\\${c}`;
  const escaped = (text) => [...text].map((c) => SPECIAL[c] ?? c).join("").replace(/(?<![\w.])-(?=\d)/g, "$-$");
  const several = (name, n) => `${n} ${name}${n === 1 ? "" : "s"}`;

  function restsOn(row) {
    const turns = row.n ? [`n = ${row.n} utterances of ${row.speakers} speakers`] : [];
    return [...turns, several("seed", row.seeds.length)].join(", ");
  }

  // id -> {id, shown, row, texts}; the study's data is loaded where it is not there yet.
  async function found(id) {
    const [profile, study] = id.split("/"), key = id.slice(profile.length + 1, id.lastIndexOf("/"));
    const data = await load(`${profile}/${study}`), row = data.rows.find((one) => one.key === key);
    const shown = row.cells[id.slice(id.lastIndexOf("/") + 1)][0];
    const { bib } = await load("index");
    const commits = row.commits.map((commit) => commit.slice(0, 12)).join(", ");
    const about = [restsOn(row), commits && `commit ${commits}`].filter(Boolean).join("; ");
    const note = `Numbers ${id}` + (row.commits.length ? `; commit ${[...row.commits].sort().join(", ")}` : "");
    return {
      id, shown, row,
      texts: {
        LaTeX: `${escaped(shown).replaceAll(" [", "~[")} % ${id}`,
        Markdown: `${shown} ([${id}](results/${profile}/tables/${row.table}.md); ${about})`,
        BibTeX: bib[data.paper].replace("@NOTE@", () => escaped(note)),
      },
    };
  }

  async function copy(name, text, place) {
    place.replaceChildren(h("pre", {}, text));
    try {
      await navigator.clipboard.writeText(text);
      told(`Copied as ${name}.`);
    } catch {
      getSelection().selectAllChildren(place.firstChild);
      told(document.execCommand("copy") ? `Copied as ${name}.` : "Copy the marked text.");
    }
  }

  function open(title, lines, texts) {
    const dialog = document.getElementById("number"), place = h("div");
    const buttons = Object.entries(texts).map(([name, text]) =>
      h("button", { class: "plain", type: "button", "data-form": name, click: () => copy(name, text, place) }, `Copy as ${name}`));
    dialog.replaceChildren(
      h("h2", { id: "number-title" }, title),
      h("dl", {}, lines.filter(([, said]) => said).map(([name, said]) => [h("dt", {}, name), h("dd", {}, said)])),
      h("div", { class: "buttons" }, buttons, h("button", { class: "plain", type: "button", click: () => dialog.close() }, "Close")),
      place,
    );
    dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
    dialog.showModal();
    buttons[0]?.focus();
  }

  async function show(id) {
    const { shown, row, texts } = await found(id);
    open(shown, [
      ["id", h("code", {}, id)], ["status", row.status], ["rests on", restsOn(row)], ["runs", row.runs.join(", ")],
      ["commits", row.commits.map((commit) => commit.slice(0, 12)).join(", ")], ["machines", row.machines.join("; ")],
    ], texts);
  }

  // A number as a button that opens it; the interval is set back.
  function number(id, shown) {
    const [, value, range] = shown.match(/^(.*?)( \[.*\])?$/);
    return h("button", { class: "number", type: "button", "data-id": id, title: id, click: () => show(id) },
      value, range && h("span", { class: "range" }, range));
  }

  return { found, number, open, show, escaped };
})();
