// Clocks that run while a page stands open, in business time.
//
// Contract with the templates (the tags `due` and `clock` write it):
//   <body data-now="ISO" data-speed="60" data-zone="Europe/Berlin">   business instant at render,
//       business seconds in a real one, the reader's zone
//   [data-due="ISO"][data-opened="ISO"]   one clock. Inside it: [data-left] takes the words,
//       .rc-bar__fill and .rc-dial__fill the share; itself it gets is-calm, is-soon or is-now
//   data-passed="Passed on to the Controller"   what [data-left] says from zero on (is-over)
//   data-overdue                           from zero on it says how late it is instead
//   data-announce                          its passing is told at once to those who listen
//   time[data-clock]                       the time of day, in the reader's zone
// At zero an element sends `rc:passed`, once, and it bubbles.
//
// Offers: rc.now() in ms, rc.sync(iso) after an answer that carries data-now, rc.tick(),
//   rc.say(words) and rc.alert(words) for the live regions.
(() => {
  "use strict";
  const MINUTE = 60, HOUR = 3600, DAY = 86400;
  const NBSP = "\u00a0";
  const body = document.body;
  const speed = Number(body.dataset.speed) || 1;
  // The page was rendered when its answer began, not when this script runs.
  let from = performance.getEntriesByType("navigation")[0]?.responseStart || performance.now();
  let start = Date.parse(body.dataset.now) || Date.now();

  const now = () => start + (performance.now() - from) * speed;

  function sync(iso) {
    const instant = Date.parse(iso);
    if (Number.isNaN(instant)) return;
    start = instant;
    from = performance.now();
    tick();
  }

  // The same rules as governance/wording.py, span().
  function span(milliseconds) {
    const s = Math.floor(Math.abs(milliseconds) / 1000);
    if (s < 5 * MINUTE) return parts([Math.floor(s / MINUTE), "min"], [s % MINUTE, "s"]);
    if (s < DAY) return parts([Math.floor(s / HOUR), "h"], [Math.floor((s % HOUR) / MINUTE), "min"]);
    if (s < 2 * DAY) return parts([Math.floor(s / HOUR), "h"]);
    return parts([Math.floor(s / DAY), "days"]);
  }

  function parts(...all) {
    const said = all.filter(([n]) => n > 0).map(([n, unit]) => n + NBSP + unit);
    return said.join(NBSP) || `0${NBSP}${all.at(-1)[1]}`;
  }

  const write = (node, words) => {
    if (node && node.textContent !== words) node.textContent = words;
  };

  function show(element, at) {
    const due = Date.parse(element.dataset.due);
    const opened = Date.parse(element.dataset.opened);
    const left = due - at;
    const share = due > opened ? Math.min(100, Math.max(0, (left / (due - opened)) * 100)) : 0;
    const tone = share > 50 ? "calm" : share > 20 ? "soon" : "now";
    const over = left <= 0;
    for (const name of ["calm", "soon", "now"]) element.classList.toggle(`is-${name}`, name === tone);
    element.classList.toggle("is-over", over);

    let words = span(left);
    if (over) words = "overdue" in element.dataset ? `Overdue ${words}` : element.dataset.passed || "Passed on";
    write(element.querySelector("[data-left]") ?? (element.childElementCount ? null : element), words);
    element.querySelector(".rc-bar__fill")?.setAttribute("width", share.toFixed(1));
    element.querySelector(".rc-dial__fill")?.setAttribute("stroke-dasharray", `${share.toFixed(1)} 100`);

    if (over && !element.rcPassed) {
      const wasSeen = element.rcPassed === false; // it ran before our eyes
      element.rcPassed = true;
      if (wasSeen && "announce" in element.dataset) tell("rc-alert", words);
      if (wasSeen) element.dispatchEvent(new CustomEvent("rc:passed", { bubbles: true }));
    } else if (!over) {
      element.rcPassed = false;
    }
    return left;
  }

  const timeOfDay = new Intl.DateTimeFormat("en-GB", {
    hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: body.dataset.zone || "UTC",
  });

  // Under 5 minutes the words change each second, above each minute. Looking at each second
  // costs nothing where nothing has changed: only changed words are written.
  function tick() {
    const at = now();
    for (const element of document.querySelectorAll("[data-due]")) show(element, at);
    for (const element of document.querySelectorAll("[data-clock]")) write(element, timeOfDay.format(at));
  }

  function tell(id, words) {
    const region = document.getElementById(id);
    if (!region) return;
    region.textContent = "";
    setTimeout(() => { region.textContent = words; }, 50); // the same words twice are told twice
  }

  window.rc = Object.assign(window.rc ?? {}, {
    now, sync, tick, span, timeOfDay,
    say: (words) => tell("rc-polite", words),
    alert: (words) => tell("rc-alert", words),
  });
  tick();
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", () => document.hidden || tick());
})();
