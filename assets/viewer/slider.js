// Two pictures on top of each other with a divider between them: before on its left, after on its right. The pages, the
// notebook's viewer and the reports all show pairs by it. It asks nobody for anything.
const KEYS = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -20, PageUp: 20, Home: -100, End: 100 };
const PARTS = `<div class="stage">
  <img class="under" alt="" draggable="false" hidden>
  <img class="before" draggable="false">
  <img class="after" draggable="false">
  <span class="label first" aria-hidden="true"></span><span class="label second" aria-hidden="true"></span>
  <div class="divider" role="slider" tabindex="0" aria-orientation="horizontal" aria-valuemin="0" aria-valuemax="100">
    <span class="grip" aria-hidden="true"></span>
  </div>
</div>`;

// Show a pair in an element that has the class before-after, or change what it shows; the divider stays where it was,
// unless the pair begins elsewhere than the one before.
// told: before, after: addresses of two pictures of one size; labels: what each is; alt: what both show; under: address
// of a picture beneath both, or none; opacity: of both over it; start: percent of the width that is before at first.
export function slider(root, told) {
  const start = told.start ?? 50;
  if (!root.querySelector(":scope > .stage")) build(root);
  const part = (name) => root.querySelector(`.${name}`);
  const show = (image, address) => image.getAttribute("src") !== address && image.setAttribute("src", address);
  for (const [index, side] of ["before", "after"].entries()) {
    show(part(side), told[side]);
    part(side).alt = `${told.labels[index]}: ${told.alt}`;
  }
  part("under").hidden = !told.under;
  if (told.under) show(part("under"), told.under);
  part("stage").style.setProperty("--opacity", told.under ? (told.opacity ?? 1) : 1);
  [part("first").textContent, part("second").textContent] = told.labels;
  root.dataset.labels = JSON.stringify(told.labels);
  part("divider").setAttribute("aria-label", `Divider between ${told.labels.join(" and ")}`);
  move(root, Number(root.dataset.start) === start ? at(root) : start);
  root.dataset.start = start;
}

// Percent of the width that lies left of the divider.
export function at(root) {
  return Number(root.querySelector(".divider").getAttribute("aria-valuenow"));
}

export function move(root, percent) {
  const now = Math.round(10 * Math.min(100, Math.max(0, percent))) / 10;
  const [before, after] = JSON.parse(root.dataset.labels ?? '["before", "after"]');
  const divider = root.querySelector(".divider");
  divider.setAttribute("aria-valuenow", now);
  divider.setAttribute("aria-valuetext", `${Math.round(now)} % ${before}, ${100 - Math.round(now)} % ${after}`);
  root.querySelector(".stage").style.setProperty("--at", `${now}%`);
  root.querySelector(".first").classList.toggle("away", now < 12);
  root.querySelector(".second").classList.toggle("away", now > 88);
}

function build(root) {
  root.innerHTML = PARTS;
  const [stage, divider] = [root.querySelector(".stage"), root.querySelector(".divider")];
  const follow = (event) => {
    const { left, width } = stage.getBoundingClientRect();
    move(root, (100 * (event.clientX - left)) / width);
  };
  let held = null; // the pointer that drags
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    held = event.pointerId;
    stage.setPointerCapture(held);
    divider.focus({ preventScroll: true, focusVisible: false });
    follow(event);
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => event.pointerId === held && follow(event));
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) stage.addEventListener(end, () => (held = null));
  divider.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    move(root, at(root) + KEYS[event.key] * (event.shiftKey ? 5 : 1));
    event.preventDefault();
    event.stopPropagation(); // arrows turn pages where a page has a tour
  });
}
