// Selecting several rows: the bar says how many and how much, `x` selects, `Shift+x` selects a range.
//
// Contract with the templates:
//   .rc-pick input[data-kind][data-amount][data-currency]   the tick-box of a row
//   [data-bulk]                                             the bar; [data-bulk-words] and the submit button in it
// Without this script the bar shows as soon as a row is ticked (CSS), and its form is sent as any other.
(() => {
  "use strict";
  const bar = document.querySelector("[data-bulk]");
  if (!bar) return;
  const words = bar.querySelector("[data-bulk-words]");
  const button = bar.querySelector("[type=submit]");
  const boxes = () => [...document.querySelectorAll("[data-live-list] .rc-pick input")];
  let last = null;

  function show() {
    const picked = boxes().filter((box) => box.checked);
    const sums = new Map();
    for (const { dataset } of picked) {
      if (dataset.amount) sums.set(dataset.currency, (sums.get(dataset.currency) ?? 0) + Number(dataset.amount));
    }
    const money = [...sums].map(([currency, sum]) => new Intl.NumberFormat("en-US", { style: "currency", currency }).format(sum));
    const mixed = new Set(picked.map((box) => box.dataset.kind)).size > 1;
    const together = money.length ? `, ${money.join(" and ")} together` : "";
    words.textContent = `${picked.length} selected${together}${mixed ? ". They are of different kinds or risks: only those like the first are taken." : ""}`;
    button.textContent = `Approve ${picked.length}…`;
  }

  document.addEventListener("change", (event) => event.target.matches(".rc-pick input") && show());
  document.addEventListener("rc:ended", () => setTimeout(show));
  document.addEventListener("rc:pick", (event) => {
    const box = event.target.querySelector(".rc-pick input");
    if (!box) return;
    const all = boxes();
    const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
    if (event.detail.range && from >= 0) for (const each of all.slice(from, to + 1)) each.checked = true;
    else box.checked = !box.checked;
    last = box;
    show();
  });
  bar.querySelector("[data-bulk-clear]")?.addEventListener("click", () => {
    for (const box of boxes()) box.checked = false;
    show();
  });
  show();
})();
