"use strict";

// Talks to the program over one WebSocket. A message from it has the length of its head in four bytes, the head as
// JSON, and payloads, whose sizes are in the head. Messages to it are JSON.

const KEYS = {" ": "space", Enter: "return", Escape: "escape", Shift: "shift", Control: "control", ArrowLeft: "arrow_left",
  ArrowRight: "arrow_right", ArrowUp: "arrow_up", ArrowDown: "arrow_down", "?": "h"};
const BUTTONS = ["mouse_left", "mouse_middle", "mouse_right"];
const COLORS = ["#5aa9ff", "#ff9e4a", "#63c97a", "#eb6e80", "#b48ef0", "#d4be5a", "#78c8d2"];
const AXES = [["X", "#f0616d"], ["Y", "#7ed06a"], ["Z", "#5a9dff"]];
const ICONS = {  // on a grid of 24 x 24
  views: "M12 3 20 7.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12 4 7.5",
  shading: "M12 4a8 8 0 1 0 0 16 8 8 0 1 0 0-16|M12 4a8 8 0 0 1 0 16z",
  wireframe: "M12 3.5 21 19H3zM12 3.5 9 19M12 3.5 15 19M7.5 11.2h9",
  "back faces": "M4 6l7-2v14l-7 2zM13.5 5.5l6.5 1.8v12l-6.5-1.8",
  grid: "M9 5 5 19M15 5l4 14M12 5v14M6.6 12h10.8M7.6 8.5h8.8M5.5 16h13",
  light: "M12 8.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 1 0 0-7M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.4M18.4 5.6 17 7M7 17l-1.4 1.4",
  background: "M4 5h16v14H4z|M4 19 20 5v14z",
  turn: "M19.5 9.5A8 8 0 1 0 20 13M20 4.5v5h-5",
  reset: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  picture: "M12 4v11M7.5 10.5 12 15l4.5-4.5M5 19.5h14",
  facts: "M12 4a8 8 0 1 0 0 16 8 8 0 1 0 0-16M12 11v5M12 8v.2",
  help: "M12 4a8 8 0 1 0 0 16 8 8 0 1 0 0-16M9.7 9.6a2.4 2.4 0 1 1 3.4 2.2c-.8.4-1.1.9-1.1 1.7M12 16v.2",
  quit: "M12 4v8M7.5 6.6a7.5 7.5 0 1 0 9 0",
  close: "M6 6l12 12M18 6 6 18",
  pause: "M9 6v12M15 6v12",
  step: "M7 6l8 6-8 6zM18 6v12",
  cameras: "M4 8h10v8H4zM14 11l6-3v8l-6-3",
  stop: "M7 7h10v10H7z",
  menu: "M5 7.5h14M5 12h14M5 16.5h14",
};

const one = selector => document.querySelector(selector);
const [view, picture, over, board, help, status, menu] =
  ["#view", "#picture", "#over", "#board", "#help", "#status", "#menu"].map(one);
const name = [...crypto.getRandomValues(new Uint8Array(12))].map(byte => byte.toString(16).padStart(2, "0")).join("");
let socket, facts = {controls: [], frusta: []}, notes = {}, curves = {}, ended = false;

function element(tag, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.textContent = text;
  return made;
}

function icon(label) {
  const make = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const made = make("svg", {viewBox: "0 0 24 24", "aria-hidden": true});
  const [lines, solid] = (ICONS[label] ?? "").split("|");
  made.append(make("path", {d: lines}));
  if (solid) made.append(make("path", {d: solid, class: "solid"}));
  return made;
}

// --- the connection ---

let queue = [], seen = [], size = null, timer = 0;

function connect() {
  socket = new WebSocket(new URL("socket", location).href.replace(/^http/, "ws"));
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    queue = [];
    seen = [];
    measure();
    say({client: name, ...size});
    announce("Waiting for the first picture …");
  };
  socket.onmessage = message => receive(message.data);
  socket.onclose = () => {
    if (ended) return;
    announce("The connection is lost. Trying again …");
    setTimeout(connect, 1000);
  };
}

function say(message) {
  if (socket?.readyState == 1) socket.send(JSON.stringify(message));
}

function flush() {
  timer = 0;
  if (socket?.readyState != 1) return;
  if (socket.bufferedAmount > 1e5) return soon();
  say({events: queue.splice(0, 500), got: seen.splice(0)});
  if (queue.length) soon();
}

function soon() {
  timer ||= setTimeout(flush, 8);
}

function add(kind, key = "", at = [0, 0]) {
  const last = queue.at(-1);
  if (kind == "move" && last?.kind == "move") queue.pop();
  queue.push({kind, key, x: at[0], y: at[1]});
  soon();
}

const tap = key => { add("press", key); add("release", key); };

let work = Promise.resolve();
function receive(data) {
  const length = new DataView(data).getUint32(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  let start = 4 + length;
  const payloads = head.sizes.map(bytes => new Uint8Array(data, (start += bytes) - bytes, bytes));
  work = work.then(() => HANDLERS[head.kind](head, payloads)).catch(console.error).then(() => {
    seen.push(head.kind);
    soon();
  });
}

function announce(text) {
  status.textContent = text;
  status.hidden = !text;
}

const HANDLERS = {
  facts: head => {
    facts = head;
    document.title = head.title;
    view.hidden = !head.hasView;
    makeControls();
    resized();
  },
  picture: async (head, [jpeg]) => {
    const bitmap = await createImageBitmap(new Blob([jpeg], {type: "image/jpeg"}));
    [picture.width, picture.height] = [bitmap.width, bitmap.height];
    picture.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    announce("");
    annotate(head);
  },
  notes: head => annotate(head),
  board: showBoard,
  file: (head, [png]) => {
    const link = element("a", "", {download: head.name, href: URL.createObjectURL(new Blob([png], {type: "image/png"}))});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    announceFor(`${head.name} is downloaded`);
  },
  full: () => finish("Too many browsers have this page open. Close one, and load the page again."),
  end: () => finish(board.hidden ? "This has ended. The picture is the last one." : "This has ended."),
};

function finish(text) {
  ended = true;
  for (const part of ["#controls", "#views", "#menu"]) one(part).hidden = true;
  announce(text);
  status.style.top = "24px";
}

// --- what is written over the picture ---

function rows(place, entries) {
  place.hidden = !entries?.length;
  if (place.hidden) return;
  const table = element("div", "", {className: "rows"});
  for (const [key, value] of entries) {
    table.append(...(value ? [element("i", key), element("span", value)] : [element("b", key)]));
  }
  place.replaceChildren(table);
}

function annotate(head) {
  notes = head;
  rows(one("#facts"), head.facts);
  rows(help, head.help);
  if (head.message) announceFor(head.message);
  drawOver();
}

let announced = 0;
function announceFor(text) {
  const place = one("#message");
  place.textContent = text;
  place.hidden = false;
  clearTimeout(announced);
  announced = setTimeout(() => { place.hidden = true; }, 3000);
}

// The place of the picture within the view, in CSS pixels; it may be narrower or lower.
function box() {
  const whole = view.getBoundingClientRect();
  const scale = Math.min(whole.width / picture.width, whole.height / picture.height);
  const [width, height] = [scale * picture.width, scale * picture.height];
  return {left: (whole.width - width) / 2, top: (whole.height - height) / 2, width, height,
    short: Math.min(width, height), whole};
}

// A point of the world in CSS pixels of the view; null if it is not in front of the camera.
function project(point, place) {
  const m = notes.camera, at = i => point[0] * m[i] + point[1] * m[4 + i] + point[2] * m[8 + i] + m[12 + i];
  const w = at(3);
  if (w < 1e-3) return null;
  return [place.left + place.width / 2 - at(0) / w * place.short / 2,
    place.top + place.height / 2 - at(1) / w * place.short / 2];
}

// The five points of a frustum; null if it is not in front of the camera, or so close that it would cover the picture.
function outline(frustum, place) {
  const points = frustum.map(point => project(point, place));
  if (points.includes(null)) return null;
  const [xs, ys] = [points.map(point => point[0]), points.map(point => point[1])];
  const size = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
  return size < place.short / 2 ? points : null;
}

let outlines = [], pointed = -1;
function drawOver() {
  const {width, height} = view.getBoundingClientRect(), ratio = devicePixelRatio;
  [over.width, over.height] = [width * ratio, height * ratio];
  const pen = over.getContext("2d");
  pen.scale(ratio, ratio);
  outlines = [];
  if (!notes.camera) return;
  const place = box();
  if (notes.frusta) outlines = facts.frusta.map(points => outline(points, place));
  outlines.forEach((points, i) => points && drawFrustum(pen, points, i == pointed));
  if (notes.axes) drawAxes(pen, height);
}

function drawFrustum(pen, points, isPointed) {
  const [eye, ...corners] = points, path = new Path2D();
  path.moveTo(...corners[3]);
  for (const corner of corners) path.lineTo(...corner);
  const rays = new Path2D();
  for (const corner of corners) {
    rays.moveTo(...eye);
    rays.lineTo(...corner);
  }
  pen.fillStyle = isPointed ? "rgb(90 169 255 / .35)" : "rgb(90 169 255 / .08)";
  pen.fill(path);
  for (const [color, width] of [["rgb(0 0 0 / .35)", 3], [isPointed ? "#fff" : "#5aa9ff", isPointed ? 2 : 1.2]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.stroke(path);
    pen.stroke(rays);
  }
}

function drawAxes(pen, height) {
  const m = notes.camera, middle = [52, height - (matchMedia("(max-width: 760px)").matches ? 52 : 58)];
  const scale = Math.hypot(m[0], m[4], m[8]);
  const ends = AXES.map(([letter, color], i) => ({letter, color, x: -m[4 * i] / scale, y: -m[4 * i + 1] / scale, z: m[4 * i + 3]}));
  pen.font = "600 12px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.lineCap = "round";
  for (const {letter, color, x, y} of ends.sort((a, b) => b.z - a.z)) {
    pen.strokeStyle = pen.fillStyle = color;
    pen.lineWidth = 2.5;
    pen.beginPath();
    pen.moveTo(...middle);
    pen.lineTo(middle[0] + 26 * x, middle[1] + 26 * y);
    pen.stroke();
    pen.fillText(letter, middle[0] + 37 * x, middle[1] + 37 * y);
  }
}

// The index of the frustum at a place in CSS pixels of the view, or -1.
function frustumAt(x, y) {
  let best = -1, least = 14;
  outlines.forEach((points, i) => {
    if (!points) return;
    const middle = points.reduce((sum, point) => [sum[0] + point[0] / 5, sum[1] + point[1] / 5], [0, 0]);
    const reach = Math.max(...points.map(point => Math.hypot(point[0] - middle[0], point[1] - middle[1])));
    const distance = Math.hypot(x - middle[0], y - middle[1]) - Math.min(reach, 30) * 0.6;
    if (distance < least) [best, least] = [i, distance];
  });
  return best;
}

// --- mouse, fingers and keys ---

const fingers = new Map();
let start = null, held = "", spread = 0;

function place(event) {
  const {left, top, width, height, short, whole} = box();
  return [(event.clientX - whole.left - left) / short, (top + height - event.clientY + whole.top) / short];
}

// The middle of two fingers, and their distance in CSS pixels.
function pair() {
  const [a, b] = [...fingers.values()];
  return [place({clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2}),
    Math.max(Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), 1)];
}

function hold(button, at) {
  if (held) add("release", held);
  held = button;
  if (held) add("press", held, at);
}

picture.onpointerdown = event => {
  closeMenus();
  picture.setPointerCapture(event.pointerId);
  event.preventDefault();
  if (event.pointerType != "touch") {
    start = event;
    hold(BUTTONS[event.button] ?? "", place(event));
    return;
  }
  fingers.set(event.pointerId, event);
  start = fingers.size == 1 ? event : null;
  if (fingers.size == 1) hold("mouse_left", place(event));
  if (fingers.size == 2) {
    const [middle, distance] = pair();
    spread = distance;
    hold("mouse_middle", middle);
  }
};

picture.onpointermove = event => {
  wake();
  if (start && Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) > 6) start = null;
  if (event.pointerType != "touch") {
    if (!held) return point(event);
    return add("move", "", place(event));
  }
  if (!fingers.has(event.pointerId)) return;
  fingers.set(event.pointerId, event);
  if (fingers.size == 1) add("move", "", place(event));
  if (fingers.size == 2) {
    const [middle, distance] = pair();
    add("move", "", middle);
    add("scroll", "", [0, Math.log(distance / spread) / Math.log(1.1)]);
    spread = distance;
  }
};

picture.onpointerup = picture.onpointercancel = event => {
  fingers.delete(event.pointerId);
  const [rest] = fingers.values();
  hold(fingers.size == 1 ? "mouse_left" : "", rest && place(rest));
  if (start && event.type == "pointerup" && event.button == 0) {
    const {left, top} = view.getBoundingClientRect(), i = frustumAt(event.clientX - left, event.clientY - top);
    if (i >= 0) tap(`camera_${i}`);
  }
  start = null;
};

picture.oncontextmenu = event => event.preventDefault();
picture.addEventListener("wheel", event => {
  const pixels = event.deltaY * [1, 33, 100][event.deltaMode];
  add("scroll", "", [0, Math.max(-3, Math.min(3, -pixels / (event.ctrlKey ? 12 : 100)))]);
  event.preventDefault();
}, {passive: false});

function point(event) {
  const {left, top} = view.getBoundingClientRect(), i = frustumAt(event.clientX - left, event.clientY - top);
  if (i == pointed) return;
  pointed = i;
  picture.classList.toggle("on-frustum", i >= 0);
  drawOver();
}

onkeydown = event => {
  if (event.repeat || event.metaKey || event.altKey || (event.ctrlKey && event.key != "Control") || one("dialog").open) return;
  const key = KEYS[event.key] ?? event.key.toLowerCase();
  if (key == "escape") return closeMenus();
  if (key in KEYS || key.length > 1) event.preventDefault();
  const control = facts.controls.find(other => other.key == key);
  if (control?.ask) ask(control);
  else add("press", key);
};
onkeyup = event => add("release", KEYS[event.key] ?? event.key.toLowerCase());
onblur = () => ["shift", "control", ...Object.values(KEYS)].forEach(key => add("release", key));

// --- controls ---

function makeControls() {
  const bar = one("#controls"), views = one("#views");
  const buttons = [], perspectives = [];
  for (const control of facts.controls) {
    const isView = /^\d$/.test(control.key), made = element("button", "", {title: `key: ${control.key}`});
    made.append(isView ? element("kbd", control.key) : icon(control.label), control.label);
    made.onclick = () => {
      if (control.ask) ask(control);
      else tap(control.key);
      if (!["background", "shading"].includes(control.label)) closeMenus();
      made.blur();
    };
    (isView ? perspectives : buttons).push(made);
  }
  if (perspectives.length) {
    const made = element("button", "", {title: "keys: 1 to 7"});
    made.append(icon("views"), "views");
    made.onclick = () => {
      views.hidden = !views.hidden;
      document.body.classList.remove("open");
      made.blur();
    };
    buttons.unshift(made);
  }
  bar.replaceChildren(...buttons);
  views.replaceChildren(...perspectives);
  menu.replaceChildren(icon("menu"));
  bar.hidden = menu.hidden = !buttons.length;
}

menu.onclick = () => {
  one("#views").hidden = true;
  document.body.classList.toggle("open");
};
help.onclick = () => tap("h");

function closeMenus() {
  one("#views").hidden = true;
  document.body.classList.remove("open");
  if (!help.hidden) tap("h");
}

function ask(control) {
  const dialog = one("dialog");
  dialog.querySelector("p").textContent = control.ask;
  dialog.querySelector(".strong").textContent = control.label[0].toUpperCase() + control.label.slice(1);
  dialog.returnValue = "";
  dialog.onclose = () => { if (dialog.returnValue) tap(control.key); };
  dialog.showModal();
}

let resting = 0;
function wake() {
  document.body.classList.remove("resting");
  clearTimeout(resting);
  resting = setTimeout(() => document.body.classList.add("resting"), 3000);
}

// --- the state of a fit ---

async function showBoard(head, jpegs) {
  const images = await Promise.all(jpegs.map(async (jpeg, i) => {
    const image = element("img", "", {alt: head.captions[i], src: URL.createObjectURL(new Blob([jpeg], {type: "image/jpeg"}))});
    await image.decode();
    URL.revokeObjectURL(image.src);
    const figure = element("figure");
    figure.append(image, head.captions[i]);
    return figure;
  }));
  board.hidden = false;
  document.body.classList.toggle("both", facts.hasView);
  const [progress, step] = board.querySelectorAll("header p");
  board.querySelector("h1").textContent = head.title;
  progress.textContent = `step ${head.step}` + (head.steps ? ` of ${head.steps}` : "") + (head.paused ? ", paused" : "");
  step.textContent = head.facts;
  board.querySelector("progress").hidden = !head.steps;
  board.querySelector("progress").value = head.steps ? head.step / head.steps : 0;
  one("#images").replaceChildren(...images);
  curves = head.curves;
  drawCurves();
  one("figcaption").replaceChildren(...Object.entries(curves).map(([label, [, values]], i) => {
    const entry = element("div"), mark = element("i");
    mark.style.background = COLORS[i % COLORS.length];
    entry.append(mark, `${label} `, element("span", values.length ? values.at(-1).toPrecision(3) : ""));
    return entry;
  }));
  if (!facts.hasView) announce("");
  if (!size) resized();
}

function drawCurves() {
  const canvas = one("#curves"), {width, height} = canvas.getBoundingClientRect(), ratio = devicePixelRatio;
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "11px system-ui, sans-serif";
  const shown = Object.values(curves).flatMap(([, values]) => values).filter(value => value > 0);
  if (!shown.length || width < 60) return;
  let low = Math.log10(Math.min(...shown)), high = Math.log10(Math.max(...shown));
  low = Math.max(low - .1, high - 8);
  high = Math.max(high + .1, low + 1);
  const last = Math.max(1, ...Object.values(curves).map(([steps]) => steps.at(-1) ?? 0));
  const left = 34, bottom = height - 18, x = step => left + (width - left - 2) * step / last;
  const y = value => 4 + (bottom - 4) * (high - Math.log10(value)) / (high - low);
  pen.fillStyle = "#9aa3af";
  pen.strokeStyle = "#3a3f48";
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (let tick = Math.ceil(low); tick <= high; tick += Math.ceil((high - low) / 6)) {
    const at = Math.round(y(10 ** tick)) + .5;
    pen.beginPath();
    pen.moveTo(left, at);
    pen.lineTo(width, at);
    pen.stroke();
    pen.fillText(`1e${tick}`, left - 6, at);
  }
  pen.textBaseline = "bottom";
  pen.fillText(last, width - 2, height);
  pen.textAlign = "left";
  pen.fillText("step 0", left, height);
  pen.lineJoin = "round";
  pen.lineWidth = 1.6;
  Object.values(curves).forEach(([steps, values], i) => {
    pen.strokeStyle = COLORS[i % COLORS.length];
    pen.beginPath();
    values.forEach((value, j) => { if (value > 0) pen.lineTo(x(steps[j]), Math.min(y(value), bottom)); });
    pen.stroke();
  });
}

// --- the size ---

function measure() {
  const {width, height} = view.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  size = {size: [Math.max(Math.round(width * ratio), 1), Math.max(Math.round(height * ratio), 1)], density: ratio};
}

function resized() {
  if (!view.hidden) {
    measure();
    say(size);
    drawOver();
  }
  if (!board.hidden) drawCurves();
}

new ResizeObserver(resized).observe(view);
new ResizeObserver(() => { if (!board.hidden) drawCurves(); }).observe(board);
wake();
connect();
