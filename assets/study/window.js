// Tells the page how large the window is, at first and after every change.
export default function ({ setStateValue }) {
  let last = "";
  const tell = () => {
    const size = {
      width: innerWidth, height: innerHeight, dpr: devicePixelRatio, browser: navigator.userAgent.slice(0, 200),
      touch: navigator.maxTouchPoints > 0,
    };
    const text = JSON.stringify(size);
    if (text !== last) {
      last = text;
      setStateValue("size", size);
    }
  };
  tell();
  addEventListener("resize", tell);
  return () => removeEventListener("resize", tell);
}
