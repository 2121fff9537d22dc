// A table of inputs that is moved about in like a spreadsheet. Without it each row is a form with a button.
//
// Contract with the templates:
//   table[data-grid]                 each row is a tbody[data-grid-row] with one input in each cell,
//                                    all of one form (form="…") that stands in the row
//   tbody[data-revision]             what the server counts; an answer that brings another one
//                                    sets it in every form of the table
//   button[data-grid-save]           stores the row
// A cell is either chosen (readonly: arrows, Home and End move, Enter or F2 or typing begins) or edited
// (Enter stores the row, Esc takes the cell back, Tab goes on). Leaving a changed row stores it. On touch
// screens every cell is edited at once: there are no arrows, and a readonly field brings no keyboard.
(() => {
  "use strict";
  const touch = matchMedia("(pointer: coarse)").matches;
  const grid = document.querySelector("table[data-grid]");
  if (!grid) return;

  const rows = () => [...grid.querySelectorAll("tbody[data-grid-row]")];
  const rowOf = (input) => input.closest("tbody[data-grid-row]");
  const inputs = (row) => [...row.querySelectorAll("td > input")];
  const isCell = (element) => element.matches?.("[data-grid] td > input");
  const changed = (row) => inputs(row).some((input) => input.value !== input.defaultValue);
  const mark = (row) => row.classList.toggle("is-changed", changed(row));

  function choose(input) {
    if (!touch) input.readOnly = true;
  }

  function edit(input, text) {
    input.dataset.before = input.value;
    input.readOnly = false;
    if (text !== undefined) input.value = text;
    else input.select();
  }

  function takeBack(input) {
    if (input.dataset.before !== undefined) input.value = input.dataset.before;
    choose(input);
    input.select();
    mark(rowOf(input));
  }

  function store(row) {
    const button = row.querySelector("[data-grid-save]");
    if (changed(row) && button.getAttribute("aria-disabled") !== "true") button.form.requestSubmit(button);
  }

  function go(input, down, right) {
    const row = rowOf(input);
    const all = rows();
    const column = inputs(row).indexOf(input) + right;
    const to = inputs(all[all.indexOf(row) + down] ?? row)[column];
    if (to) to.focus();
    to?.select();
  }

  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

  function whileChosen(event, input) {
    if (event.key in MOVES) go(input, ...MOVES[event.key]);
    else if (event.key === "Home") inputs(rowOf(input))[0].focus();
    else if (event.key === "End") inputs(rowOf(input)).at(-1).focus();
    else if (event.key === "Enter" || event.key === "F2") edit(input);
    else if (event.key === "Delete" || event.key === "Backspace") edit(input, "");
    else if (event.key.length === 1) {
      edit(input, "");
      return; // the character itself goes into the cell
    } else return;
    event.preventDefault();
  }

  grid.addEventListener("keydown", (event) => {
    const input = event.target;
    if (!isCell(input) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (input.readOnly) whileChosen(event, input);
    else if (event.key === "Escape") takeBack(input);
    else if (event.key === "Enter") {
      event.preventDefault();
      choose(input);
      store(rowOf(input));
    } else return;
    event.stopPropagation();
  });
  grid.addEventListener("input", (event) => isCell(event.target) && mark(rowOf(event.target)));
  grid.addEventListener("dblclick", (event) => isCell(event.target) && event.target.readOnly && edit(event.target));
  grid.addEventListener("focusout", (event) => {
    if (!isCell(event.target)) return;
    choose(event.target);
    const row = rowOf(event.target);
    // A new row is stored when somebody says so: it is half done for as long as they type.
    // What was pasted likewise: see paste.js.
    if (row.id !== "row-new" && !("pasted" in row.dataset) && !row.contains(event.relatedTarget)) store(row);
  });

  // --- What the server answers ------------------------------------------------------------------
  let kept = null; // the cell that had the focus in the row that is replaced
  grid.addEventListener("htmx:beforeSwap", (event) => {
    const here = document.activeElement;
    const row = event.detail.target;
    kept = isCell(here) && row.contains(here) ? { id: row.id, name: here.name } : null;
  });
  grid.addEventListener("htmx:afterSettle", () => {
    prepare();
    const row = kept && document.getElementById(kept.id);
    const wrong = row?.querySelector("[aria-invalid]");
    (wrong ?? row?.querySelector(`td > input[name="${kept.name}"]`))?.focus();
    kept = null;
  });

  function prepare() {
    for (const row of rows()) {
      for (const input of inputs(row)) choose(input);
      mark(row);
    }
    const last = Math.max(...rows().map((row) => Number(row.dataset.revision)));
    for (const field of grid.querySelectorAll('input[name="revision"]')) {
      field.value = last;
      rowOf(field).dataset.revision = last;
    }
  }

  prepare();
})();
