// Moves, zooms and searches the drawing of a net, and shows the facts about the chosen layer.
"use strict";

const layers = JSON.parse(document.getElementById("layers").textContent);
const view = document.getElementById("view");
const svg = view.querySelector("svg");
const panel = document.getElementById("panel");
const search = document.getElementById("search");
const found = document.getElementById("found");
const elements = layers.map((_, number) => document.getElementById(`layer-${number}`));
for (const layer of elements) layer.setAttribute("role", "button");
const wires = [...svg.querySelectorAll(".wire")];
const size = { width: svg.viewBox.baseVal.width, height: svg.viewBox.baseVal.height };
const hint = panel.innerHTML;
const at = { x: 0, y: 0, scale: 1 };
let chosen = -1;
let matches = [];

// -- moving and zooming -----------------------------------------------------------------------------------------------

let waiting = 0;
let resting = 0;

// Once per frame. While the drawing moves, the browser keeps it as an image; at rest, it is redrawn sharply.
function show() {
  waiting ||= requestAnimationFrame(() => {
    waiting = 0;
    svg.style.willChange = "transform";
    svg.style.transform = `translate(${at.x}px, ${at.y}px) scale(${at.scale})`;
    clearTimeout(resting);
    resting = setTimeout(() => { svg.style.willChange = "auto"; }, 200);
  });
}

function move(x, y) {
  at.x += x;
  at.y += y;
  show();
}

function zoom(factor, x = view.clientWidth / 2, y = view.clientHeight / 2) {
  const scale = Math.min(8, Math.max(0.02, at.scale * factor));
  at.x = x - (x - at.x) * scale / at.scale;
  at.y = y - (y - at.y) * scale / at.scale;
  at.scale = scale;
  show();
}

function fit() {
  at.scale = Math.min(1.5, view.clientWidth / size.width, view.clientHeight / size.height);
  at.x = (view.clientWidth - size.width * at.scale) / 2;
  at.y = (view.clientHeight - size.height * at.scale) / 2;
  show();
}

// At first, a large net shows its beginning, at a readable size.
function begin() {
  at.scale = 1;
  const first = middle(0);
  at.x = Math.max(view.clientWidth / 2 - first.x, Math.min(0, view.clientWidth - size.width));
  at.y = Math.min(0, view.clientHeight - 60 - first.y);
  if (size.width <= view.clientWidth) at.x = (view.clientWidth - size.width) / 2;
  if (first.y < view.clientHeight / 2) at.y = 0;
  show();
}

// The middle of a layer in the drawing's own units.
function middle(number) {
  const box = elements[number].getBoundingClientRect();
  const whole = svg.getBoundingClientRect();
  const scale = whole.width / size.width;
  return {
    x: (box.left + box.width / 2 - whole.left) / scale,
    y: (box.top + box.height / 2 - whole.top) / scale,
  };
}

view.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = view.getBoundingClientRect();
  const unit = event.deltaMode === 1 ? 16 : 1;
  if (event.ctrlKey || event.metaKey) {
    zoom(Math.exp(-event.deltaY * unit / 300), event.clientX - box.left, event.clientY - box.top);
  } else if (event.shiftKey) {
    move(-event.deltaY * unit, 0);
  } else {
    move(-event.deltaX * unit, -event.deltaY * unit);
  }
}, { passive: false });

const pointers = new Map();
let dragged = false;

view.addEventListener("pointerdown", (event) => {
  pointers.set(event.pointerId, event);
  dragged = pointers.size > 1;
});

view.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const x = event.clientX - before.clientX;
  const y = event.clientY - before.clientY;
  if (!dragged && Math.hypot(x, y) < 4) return;
  if (!dragged) view.setPointerCapture(event.pointerId);
  dragged = true;
  view.classList.add("dragged");
  const other = [...pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
  if (other) {
    const box = view.getBoundingClientRect();
    const distance = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY);
    zoom(distance(event) / (distance(before) || 1), other.clientX - box.left, other.clientY - box.top);
  } else {
    move(x, y);
  }
  pointers.set(event.pointerId, event);
});

for (const end of ["pointerup", "pointercancel"]) {
  window.addEventListener(end, (event) => {
    pointers.delete(event.pointerId);
    if (!pointers.size) view.classList.remove("dragged");
  });
}

view.addEventListener("click", (event) => {
  if (dragged) return;
  const layer = event.target.closest(".layer");
  choose(layer ? elements.indexOf(layer) : -1);
});

// -- the chosen layer -------------------------------------------------------------------------------------------------

function choose(number, bringIntoView = false) {
  elements[chosen]?.classList.remove("chosen");
  chosen = number;
  for (const wire of wires) {
    const box = String(layers[number]?.box);
    wire.classList.toggle("near", wire.dataset.tail === box || wire.dataset.head === box);
  }
  if (number < 0) {
    panel.innerHTML = hint;
    return;
  }
  elements[number].classList.add("chosen");
  tell(layers[number]);
  if (bringIntoView) reveal(number);
}

function reveal(number) {
  const where = middle(number);
  const x = where.x * at.scale + at.x;
  const y = where.y * at.scale + at.y;
  const edge = 90;
  if (at.scale < 0.4) {
    at.scale = 1;
  } else if (x > edge && y > edge && x < view.clientWidth - edge && y < view.clientHeight - edge) {
    return;
  }
  at.x = view.clientWidth / 2 - where.x * at.scale;
  at.y = view.clientHeight / 2 - where.y * at.scale;
  show();
}

function element(tag, text = "", name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

function tell(layer) {
  const list = element("dl");
  for (const [name, value] of layer.rows) list.append(element("dt", name), element("dd", value));
  for (const [name, blobs] of [["Bottoms", layer.bottoms], ["Tops", layer.tops]]) {
    blobs.forEach((blob, index) => list.append(element("dt", index ? "" : name), blobEntry(blob, name)));
  }
  panel.replaceChildren(element("h2", layer.name), list);
  if (layer.problem) list.before(element("p", layer.problem, "problem"));
  panel.append(element("pre", layer.text));
  panel.scrollTop = 0;
}

function blobEntry(blob, kind) {
  const entry = element("dd", `${blob.name}  ${blob.shape} `);
  for (const number of blob.layers) {
    const link = element("button", `${kind === "Bottoms" ? "from" : "to"} ${layers[number].name}`);
    link.addEventListener("click", () => choose(number, true));
    entry.append(element("br"), link);
  }
  return entry;
}

// -- keys -------------------------------------------------------------------------------------------------------------

const directions = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

// The nearest layer in a direction, where the distance to the side counts three times.
function neighbour([dx, dy]) {
  const from = middle(chosen);
  let best = chosen;
  let least = Infinity;
  layers.forEach((_, number) => {
    const to = middle(number);
    const ahead = (to.x - from.x) * dx + (to.y - from.y) * dy;
    const aside = Math.abs((to.x - from.x) * dy) + Math.abs((to.y - from.y) * dx);
    if (number !== chosen && ahead > 4 && ahead + 3 * aside < least) {
      least = ahead + 3 * aside;
      best = number;
    }
  });
  return best;
}

document.addEventListener("keydown", (event) => {
  if (event.target === search || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in directions) choose(chosen < 0 ? 0 : neighbour(directions[event.key]), true);
  else if (event.key === "/") search.focus();
  else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "0") fit();
  else if (event.key === "Escape") choose(-1);
  else return;
  event.preventDefault();
});

document.getElementById("zoom-in").addEventListener("click", () => zoom(1.25));
document.getElementById("zoom-out").addEventListener("click", () => zoom(0.8));
document.getElementById("fit").addEventListener("click", fit);

// -- searching --------------------------------------------------------------------------------------------------------

function find() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const texts = (layer) => [layer.name, layer.rows[0][1], ...layer.bottoms.concat(layer.tops).map((blob) => blob.name)];
  matches = [];
  layers.forEach((layer, number) => {
    const text = texts(layer).join(" ").toLowerCase();
    const match = words.length > 0 && words.every((word) => text.includes(word));
    elements[number].classList.toggle("match", match);
    if (match) matches.push(number);
  });
  view.classList.toggle("searching", words.length > 0);
  found.textContent = words.length ? `${matches.length} found` : "";
  if (matches.length) choose(matches[0], true);
}

search.addEventListener("input", find);
search.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && matches.length) {
    const step = event.shiftKey ? matches.length - 1 : 1;
    const next = (Math.max(0, matches.indexOf(chosen)) + step) % matches.length;
    choose(matches[next], true);
    found.textContent = `${next + 1} of ${matches.length}`;
  } else if (event.key === "Escape") {
    search.value = "";
    find();
    view.focus();
  }
});

begin();
