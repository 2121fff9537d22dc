// A list that is asked for again and again, and never moves what is under the pointer.
//
// Contract with the server. The list asks for itself, and is answered with itself:
//
//   <div id="rows" data-live-list data-now="ISO" data-title="(3) Inbox"
//        hx-get="/inbox/?…" hx-trigger="every 15s, rc:refresh" hx-swap="none">
//     <section class="rc-lane" id="lane-timeout">        every child has an id
//       <header class="rc-lane__head">…</header>
//       <ul>
//         <li class="rc-row" data-row="R-20417"> cells … </li>
//       </ul>
//     </section>
//     <ul data-gone hidden>                              only in an answer to a poll
//       <li class="rc-row is-leaving" data-row="R-20402" data-ended> cells, final wording </li>
//     </ul>
//   </div>
//   <span data-live="count-inbox">3</span>               anywhere on the page and in the answer
//
// The view renders one partial for both. Each poll brings `known` (refs of the rows on the
// screen, with commas); for those that no longer belong in the list the answer holds a
// [data-ended] row in [data-gone], which says what became of them. A row the answer is silent
// about says what data-gone-words has. Everything else is done here:
//
// - A row that stays keeps its element, and so its focus; its cells are brought up to date.
// - A row that ended stays where it is, says so, cannot be acted on, and leaves when the reader
//   has moved on (pointer and focus elsewhere), or after 10 s where nobody is.
// - New rows, new lanes and a new order wait behind "2 new requests" in the head of the lane
//   while pointer or focus is in the list; with neither, they come at once.
// - Lane heads, [data-live] anywhere, the title and the clocks change at once. An element of
//   the page takes attributes and content from its twin in the answer.
// - data-now sets the clock anew.
// - What scripts put into the list carries data-own and is left alone.
(() => {
  "use strict";
  const LINGER_MS = 10_000;
  const list = document.querySelector("[data-live-list]");
  if (!list) return;
  let latest = null; // the last answer, while part of it waits

  const rowsOf = (root) => [...root.querySelectorAll("[data-row]")].filter((row) => !row.closest("[data-gone]"));
  const refOf = (row) => row.dataset.row;
  const lanesOf = (root) => [...root.children].filter((child) => child.matches(".rc-lane"));
  const canHover = matchMedia("(hover: hover)");
  const isBusy = () => (canHover.matches && list.matches(":hover")) || list.contains(document.activeElement);

  // --- Bringing an element up to date without replacing it ------------------------------------
  const OURS = ["is-selected"]; // classes that scripts set
  const ours = (node) => node.nodeType === Node.ELEMENT_NODE && "own" in node.dataset;

  function morph(old, fresh) {
    const kept = OURS.filter((name) => old.classList.contains(name));
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    old.classList.add(...kept);
    const before = [...old.childNodes].filter((node) => !ours(node));
    const after = [...fresh.childNodes];
    after.forEach((node, n) => {
      const was = before[n];
      if (!was) old.append(document.importNode(node, true));
      else if (was.nodeType !== node.nodeType || was.nodeName !== node.nodeName) was.replaceWith(document.importNode(node, true));
      else if (node.nodeType === Node.ELEMENT_NODE) morph(was, node);
      else if (was.data !== node.data) was.data = node.data;
    });
    before.slice(after.length).forEach((node) => node.remove());
  }

  // --- One answer -----------------------------------------------------------------------------
  function take(answer) {
    latest = answer;
    if (answer.dataset.title) document.title = `${answer.dataset.title} · Recourse`;
    if (answer.dataset.now) rc.sync(answer.dataset.now);
    for (const fresh of answer.ownerDocument.querySelectorAll("[data-live]")) {
      for (const old of document.querySelectorAll(`[data-live="${CSS.escape(fresh.dataset.live)}"]`)) {
        if (old.nodeName === fresh.nodeName) morph(old, fresh);
      }
    }

    const fresh = new Map(rowsOf(answer).map((row) => [refOf(row), row]));
    const gone = new Map([...answer.querySelectorAll("[data-gone] > [data-row]")].map((row) => [refOf(row), row]));
    for (const row of rowsOf(list)) {
      if (fresh.has(refOf(row))) morph(row, fresh.get(refOf(row)));
      else if (!("ended" in row.dataset)) finish(row, gone.get(refOf(row)));
    }
    for (const lane of lanesOf(answer)) {
      const head = document.getElementById(lane.id)?.querySelector(".rc-lane__head");
      const next = lane.querySelector(".rc-lane__head");
      if (head && next) morph(head, next);
    }
    if (isBusy()) holdBack();
    else arrange();
    sweep();
    rc.tick();
  }

  function finish(row, last) {
    if (last) {
      morph(row, last);
    } else {
      row.classList.add("is-leaving");
      row.dataset.ended = "";
      row.querySelector("input")?.remove();
      row.querySelector("[data-due]")?.remove(); // its clock is somebody else's now
      const words = list.dataset.goneWords || "This is no longer with you. It leaves when you move on.";
      const sub = row.querySelector(".rc-row__sub");
      if (sub) sub.textContent = words;
    }
    row.rcEndedAt = performance.now();
    row.dispatchEvent(new CustomEvent("rc:ended", { bubbles: true }));
  }

  // --- New rows: behind a button, or at their place -------------------------------------------
  function waiting(lane) {
    return rowsOf(lane).filter((row) => !list.querySelector(`[data-row="${CSS.escape(refOf(row))}"]`));
  }

  function holdBack() {
    let told = 0;
    for (const lane of lanesOf(latest)) {
      const count = waiting(lane).length;
      const here = document.getElementById(lane.id);
      // A lane that is not there yet has no head: its rows are told of in the first one.
      const head = (here ?? lanesOf(list)[0])?.querySelector(".rc-lane__head");
      if (!head) continue;
      let button = head.querySelector("[data-show-new]");
      const words = `${count} new ${count === 1 ? "request" : "requests"}`;
      if (!count) {
        if (here) button?.remove();
        continue;
      }
      if (!button) {
        button = document.createElement("button");
        button.type = "button";
        button.className = "btn btn-outline btn-sm rc-lane__new";
        button.dataset.own = "";
        button.dataset.showNew = lane.id;
        head.append(button);
      }
      if (button.textContent !== words) {
        button.textContent = words;
        told += count;
      }
    }
    if (told) rc.say(`${told} new ${told === 1 ? "request waits" : "requests wait"} behind a button at the top of the lane.`);
  }

  // Give the list the answer's order, lanes and other parts. Nobody is looking, or they asked.
  function arrange() {
    if (!latest) return;
    list.querySelectorAll("[data-show-new]").forEach((button) => button.remove());
    const ended = new Map(rowsOf(list).filter((row) => "ended" in row.dataset).map((row) => [row, row.closest(".rc-lane")?.id]));
    const here = new Map(rowsOf(list).map((row) => [refOf(row), row]));
    const wanted = [...latest.children].filter((child) => !child.matches("[data-gone]"));
    const ids = new Set(wanted.map((child) => child.id));
    for (const child of [...list.children]) {
      if (!ids.has(child.id) && ![...ended.values()].includes(child.id)) child.remove();
    }
    let place = null;
    for (const child of wanted) {
      let part = child.id && document.getElementById(child.id);
      if (!part) part = document.importNode(child, true);
      else if (!child.matches(".rc-lane")) morph(part, child);
      else arrangeLane(part, child, here);
      if (part.previousElementSibling !== place || part.parentElement !== list) {
        place ? place.after(part) : list.prepend(part);
      }
      place = part;
    }
    latest = null;
    window.htmx?.process(list);
  }

  const after = (place, group) => (place ? place.nextElementSibling : group.firstElementChild);

  function arrangeLane(lane, fresh, here) {
    const source = fresh.querySelector("ul");
    let target = lane.querySelector("ul");
    if (!source) {
      if (target && !rowsOf(target).length) target.remove();
      return;
    }
    if (!target) {
      target = document.createElement("ul");
      lane.append(target);
    }
    let place = null;
    for (const row of rowsOf(source)) {
      const element = here.get(refOf(row)) ?? document.importNode(row, true);
      for (let next = after(place, target); next && next !== element && "ended" in next.dataset; next = after(place, target)) {
        place = next; // rows that are leaving keep their place
      }
      if (element.parentElement !== target || element.previousElementSibling !== place) {
        const held = element.contains(document.activeElement) ? document.activeElement : null;
        place ? place.after(element) : target.prepend(element);
        held?.focus({ preventScroll: true });
      }
      place = element;
    }
  }

  // --- Rows that have ended leave -------------------------------------------------------------
  function sweep() {
    for (const row of list.querySelectorAll("[data-row][data-ended]")) {
      const old = performance.now() - (row.rcEndedAt ??= performance.now()) > LINGER_MS;
      const looked = row.contains(document.activeElement) || (canHover.matches && list.matches(":hover"));
      if (!old || looked) continue;
      const group = row.parentElement;
      row.remove();
      if (group.matches("ul") && !group.childElementCount) group.remove();
    }
  }

  // The reader has moved on: what has ended leaves, what waits comes in.
  function left() {
    setTimeout(() => {
      if (isBusy()) return;
      for (const row of list.querySelectorAll("[data-ended]")) row.rcEndedAt = -Infinity;
      sweep();
      if (latest) {
        arrange();
        rc.tick();
      }
    });
  }
  list.addEventListener("pointerleave", left);
  list.addEventListener("focusout", (event) => {
    const row = event.target.closest("[data-ended]");
    if (row && !row.contains(event.relatedTarget)) {
      setTimeout(() => {
        row.rcEndedAt = -Infinity;
        sweep();
      });
    }
    left();
  });
  setInterval(sweep, 2000);

  list.addEventListener("click", (event) => {
    const button = event.target.closest("[data-show-new]");
    if (!button || !latest) return;
    const first = lanesOf(latest).flatMap(waiting)[0];
    arrange();
    rc.tick();
    if (first) list.querySelector(`[data-row="${CSS.escape(refOf(first))}"] a`)?.focus();
  });

  // --- Asking ---------------------------------------------------------------------------------
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.elt !== list) return;
    event.detail.parameters.known = rowsOf(list).filter((row) => !("ended" in row.dataset)).map(refOf).join(",");
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.elt !== list) return;
    event.detail.shouldSwap = false;
    const parsed = new DOMParser().parseFromString(event.detail.serverResponse, "text/html");
    const answer = parsed.getElementById(list.id);
    if (event.detail.xhr.status === 200 && answer) take(answer);
    // Signed out meanwhile: the answer is the log-in page. Say so rather than stand still.
    else if (event.detail.xhr.status < 400) location.reload();
  });
  const refresh = () => list.dispatchEvent(new CustomEvent("rc:refresh"));
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  document.addEventListener("rc:online", refresh);
  list.addEventListener("rc:passed", () => setTimeout(refresh, 1500)); // give the server its second
})();
