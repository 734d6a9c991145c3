"use strict";

// The three pictures of a layer.
const forms = JSON.parse(document.getElementById("data").textContent);
const panel = document.getElementById("chosen");

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function figure(title, text, source, layer) {
  const made = element("div");
  made.append(element("b", title), element("span", " " + text, { class: "faint" }));
  const size = layer.vector ? { width: 376, height: 56 } : { width: 376 };
  made.append(element("img", "", { src: source, alt: title, ...size }));
  return made;
}

function key() {
  const made = element("p", "Difference, of the layer's scale: 1e-7 or less ", { class: "faint" });
  made.append(element("span", "", { class: "key" }), " the bound ");
  made.append(element("span", "", { class: "key beyond" }), " beyond it");
  return made;
}

function choose(row) {
  const form = forms[row.dataset.form];
  const layer = form.rows[row.dataset.row];
  document.querySelectorAll("tr.selected").forEach((one) => one.classList.remove("selected"));
  row.classList.add("selected");
  panel.replaceChildren(element("b", layer.name));
  panel.append(element("span", " " + form.image + (layer.tf ? ", " + layer.channels : ""), { class: "faint" }));
  if (layer.reason) panel.append(element("p", "Not equal: differs " + layer.reason, { class: "bad" }));
  if (!layer.tf) {
    panel.append(element("p", "The network is too large for pictures in this page; --pictures draws them."));
    return;
  }
  const trio = element("div", "", { class: "trio" });
  trio.append(figure("TensorFlow", layer.texts[0], layer.tf, layer));
  trio.append(figure("Caffe", layer.texts[1], layer.caffe, layer));
  trio.append(figure("difference", layer.texts[2], layer.difference, layer));
  panel.append(trio, key());
}

for (const row of document.querySelectorAll(".layers tbody tr")) {
  row.addEventListener("click", () => choose(row));
  row.addEventListener("keydown", (event) => {
    if (event.key === "Enter") choose(row);
  });
}
const first = document.querySelector("tr.first") || document.querySelector(".layers tbody tr");
if (first) choose(first);

// Tables sorted by a column: numbers by size, texts by alphabet.
function value(row, column) {
  const text = row.cells[column].dataset.value;
  return text === "" || isNaN(text) ? text : Number(text);
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other));
}

function sort(table, column) {
  const head = table.tHead.rows[0].cells;
  const up = head[column].getAttribute("aria-sort") !== "ascending";
  for (const cell of head) cell.removeAttribute("aria-sort");
  head[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => (up ? 1 : -1) * compare(value(a, column), value(b, column)));
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.layers")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.querySelector("button").addEventListener("click", () => sort(table, column));
  });
}

// Diagrams: the wheel and the buttons zoom, dragging moves.
function zoomable(box) {
  const svg = box.querySelector("svg");
  const whole = svg.viewBox.baseVal;
  const start = { x: whole.x, y: whole.y, width: whole.width, height: whole.height };
  let view = { ...start };
  const show = () => svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
  const unit = () => Math.max(view.width / svg.clientWidth, view.height / svg.clientHeight);

  function zoom(factor, x, y) {
    view = {
      x: x - (x - view.x) * factor,
      y: y - (y - view.y) * factor,
      width: view.width * factor,
      height: view.height * factor,
    };
    show();
  }

  function place(event) {
    const point = new DOMPoint(event.clientX, event.clientY);
    return point.matrixTransform(svg.getScreenCTM().inverse());
  }

  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const at = place(event);
    zoom(event.deltaY < 0 ? 0.8 : 1.25, at.x, at.y);
  }, { passive: false });
  svg.addEventListener("pointermove", (event) => {
    if (event.buttons !== 1) return;
    view.x -= event.movementX * unit();
    view.y -= event.movementY * unit();
    show();
  });
  for (const button of box.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      if (!button.dataset.zoom) {
        view = { ...start };
        show();
      } else {
        zoom(Number(button.dataset.zoom), view.x + view.width / 2, view.y + view.height / 2);
      }
    });
  }
}

document.querySelectorAll(".zoom").forEach(zoomable);
