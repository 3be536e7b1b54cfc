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

  // Marks of a number with their meanings, as lines; without any a line less.
  const meant = (data, marks = "") => [...marks].map((mark) => [mark, data.meanings[mark]]);

  // The same as a sentence below or above a table, of all marks that it has.
  function legend(data, marks) {
    const found = Object.keys(data.meanings).filter((mark) => marks.includes(mark));
    return found.length > 0 && h("p", { class: "quiet small marks" }, found.map((mark) => `${mark} ${data.meanings[mark]}`).join(". "), ".");
  }

  // The entries of the suite and of the paper, with what is cited and its commits.
  async function bibtex(data, what, commits) {
    const { bib } = await load("index"), made = [...new Set(commits)].sort().join(", ");
    return bib[data.paper].replace("@NOTE@", () => escaped(`Numbers ${what}${made && `; commit ${made}`}`));
  }

  // id -> {id, shown, row, marks, data, texts}; the study's data is loaded where it is not there yet.
  async function found(id) {
    const [profile, study] = id.split("/"), key = id.slice(profile.length + 1, id.lastIndexOf("/"));
    const data = await load(`${profile}/${study}`), row = data.rows.find((one) => one.key === key);
    const column = id.slice(id.lastIndexOf("/") + 1), shown = row.cells[column][0];
    const commits = row.commits.map((commit) => commit.slice(0, 12)).join(", ");
    const about = [restsOn(row), commits && `commit ${commits}`].filter(Boolean).join("; ");
    return {
      id, shown, row, data, marks: row.marks?.[column] ?? "",
      texts: {
        LaTeX: `${escaped(shown).replaceAll(" [", "~[")} % ${id}`,
        Markdown: `${shown} ([${id}](results/${profile}/tables/${row.table}.md); ${about})`,
        BibTeX: await bibtex(data, id, row.commits),
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
    const { shown, row, data, marks, texts } = await found(id), [value, range] = parts(shown);
    open(`${value}${marks}${range}`, [
      ["id", h("code", {}, id)], ["status", row.status], ["compared", said(row, id, "compared")], ["verdict", said(row, id, "verdict")], ["reversed by", said(row, id, "reversed_by")], ["rests on", restsOn(row)], ["runs", row.runs.join(", ")],
      ["commits", row.commits.map((commit) => commit.slice(0, 12)).join(", ")], ["machines", row.machines.join("; ")],
      ...meant(data, marks),
    ], texts);
  }

  // What another cell of the same row says of a difference.
  const said = (row, id, column) => id.endsWith("/difference") && row.cells[column]?.[0];

  const parts = (shown) => shown.match(/^(.*?)( \[.*\])?$/).slice(1).map((part) => part ?? "");

  // A number as a button that opens it, with its marks; the interval is set back.
  function number(id, shown, marks = "") {
    const [value, range] = parts(shown);
    return h("button", { class: "number", type: "button", "data-id": id, title: id, click: () => show(id) },
      value, marks && h("span", { class: "mark" }, marks), range && h("span", { class: "range" }, range));
  }

  return { found, number, open, show, escaped, legend, meant, bibtex };
})();
