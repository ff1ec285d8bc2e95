"use strict";

const cell = (row, column) => row.cells[column].textContent.trim();

function byNumber(one, other) {
  return parseFloat(one) - parseFloat(other);
}

function byWords(one, other) {
  return one.localeCompare(other, "en", { numeric: true });
}

function sort(table, column, direction) {
  const numbers = table.tHead.rows[0].cells[column].classList.contains("number");
  const compare = numbers ? byNumber : byWords;
  const rows = [...table.tBodies[0].rows];
  const isMissing = (row) => (numbers ? isNaN(parseFloat(cell(row, column))) : !cell(row, column));
  const present = rows.filter((row) => !isMissing(row));
  present.sort((one, other) => direction * compare(cell(one, column), cell(other, column)));
  table.tBodies[0].append(...present, ...rows.filter(isMissing));
}

for (const table of document.querySelectorAll("table")) {
  const headers = [...table.tHead.rows[0].cells];
  for (const [column, header] of headers.entries()) {
    header.querySelector("button").addEventListener("click", () => {
      const direction = header.ariaSort === "ascending" ? "descending" : "ascending";
      for (const each of headers) each.ariaSort = "none";
      header.ariaSort = direction;
      sort(table, column, direction === "ascending" ? 1 : -1);
    });
  }
}

const save = document.getElementById("save");
const data = document.getElementById("findings").textContent;
save.href = URL.createObjectURL(new Blob([data], { type: "application/json" }));

const plots = document.querySelectorAll(".js-plotly-plot");
const onPaper = (plot) => (plot.closest(".narrow") ? 320 : 660);
addEventListener("beforeprint", () => {
  for (const plot of plots) Plotly.relayout(plot, { width: onPaper(plot) });
});
addEventListener("afterprint", () => {
  for (const plot of plots) Plotly.relayout(plot, { width: null, autosize: true });
});
