"use strict";
// A table that sorts by every column, with a choice of columns. Its numbers are one Tab stop together, and arrow keys
// move between them.

Bench.table = (() => {
  const { h } = Bench;

  // columns: {key, heading, of: row -> what is sorted by, cell: row -> what is shown, text: true for words,
  // hidden: true until it is chosen, long: true for sentences}. The first names the row.
  function table({ caption, columns, rows, sort = null, marked = () => false }) {
    const chosen = new Set(columns.filter((column) => !column.hidden).map((column) => column.key));
    let order = sort;
    const place = h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption });
    place.addEventListener("keydown", move);
    place.addEventListener("focusin", (event) => { if (stops().includes(event.target)) stopAt(event.target); });

    const inside = (part) => [...part.querySelectorAll("button, a")];
    const stops = () => [...place.querySelectorAll("tbody")].flatMap(inside);

    // The one number that Tab reaches.
    function stopAt(chosen) {
      for (const one of stops()) one.tabIndex = one === chosen ? 0 : -1;
    }

    function sorted() {
      if (!order) return rows;
      const { of } = columns.find((column) => column.key === order.key), sign = order.down ? -1 : 1;
      const empty = (value) => value === null || value === undefined || Number.isNaN(value);
      return [...rows].sort((a, b) => {
        const [x, y] = [of(a), of(b)];
        if (empty(x) || empty(y)) return empty(x) - empty(y); // what is not there comes last either way
        return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
      });
    }

    function sortBy(column) {
      const down = order?.key === column.key ? !order.down : !column.text;
      order = { key: column.key, down };
      draw();
      place.querySelector(`th[data-key="${CSS.escape(column.key)}"] button`).focus();
    }

    function draw() {
      const shown = columns.filter((column) => chosen.has(column.key));
      const kind = (column) => (column.text ? "of-text" : "of-number");
      const head = shown.map((column) => h("th", {
        scope: "col", class: kind(column), "data-key": column.key,
        "aria-sort": order?.key === column.key ? (order.down ? "descending" : "ascending") : "none",
        click: () => sortBy(column),
      }, h("button", { type: "button" }, column.heading)));
      const body = sorted().map((row) => h("tr", { class: marked(row) ? "base" : null }, shown.map((column, i) => {
        const content = column.cell ? column.cell(row) : (column.of(row) ?? "–");
        return i ? h("td", { class: column.long ? "long" : kind(column) }, content) : h("th", { scope: "row", class: column.long ? "long" : null }, content);
      })));
      place.replaceChildren(h("table", {}, h("caption", { class: "hidden" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
      stopAt(stops()[0]);
    }

    function move(event) {
      const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
      const step = steps[event.key], cell = document.activeElement.closest("td, th"), row = cell?.parentElement;
      if (!step || !cell || cell.closest("thead")) return;
      const here = inside(cell), beside = here[here.indexOf(document.activeElement) + step[0]];
      if (here.includes(document.activeElement) && step[0] && beside) return go(beside); // several in one cell
      const all = [...row.parentElement.children];
      let [i, j] = [all.indexOf(row), [...row.children].indexOf(cell)];
      for (;;) {
        [i, j] = [i + step[0], j + step[1]];
        const next = all[i]?.children[j];
        if (!next) return;
        const found = inside(next).at(step[0] < 0 ? -1 : 0);
        if (found) return go(found);
      }

      function go(target) {
        event.preventDefault();
        target.focus();
      }
    }

    const optional = columns.slice(1);
    const chooser = optional.length > 4 && h("details", { class: "columns" }, h("summary", {}, "Columns"), h("div", {}, optional.map((column) => {
      const box = h("input", { type: "checkbox", name: column.key, checked: chosen.has(column.key), change: () => {
        if (box.checked) chosen.add(column.key); else chosen.delete(column.key);
        draw();
      } });
      return h("label", {}, box, " ", column.heading);
    })));
    draw();
    return h("div", {}, chooser, place);
  }

  return table;
})();
