// Within the document of a participants' page, before the frontend: a slow line brings what the page needs, then fonts.
((chunks) => {
  const PATIENCE = 5000; // ms that fonts wait for a page on which one can go on: a consent that is still to be ticked is none
  // The server is where this page's path begins: else the frontend asks for it one path after the other, and waits for
  // its settings before it connects. It reads the settings all the same, meanwhile.
  const base = location.origin + location.pathname.replace(/\/survey\/?$/, "/");
  window.__streamlit = {
    BACKEND_BASE_URL: base,
    HOST_CONFIG: { allowedOrigins: [location.origin], useExternalAuthToken: false },
  };

  const hidden = document.createElement("style"); // the names of icons, which would be read as words
  hidden.textContent = '[data-testid="stIconMaterial"], [role="img"][aria-label$=" icon"] { visibility: hidden }';
  document.head.append(hidden);
  const fonts = () => {
    const late = document.querySelector('link[rel="stylesheet"][href$="?late"]');
    if (!late) return hidden.remove();
    const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: late.href.replace("?late", "?fonts") });
    sheet.onerror = () => hidden.remove();
    const drawn = (then) => requestAnimationFrame(() => requestAnimationFrame(then)); // a font is asked for where it is used
    sheet.onload = () => drawn(() => document.fonts.ready.then(() => hidden.remove()));
    document.head.append(sheet);
  };
  const usable = () => {
    const main = document.querySelector('[data-testid="stMain"]');
    return main?.querySelector("button:enabled") && !main.querySelector('[data-testid^="stBaseButton-primary"]:disabled');
  };
  addEventListener("DOMContentLoaded", async () => { // the frontend runs, and the line is idle until the server draws
    await Promise.allSettled(chunks.map((name) => import(name)));
    for (const end = Date.now() + PATIENCE; !usable() && Date.now() < end; ) await new Promise((next) => setTimeout(next, 100));
    fonts();
  });
})(CHUNKS);
