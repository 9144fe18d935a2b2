// Tells the page what the browser says of itself: its kind, how often it draws, and its window, again after every change.
const FRAMES = 30; // intervals between frames, whose median is the rate
const PATIENCE = 2000; // ms until the page is told without a rate: a hidden tab draws nothing
let rate = null; // of this page load, measured once

function measure() {
  return new Promise((resolve) => {
    const times = [];
    const end = setTimeout(() => {
      rate = null; // the next call tries again
      resolve(null);
    }, PATIENCE);
    const frame = (now) => {
      times.push(now);
      if (times.length <= FRAMES) return requestAnimationFrame(frame);
      clearTimeout(end);
      const gaps = times.slice(1).map((time, index) => time - times[index]).sort((a, b) => a - b);
      resolve(Math.round(10000 / gaps[FRAMES / 2]) / 10);
    };
    requestAnimationFrame(frame);
  });
}

function described(refresh_hz) {
  const { userAgentData: data, maxTouchPoints, userAgent, platform } = navigator;
  return {
    width: innerWidth, height: innerHeight, screen_width: screen.width, screen_height: screen.height,
    dpr: devicePixelRatio, refresh_hz, browser: userAgent.slice(0, 300), platform: data?.platform ?? platform,
    mobile_hint: data?.mobile ?? null, touch_points: maxTouchPoints,
    fine_pointer: matchMedia("(any-pointer: fine)").matches,
  };
}

export default function ({ setStateValue }) {
  let last = "";
  let measured; // undefined: not yet
  const tell = () => {
    if (measured === undefined) return;
    const device = described(measured);
    const text = JSON.stringify(device);
    if (text === last) return;
    last = text;
    setStateValue("size", device);
  };
  let open = true;
  (rate ??= measure()).then((hz) => {
    measured = hz;
    if (open) tell();
  });
  addEventListener("resize", tell);
  return () => {
    open = false;
    removeEventListener("resize", tell);
  };
}
