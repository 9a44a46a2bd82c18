// Answers and the inputs that they belong to: an answer to other inputs is greyed, or asked for again where it is quick.
(() => {
  "use strict";
  const QUICK = 1; // seconds
  const LOOK = 30; // milliseconds between a change of the page and the look for a lesson
  const PAUSE = 350; // milliseconds after the last change of an input
  const behavior = window.matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth";
  const runs = {}; // by place: { running, dirty, answered, seconds, start, mark, title, asked: "", "click" or "drawing" }
  let timer;
  let holding; // the timer of an answer that is kept in view
  let isFilling = false; // whether a handler is at work that sets inputs
  let unanswered = ""; // "PLACE NUMBER" of the last run that was over without an answer

  const run = (name) => (runs[name] ||= {
    running: false, dirty: false, answered: false, seconds: null, start: 0, mark: "", asked: "", title: "",
  });
  const place = (name) => document.getElementById(`${name}-result`);
  const button = (name) => document.getElementById(`${name}-run`);
  const visible = (element) => Boolean(element && element.offsetParent !== null);
  const places = () => [...document.querySelectorAll(".atlas-result")].map((el) => el.id.replace(/-result$/, ""));

  function grey(name, stale) {
    const element = place(name);
    if (!element) return;
    if (!stale) { delete element.dataset.stale; return; }
    // While Stop stands in its place the button is not in the page.
    const title = (run(name).title = (button(name) || {}).textContent || run(name).title);
    element.dataset.stale = window.atlasLang === "zh"
      ? `输入已改变，请按“${title.trim()}”更新`
      : `The inputs have changed. Press “${title.trim()}” to update.`;
  }

  // A question without an image, a text or a label would only be refused. The box of labels is empty between two of them.
  function complete() {
    const image = document.querySelector("#image");
    if (visible(image) && !image.querySelector("img, video, canvas")) return false;
    const chips = document.querySelector(".atlas-needed .atlas-labels");
    if (visible(chips) && !chips.querySelector("li")) return false;
    return ![...document.querySelectorAll(".atlas-needed textarea, .atlas-needed input[type=text]")].some(
      (box) => visible(box) && !box.closest(".atlas-labels") && !box.value.trim(),
    );
  }

  function askAgain() {
    if (isFilling || !complete()) return;
    for (const name of places()) {
      const state = run(name);
      const quick = state.seconds !== null && state.seconds < QUICK;
      if (state.dirty && state.answered && quick && !state.running && visible(place(name)) && visible(button(name))) {
        button(name).click();
      }
    }
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(askAgain, PAUSE);
  }

  // A run begins; Gradio calls it in front of the handler.
  window.atlas.started = (name) => {
    const state = run(name);
    const title = (button(name) || {}).textContent || state.title;
    Object.assign(state, { running: true, dirty: false, start: performance.now(), title });
  };

  // Whether the answer of a place depends on the page's question, or on its checkpoint alone.
  const depends = (name, checkpoint) => {
    const kinds = place(name).classList;
    return !kinds.contains("atlas-own-inputs") || (checkpoint && kinds.contains("atlas-page-checkpoint"));
  };

  function age(checkpoint, following, only) {
    for (const name of places()) {
      if (name === following || (only ? name !== only : !depends(name, checkpoint))) continue;
      const state = run(name);
      state.dirty = true;
      if (checkpoint) state.seconds = null;
      if (state.answered) grey(name, true);
    }
  }

  // A visitor changed an input. `checkpoint`: it was the checkpoint, and another one may be slower or quicker.
  // `following`: a place that has followed. `only`: the place whose own input it was.
  window.atlas.touched = (checkpoint, following, only) => {
    age(checkpoint, following, only);
    later();
  };

  // Around a handler that sets inputs. The first tab answers behind it; other places wait until the inputs are there.
  window.atlas.filling = () => {
    isFilling = true;
    age(false, "try");
  };
  window.atlas.filled = () => {
    isFilling = false;
    window.atlas.touched(false, "try");
  };

  // What stands above an answer may still grow or shrink once it is in view: for three seconds it is brought back, unless the
  // visitor scrolls or presses something.
  function hold(element, checks = 12, before = NaN) {
    clearTimeout(holding);
    holding = setTimeout(() => {
      const { top } = element.getBoundingClientRect();
      const isAway = top < -40 || top > window.innerHeight / 2;
      if (isAway && top === before) element.scrollIntoView({ behavior: "instant", block: "start" });
      if (checks) hold(element, checks - 1, top);
    }, 250);
  }
  ["wheel", "touchmove", "pointerdown", "keydown"].forEach((kind) => {
    document.addEventListener(kind, () => clearTimeout(holding), { capture: true, passive: true });
  });

  // Shows an answer that somebody asked for, from its button on: notes stand between the two. On a wide screen, and where
  // somebody draws, as much as possible of what is above stays in sight.
  function bring(name) {
    const state = run(name);
    const { asked } = state;
    const element = place(name);
    state.asked = "";
    if (!asked || !visible(element)) return;
    const first = visible(button(name)) ? button(name) : element;
    const missing = element.getBoundingClientRect().top - 0.6 * window.innerHeight;
    const hidden = first.getBoundingClientRect().top < 0;
    if (asked === "click" && (hidden || window.innerWidth < 700)) {
      first.scrollIntoView({ behavior, block: "start" });
      hold(first);
    } else if (missing > 0) {
      window.scrollBy({ top: missing, behavior });
    }
  }

  function finished(name, answered) {
    const state = run(name);
    if (!state.running) return;
    state.running = false;
    if (answered) {
      state.answered = true;
      state.seconds = (performance.now() - state.start) / 1000;
      if (!state.dirty) {
        grey(name, false);
        bring(name);
      } else {
        later();
      }
    } else {
      state.dirty = true;
      if (state.answered) grey(name, true);
    }
    state.asked = "";
  }

  function look() {
    for (const name of places()) {
      const mark = place(name).querySelector("[data-answer]");
      const state = run(name);
      if (mark && mark.dataset.answer !== state.mark) {
        state.mark = mark.dataset.answer;
        // What was there when the page opened took nobody's time: it is never asked again by itself.
        if (!state.running) Object.assign(state, { running: true, start: -Infinity });
        finished(name, !state.mark.startsWith("none"));
      } else if (state.running && state.asked && visible(document.getElementById(`${name}-stop`))) {
        bring(name); // a run that takes long: one watches it
      }
    }
    const { over, goesOn } = document.querySelector("#atlas-over [data-over]")?.dataset || {};
    if (over && over !== unanswered) {
      const [name] = over.split(" ");
      if (goesOn !== undefined) run(name).dirty = true; // the answer that is still to come belongs to other inputs
      else finished(name, false);
    }
    unanswered = over || unanswered;
    walked ||= setTimeout(walk, LOOK);
  }

  // Whether a lesson is in view. To ask what is visible makes the browser lay out the page: once for all that changes
  // within a moment.
  let walked;
  function walk() {
    walked = undefined;
    document.body.toggleAttribute("data-walking", visible(document.getElementById("walk-step")));
  }

  document.addEventListener("click", (event) => {
    const source = event.target.closest && event.target.closest(".atlas-run, [data-example], .atlas-surface");
    if (source && event.isTrusted) {
      const asked = source.matches(".atlas-surface") ? "drawing" : "click";
      places().filter((name) => visible(place(name))).forEach((name) => { run(name).asked = asked; });
    }
    // A tab that comes into view may hold an answer to other inputs.
    setTimeout(() => { look(); later(); }, 60);
  });

  // Gradio tells of keys that are typed, but not of words from the clipboard or an input method.
  document.addEventListener("input", (event) => {
    const box = event.target;
    if (!box.matches || !box.matches("textarea, input[type=text]") || box.matches("[role=listbox]")) return;
    if (box.closest(".atlas-top, .atlas-form, #settings")) window.atlas.touched(false);
  });

  const begin = () => new MutationObserver(look).observe(document.body, {
    childList: true, subtree: true, attributes: true, attributeFilter: ["data-answer"],
  });
  if (document.body) begin(); else document.addEventListener("DOMContentLoaded", begin);
})();
