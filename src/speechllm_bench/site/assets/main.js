"use strict";
// Which page the address names: #/, #/effects, #/about, #/study/PROFILE/STUDY/PART. What is chosen on it stands behind
// a question mark, so that an address shows the same again.

(() => {
  const { h, load } = Bench, main = document.getElementById("main"), pick = document.getElementById("pick");
  let turn = 0;

  async function show(keepFocus = false) {
    const mine = ++turn, [place, query] = location.hash.replace(/^#\/?/, "").split("?"), parts = place.split("/").map(decoded);
    const address = parts.join("/"), state = Object.fromEntries(new URLSearchParams(query));
    const again = (next) => {
      history.replaceState(null, "", `#/${place}?${new URLSearchParams(next)}`);
      return show(true);
    };
    const focused = keepFocus ? document.activeElement?.getAttribute("name") : null;
    let made;
    try {
      if (parts[0] === "study") made = parts.length < 5 ? await Bench.study.page(parts[1], parts[2], parts[3], state, again) : null;
      else made = parts.length === 1 && Object.hasOwn(Bench.pages, parts[0] || "claims") ? await Bench.pages[parts[0] || "claims"](state, again) : null;
      made ??= h("p", { class: "warn" }, `There is no page “${address}”. The pages are named above.`);
    } catch (error) {
      console.error(error);
      made = h("p", { class: "warn" }, `This page cannot be shown: ${error.message}. Make the site again by “make site”.`);
    }
    if (mine !== turn) return; // another page was asked for meanwhile
    const scroll = keepFocus ? window.scrollY : 0;
    main.replaceChildren(made);
    window.scrollTo(0, scroll);
    if (focused) main.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    document.title = `${main.querySelector("h1")?.textContent ?? "Results"} – speechllm-bench`;
    for (const link of document.querySelectorAll("nav a")) {
      const current = link.hash.replace(/^#\/?/, "") === parts[0];
      if (current) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    }
    const study = `${parts[1]}/${parts[2]}`;
    pick.value = parts[0] === "study" && [...pick.options].some((one) => one.value === study) ? study : "";
    document.body.dataset.shown = address || "claims";
    document.body.dataset.turn = String(mine);
  }

  function decoded(part) {
    try { return decodeURIComponent(part); } catch { return part; }
  }

  async function choices() {
    const { studies, profiles } = await load("index");
    pick.append(h("option", { value: "" }, "Study …"), ...Object.keys(profiles).reverse().map((profile) => h("optgroup", { label: `profile ${profile}` },
      studies.map((one) => h("option", { value: `${profile}/${one.study}` }, `${one.study} (${profile}${one.profiles.includes(profile) ? "" : ", no runs"})`)))));
    pick.addEventListener("change", () => { if (pick.value) location.hash = `#/study/${pick.value}`; });
  }

  function theme() {
    const button = document.getElementById("theme"), dark = matchMedia("(prefers-color-scheme: dark)");
    let own = null;
    try { own = localStorage.getItem("theme"); } catch { /* no storage: the system's choice holds */ }
    const set = () => {
      const now = own ?? (dark.matches ? "dark" : "light");
      document.documentElement.dataset.theme = now;
      button.textContent = now === "dark" ? "Light" : "Dark";
    };
    button.addEventListener("click", () => {
      own = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("theme", own); } catch { /* it holds until the page is closed */ }
      set();
    });
    dark.addEventListener("change", set);
    set();
  }

  document.querySelector("a.skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address names a page, and no place on one
    main.focus();
  });
  theme();
  window.addEventListener("hashchange", () => show());
  choices().then(() => show());
})();
