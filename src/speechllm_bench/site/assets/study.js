"use strict";
// A study: its tables, intervals against a chosen baseline, curves, and answers.

Bench.study = (() => {
  const { h, load, cite, table, charts } = Bench;
  const TABS = { table: "Tables", compare: "Compare", curves: "Curves", answers: "Answers" };
  const AT_FIRST = 6; // lines of learning curves that can be read

  // Null for a study, a profile or a part that there is not.
  async function page(profile, name, tab, state, again) {
    const { studies, profiles } = await load("index"), about = studies.find((one) => one.study === name);
    if (!about || !profiles[profile] || (tab && !TABS[tab])) return null;
    const data = await load(`${profile}/${name}`), shown = tab || "table";
    const elsewhere = about.profiles.filter((other) => other !== profile);
    return h("div", {},
      h("h1", {}, data.title),
      h("p", {}, data.question),
      h("p", { class: "quiet small" }, `Study ${name}, profile ${profile}: ${profiles[profile].note}. `, h("a", { href: `https://arxiv.org/abs/${data.paper}` }, "The paper"), ". ",
        elsewhere.map((other) => [h("a", { href: `#/study/${other}/${name}` }, `Profile ${other}`), ". "])),
      data.smoke && h("p", { class: "warn" }, "Profile smoke: these numbers say little."),
      h("div", { class: "tabs", role: "navigation", "aria-label": "Parts of the study" }, Object.entries(TABS).map(([key, text]) =>
        h("a", { href: `#/study/${profile}/${name}/${key}`, "aria-current": key === shown ? "page" : null }, text))),
      Object.keys(data.systems).length || shown === "table" ? await PARTS[shown](data, state, again) : h("p", {}, "Nothing has been scored at this profile."));
  }

  // One column a kind of cell that any row has.
  function numbersOf(data, rows, hidden, headings = data.headings) {
    const keys = [...new Set(rows.flatMap((row) => Object.keys(row.cells)))];
    const order = Object.keys(data.headings);
    const mains = data.groups.map((group) => group.main), first = [...mains, "difference", "difference_p"];
    const rank = (key) => (first.includes(key) ? first.indexOf(key) - first.length : order.includes(key) ? order.indexOf(key) : order.length);
    return keys.sort((a, b) => rank(a) - rank(b)).map((key) => {
      const words = rows.every((row) => !row.cells[key] || row.cells[key].length === 1);
      return {
        key, heading: headings[key] ?? key.replaceAll("_", " "), text: words, hidden: hidden(key),
        of: (row) => { const cell = row.cells[key]; return cell && (cell.length > 1 ? cell[1] : cell[0]); },
        cell: (row) => (row.cells[key] ? cite.number(`${data.profile}/${row.key}/${key}`, row.cells[key][0], row.marks?.[key]) : "–"),
      };
    });
  }

  function tables(data) {
    const own = data.rows.filter((row) => row.table === data.study), mains = new Set(data.groups.map((group) => group.main));
    const hidden = (key) => !(mains.has(key) || ["difference", "difference_p", "trained_parameters", "reported"].includes(key));
    const label = (row) => [data.looks[row.name][0], h("br"), h("code", { class: "quiet small" }, row.name)];
    const sets = new Set(own.map((row) => row.key.split("/")[2]));
    const lead = [
      { key: "variant", heading: "Variant", text: true, of: (row) => data.looks[row.name][0], cell: label },
      { key: "set", heading: "Test set", text: true, of: (row) => row.key.split("/")[2], hidden: sets.size < 2 },
      { key: "status", heading: "Status", text: true, of: (row) => row.status, hidden: own.every((row) => row.status === "ok") },
      { key: "seeds", heading: "Seeds", of: (row) => row.seeds.length, hidden: true },
    ];
    const parts = [
      above(data, data.study, own),
      h("p", { class: "quiet small" }, "Each number opens its id, and can be copied from there."),
      table({ caption: data.title, columns: [...lead, ...numbersOf(data, own, hidden)], rows: own, marked: (row) => data.baselines.includes(row.name) }),
    ];
    const others = [...new Set(data.rows.map((row) => row.table))].filter((name) => name !== data.study);
    for (const name of others) {
      const ending = name.slice(data.study.length + 1), rows = data.rows.filter((row) => row.table === name), ofClaims = ending === "claims";
      const first = ofClaims ? claimed(data) : [{ key: "row", heading: "Row", text: true, of: (row) => row.name,
        cell: (row) => row.name.slice(ending.length + 1).replaceAll(":", ", ").replaceAll("_", " ") }];
      const headings = { ...data.headings, difference: "Difference", p: "p (Holm)", verdict: "Verdict", diverged: "Diverged", reversed_by: "Reversed by" };
      parts.push(h("h2", {}, ofClaims ? "Claims of the paper" : ending.replaceAll("_", " ")), above(data, name, rows),
        table({ caption: `${data.title}: ${ending}`, columns: [...first, ...numbersOf(data, rows, () => false, headings)], rows }));
    }
    return h("div", {}, parts);
  }

  // What stands above a table: its caption, with n, seeds and floors, and what the marks in it say.
  function above(data, name, rows) {
    const marks = rows.flatMap((row) => Object.values(row.marks ?? {})).join("");
    return [data.captions[name] && h("p", { class: "quiet small caption" }, data.captions[name]), cite.legend(data, marks)];
  }

  // What a claim says, what it compares, and where the paper says so.
  function claimed(data) {
    const about = (row) => data.claims[row.name];
    return [
      { key: "claim", heading: "Claim", text: true, long: true, of: (row) => about(row).claim },
      { key: "compared", heading: "Compared", text: true, of: (row) => about(row).compared },
      { key: "source", heading: "Where", text: true, of: (row) => about(row).source, hidden: true },
    ];
  }

  // Floors of the main metric, of validation turns where they were scored there, or else of test set A.
  function floors(data) {
    const found = data.rows.filter((row) => row.table === data.study && data.systems[row.name]?.floor).map((row) => {
      const { set, main } = data.groups[data.systems[row.name].group], name = data.looks[row.name][0];
      return { set, metric: main, value: row.cells[main]?.[1], label: set === "A" ? `${name}, on test set A` : name };
    });
    const of = (set) => found.filter((floor) => floor.set === set && floor.value !== undefined);
    return of("validation").length ? of("validation") : of("A");
  }

  async function curves(data, state, again) {
    const lines = data.curves;
    if (!lines.length) return h("p", {}, "Nothing was trained in this study.");
    const variants = [...new Set(lines.map((line) => line.variant))];
    const chosen = new Set(state.lines === undefined ? variants.slice(0, AT_FIRST) : state.lines.split(","));
    const present = [...new Set(lines.map((line) => line.metric))].map((name) => [name, data.labels[name]]);
    const toggle = (name) => () => { if (!chosen.delete(name)) chosen.add(name); again({ ...state, lines: [...chosen].join() }); };
    const ticked = variants.filter((name) => chosen.has(name)).length;
    return h("div", {},
      h("p", { class: "quiet small" }, "One line a seed, which stops where a stage of training ends. A training that variants share is shown once, under the first of them. ",
        `${ticked} of ${variants.length} variants are ticked.${ticked < variants.length ? " Others can be ticked." : ""}`),
      h("div", { class: "legend", role: "group", "aria-label": "Variants shown" }, variants.map((name) => h("label", {},
        h("input", { type: "checkbox", name, checked: chosen.has(name), change: toggle(name) }),
        charts.sample(data.looks[name]), data.looks[name][0]))),
      charts.curves(lines, present, data.looks, chosen, floors(data)));
  }

  const PARTS = { table: tables, compare: (data, state, again) => Bench.compare.view(data, state, again), curves, answers: (data, state, again) => Bench.flips.view(data, state, again) };
  return { page };
})();
