// What the screen shows of a trial: text, pictures, the two regions and their numbers.
const SVG = "http://www.w3.org/2000/svg";
const TAG = 8; // side of a number's tag, in hundredths of the picture
const GAP = 1.5;

function fill(root, trial) {
  const texts = trial.texts;
  root.querySelector(".question").textContent = trial.question;
  root.querySelector(".ask").textContent = texts.confidence;
  root.querySelector(".continue").textContent = texts.continue;
  root.querySelectorAll(".choices .label").forEach((label, index) => (label.textContent = trial.labels[index]));
  const ask = root.querySelector(".ask");
  ask.parentElement.replaceChildren(ask, ...texts.confidence_labels.map((label, index) => step(index + 1, label)));
}

function step(number, label) {
  // One step of the confidence scale.
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.confidence = String(number);
  button.setAttribute("aria-keyshortcuts", String(number));
  const [word, key] = ["span", "kbd"].map((name) => document.createElement(name));
  word.className = "label";
  word.textContent = label;
  key.setAttribute("aria-hidden", "true");
  key.textContent = String(number);
  button.append(word, key);
  return button;
}

function hang(root, trial, images) {
  // Put decoded pictures on the screen; the alternative texts say nothing about what kind of picture it is.
  const photograph = root.querySelector(".photograph");
  const second = root.querySelector(".second");
  photograph.querySelectorAll("img").forEach((image) => image.remove());
  const [picture, ...more] = images;
  picture.alt = trial.texts.picture_alt;
  photograph.prepend(picture);
  more.forEach((image) => (image.alt = trial.texts.second_alt));
  second.replaceChildren(...more);
  second.style.setProperty("--columns", Math.ceil(Math.sqrt(more.length)) || 1);
  draw(root.querySelector(".regions"), trial.regions);
}

function draw(svg, regions) {
  const boxes = regions.map(([left, top, side]) => ({ x: 100 * left, y: 100 * top, side: 100 * side }));
  const taken = [...boxes];
  svg.replaceChildren(
    ...boxes.map((box, index) => {
      const tag = placeTag(box, taken);
      taken.push(tag);
      const group = element("g", { class: index === 0 ? "first" : "other" });
      const frame = { x: box.x, y: box.y, width: box.side, height: box.side };
      const text = element("text", { x: tag.x + TAG / 2, y: tag.y + TAG / 2 });
      text.textContent = String(index + 1);
      group.append(
        element("rect", { ...frame, class: "halo" }),
        element("rect", { ...frame, class: "line" }),
        element("rect", { x: tag.x, y: tag.y, width: TAG, height: TAG, rx: 1.5, class: "tag" }),
        text,
      );
      return group;
    }),
  );
}

function placeTag(box, taken) {
  // The first place beside the box that is inside the picture and covers neither region nor the other number.
  const { x, y, side } = box;
  const places = [
    { x, y: y - TAG - GAP },
    { x, y: y + side + GAP },
    { x: x - TAG - GAP, y },
    { x: x + side + GAP, y },
  ].map((place) => ({ ...place, side: TAG }));
  const inside = (place) => Math.min(place.x, place.y) >= 0 && Math.max(place.x, place.y) + TAG <= 100;
  const apart = (one, other) =>
    one.x + one.side <= other.x ||
    other.x + other.side <= one.x ||
    one.y + one.side <= other.y ||
    other.y + other.side <= one.y;
  return places.find((place) => inside(place) && taken.every((other) => apart(place, other))) ?? { x, y, side: TAG };
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function mark(root, phase, answer, feedback) {
  // Show which answer was given, what can still be pressed and, in practice, the reference.
  root.dataset.phase = phase;
  for (const button of root.querySelectorAll(".choices button")) {
    button.setAttribute("aria-pressed", String(answer?.choice === button.dataset.choice));
    button.setAttribute("aria-disabled", String(phase !== "open"));
  }
  for (const button of root.querySelectorAll(".confidence button")) {
    button.setAttribute("aria-pressed", String(answer?.confidence === Number(button.dataset.confidence)));
  }
  root.querySelector(".said").textContent = phase === "feedback" ? feedback.text : "";
  [...root.querySelectorAll(".regions g")].forEach((group, index) => {
    const shown = phase === "feedback" && feedback.reference;
    group.classList.toggle("reference", Boolean(shown) && feedback.reference === `region_${index + 1}`);
    group.classList.toggle("aside", Boolean(shown) && feedback.reference !== `region_${index + 1}`);
  });
}
