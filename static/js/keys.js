// Keys. Single ones work outside fields only, and can be turned off (kept as "rc-keys" = "off").
//
// Contract with the templates:
//   [data-row="ref"]                 a row of the inbox; its first link opens it
//   .rc-lane                         1 to 6 jump to the first, the second …
//   form[data-decision]              Ctrl+Enter sends it; `a` and `r` choose name="verdict"
//                                    (approve, reject) in it and put the focus there
//   [data-go="i"]                    the link that `g` then `i` follows
//   [data-search]                    what `/` goes to
//   #keys, [data-keys-switch]        the list of keys, and its tick-box
// A page opened with ?verdict=reject starts as if `r` had been pressed. The row that is chosen
// sends `rc:select`, and its ref is kept in the address as ?at=, so that it survives a reload.
(() => {
  "use strict";
  const KEPT = "rc-keys";
  const CHORD_MS = 1500;
  const FIELDS = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";
  let chordUntil = 0;

  // --- On and off -----------------------------------------------------------------------------
  let on = true;
  try {
    on = localStorage.getItem(KEPT) !== "off";
  } catch {
    // storage is refused: the keys are on
  }
  for (const box of document.querySelectorAll("[data-keys-switch]")) {
    box.checked = on;
    box.addEventListener("change", () => {
      on = box.checked;
      try {
        localStorage.setItem(KEPT, on ? "on" : "off");
      } catch {
        // storage is refused: the choice holds for this page
      }
    });
  }

  // --- Rows -----------------------------------------------------------------------------------
  const rows = () => [...document.querySelectorAll("[data-live-list] [data-row]")].filter((row) => !row.closest("[data-gone]"));
  const chosen = () => document.querySelector("[data-row].is-selected");
  const linkOf = (row) => row?.querySelector("a[href]");
  const open = (row) => !("ended" in row.dataset);

  function choose(row, { focus = true } = {}) {
    const was = chosen();
    if (was !== row) {
      was?.classList.remove("is-selected");
      row.classList.add("is-selected");
      const url = new URL(location);
      url.searchParams.set("at", row.dataset.row);
      history.replaceState(history.state, "", url);
      row.dispatchEvent(new CustomEvent("rc:select", { bubbles: true }));
    }
    if (focus) linkOf(row)?.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  function step(by) {
    const all = rows().filter((row) => open(row) || row === chosen());
    if (!all.length) return false;
    const at = all.indexOf(chosen());
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
    choose(all[next]);
    return true;
  }

  function jump(n) {
    const lane = document.querySelectorAll(".rc-lane")[n - 1];
    if (!lane) return false;
    lane.scrollIntoView({ block: "start" });
    const first = [...lane.querySelectorAll("[data-row]")].find(open);
    if (first) {
      choose(first);
      return true;
    }
    const head = lane.querySelector("h2"); // an empty lane keeps its place, so the key does too
    if (head) {
      head.tabIndex = -1;
      head.focus({ preventScroll: true });
    }
    return true;
  }

  function pick(range) {
    const row = chosen();
    if (!row?.querySelector(".rc-pick input")) return false;
    row.dispatchEvent(new CustomEvent("rc:pick", { bubbles: true, detail: { range } }));
    return true;
  }

  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("[data-live-list] [data-row]");
    if (row && open(row)) choose(row, { focus: false });
  });

  // --- Deciding: never by itself --------------------------------------------------------------
  const decision = () => document.querySelector("form[data-decision]");

  function start(verdict) {
    const form = decision();
    if (form) {
      const choice = form.querySelector(`[name="verdict"][value="${CSS.escape(verdict)}"]`);
      if (!choice) return false;
      if (choice.type === "radio" && !choice.checked) {
        choice.checked = true;
        choice.dispatchEvent(new Event("change", { bubbles: true }));
      }
      choice.focus({ preventScroll: true });
      (choice.closest("fieldset") ?? form).scrollIntoView({ block: "nearest" });
      return true;
    }
    const row = chosen();
    const link = row && open(row) && linkOf(row);
    if (!link) return false;
    const url = new URL(link.href);
    url.searchParams.set("verdict", verdict);
    url.hash = "decide";
    location.assign(url);
    return true;
  }

  function send() {
    const form = document.activeElement?.closest("form[data-decision]") ?? decision();
    if (!form) return false;
    // The button that shows: with two verdicts there are two, and one of them is hidden.
    const shows = (e) => e.checkVisibility?.() ?? e.offsetParent;
    const button = [...form.querySelectorAll("[type=submit]")].find(shows);
    const asksFirst = [...form.querySelectorAll(".rc-confirm:not([open]) > summary")].find(shows);
    if (!button && asksFirst) {
      asksFirst.click(); // what cannot be taken back is sent by a second press
      asksFirst.parentElement.querySelector("[type=submit]").focus();
      return true;
    }
    form.requestSubmit(button);
    return true;
  }

  // --- Which key does what --------------------------------------------------------------------
  const follow = (link) => {
    if (!link) return false;
    link.click();
    return true;
  };
  const SINGLE = {
    j: () => step(1),
    k: () => step(-1),
    o: () => follow(linkOf(chosen())),
    x: () => pick(false),
    X: () => pick(true),
    a: () => start("approve"),
    r: () => start("reject"),
    g: () => { chordUntil = performance.now() + CHORD_MS; return true; },
    "/": () => {
      const field = document.querySelector("[data-search], input[type=search]");
      field?.focus();
      field?.select();
      return Boolean(field);
    },
    "?": () => {
      document.getElementById("keys")?.showModal();
      return true;
    },
  };
  for (let n = 1; n <= 9; n += 1) SINGLE[n] = () => jump(n);

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      if (send()) event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !on) return;
    if (target.closest(FIELDS) || document.querySelector("dialog[open]")) return;

    let done = false;
    if (chordUntil > performance.now()) {
      chordUntil = 0;
      done = follow(document.querySelector(`[data-go="${CSS.escape(event.key)}"]`));
    } else if (event.key in SINGLE) {
      done = SINGLE[event.key]();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && target.closest("[data-live-list] [data-row]") && !target.matches("input")) {
      done = step(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Enter" && target === document.body) {
      done = follow(linkOf(chosen()));
    }
    if (done) event.preventDefault();
  });

  // --- Where the reader was -------------------------------------------------------------------
  const asked = new URLSearchParams(location.search);
  const at = asked.get("at") && document.querySelector(`[data-live-list] [data-row="${CSS.escape(asked.get("at"))}"]`);
  if (at) choose(at, { focus: false });
  // After `load`: going to #decide takes the focus away again.
  const begin = () => asked.get("verdict") && setTimeout(start, 0, asked.get("verdict"));
  if (document.readyState === "complete") begin();
  else addEventListener("load", begin);
})();
