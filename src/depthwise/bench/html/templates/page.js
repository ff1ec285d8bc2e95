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

function tell(plot, mark) {
  const tip = plot.querySelector(".tip");
  for (const each of plot.querySelectorAll(".chosen")) each.classList.remove("chosen");
  tip.hidden = !mark;
  if (!mark) return;
  mark.classList.add("chosen");
  tip.textContent = mark.ariaLabel;
  const around = plot.getBoundingClientRect();
  const at = mark.getBoundingClientRect();
  const left = at.left + at.width / 2 - around.left - tip.offsetWidth / 2;
  tip.style.left = `${Math.max(0, Math.min(left, around.width - tip.offsetWidth))}px`;
  tip.style.top = `${at.top - around.top - tip.offsetHeight - 6}px`;
}

for (const plot of document.querySelectorAll(".plot")) {
  const marks = [...plot.querySelectorAll(".mark")];
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  let place = -1;
  plot.addEventListener("pointerover", (event) => tell(plot, event.target.closest(".mark")));
  plot.addEventListener("pointerleave", () => tell(plot, null));
  plot.addEventListener("focusout", () => tell(plot, null));
  plot.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tell(plot, null);
    if (!(event.key in steps) || !marks.length) return;
    event.preventDefault();
    const from = place < 0 && steps[event.key] < 0 ? 0 : place;
    place = (from + steps[event.key] + marks.length) % marks.length;
    tell(plot, marks[place]);
  });
}
