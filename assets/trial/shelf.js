// The pictures of trials in this page by their ids, decoded ahead of time: from mounts of their own, or from the route.
const shelf = (window[Symbol.for("trial-pictures")] ??= new Map());

function stock(pictures) {
  for (const [id, address] of Object.entries(pictures)) {
    if (shelf.has(id)) continue;
    const image = new Image();
    image.src = address;
    image.decode().catch(() => {}); // a broken picture is reported by the trial that shows it
    shelf.set(id, image);
  }
  window.dispatchEvent(new Event("trial-pictures"));
}

function held() {
  // The trials whose pictures are here; they come and go together.
  return [...new Set([...shelf.keys()].map((id) => id.slice(0, id.lastIndexOf("-"))))].slice(-8);
}
