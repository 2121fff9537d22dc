// Cells pasted from a spreadsheet fill the grid from the chosen cell on. Nothing is stored until somebody says so.
//
// Contract with the templates, besides that of grid.js:
//   tbody[data-pasted]               set here: the row holds what was pasted, and is not stored by leaving it
//   [data-pasted-bar][data-url]      shown while there is such a row; the address that reads and stores them
//   [data-pasted-said]               in it, what became of it; [data-pasted-store], [data-pasted-back]
//   template[data-pasted-mistake]    how a mistake looks
(() => {
  "use strict";
  const grid = document.querySelector("table[data-grid]");
  const bar = document.querySelector("[data-pasted-bar]");
  if (!grid || !bar) return;

  const rows = () => [...grid.querySelectorAll("tbody[data-grid-row]")];
  const pasted = () => rows().filter((row) => "pasted" in row.dataset);
  const inputs = (row) => [...row.querySelectorAll("td > input")];
  const isCell = (element) => element.matches?.("[data-grid] td > input");
  const count = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
  let left = ""; // what did not fit

  // Tabs between cells, line ends between rows; a cell with either in it stands in quotes, and "" is a quote.
  function cellsOf(text) {
    const lines = [[""]];
    let quoted = false;
    for (const part of text.replace(/\r\n?/g, "\n").replace(/\n$/, "").match(/""|"|\t|\n|[^"\t\n]+/g) ?? []) {
      const line = lines.at(-1);
      if (quoted && part === '"') quoted = false;
      else if (quoted) line[line.length - 1] += part === '""' ? '"' : part;
      else if (part === "\t") line.push("");
      else if (part === "\n") lines.push([""]);
      else if (part === '"' && !line.at(-1)) quoted = true;
      else if (part !== '""' || line.at(-1)) line[line.length - 1] += part;
    }
    return lines.map((line) => line.map((cell) => cell.replace(/\s+/g, " ").trim()));
  }

  function fill(from, lines) {
    const all = rows();
    const first = all.indexOf(from.closest("tbody"));
    const column = inputs(all[first]).indexOf(from);
    let wide = 0;
    lines.slice(0, all.length - first).forEach((line, down) => {
      const row = all[first + down];
      const cells = inputs(row);
      wide = Math.max(wide, column + line.length - cells.length);
      line.slice(0, cells.length - column).forEach((text, right) => {
        cells[column + right].value = text;
      });
      row.dataset.pasted = "";
      row.classList.toggle("is-changed", cells.some((cell) => cell.value !== cell.defaultValue));
    });
    const deep = Math.max(0, lines.length - (all.length - first));
    left = [
      deep ? `${count(deep, "row")} did not fit below the last: read in a file to add many at once.` : "",
      wide > 0 ? `${count(wide, "column")} did not fit beside the last.` : "",
    ].filter(Boolean).join(" ");
  }

  function unmark() {
    grid.querySelectorAll("tr[data-pasted-why]").forEach((line) => line.remove());
    for (const cell of grid.querySelectorAll("td[data-pasted-wrong]")) {
      cell.classList.remove("is-bad");
      delete cell.dataset.pastedWrong;
      cell.firstElementChild.removeAttribute("aria-invalid");
      cell.firstElementChild.removeAttribute("aria-describedby");
    }
  }

  function mark({ row: number, field, words }) {
    const row = document.getElementById(`row-${number}`);
    if (!row) return;
    const id = `row-${number}-pasted`;
    let line = document.getElementById(id)?.parentElement;
    if (!line) {
      line = row.insertRow(1);
      line.className = "is-why";
      line.dataset.pastedWhy = "";
      const told = line.insertCell();
      told.id = id;
      told.colSpan = row.rows[0].cells.length;
    }
    const said = document.querySelector("template[data-pasted-mistake]").content.cloneNode(true);
    said.querySelector("[data-words]").textContent = words;
    line.cells[0].append(said);
    const input = row.querySelector(`td > input[name="${CSS.escape(field)}"]`);
    if (!input) return;
    input.parentElement.classList.add("is-bad");
    input.parentElement.dataset.pastedWrong = "";
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", id);
  }

  function say(text) {
    bar.querySelector("[data-pasted-said]").textContent = [text, left].filter(Boolean).join(" ");
  }

  // Reads what was pasted, as the server does; with `store` it stores all of it, or nothing.
  let asked = 0;
  async function read(store) {
    const found = pasted();
    bar.hidden = found.length === 0;
    if (bar.hidden) return;
    const body = new FormData();
    const form = grid.querySelector("form").elements;
    for (const name of ["csrfmiddlewaretoken", "revision"]) body.append(name, form[name].value);
    for (const row of found) {
      body.append("row", row.id.replace("row-", ""));
      for (const input of inputs(row)) body.append(input.name, input.value);
    }
    if (store) body.append("store", "1");
    const mine = (asked += 1);
    let status = 0;
    let answer = {};
    try {
      const response = await fetch(bar.dataset.url, { method: "POST", body });
      status = response.status;
      answer = await response.json();
    } catch {
      if (mine === asked) say("What was pasted could not be read just now. Nothing of it is stored.");
      return;
    }
    if (mine !== asked) return;
    if (store && status === 200) {
      location.reload();
      return;
    }
    unmark();
    const mistakes = answer.mistakes ?? [];
    mistakes.forEach(mark);
    const what = `${count(found.length, "row")} pasted; nothing of it is stored yet.`;
    if (mistakes.length) say(`${what} ${count(mistakes.length, "cell")} to mend first.`);
    else say(answer.detail || what);
    if (store) grid.querySelector("[data-pasted-wrong] > input")?.focus();
  }

  grid.addEventListener("paste", (event) => {
    const input = event.target;
    if (!isCell(input)) return;
    const lines = cellsOf(event.clipboardData.getData("text/plain"));
    if (lines.length === 1 && lines[0].length === 1 && !input.readOnly) return; // a word into a cell that is edited
    event.preventDefault();
    fill(input, lines);
    read();
  });
  grid.addEventListener("change", (event) => {
    if (isCell(event.target) && "pasted" in event.target.closest("tbody").dataset) read();
  });
  grid.addEventListener("htmx:afterSettle", () => !bar.hidden && read());
  bar.querySelector("[data-pasted-store]").addEventListener("click", () => read(true));
  bar.querySelector("[data-pasted-back]").addEventListener("click", () => {
    asked += 1;
    unmark();
    for (const row of pasted()) {
      for (const input of inputs(row)) input.value = input.defaultValue;
      delete row.dataset.pasted;
      row.classList.remove("is-changed");
    }
    bar.hidden = true;
    rows()[0]?.querySelector("td > input").focus();
  });
})();
