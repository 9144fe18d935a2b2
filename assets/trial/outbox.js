// Messages that the server has not acknowledged yet. Answers live in sessionStorage under their trial's id, so that
// they outlast a reload; whatever is waiting is sent again and again, one message at a time: of two triggers in quick
// succession the server may lose one.
const FIRST_WAIT = 1500; // ms until a message is sent again
const LONGEST_WAIT = 5000; // a slow server must come to its end before the next message interrupts it
const GROWTH = 1.4;

class Notes {
  // sessionStorage under a prefix, or memory where the browser forbids it.
  constructor(prefix) {
    this.prefix = prefix;
    this.memory = new Map();
    try {
      window.sessionStorage.getItem(prefix);
      this.storage = window.sessionStorage;
    } catch {
      this.storage = null;
    }
  }

  read(kind, id) {
    const name = `${this.prefix}:${kind}:${id}`;
    const text = this.memory.get(name) ?? this.storage?.getItem(name) ?? null;
    try {
      return JSON.parse(text);
    } catch {
      return null;
    }
  }

  write(kind, id, value) {
    const name = `${this.prefix}:${kind}:${id}`;
    this.memory.set(name, JSON.stringify(value));
    try {
      this.storage?.setItem(name, JSON.stringify(value));
    } catch {
      // full or forbidden: the memory has it, only a reload would lose it
    }
  }

  forget(id) {
    this.drop(id, ["answer", "choice", "draft", "shown", "attempt"]);
  }

  drop(id, kinds = ["answer", "choice", "draft"]) {
    for (const kind of kinds) {
      const name = `${this.prefix}:${kind}:${id}`;
      this.memory.delete(name);
      this.storage?.removeItem(name);
    }
  }

  answers() {
    const start = `${this.prefix}:answer:`;
    const names = new Set([...this.memory.keys(), ...Object.keys(this.storage ?? {})]);
    return [...names]
      .filter((name) => name.startsWith(start))
      .map((name) => this.read("answer", name.slice(start.length)))
      .filter((answer) => answer?.trial_id)
      .sort((one, other) => String(one.onset_utc).localeCompare(String(other.onset_utc)));
  }
}

class Outbox {
  constructor(notes, send, waited) {
    this.notes = notes;
    this.send = send; // (event, message) => void
    this.waited = waited; // (times) => void, after every repetition
    this.farewell = null; // the trial whose feedback was read; only sent when no answer waits
    this.redraw = false; // whether the page has to be drawn anew, which is asked last
    this.sequence = 0;
  }

  next() {
    const answer = this.notes.answers()[0];
    if (answer) return ["answer", answer];
    if (this.farewell !== null) return ["continued", { trial_id: this.farewell }];
    return this.redraw ? ["redraw", {}] : null;
  }

  start() {
    clearTimeout(this.timer);
    this.times = 0;
    this.wait = FIRST_WAIT;
    this.post();
  }

  post() {
    const message = this.next();
    if (message === null) return;
    this.sequence += 1; // makes every repetition a change
    this.send(message[0], { ...message[1], sequence: this.sequence });
    this.timer = setTimeout(() => {
      this.times += 1;
      this.wait = Math.min(this.wait * GROWTH, LONGEST_WAIT);
      this.waited(this.times);
      this.post();
    }, this.wait);
  }

  acknowledge(ids) {
    const before = this.notes.answers();
    ids.forEach((id) => this.notes.forget(id));
    // The next one waits no longer. Before the first posting there is nothing to hurry.
    if (this.sequence > 0 && this.notes.answers().length < before.length) this.start();
  }

  stop() {
    clearTimeout(this.timer);
  }
}
