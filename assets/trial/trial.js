// One trial: pictures decoded, an onset that is really on the screen, one answer, kept until the server has it.
//
// Phases: waiting (older answers are being saved) -> preparing -> open -> confidence -> extra (the design's own questions)
// -> saving -> feedback -> leaving.
const BOUNCE = 250; // ms after the choice in which a second press of the same key is not yet a confidence
const LISTED = 50; // focus losses and resizes kept of one trial
const KEYS = { ArrowLeft: "region_1", ArrowRight: "region_2", 1: "region_1", 2: "region_2", 3: "cannot_tell", 0: "cannot_tell" };
const PAST = 200; // trials that are remembered as past

class Trial {
  constructor(parent, key) {
    this.root = parent.querySelector(".trial");
    this.notes = new Notes(`trial:${key}`);
    this.outbox = new Outbox(
      this.notes,
      (event, message) => this.send(event, message),
      (times) => this.sayWaiting(times),
    );
    this.route = new Route(
      (step, event, message) => this.heard(step, event, message),
      (event, message) => this.sendByPage(event, message),
    );
    this.byPage = false; // whether the route has refused a message of this mount
    this.generation = 0;
    this.phase = "waiting";
    this.listen();
  }

  listen() {
    // Once a mount, however often the page is drawn again.
    const { signal } = (this.ending = new AbortController());
    document.addEventListener("keydown", (event) => this.pressed(event), { signal, capture: true });
    this.root.addEventListener("click", (event) => this.clicked(event), { signal });
    this.root.addEventListener("input", () => this.drafted(), { signal });
    window.addEventListener("trial-pictures", () => this.prepare(), { signal });
    window.addEventListener("blur", () => this.lost(), { signal });
    window.addEventListener("focus", () => (this.away = false), { signal });
    document.addEventListener("visibilitychange", () => (document.hidden ? this.lost() : (this.away = false)), { signal });
    window.addEventListener("resize", () => this.resized(), { signal });
  }

  update(component) {
    // The page was drawn again; only another trial, an acknowledgement or feedback changes anything.
    const { trial, acknowledged, attempt, progress } = component.data;
    const refused = this.refused(trial.trial_id, attempt);
    const first = this.generation === 0;
    this.component = component;
    this.generation += 1;
    if (this.past().includes(trial.trial_id)) return this.overtaken(trial, first);
    this.acknowledged = new Set(acknowledged);
    this.outbox.acknowledge(acknowledged);
    if (refused) this.notes.drop(trial.trial_id); // the server cannot take it: the person is asked once more
    this.showProgress(trial, progress);
    this.follow(trial, refused);
    if (first) this.outbox.start();
    return this.generation;
  }

  overtaken(trial, first) {
    // The page was drawn before the route led on from this trial: what came since stands, or else the page has to tell.
    if (first) {
      this.acknowledged = new Set();
      this.begin(trial);
      this.askForPage();
    }
    return this.generation;
  }

  past() {
    return this.notes.read("past", "trials") ?? [];
  }

  send(event, message) {
    const { route } = this.component.data;
    if (!route || this.byPage || event === "redraw") this.component.setTriggerValue(event, message);
    else this.route.send(route, event, message);
  }

  sendByPage(event, message) {
    this.byPage = true;
    this.component.setTriggerValue(event, message);
  }

  heard(step, event, { trial_id: id }) {
    // The route has answered a message about a trial: what became of it, and the next trial or none.
    const { trial, pictures, progress, stored, refused } = step;
    if (stored) {
      this.acknowledged.add(id);
      this.outbox.acknowledge([id]);
    }
    if (refused) this.notes.drop(id);
    if (trial === null) return this.askForPage();
    const before = this.trial.trial_id;
    if (trial.trial_id !== before) this.notes.write("past", "trials", [...this.past(), before].slice(-PAST));
    stock(pictures);
    this.showProgress(trial, progress);
    this.follow(trial, refused && trial.trial_id === id);
  }

  askForPage() {
    this.outbox.farewell = null;
    this.outbox.redraw = true;
    this.outbox.start();
  }

  follow(trial, again) {
    const before = this.trial;
    if (again || before?.trial_id !== trial.trial_id) this.begin(trial);
    // What is left of the time counts from the onset, which was seen already; feedback stays.
    else this.trial = { ...trial, time_limit_ms: before.time_limit_ms, feedback: trial.feedback ?? before.feedback };
    this.proceed();
  }

  showProgress(trial, progress) {
    const bar = this.root.querySelector(".progress");
    bar.hidden = progress === null;
    bar.querySelector("span").textContent = trial.texts.progress;
    bar.querySelector("progress").value = progress ?? 0;
  }

  refused(id, attempt) {
    // Whether the server has refused an answer since the last look. It is noted beside the answer: a component that is
    // made anew, as after a cut connection, still holds the refused one and would send it for good.
    const before = this.notes.read("attempt", id) ?? 0;
    if (attempt !== before) this.notes.write("attempt", id, attempt);
    return attempt > before;
  }

  begin(trial) {
    (this.trial?.pictures ?? []).forEach((id) => trial.pictures.includes(id) || shelf.delete(id));
    clearTimeout(this.limit);
    if (this.outbox.farewell !== null || this.outbox.redraw) this.outbox.stop();
    this.outbox.farewell = null;
    this.outbox.redraw = false;
    this.trial = trial;
    this.decoding = null;
    this.onset = null;
    this.answer = null;
    this.early = 0;
    this.focusLosses = [];
    this.resizes = [];
    this.root.removeAttribute("data-onset");
    this.enter("waiting");
  }

  proceed() {
    // Go on as far as the server's acknowledgements allow.
    const id = this.trial.trial_id;
    if (this.acknowledged.has(id) && ["waiting", "saving"].includes(this.phase)) {
      if (this.trial.feedback) this.show("feedback");
    } else if (this.phase === "waiting" && this.notes.answers().length === 0) {
      const kept = this.notes.read("choice", id);
      this.show((kept && pending(this.trial, kept)) ?? "open");
    }
  }

  show(next) {
    if (this.onset !== null) return this.enter(next);
    this.next = next;
    this.enter("preparing");
    this.prepare();
  }

  async prepare() {
    // Decode, put on the screen, and call it the onset in the frame after the first paint.
    const { trial, next } = this;
    if (this.phase !== "preparing" || this.decoding === trial.trial_id) return;
    if (!trial.pictures.every((id) => shelf.has(id))) return; // asked again when more have arrived
    const images = trial.pictures.map((id) => shelf.get(id));
    this.decoding = trial.trial_id; // until the onset: more pictures that arrive must not make a second one
    const current = () => this.trial.trial_id === trial.trial_id && !this.ending.signal.aborted;
    try {
      await Promise.all(images.map((image) => image.decode()));
      if (!current()) return;
      fill(this.root, trial);
      hang(this.root, trial, images);
      this.enter("open", true);
      requestAnimationFrame(() => requestAnimationFrame(() => current() && this.shown(next)));
    } catch {
      if (current()) this.fail();
    }
  }

  shown(next) {
    const { trial } = this;
    this.decoding = null;
    this.onset = performance.now();
    this.onsetUtc = new Date().toISOString();
    this.away = !document.hasFocus();
    if (this.away) this.focusLosses.push(0);
    if (next === "open") {
      this.times = (this.notes.read("shown", trial.trial_id) ?? 0) + 1;
      this.notes.write("shown", trial.trial_id, this.times);
      if (trial.time_limit_ms !== null) this.limit = setTimeout(() => this.choose(null, null), trial.time_limit_ms);
      this.root.dataset.onset = String(this.onset);
    } else {
      this.answer = this.notes.read("choice", trial.trial_id); // the page was reloaded after the choice
      this.chosen = null;
    }
    this.root.querySelector(".question").focus({ preventScroll: true }); // a key held on a button answers nothing
    this.enter(next);
    if (next !== "open") return;
    const detail = { onset: this.onset };
    this.root.dispatchEvent(new CustomEvent("trialonset", { bubbles: true, composed: true, detail }));
  }

  enter(phase, quietly = false) {
    if (!quietly) this.phase = phase;
    mark(this.root, phase, this.answer, this.trial.feedback);
    if (["waiting", "saving", "leaving"].includes(phase)) this.sayWaiting(0);
    if (phase === "feedback") this.root.querySelector(".continue").focus({ preventScroll: true });
    if (phase === "confidence") this.root.querySelector(".confidence").scrollIntoView({ block: "nearest" });
    if (phase === "extra") this.askMore();
  }

  fail() {
    this.phase = "failed";
    mark(this.root, "failed", null, null);
    this.root.querySelector(".status").textContent = this.trial.texts.failed;
  }

  sayWaiting(times) {
    if (!["waiting", "saving", "leaving"].includes(this.phase)) return;
    const { saving, still_saving } = this.trial.texts;
    this.root.querySelector(".status").textContent = times < 3 ? saving : still_saving;
  }

  pressed(event) {
    const target = event.composedPath()[0];
    const typing = target instanceof Element && target.closest("input, textarea, select, [contenteditable]");
    if (typing || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.repeat) {
      // A held Enter or space would press a focused button again and again.
      if (["Enter", " "].includes(event.key) && this.root.contains(target)) event.preventDefault();
      return;
    }
    const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code)?.[1];
    const key = /^[0-9]$/.test(event.key) || Object.hasOwn(KEYS, event.key) ? event.key : digit;
    const steps = this.trial.texts.confidence_labels.length;
    if (["preparing", "open"].includes(this.phase) && Object.hasOwn(KEYS, key)) this.choose(KEYS[key], "keyboard", event);
    else if (this.phase === "confidence" && Number(key) >= 1 && Number(key) <= steps) this.rate(Number(key), event);
    else return;
    event.preventDefault();
  }

  clicked(event) {
    const button = event.target.closest("button");
    if (!button) return;
    const { choice, confidence } = button.dataset;
    // A trusted click without a count comes from Enter, the space bar or an assistive tool.
    const input = event.isTrusted && event.detail === 0 ? "keyboard" : "mouse";
    if (choice && ["preparing", "open"].includes(this.phase)) this.choose(choice, input, event);
    else if (confidence && this.phase === "confidence") this.rate(Number(confidence), event);
    else if (button.matches(".send") && this.phase === "extra") this.reply(event);
    else if (button.matches(".continue") && this.phase === "feedback") this.leave();
  }

  choose(choice, input, event) {
    const { trial } = this;
    const rt = this.phase === "open" ? moment(event, this.onset) - this.onset : null;
    if (choice !== null && (rt === null || rt < trial.min_view_ms)) {
      this.early += 1;
      return;
    }
    clearTimeout(this.limit);
    if (trial.time_limit_ms !== null && rt > trial.time_limit_ms) choice = null; // acted before a late timer could
    this.answer = {
      trial_id: trial.trial_id, choice, confidence: null, rt_ms: choice === null ? null : tenths(rt),
      confidence_rt_ms: null, extra: null, extra_rt_ms: null, rt_source: "browser", timed_out: choice === null, input, early_answers: this.early,
      focus_losses: this.focusLosses, resizes: this.resizes, onset_utc: this.onsetUtc, shown: this.times,
      width: window.innerWidth, height: window.innerHeight, dpr: window.devicePixelRatio,
    };
    this.chosen = this.onset + rt;
    this.goOn();
  }

  goOn() {
    // Ask what is still to be asked after the choice; then the answer goes off whole.
    const next = pending(this.trial, this.answer);
    if (next === null) return this.save();
    this.notes.write("choice", this.trial.trial_id, this.answer);
    this.enter(next);
  }

  rate(confidence, event) {
    const rt = this.chosen === null ? null : moment(event, this.chosen) - this.chosen;
    if (rt !== null && rt < BOUNCE) return;
    this.answer = { ...this.answer, confidence, confidence_rt_ms: rt === null ? null : tenths(rt) };
    this.goOn();
  }

  askMore() {
    const box = this.root.querySelector(".extra");
    ask(box, this.trial, this.notes.read("draft", this.trial.trial_id));
    this.asked = this.chosen === null ? null : performance.now();
    box.focus(); // not its first control: a key still held from the choice must fill in nothing
  }

  drafted() {
    if (this.phase !== "extra") return;
    this.notes.write("draft", this.trial.trial_id, replies(this.root.querySelector(".extra"), this.trial));
  }

  reply(event) {
    const box = this.root.querySelector(".extra");
    const extra = replies(box, this.trial);
    if (complain(box, this.trial, extra)) return;
    const rt = this.asked === null ? null : tenths(moment(event, this.asked) - this.asked);
    this.answer = { ...this.answer, extra, extra_rt_ms: rt };
    this.save();
  }

  save() {
    this.notes.write("answer", this.trial.trial_id, this.answer);
    this.enter("saving");
    this.outbox.start();
  }

  leave() {
    this.outbox.farewell = this.trial.trial_id;
    this.enter("leaving");
    this.outbox.start();
  }

  lost() {
    if (this.away || !this.measuring()) return;
    this.away = true;
    if (this.focusLosses.length < LISTED) this.focusLosses.push(tenths(performance.now() - this.onset));
  }

  resized() {
    if (!this.measuring() || this.resizes.length >= LISTED) return;
    const { innerWidth: width, innerHeight: height } = window;
    this.resizes.push({ ms: tenths(performance.now() - this.onset), width, height });
  }

  measuring() {
    return this.onset !== null && ["open", "confidence", "extra"].includes(this.phase);
  }

  close() {
    this.ending.abort();
    this.outbox.stop();
    this.route.leave();
    clearTimeout(this.limit);
  }
}

function pending(trial, answer) {
  // What is asked next of an answer, or null: it is whole. After a time-out nothing is.
  if (answer.choice === null) return null;
  if (trial.ask_confidence && answer.confidence === null) return "confidence";
  return trial.extra.length > 0 && !answer.extra ? "extra" : null;
}

function moment(event, earliest) {
  // When the person acted: the event's own time, which a busy page does not delay, where it is plausible.
  const now = performance.now();
  const stamp = event?.timeStamp ?? now;
  return stamp >= earliest && stamp <= now ? stamp : now;
}

function tenths(milliseconds) {
  return Math.round(10 * milliseconds) / 10;
}

const mounts = new WeakMap();

export default function (component) {
  const parent = component.parentElement;
  if (!mounts.has(parent)) mounts.set(parent, new Trial(parent, component.data.key));
  const mount = mounts.get(parent);
  const generation = mount.update(component);
  // Also called for a drawing that a newer one has overtaken: only the last one's end is the end.
  return () =>
    setTimeout(() => {
      if (mount.generation !== generation) return;
      mount.close();
      mounts.delete(parent);
    });
}
