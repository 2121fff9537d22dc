// What a draft's check found stands under the rows of the matrix that it is about.
//
// Contract with the templates:
//   section[data-proof]              what the check found; htmx fills it, again after each edit
//   [data-checked="3"]               in its answer: the revision that was checked
//   template[data-found]             in its answer: a tr[data-of] for each row that something was found of
//   [data-revision]                  what the page shows; the highest counts
//   template[data-edited]            what is said instead: "here" after an edit on this page,
//                                    "elsewhere" when somebody edited the draft since it was opened
(() => {
  "use strict";
  const proof = document.querySelector("[data-proof]");
  if (!proof) return;
  const polite = document.getElementById("rc-polite");

  const shownRevision = () => Math.max(...[...document.querySelectorAll("[data-revision]")].map((each) => Number(each.dataset.revision)));
  const clear = () => document.querySelectorAll("tr.is-found").forEach((row) => row.remove());

  function edited(where) {
    clear();
    proof.replaceChildren(document.querySelector(`template[data-edited="${where}"]`).content.cloneNode(true));
  }

  function place(line) {
    const row = document.getElementById(line.dataset.of);
    if (!row) return;
    line.cells[0].colSpan = row.closest("table").tHead.rows[0].cells.length;
    if (row.matches("tbody")) row.append(line);
    else row.after(line);
  }

  proof.addEventListener("htmx:afterSwap", () => {
    const checked = Number(proof.querySelector("[data-checked]")?.dataset.checked);
    if (checked !== shownRevision()) {
      edited(checked > shownRevision() ? "elsewhere" : "here");
      return;
    }
    clear();
    const found = proof.querySelector("template[data-found]");
    if (found) [...found.content.cloneNode(true).querySelectorAll("tr")].forEach(place);
    // What the check came to is said, not read out whole. It begins with the heading.
    polite.textContent = proof.querySelector("h2")?.textContent ?? "";
  });
  document.body.addEventListener("policy-changed", () => edited("here"));
})();
