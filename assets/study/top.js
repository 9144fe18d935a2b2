// Shows each page of the survey from its top: the browser would stay where the page before was scrolled to.
const shown = Symbol.for("study-place");

export default function ({ data, parentElement }) {
  if (window[shown] === data.place) return; // the same page drawn anew: the reader stays where they are
  window[shown] = data.place;
  for (let node = parentElement; node; node = node.parentElement ?? node.getRootNode().host) node.scrollTop = 0;
}
