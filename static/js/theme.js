// Sets the theme before anything is painted: light, dark, or the system's. Blocking, in the head.
//
// <html> gets data-bs-theme (light or dark, what is shown), data-theme (light, dark or system,
// what was chosen) and data-js. A button [data-theme-switch] goes round the three choices.
(() => {
  "use strict";
  const KEY = "rc-theme";
  const NEXT = { system: "light", light: "dark", dark: "system" };
  const WORDS = { system: "as the system has it", light: "light", dark: "dark" };
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      const kept = localStorage.getItem(KEY);
      return kept in NEXT ? kept : "system";
    } catch {
      return "system"; // storage is refused: the theme still follows the system
    }
  }

  function show(choice) {
    root.dataset.theme = choice;
    root.dataset.bsTheme = choice === "system" ? (dark.matches ? "dark" : "light") : choice;
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      const words = `Theme: ${WORDS[choice]}. Change to ${WORDS[NEXT[choice]]}`;
      button.setAttribute("aria-label", words);
      button.title = words;
    }
  }

  root.dataset.js = "";
  show(chosen());
  document.addEventListener("DOMContentLoaded", () => show(chosen()));
  dark.addEventListener("change", () => show(root.dataset.theme));
  addEventListener("storage", (event) => event.key === KEY && show(chosen()));
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-switch]")) return;
    const choice = NEXT[root.dataset.theme];
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // storage is refused: the choice holds for this page
    }
    show(choice);
  });
})();
