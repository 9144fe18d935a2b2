// Maps of several methods beside each other: one picture, and one zoom, one overlay and one threshold for all of them.
//
// A map comes as one byte a pixel, in units of its own top; how it is coloured, cut and enlarged happens here, so that a
// setting shows at once. What a person has set outlives the mount, which Streamlit makes anew as results arrive.
const STEP = 2; // of a zoom
const CLOSEST = 1 / 16; // of the picture's side
const MOVE = 0.1; // of what is shown, a press of an arrow key
const OUTLINED = 10; // % that are outlined where nothing was cut
const CRISP = 5; // screen pixels a map's pixel, from which it is shown as a square
const LEAST = 8; // px a side of a box that is a zoom and no click
const MIDDLE = 127; // the byte of 0 on a centred scale
const kept = (window[Symbol.for("maps-grid")] ??= new Map());

const settings = () => ({ view: "beside", overlay: 85, share: 100, outline: false, split: 0.5, x: 0, y: 0, side: 1 });
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function element(tag, name, text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.textContent = text;
  return made;
}

function sheet(width, height) {
  const made = document.createElement("canvas");
  [made.width, made.height] = [width, height];
  return made;
}

function bytes(text) {
  const [letters, made] = [atob(text), new Uint8Array((text.length / 4) * 3)];
  for (let i = 0; i < letters.length; i += 1) made[i] = letters.charCodeAt(i);
  return made.subarray(0, letters.length);
}

function pixels(colours) {
  // A scale's colours as pixels: four bytes at once, opaque.
  const made = new Uint8ClampedArray(256 * 4).fill(255);
  for (let level = 0; level < 256; level += 1) made.set(colours.subarray(3 * level, 3 * level + 3), 4 * level);
  return new Uint32Array(made.buffer);
}

class Values {
  // A map's bytes, and what is drawn of them: colours, of the strongest alone where the rest is cut, and an outline.
  constructor(panel, scale, [height, width]) {
    this.at = bytes(panel.values);
    [this.width, this.height] = [width, height];
    [this.scale, this.most] = [scale, panel.most];
    this.strength = scale.centred ? this.at.map((level) => Math.abs(level - MIDDLE)) : this.at;
  }

  level(share) {
    // The least strength of the strongest `share` percent.
    const counts = new Uint32Array(256);
    for (const one of this.strength) counts[one] += 1;
    let [left, level] = [(share / 100) * this.strength.length, 256];
    while (level > 1 && left > 0) left -= counts[(level -= 1)];
    return level;
  }

  sheet(share, outline) {
    const told = `${share} ${outline}`;
    if (this.told === told) return this.drawn;
    this.told = told;
    const level = share < 100 ? this.level(share) : 0;
    this.lines = outline && share < 100 ? this.contour(level - 0.5) : null;
    const [made, cut] = [sheet(this.width, this.height), outline ? 0 : level];
    const context = made.getContext("2d");
    const image = context.createImageData(this.width, this.height);
    const painted = new Uint32Array(image.data.buffer);
    const { at, strength, scale } = this;
    for (let i = 0; i < at.length; i += 1) if (strength[i] >= cut) painted[i] = scale.pixels[at[i]];
    context.putImageData(image, 0, 0);
    return (this.drawn = made);
  }

  contour(level) {
    // Marching squares: the line on which the strength, linear between the pixels' middles, has this level.
    const path = new Path2D();
    const { width, strength } = this;
    for (let y = 0; y + 1 < this.height; y += 1)
      for (let x = 0; x + 1 < width; x += 1) {
        const i = y * width + x;
        const corners = [strength[i], strength[i + 1], strength[i + 1 + width], strength[i + width]];
        const inside = corners.map((one) => one > level);
        if (inside.every((one) => one === inside[0])) continue;
        const ends = [];
        for (let side = 0; side < 4; side += 1) {
          const [from, to] = [corners[side], corners[(side + 1) % 4]];
          if (inside[side] === inside[(side + 1) % 4]) continue;
          const part = (level - from) / (to - from);
          ends.push([[part, 0], [1, part], [1 - part, 1], [0, 1 - part]][side]);
        }
        ends.forEach(([dx, dy], end) => path[end % 2 ? "lineTo" : "moveTo"](x + 0.5 + dx, y + 0.5 + dy));
      }
    return path;
  }

  read(x, y) {
    const at = this.at[Math.floor(y * this.height) * this.width + Math.floor(x * this.width)];
    const value = (this.scale.centred ? (at - MIDDLE) / MIDDLE : at / 255) * this.most;
    return `${this.scale.centred && value > 0 ? "+" : ""}${value.toFixed(2)}`;
  }
}

class Grid {
  constructor(parent) {
    this.root = parent.querySelector(".maps");
    this.rows = new Map(); // slug -> what is shown of a method
    this.pictures = new Map(); // address -> its colours and its greys
    this.generation = 0;
    this.resizing = new ResizeObserver(() => this.soon());
    this.resizing.observe(this.root);
    this.listen();
  }

  listen() {
    const { signal } = (this.ending = new AbortController());
    const on = (target, kind, act) => target.addEventListener(kind, act, { signal });
    on(this.find(".controls"), "input", (event) => this.chosen(event.target));
    on(this.find(".zoom"), "click", (event) => this.pressed(event.target.name));
    on(this.find(".rows"), "keydown", (event) => this.typed(event));
    on(this.root, "pointerdown", (event) => this.down(event));
    on(this.root, "pointermove", (event) => this.moved(event));
    on(this.root, "pointerup", (event) => this.up(event));
    on(this.root, "pointercancel", () => this.letGo());
    on(this.root, "pointerleave", () => this.point(null));
    on(this.root, "dblclick", (event) => event.target.closest("canvas") && this.zoom(0.5, 0.5, 1));
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  update({ key, pictures, scales, rows, pending }) {
    this.generation += 1;
    if (!kept.has(key)) kept.set(key, settings());
    this.set = kept.get(key);
    this.scales = {};
    for (const [name, scale] of Object.entries(scales)) {
      const colours = bytes(scale.palette);
      this.scales[name] = { ...scale, colours, pixels: pixels(colours) };
    }
    for (const address of pictures) this.load(address);
    this.addresses = pictures;
    this.place(rows);
    this.root.hidden = !rows.length;
    this.find(".picture").hidden = pictures.length > 1;
    this.find(".picture canvas").setAttribute("aria-label", "What the model sees");
    this.find(".pending").textContent = pending.length ? `Still to come: ${pending.join(", ")}.` : "";
    this.legends(rows);
    this.say();
    return this.generation;
  }

  async load(address) {
    if (this.pictures.has(address)) return;
    const image = new Image();
    image.src = address;
    this.pictures.set(address, null);
    await image.decode();
    const [colour, grey] = [sheet(image.width, image.height), sheet(image.width, image.height)];
    colour.getContext("2d").drawImage(image, 0, 0);
    const data = colour.getContext("2d").getImageData(0, 0, image.width, image.height);
    for (let at = data.data, i = 0; i < at.length; i += 4)
      at[i] = at[i + 1] = at[i + 2] = 0.299 * at[i] + 0.587 * at[i + 1] + 0.114 * at[i + 2];
    grey.getContext("2d").putImageData(data, 0, 0);
    this.pictures.set(address, { colour, grey });
    this.soon();
  }

  place(rows) {
    // Rows that are there stay; only what has changed is decoded anew.
    const before = this.rows;
    this.rows = new Map(rows.map((row) => [row.slug, before.get(row.slug) ?? this.row(row)]));
    for (const [slug, { article }] of before) if (!this.rows.has(slug)) article.remove();
    for (const row of rows) {
      const shown = this.rows.get(row.slug);
      this.head(shown, row);
      if (shown.count !== row.panels.length) this.panels(shown, row);
      row.panels.forEach((panel, at) => this.fill(shown.panels[at], panel, row));
      this.find(".rows").append(shown.article);
    }
  }

  row({ slug }) {
    const article = element("article", "row");
    article.dataset.method = slug;
    article.append(element("header", "head"), element("div", "panels"));
    return { article, panels: [], count: 0 };
  }

  head({ article }, { title, help, chips, notes }) {
    const told = JSON.stringify([title, help, chips, notes]);
    if (article.told === told) return;
    article.told = told;
    const [heading, line] = [element("h2", "", title), element("p", "chips")];
    for (const chip of chips) line.append(element("span", `chip ${chip.tone}`, chip.text));
    const about = notes.map((note) => element("p", "note", note));
    article.firstChild.replaceChildren(heading, element("p", "help", help), ...(chips.length ? [line] : []), ...about);
  }

  panels(shown, row) {
    shown.count = row.panels.length;
    shown.panels = row.panels.map((_, at) => {
      const figure = element("figure", `panel panel${at}`);
      const [caption, frame, canvas] = [element("figcaption"), element("div", "frame"), element("canvas")];
      caption.append(element("span", "name"), element("span", "value"));
      canvas.setAttribute("role", "img");
      frame.append(canvas);
      if (at === 0 && row.pair) frame.append(this.slider());
      figure.append(caption, frame);
      return { figure, canvas, row: shown };
    });
    shown.article.lastChild.replaceChildren(...shown.panels.map(({ figure }) => figure));
  }

  slider() {
    const range = element("input", "split");
    Object.assign(range, { type: "range", min: 0, max: 100, step: 1, name: "split" });
    range.setAttribute("aria-label", "Dense map to the left, SPADE map to the right of here");
    range.addEventListener("input", () => this.change({ split: range.value / 100 }));
    return range;
  }

  fill(shown, panel, row) {
    shown.figure.querySelector(".name").textContent = panel.name;
    shown.canvas.setAttribute("aria-label", panel.text);
    shown.address = this.addresses[panel.picture];
    if (shown.source === panel.values && shown.scale === panel.scale && shown.most === panel.most) return;
    Object.assign(shown, { source: panel.values, scale: panel.scale, most: panel.most, name: panel.name });
    shown.values = new Values(panel, this.scales[panel.scale], row.shape);
    shown.canvas.style.aspectRatio = `${row.shape[1]} / ${row.shape[0]}`;
  }

  legends(rows) {
    const used = new Set(rows.flatMap((row) => row.panels.map((panel) => panel.scale)));
    const items = Object.keys(this.scales).filter((name) => used.has(name)).map((name) => {
      const { title, low, high, colours } = this.scales[name];
      const [item, bar, ends] = [element("li"), element("i"), element("span", "ends")];
      const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((i) => `rgb(${colours.subarray(3 * i, 3 * i + 3)})`);
      bar.style.background = `linear-gradient(90deg, ${stops})`;
      ends.append(element("span", "", low), element("span", "", high));
      item.append(element("b", "", title), bar, ends);
      return item;
    });
    this.find(".legends").replaceChildren(...items);
  }

  chosen({ name, type, value, checked }) {
    const found = type === "range" ? Number(value) : type === "checkbox" ? checked : value;
    const { share } = this.set;
    this.change({ [name]: found, ...(name === "outline" && found && share === 100 ? { share: OUTLINED } : {}) });
  }

  pressed(name) {
    const factor = { in: 1 / STEP, out: STEP, whole: Infinity }[name];
    const { x, y, side } = this.set;
    if (factor) this.zoom(x + side / 2, y + side / 2, side * factor);
  }

  typed(event) {
    const { x, y, side } = this.set;
    const name = { "+": "in", "=": "in", "-": "out", 0: "whole" }[event.key];
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (event.ctrlKey || event.metaKey || event.target.name === "split") return;
    if (name) this.pressed(name);
    else if ((dx || dy) && side < 1) this.change(this.within(x + dx * MOVE * side, y + dy * MOVE * side, side));
    else return;
    event.preventDefault();
  }

  zoom(x, y, wanted) {
    const side = clamp(wanted, CLOSEST, 1);
    this.change(this.within(x - side / 2, y - side / 2, side));
  }

  within(x, y, side) {
    return { x: clamp(x, 0, 1 - side), y: clamp(y, 0, 1 - side), side };
  }

  change(found) {
    Object.assign(this.set, found);
    this.say();
  }

  say() {
    // What is set, in the controls and in the maps.
    const { view, overlay, share, outline, split, side } = this.set;
    for (const radio of this.root.querySelectorAll("[name=view]")) radio.checked = radio.value === view;
    for (const [name, value, text] of [["overlay", overlay, `${overlay} %`], ["share", share, share < 100 ? `top ${share} %` : "all"]]) {
      const range = this.find(`[name=${name}]`);
      range.value = value;
      range.setAttribute("aria-valuetext", text);
      range.parentElement.querySelector("output").textContent = text;
    }
    this.find("[name=outline]").checked = outline;
    for (const range of this.root.querySelectorAll(".split")) range.value = 100 * split;
    this.root.dataset.view = view;
    this.root.classList.toggle("zoomed", side < 1);
    for (const name of ["out", "whole"]) this.find(`[name=${name}]`).disabled = side === 1;
    this.find("[name=in]").disabled = side <= CLOSEST;
    this.soon();
  }

  soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  draw() {
    const first = this.find(".picture canvas");
    const picture = this.pictures.get(this.addresses?.[0]);
    if (picture) {
      first.style.aspectRatio = `${picture.colour.width} / ${picture.colour.height}`;
      this.lay(this.ready(first), picture.colour, 1);
      this.cross(first);
    }
    for (const { panels } of this.rows.values()) for (const panel of panels) this.paint(panel, panels);
  }

  ready(canvas) {
    const ratio = Math.min(2, devicePixelRatio);
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    return context;
  }

  lay(context, source, opacity) {
    const { x, y, side } = this.set;
    const { width, height } = context.canvas;
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = width / (side * source.width) < CRISP;
    context.imageSmoothingQuality = "high";
    context.drawImage(source, x * source.width, y * source.height, side * source.width, side * source.height, 0, 0, width, height);
    context.globalAlpha = 1;
  }

  paint(panel, panels) {
    if (!panel.canvas.clientWidth) return;
    const context = this.ready(panel.canvas);
    const { view, split, side, x } = this.set;
    this.map(context, panel);
    if (panel === panels[0] && view === "slider" && panel.figure.querySelector(".split")) {
      const { width, height } = context.canvas;
      context.save();
      context.beginPath();
      context.rect(split * width, 0, width, height);
      context.clip();
      context.clearRect(0, 0, width, height);
      this.map(context, panels[1]);
      context.restore();
    }
    this.cross(panel.canvas);
    this.value(panel);
  }

  map(context, { values, address }) {
    const { overlay, share, outline, x, y, side } = this.set;
    const grey = this.pictures.get(address)?.grey;
    if (grey) this.lay(context, grey, 1);
    this.lay(context, values.sheet(share, outline), overlay / 100);
    if (!values.lines) return;
    const { width, height } = context.canvas;
    const scale = width / (side * values.width);
    context.save();
    context.setTransform(scale, 0, 0, height / (side * values.height), -x * values.width * scale, (-y * height) / side);
    for (const [colour, thick] of [["#000", 3.5], ["#fff", 1.5]]) {
      [context.strokeStyle, context.lineWidth] = [colour, thick / scale];
      context.stroke(values.lines);
    }
    context.restore();
  }

  cross(canvas) {
    if (!this.at || !canvas.width) return;
    const { x, y, side } = this.set;
    const [left, top] = [((this.at.x - x) / side) * canvas.width, ((this.at.y - y) / side) * canvas.height];
    const context = canvas.getContext("2d");
    for (const [colour, thick] of [["#000", 3], ["#fff", 1]]) {
      [context.strokeStyle, context.lineWidth] = [colour, thick];
      context.strokeRect(left - 5, top - 5, 10, 10);
    }
  }

  value(panel) {
    const text = this.at ? panel.values.read(this.at.x, this.at.y) : "";
    const place = panel.figure.querySelector(".value");
    if (place.textContent !== text) place.textContent = text;
  }

  where(event, canvas) {
    const box = canvas.getBoundingClientRect();
    const [u, v] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const { x, y, side } = this.set;
    return { u: clamp(u, 0, 1), v: clamp(v, 0, 1), x: x + clamp(u, 0, 0.9999) * side, y: y + clamp(v, 0, 0.9999) * side };
  }

  point(at) {
    if (!at && !this.at) return;
    this.at = at;
    this.soon();
  }

  down(event) {
    const canvas = event.target.closest("canvas");
    if (!canvas || event.button || (event.pointerType === "touch" && this.set.side === 1)) return;
    this.drag = { canvas, from: this.where(event, canvas), pan: event.pointerType === "touch", start: { ...this.set } };
    canvas.setPointerCapture(event.pointerId);
    if (event.pointerType !== "touch") event.preventDefault();
  }

  moved(event) {
    const canvas = this.drag?.canvas ?? event.target.closest("canvas");
    if (!canvas) return this.point(null);
    const at = this.where(event, canvas);
    this.point(at);
    if (!this.drag) return undefined;
    const { from, start } = this.drag;
    if (this.drag.pan) {
      this.change(this.within(start.x + (from.u - at.u) * start.side, start.y + (from.v - at.v) * start.side, start.side));
      return undefined;
    }
    this.box ??= canvas.parentElement.appendChild(element("div", "box"));
    const [left, top] = [Math.min(from.u, at.u), Math.min(from.v, at.v)].map((part) => `${100 * part}%`);
    const [width, height] = [Math.abs(from.u - at.u), Math.abs(from.v - at.v)].map((part) => `${100 * part}%`);
    Object.assign(this.box.style, { left, top, width, height });
    return undefined;
  }

  up(event) {
    if (!this.drag) return;
    const { canvas, from, pan } = this.drag;
    const to = this.where(event, canvas);
    const side = Math.max(Math.abs(from.u - to.u), Math.abs(from.v - to.v));
    this.letGo();
    if (!pan && side * canvas.clientWidth >= LEAST) this.zoom((from.x + to.x) / 2, (from.y + to.y) / 2, side * this.set.side);
  }

  letGo() {
    this.box?.remove();
    this.box = this.drag = undefined;
  }

  close() {
    this.ending.abort();
    this.resizing.disconnect();
    cancelAnimationFrame(this.frame);
  }
}

const mounts = new WeakMap();

export default function (component) {
  const parent = component.parentElement;
  if (!mounts.has(parent)) mounts.set(parent, new Grid(parent));
  const mount = mounts.get(parent);
  const generation = mount.update(component.data);
  // Also called for a drawing that a newer one has overtaken: only the last one's end is the end.
  return () =>
    setTimeout(() => {
      if (mount.generation !== generation) return;
      mount.close();
      mounts.delete(parent);
    });
}
