// Runs before Gradio starts: decides language and light or dark, and serves the small actions of the shell.
(() => {
  "use strict";
  const TITLES = {}; /* filled in by demos/language.py */
  const root = document.documentElement;
  // Over a slow line, or where data is to be saved, a menu suggests its smallest checkpoint.
  const line = navigator.connection;
  root.classList.toggle("atlas-slow", Boolean(line && (line.saveData || /2g|3g/.test(line.effectiveType || ""))));
  const query = new URLSearchParams(location.search);

  // In a frame of another site the browser may forbid storage; then choices travel in the address, and Gradio,
  // which does not expect that, gets a storage that lasts as long as the page.
  let storage = null;
  try { storage = window.localStorage; } catch { /* forbidden */ }
  if (!storage) {
    const held = new Map();
    const substitute = {
      getItem: (key) => held.get(String(key)) ?? null,
      setItem: (key, value) => { held.set(String(key), String(value)); },
      removeItem: (key) => { held.delete(String(key)); },
      clear: () => held.clear(),
      key: (i) => [...held.keys()][i] ?? null,
      get length() { return held.size; },
    };
    Object.defineProperty(window, "localStorage", { configurable: true, value: substitute });
  }
  const store = {
    get(key) { return storage ? storage.getItem(key) : null; },
    set(key, value) {
      // A full or read-only storage forgets; the page goes on.
      try { storage.setItem(key, value); return true; } catch { return false; }
    },
  };
  const known = (tag) => (tag ? (/^zh/i.test(tag) ? "zh" : "en") : null);

  const asked = known(query.get("lang"));
  const kept = asked ? store.set("atlas_lang", asked) : store.get("atlas_lang") !== null;
  const lang = asked || known(store.get("atlas_lang")) || known(navigator.language) || "en";
  const locale = lang === "zh" ? "zh-CN" : "en";
  // Gradio translates by the browser's language and offers no other switch.
  Object.defineProperty(navigator, "language", { configurable: true, get: () => locale });
  Object.defineProperty(navigator, "languages", { configurable: true, get: () => [locale] });
  window.atlasLang = lang;
  root.dataset.lang = lang;
  root.lang = locale;

  const media = window.matchMedia.bind(window);
  const chosenTheme = () => query.get("__theme") || store.get("atlas_theme");
  const themeNow = () => {
    const theme = root.dataset.theme || chosenTheme();
    if (theme === "dark" || theme === "light") return theme;
    return media("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  };
  // Gradio asks the system for its theme; the visitor's choice answers in its place.
  window.matchMedia = (text) => {
    const list = media(text);
    const chosen = chosenTheme();
    if (chosen && /prefers-color-scheme:\s*dark/.test(text)) {
      Object.defineProperty(list, "matches", { configurable: true, get: () => themeNow() === "dark" });
    }
    return list;
  };
  root.dataset.theme = themeNow();

  // The title of a Gradio app cannot be translated, so it is held here, page by page.
  const slug = location.pathname.replace(/\/+$/, "").split("/").pop();
  const title = (TITLES[slug] || TITLES[""] || {})[lang];
  const holdTitle = () => { if (title && document.title !== title) document.title = title; };
  new MutationObserver(holdTitle).observe(document.head, { childList: true, subtree: true, characterData: true });
  holdTitle();

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages on plain http, as in a classroom, have no clipboard API.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  function say(english, chinese) {
    const old = document.getElementById("atlas-toast");
    if (old) old.remove();
    const toast = document.createElement("div");
    toast.id = "atlas-toast";
    toast.setAttribute("role", "status");
    document.body.append(toast);
    toast.textContent = lang === "zh" ? chinese : english;
    setTimeout(() => toast.remove(), 2500);
  }

  function save(name, url) {
    const link = document.createElement("a");
    link.download = name;
    link.href = url;
    document.body.append(link);
    link.click();
    link.remove();
  }

  // Drawn here and not on the server, because the visitor's machine has the fonts of the visitor's language.
  function savePng(name, svgUrl) {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = 2 * image.width;
      canvas.height = 2 * image.height;
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => {
        const url = URL.createObjectURL(blob);
        save(name, url);
        setTimeout(() => URL.revokeObjectURL(url), 1000);
      }, "image/png");
    };
    image.src = svgUrl;
  }

  window.atlas = {
    // The address of this page with the given inputs; empty ones are left out.
    link(names, values) {
      const url = new URL(location.pathname, location.origin);
      names.forEach((name, i) => {
        const value = values[i];
        if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, String(value));
      });
      url.searchParams.set("lang", lang);
      return url;
    },
    // Behind the values with names stand the page's files; those that are neither an example nor a scene stay behind.
    async copyLink(names, values) {
      const url = this.link(names, values);
      const files = values.slice(names.length).flat().filter(Boolean);
      const own = files.length && !url.searchParams.get("example") && !url.searchParams.get("scene");
      if (own) url.searchParams.set("image", "own");
      history.replaceState(history.state, "", url);
      await copy(url.href);
      if (own) say("Link copied. Your own file is not part of it.", "链接已复制，其中不包含你自己的文件。");
      else say("Link copied", "链接已复制");
      return values;
    },
  };

  function switchLanguage(to) {
    const url = new URL(location.href);
    url.searchParams.delete("lang");
    if (!store.set("atlas_lang", to)) url.searchParams.set("lang", to);
    location.replace(url);
    if (url.hash) location.reload();
  }

  function switchTheme() {
    const next = themeNow() === "dark" ? "light" : "dark";
    store.set("atlas_theme", next);
    root.dataset.theme = next;
    document.body.classList.toggle("dark", next === "dark");
  }

  document.addEventListener("click", (event) => {
    const hit = (selector) => event.target.closest && event.target.closest(selector);
    let found;
    if ((found = hit("[data-set-lang]"))) {
      event.preventDefault();
      switchLanguage(found.dataset.setLang);
    } else if (hit("[data-toggle-theme]")) {
      switchTheme();
    } else if ((found = hit("[data-copy]"))) {
      copy(document.getElementById(found.dataset.copy).textContent).then(() => say("Copied", "已复制"));
    } else if ((found = hit("[data-png]"))) {
      event.preventDefault();
      savePng(found.dataset.png, found.dataset.svg);
    } else if (!kept && asked && (found = hit("a[href]")) && found.origin === location.origin) {
      const url = new URL(found.href);
      url.searchParams.set("lang", lang);
      found.href = url;
    }
    // A menu of the header closes when something outside it is chosen.
    document.querySelectorAll("details.atlas-menu[open]").forEach((menu) => {
      if (!menu.contains(event.target)) menu.open = false;
    });
  });
  // Gradio's menus filter when a key goes down; words from an input method or the clipboard arrive without one.
  ["input", "compositionend"].forEach((name) => document.addEventListener(name, (event) => {
    const box = event.target;
    if (event.isComposing || !box.matches || !box.matches("input[role=combobox], input[role=listbox]")) return;
    setTimeout(() => box.dispatchEvent(new KeyboardEvent("keydown", { key: "Shift", bubbles: true })));
  }));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelectorAll("details.atlas-menu[open]").forEach((menu) => { menu.open = false; });
  });
})();
