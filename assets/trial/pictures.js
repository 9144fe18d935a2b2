// Brings a trial's pictures into the page, where the trial finds them by their ids, and decodes them ahead of time.
// Apart from the trial itself: what is mounted here never changes, so the server sends it once.
const shelf = (window[Symbol.for("trial-pictures")] ??= new Map());

export default function ({ data }) {
  for (const [id, address] of Object.entries(data.pictures)) {
    if (shelf.has(id)) continue;
    const image = new Image();
    image.src = address;
    image.decode().catch(() => {}); // a broken picture is reported by the trial that shows it
    shelf.set(id, image);
  }
  window.dispatchEvent(new Event("trial-pictures"));
}
