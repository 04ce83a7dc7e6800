"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("number");
      const order = head.getAttribute("aria-sort") ?? (numeric ? "ascending" : "descending");
      const sign = order === "ascending" ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
      rows.sort((a, b) => sign * (numeric
        ? value(a, column) - value(b, column)
        : value(a, column).localeCompare(value(b, column), "en", { numeric: true })));
      body.append(...rows);
    });
  });
  const box = document.querySelector(`input[data-table="${table.id}"]`);
  if (!box) continue;
  const note = document.getElementById(`${table.id}-found`);
  box.closest("p").hidden = false;
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      found += row.hidden ? 0 : 1;
    }
    note.textContent = words.length ? `${found} of ${rows.length} rows` : "";
  });
}
