"use strict";
// What every page needs: data that is loaded when it is first asked for, and elements.

const Bench = (() => {
  const promised = new Map(), waiting = new Map();

  const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));

  async function unpacked(base64) {
    const stream = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).json();
  }

  // The value of data/<name>.js. Pages opened from disk may load scripts, and may not fetch files.
  function load(name) {
    if (!promised.has(name)) {
      promised.set(name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        waiting.set(name, resolve);
        script.onerror = () => reject(new Error(`data/${name}.js is missing`));
        script.src = `data/${name}.js`;
        document.head.append(script);
      }));
    }
    return promised.get(name);
  }

  function received(name, packed) {
    waiting.get(name)(unpacked(packed));
  }

  // An element: h("a", {href: "#/"}, "text", child, [children]); functions are listeners, null is left out.
  function h(tag, given = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  // A labelled choice; options are values or [value, text] pairs.
  function choice(label, options, chosen, change) {
    const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
    const select = h("select", { name: label, change: () => change(select.value) },
      pairs.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text)));
    return h("label", {}, label, select);
  }

  function told(sentence) {
    const place = document.getElementById("told");
    place.textContent = sentence;
    clearTimeout(told.timer);
    told.timer = setTimeout(() => { place.textContent = ""; }, 2500);
  }

  const signed = (value, sign) => (value < 0 ? "-" : sign ? "+" : "") + Math.abs(value).toFixed(3);

  // The first of some variants that a model answers, or else the first of them.
  const first = (data, names) => names.find((name) => !data.systems[name].floor) ?? names[0];

  return { first, load, received, bytes, h, choice, told, signed, doubles: (text) => new Float64Array(bytes(text).buffer) };
})();
