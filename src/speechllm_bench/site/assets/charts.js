"use strict";
// Figures, drawn by Observable Plot: intervals of many numbers, and curves over examples seen.

Bench.charts = (() => {
  const { h, signed } = Bench;
  const width = (place) => Math.max(280, Math.min(1100, place.clientWidth || document.getElementById("main").clientWidth - 32));

  // A figure that is drawn again when its place becomes wider or narrower.
  function fitting(draw, caption) {
    const place = h("div"), figure = h("figure", {}, place, caption && h("figcaption", {}, caption));
    let last = 0;
    new ResizeObserver(() => {
      const now = width(figure);
      if (Math.abs(now - last) < 8) return;
      last = now;
      place.replaceChildren(draw(now));
    }).observe(figure);
    return figure;
  }

  // rows: {label, short, value, low, high, kind, hollow, about}; a line each, its label above it, or the short one on a phone. `open` is called with a row.
  function forest(rows, { axis, least = null, caption, open = null }) {
    const colour = (row) => `var(--${{ good: "good", bad: "bad", mixed: "mixed", none: "quiet" }[row.kind] ?? "series"})`;
    return fitting((wide) => {
      const plot = Plot.plot({
        width: wide, height: 74 + 34 * rows.length, marginLeft: 24, marginRight: 24, marginTop: 46, marginBottom: 14, insetTop: 8,
        style: { background: "transparent", fontSize: "12px" },
        x: { axis: "top", label: axis, grid: true, nice: true, labelAnchor: "center", labelOffset: 40 },
        y: { axis: null, domain: rows.map((_, i) => i), padding: 0.2 },
        marks: [
          least && Plot.rectX([0], { x1: -least, x2: least, fill: "currentColor", fillOpacity: 0.06 }),
          Plot.ruleX([0], { stroke: "currentColor", strokeOpacity: 0.6 }),
          Plot.ruleY(rows, { y: (_, i) => i, x1: "low", x2: "high", stroke: colour, strokeWidth: 2.5, dy: 7 }),
          Plot.dot(rows, { y: (_, i) => i, x: "value", fill: (row) => (row.hollow ? "var(--paper)" : colour(row)), stroke: colour, strokeWidth: 2, r: 4, dy: 7 }),
          Plot.text(rows, { y: (_, i) => i, frameAnchor: "left", text: (row) => (wide < 640 && row.short) || row.label, lineWidth: (wide - 48) / 12, textOverflow: "ellipsis", textAnchor: "start", dy: -9, fill: "currentColor", stroke: "var(--paper)", strokeWidth: 4 }),
          Plot.tip(rows, Plot.pointerY({
            y: (_, i) => i, x: "value", fill: "var(--paper)", lineWidth: 34,
            title: (row) => [row.about, `${signed(row.value, true)} [${signed(row.low, true)}, ${signed(row.high, true)}]`].filter(Boolean).join("\n"),
          })),
        ].filter(Boolean),
      });
      plot.setAttribute("role", "img");
      plot.setAttribute("aria-label", `${caption ?? axis} ${rows.length} intervals; the table has the numbers.`);
      if (open) plot.addEventListener("click", () => { if (plot.value) open(plot.value); });
      return plot;
    }, caption);
  }

  const BETWEEN = 14; // pixels from one label of a floor to the next

  // Floors with the pixels by which each label is moved up, so that none lies on another; `place` is the scale of y.
  function apart(floors, place) {
    let last = Infinity;
    return [...floors].sort((a, b) => a.value - b.value).map((floor) => {
      const at = Math.min(place(floor.value), last - BETWEEN), up = place(floor.value) - at;
      last = at;
      return { ...floor, up };
    });
  }

  // lines: {variant, seed, stage, metric, points}; a panel a metric, all over the same examples, from 0 on. A line ends
  // where its stage does. looks: variant -> [label, colour].
  // floors: {metric, value, label}; a dashed line each, right across the panel of its metric.
  function curves(lines, metrics, looks, shown, floors) {
    const colour = (variant) => (looks[variant]?.[1] === "#000000" ? "currentColor" : looks[variant]?.[1] ?? "currentColor");
    const chosen = lines.filter((line) => shown.has(line.variant));
    const most = d3.max(chosen, (line) => d3.max(line.points, ([examples]) => examples));
    const panels = metrics.map(([metric, label]) => {
      const points = chosen.filter((line) => line.metric === metric).flatMap(({ variant, seed, stage, points: own }) =>
        own.map(([examples, value]) => ({ examples, value, variant, seed, stage, label: looks[variant]?.[0] ?? variant })));
      if (!points.length) return null;
      const under = floors.filter((floor) => floor.metric === metric), values = [...points, ...under].map((one) => one.value);
      const height = 306, top = 24, bottom = 42, low = metric === "loss" ? d3.min(values) : Math.min(0, d3.min(values));
      const y = d3.scaleLinear([low, d3.max(values)], [height - bottom, top]).nice(), labels = apart(under, y);
      return fitting((wide) => Plot.plot({
        width: Math.min(wide, 620), height, marginLeft: 50, marginRight: 28, marginTop: top, marginBottom: bottom, style: { background: "transparent", fontSize: "12px" },
        x: { label: "examples seen", ticks: 5, grid: false, domain: [0, most] }, y: { label, grid: true, domain: y.domain() },
        marks: [
          ...[...new Set(points.map((d) => d.variant))].map((variant) => Plot.line(points.filter((d) => d.variant === variant), {
            x: "examples", y: "value", z: (d) => `${d.seed}/${d.stage}`, stroke: colour(variant), strokeWidth: 1.6, strokeDasharray: looks[variant]?.[2] || null,
          })),
          Plot.ruleY(under, { y: "value", stroke: "currentColor", strokeOpacity: 0.6, strokeDasharray: "2 3" }),
          ...labels.map((floor) => Plot.text([floor], { y: "value", text: "label", frameAnchor: "right", textAnchor: "end", dy: -6 - floor.up, fill: "currentColor", stroke: "var(--paper)", strokeWidth: 3, className: "floor" })),
          Plot.dot(points, { x: "examples", y: "value", fill: (d) => colour(d.variant), r: 2 }),
          Plot.tip(points, Plot.pointer({ x: "examples", y: "value", fill: "var(--paper)", title: (d) => `${d.label}, seed ${d.seed}, stage ${d.stage}\n${d.value.toPrecision(3)} after ${d.examples.toLocaleString("en")} examples` })),
        ],
      }), `${label} on validation turns.`);
    });
    return h("div", { class: "panels" }, panels);
  }

  // A piece of a variant's line, for legends.
  function sample([, colour, dash]) {
    const stroke = colour === "#000000" ? "currentColor" : colour;
    const line = d3.create("svg").attr("class", "sample").attr("width", 28).attr("height", 8).attr("aria-hidden", "true");
    line.append("line").attr("x2", 28).attr("y1", 4).attr("y2", 4).attr("stroke", stroke).attr("stroke-width", 2.5).attr("stroke-dasharray", dash || null);
    return line.node();
  }

  return { apart, forest, curves, sample };
})();
