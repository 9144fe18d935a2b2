// The runs of this browser, kept in it alone: a page notes its run, out of sight, and the page of the runs lists them.
//
// What lies in the storage may be anybody's who can write there: an entry that is not as a page writes it is not shown,
// and what it says is text. Its link is read by the page that it opens, which names what it cannot follow.
const NAME = "spade-studio-runs"; // of the list: page, query, at, title, detail, thumb of each run
const NOTED = "spade-studio-noted"; // of the times of the runs that this tab has noted, whether they are still listed
const REMEMBERED = 200; // times
const THUMB = /^data:image\/webp;base64,[A-Za-z0-9+/]+={0,2}$/;
const WHEN = { dateStyle: "medium", timeStyle: "short" };

function read(storage, name) {
  try {
    const found = JSON.parse(storage.getItem(name));
    return Array.isArray(found) ? found : [];
  } catch {
    return []; // it holds something else
  }
}

function write(storage, name, values) {
  // Return whether it could; where there is no room for all, the last give way.
  for (let left = values; ; left = left.slice(0, Math.floor(left.length / 2))) {
    try {
      storage.setItem(name, JSON.stringify(left));
      return true;
    } catch {
      if (!left.length) return false;
    }
  }
}

function stores() {
  try {
    return { list: window.localStorage, tab: window.sessionStorage };
  } catch {
    return null; // this browser keeps nothing for this address
  }
}

const same = (run, other) => run.page === other.page && run.query === other.query;

function note(run, most) {
  const found = stores();
  if (!found) return;
  const noted = read(found.tab, NOTED);
  if (noted.includes(run.at)) return; // it was, and may have been deleted since
  write(found.tab, NOTED, [run.at, ...noted].slice(0, REMEMBERED));
  const before = read(found.list, NAME).filter((other) => other && !same(run, other));
  write(found.list, NAME, [run, ...before].slice(0, most));
}

function sound(run, { pages, longest }) {
  if (!run || typeof run !== "object" || !Object.hasOwn(pages, run.page)) return false;
  const told = Object.keys(longest).every((name) => typeof run[name] === "string" && [...run[name]].length <= longest[name]);
  return told && THUMB.test(run.thumb) && Number.isFinite(new Date(1000 * run.at).getTime());
}

function listed(data) {
  const runs = read(stores()?.list, NAME).filter((run) => sound(run, data));
  return runs.sort((one, other) => other.at - one.at).slice(0, data.most);
}

function made(name, properties, ...inside) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...inside);
  return element;
}

function open(event, address) {
  // Within this page, as Back would: what the session holds stays. Other ways to open a link are the browser's.
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState({}, "", address);
  dispatchEvent(new PopStateEvent("popstate"));
}

function row(run, data, drop) {
  const when = new Date(1000 * run.at).toLocaleString(undefined, WHEN);
  const page = made("small", { className: "page", textContent: data.pages[run.page] });
  const detail = made("small", { textContent: run.detail });
  const time = made("small", { className: "when", textContent: when });
  const words = made("span", { className: "words" }, page, made("b", { textContent: run.title }), detail, time);
  const image = made("img", { src: run.thumb, alt: `Small picture of the run: ${run.title}` });
  const href = new URL(`${run.page}?${new URLSearchParams(run.query)}`, document.baseURI).href;
  const link = made("a", { href, onclick: (event) => open(event, href) }, image, words);
  const button = made("button", { type: "button", textContent: "Delete", onclick: () => drop(run) });
  button.setAttribute("aria-label", `Delete the run: ${run.title}, ${data.pages[run.page]}, ${when}`);
  return made("li", {}, link, button);
}

function drawn(root, data) {
  const part = (name) => root.querySelector(`.${name}`);
  const runs = listed(data);
  const redraw = (said) => {
    part("said").textContent = said;
    drawn(root, data);
  };
  const keep = (runs) => write(stores().list, NAME, runs);
  const drop = (run) => {
    const place = runs.indexOf(run);
    keep(read(stores().list, NAME).filter((other) => other && !same(run, other)));
    redraw(`Deleted: ${run.title}.`);
    (root.querySelectorAll("li button")[Math.min(place, runs.length - 2)] ?? part("told")).focus();
  };
  const ask = (asking) => {
    part("clear").hidden = asking || !runs.length;
    part("sure").hidden = part("keep").hidden = !asking;
    part("sure").textContent = `Delete all ${runs.length}`;
  };
  const none = stores() ? "No runs yet: what you run is listed here." : "This browser keeps nothing for this address, so nothing is listed.";
  part("told").textContent = runs.length ? `${runs.length} of at most ${data.most} runs, the newest first.` : none;
  part("told").tabIndex = -1;
  root.querySelector("ol").replaceChildren(...runs.map((run) => row(run, data, drop)));
  ask(false);
  part("clear").onclick = () => (ask(true), part("sure").focus());
  part("keep").onclick = () => (ask(false), part("clear").focus());
  part("sure").onclick = () => {
    keep([]);
    redraw("All runs are deleted.");
    part("told").focus();
  };
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".runs");
  if (data.run) {
    note(data.run, data.most);
    return undefined;
  }
  const again = (event) => event.key === NAME && drawn(root, data); // another tab has written
  root.hidden = false;
  drawn(root, data);
  addEventListener("storage", again);
  return () => removeEventListener("storage", again);
}
