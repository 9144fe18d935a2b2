// The design's own questions, after choice and confidence: ratings as radio buttons, free text as fields. Plain controls
// of the browser, so that tab, arrow keys and screen readers work by themselves; no form, which Enter would send.
const KINDS = {
  rating: {
    draw(question, value) {
      const group = made("fieldset", { class: "rating" });
      const scale = made("div", { class: "scale" });
      const [least, most] = question.labels.map((label) => made("span", { class: "end" }, label));
      const steps = [];
      for (let step = question.low; step <= question.high; step += 1) {
        const radio = made("input", { type: "radio", name: question.name, value: step });
        radio.checked = step === value;
        const label = made("label", {}, String(step));
        label.prepend(radio);
        steps.push(label);
      }
      scale.append(least, ...steps, most);
      group.append(made("legend", {}, question.text), scale);
      return group;
    },
    read: (row) => Number(row.querySelector("input:checked")?.value ?? NaN),
    given: (value) => !Number.isNaN(value),
  },
  text: {
    draw(question, value) {
      const label = made("label", { class: "text" });
      const field = made("textarea", { rows: 2, maxlength: question.max_length });
      field.value = value ?? "";
      label.append(made("span", { class: "asked" }, question.text), field);
      return label;
    },
    read: (row) => row.querySelector("textarea").value.trim(),
    given: (value) => value !== "",
  },
};

function made(tag, attributes, text = null) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== null) node.textContent = text;
  return node;
}

function ask(box, { extra, texts }, draft) {
  // Draw the questions with what had been filled in before a reload.
  const rows = extra.map((question) => {
    const row = KINDS[question.kind].draw(question, draft?.[question.name]);
    row.dataset.name = question.name;
    if (!question.required) row.querySelector("legend, .asked").append(made("small", {}, ` ${texts.optional}`));
    return row;
  });
  const send = made("button", { type: "button", class: "send" }, texts.send);
  box.replaceChildren(...rows, made("p", { class: "missing", role: "alert" }), send);
}

function replies(box, { extra }) {
  // What was given, by name; what was left empty is not in it.
  const found = extra.map(({ name, kind }) => {
    const value = KINDS[kind].read(box.querySelector(`[data-name="${name}"]`));
    return KINDS[kind].given(value) ? [name, value] : null;
  });
  return Object.fromEntries(found.filter((entry) => entry !== null));
}

function complain(box, { extra, texts }, given) {
  // Return whether something is missing, having said so and gone there.
  const missing = extra.find(({ name, required }) => required && !Object.hasOwn(given, name));
  box.querySelector(".missing").textContent = missing ? texts.missing : "";
  if (missing) box.querySelector(`[data-name="${missing.name}"] :is(input, textarea)`).focus();
  return missing !== undefined;
}
