// The server's plain route beside the page: a message in, the next trial out. What is on its way is not sent again, unless
// it has been for long; the outbox repeats what was lost.
const LOST = 10_000; // ms
const LATER = [429, 502, 503, 504]; // the server or a proxy before it asks to come again

class Route {
  constructor(heard, refused) {
    this.heard = heard; // (step, event, message) => void
    this.refused = refused; // (event, message) => void: there is no route, or it does not take the message
    this.pending = null;
  }

  send(told, event, message) {
    if (this.pending?.trial_id === message.trial_id && this.pending.event === event) return;
    const pending = (this.pending = { event, trial_id: message.trial_id });
    const { sequence, ...answer } = message;
    const body = event === "answer" ? { answer } : { read: message.trial_id };
    const settle = (act) => {
      if (this.pending !== pending) return; // something newer has been said
      this.pending = null;
      act?.();
    };
    exchange({ ...told, ...body, held: held() }).then(
      (step) => settle(() => (step === null ? this.refused(event, message) : this.heard(step, event, message))),
      () => settle(), // not reached
    );
  }

  leave() {
    // Whatever is on its way still arrives; its answer is nobody's.
    this.pending = null;
  }
}

async function exchange(body) {
  const answer = await fetch(`${location.pathname.replace(/\/+$/, "")}/trial`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(LOST),
  });
  if (LATER.includes(answer.status)) throw new Error(answer.statusText);
  const text = await answer.text();
  try {
    return answer.status === 200 ? JSON.parse(text) : null;
  } catch {
    return null; // somebody else's page
  }
}
