// What the pupil's and the teacher's screen of a class share: sentences, requests, and the state that follows the class.
window.atlasRoom = (() => {
  "use strict";
  const lang = window.atlasLang || "en";
  const LETTERS = "ABCDEFGHIJ";
  const element = (id) => document.getElementById(id);
  const say = (name, values = {}) => {
    const sentence = window.atlasValues.texts[name][lang];
    return sentence.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
  };

  async function send(path, body) {
    try {
      const answer = await fetch(`class/${path}?lang=${lang}`, {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
      });
      const value = await answer.json();
      return answer.ok ? { value } : { error: value.error || say("failed"), code: value.code };
    } catch {
      return { error: say("failed") };
    }
  }

  async function fetchHtml(path, values) {
    const answer = await fetch(`class/${path}?${new URLSearchParams({ ...values, lang })}`);
    if (!answer.ok) throw new Error((await answer.json()).error);
    return answer.text();
  }

  // Calls `show` with every state, `lost` with true and false as the connection goes and comes, `gone` with a sentence where
  // the class cannot be followed any more. A browser whose proxy holds streams back asks again and again instead.
  function follow(who, { show, lost, gone }) {
    const query = new URLSearchParams({ ...who, lang });
    let source = null, version = "", isOver = false, waiting = 0;
    const take = (view) => {
      lost(false);
      version = view.version;
      isOver = view.over;
      if (isOver && source) source.close();
      show(view);
    };
    const ask = async (after) => {
      const answer = await fetch(`class/state?${query}&after=${after}`);
      const value = await answer.json();
      if (answer.ok) take(value);
      else { isOver = true; gone(value.error, value.code); }
    };
    const again = (next) => { clearTimeout(waiting); waiting = setTimeout(next, 500 + 1000 * Math.random()); };
    async function check() {
      try { await ask(""); } catch { lost(true); again(check); return; }
      if (!isOver) open();
    }
    async function poll() {
      while (!isOver) {
        try { await ask(version); } catch { lost(true); await new Promise((r) => setTimeout(r, 1500)); }
      }
    }
    function open() {
      if (source) source.close();
      source = new EventSource(`class/events?${query}`);
      const own = source;
      const silent = setTimeout(() => { own.close(); poll(); }, 8000);
      own.onmessage = (event) => { clearTimeout(silent); take(JSON.parse(event.data)); };
      own.onerror = () => {
        if (isOver) return;
        lost(true);
        clearTimeout(silent);
        if (own.readyState === EventSource.CLOSED) again(check);
      };
    }
    // A phone that slept may not notice that its connection is gone.
    document.addEventListener("visibilitychange", () => { if (!document.hidden && !isOver && source) again(check); });
    open();
  }

  // What a browser forgets with its tab, and what it keeps; a frame of another site may keep nothing.
  const kept = (store) => ({
    get(key) { try { return JSON.parse(window[store].getItem(key)); } catch { return null; } },
    set(key, value) { try { window[store].setItem(key, JSON.stringify(value)); } catch { /* the page still has it */ } },
    forget(key) { try { window[store].removeItem(key); } catch { /* nothing was kept */ } },
  });

  return { lang, LETTERS, element, say, send, fetchHtml, follow, tab: kept("sessionStorage"), browser: kept("localStorage") };
})();
