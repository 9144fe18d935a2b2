// Keeps a participation's token in this browser, or tells the page the one that is kept; a browser that keeps none tells so.
export default function ({ data, setStateValue }) {
  const name = `participation:${data.slot}`;
  try {
    if (data.token) localStorage.setItem(name, data.token);
    else setStateValue("held", localStorage.getItem(name) ?? "");
  } catch {
    if (!data.token) setStateValue("held", ""); // storage is forbidden here
  }
}
