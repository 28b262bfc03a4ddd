"use strict";

const say = (text) => { document.getElementById("status").textContent = text; };

/* Theme: as the system, or fixed by the reader. */
document.getElementById("theme").addEventListener("change", (event) => {
  document.documentElement.dataset.theme = event.target.value;
});

/* Tables: a click on a heading sorts, a second one turns the order round; blanks stay last. */
function compare(a, b) {
  const x = Number(a), y = Number(b);
  if (Number.isFinite(x) && Number.isFinite(y)) return x - y;
  return a.localeCompare(b, "en", { numeric: true });
}

function sort(table, column, falling) {
  const body = table.tBodies[0];
  const value = (row) => row.cells[column].dataset.value;
  const rows = [...body.rows];
  const known = rows.filter((row) => value(row) !== "");
  const blank = rows.filter((row) => value(row) === "");
  known.sort((a, b) => compare(value(a), value(b)) * (falling ? -1 : 1));
  body.append(...known, ...blank);
}

for (const table of document.querySelectorAll("table.numbers")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      sort(table, column, falling);
      say(`Sorted by ${head.textContent.trim()}, ${falling ? "falling" : "rising"}.`);
    });
  });
}

/* Pictures: filtered by class and erased side; the error pictures are shown on request. */
for (const grid of document.querySelectorAll(".grid")) {
  const [byClass, bySide] = grid.querySelectorAll("select");
  const cells = [...grid.querySelectorAll("[data-class]")];
  const show = () => {
    for (const cell of cells) {
      cell.hidden = (byClass.value !== "" && cell.dataset.class !== byClass.value)
        || (bySide.value !== "" && cell.dataset.side !== bySide.value);
    }
    const heads = cells.filter((cell) => cell.tagName === "TH");
    const shown = heads.filter((head) => !head.hidden).length;
    grid.querySelector("output").textContent = `${shown} of ${heads.length} pictures`;
  };
  byClass.addEventListener("change", show);
  bySide.addEventListener("change", show);
  grid.querySelector("input").addEventListener("change", (event) => {
    grid.classList.toggle("errors", event.target.checked);
  });
  show();
}
