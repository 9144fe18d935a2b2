// The viewer of notebooks, an anywidget: method, overlay, divider, and the values under the pointer; joined to slider.js.
const FRAME = `<div class="head"><strong class="title"></strong><ul class="facts"></ul></div>
<div class="choose">
  <label>Method <select></select></label>
  <label><input type="checkbox"> Over the picture</label>
</div>
<div class="panels">
  <figure><img class="seen"><figcaption>What the model sees</figcaption></figure>
  <figure><div class="before-after"></div><figcaption class="under-pointer" aria-live="off"></figcaption></figure>
</div>
<p class="help"></p><ul class="notes"></ul>`;
const IDLE = "Point at a place to read its values; drag, or use the arrow keys, to move the divider.";

function render({ model, el }) {
  el.classList.add("spade-viewer");
  el.innerHTML = FRAME;
  const [root, choice, overlay] = [".before-after", "select", "input"].map((name) => el.querySelector(name));
  const said = el.querySelector(".under-pointer");
  const one = () => model.get("pairs").find(({ slug }) => slug === model.get("method"));
  let values = {};
  el.querySelector(".title").textContent = model.get("title");
  fill(el.querySelector(".facts"), model.get("facts"));
  const seen = el.querySelector(".seen");
  [seen.src, seen.alt] = [model.get("picture"), `What the model sees: ${model.get("title")}`];
  for (const { slug, title } of model.get("pairs")) choice.add(new Option(title, slug));
  choice.parentElement.hidden = model.get("pairs").length < 2;

  const draw = () => {
    const { dense, spade, alt, help, notes } = one();
    [choice.value, overlay.checked] = [model.get("method"), model.get("overlay")];
    values = { dense: numbers(dense), spade: numbers(spade) };
    overlay.parentElement.hidden = !values.dense; // a drawing is no map of the picture
    said.textContent = values.dense ? IDLE : "";
    el.querySelector(".help").textContent = help;
    fill(el.querySelector(".notes"), notes);
    const [under, opacity] = [overlay.checked ? model.get("grey") : "", model.get("opacity")];
    const pictures = { before: dense.picture, after: spade.picture, labels: ["Dense", "SPADE"] };
    slider(root, { ...pictures, alt, under, opacity, start: model.get("divider") });
  };
  const read = (event) => {
    if (!values.dense) return;
    const { left, top, width, height } = root.getBoundingClientRect();
    const [rows, columns] = model.get("shape");
    const place = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    const [x, y] = [place((event.clientX - left) / width, columns), place((event.clientY - top) / height, rows)];
    const [dense, spade] = [values.dense[y * columns + x], values.spade[y * columns + x]];
    said.textContent = `x ${x}, y ${y}: dense ${dense.toFixed(3)}, SPADE ${spade.toFixed(3)} of its map's top`;
  };
  const tell = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };
  draw();
  root.addEventListener("pointermove", read);
  root.addEventListener("pointerleave", () => values.dense && (said.textContent = IDLE));
  for (const moved of ["pointerup", "keyup"]) root.addEventListener(moved, () => tell("divider", at(root)));
  choice.addEventListener("change", () => tell("method", choice.value));
  overlay.addEventListener("change", () => tell("overlay", overlay.checked));
  const changes = { "change:method": draw, "change:overlay": draw, "change:opacity": draw };
  changes["change:divider"] = () => at(root) !== model.get("divider") && move(root, model.get("divider"));
  for (const [name, act] of Object.entries(changes)) model.on(name, act);
  return () => Object.entries(changes).forEach(([name, act]) => model.off(name, act));
}

function fill(list, texts) {
  list.replaceChildren(...texts.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
}

function numbers({ values }) {
  return values && new Float32Array(Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0)).buffer);
}

export default { render };
