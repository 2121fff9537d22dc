// How a request is carried out, as it happens. Nothing here is needed to read it or to order an undo.
//
// Contract with the template:
//   #execution-live[data-said]     asks for itself and is replaced by the answer; what it says
//                                  first is told to those who listen when it has changed
//   #execution-order               comes along, and is left alone while somebody is in it; it is
//                                  asked for again when they have left
//   details[id] in either          stays as open as it was
(() => {
  "use strict";
  const live = () => document.getElementById("execution-live");
  const order = () => document.getElementById("execution-order");
  let said = live()?.dataset.said ?? "";
  let open = new Set(); // ids of what was open before the swap
  let hadFocus = false;
  let waits = false; // an answer for the order was held back

  const CONTROLS = "a[href], button, input, textarea, summary";
  const isBusy = (part) => part && (part.querySelector("details[open], [data-sending]") || [...part.querySelectorAll(CONTROLS)].includes(document.activeElement));

  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const part = event.detail.target;
    if (part?.id !== "execution-order") return;
    waits = Boolean(isBusy(part));
    if (waits) event.detail.shouldSwap = false;
    hadFocus = !waits && part.contains(document.activeElement);
  });

  document.addEventListener("htmx:oobAfterSwap", () => {
    const part = order();
    if (!hadFocus || !part) return;
    hadFocus = false;
    part.tabIndex = -1; // who read what stood here reads on
    part.focus({ preventScroll: true });
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!event.detail.target?.closest?.("#execution")) return;
    open = new Set([...document.querySelectorAll("#execution-live details[id][open]")].map((each) => each.id));
  });

  document.addEventListener("htmx:afterSwap", () => {
    const part = live();
    if (!part) return;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (said && part.dataset.said !== said) rc.say(part.dataset.said);
    said = part.dataset.said;
  });

  // Whoever was in the order has left it: bring what was held back.
  const look = () => setTimeout(() => {
    const part = live();
    if (!waits || !part || isBusy(order())) return;
    waits = false;
    htmx.ajax("GET", `${part.dataset.url}?known=-`, { source: part, target: part });
  });
  document.addEventListener("focusout", look);
  document.addEventListener("toggle", look, true);
})();
