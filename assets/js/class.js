// A pupil's screen: join with a code, predict, see the answer, go and try, come back.
(() => {
  "use strict";
  const { lang, LETTERS, element, say, send, fetchHtml, follow, tab } = window.atlasRoom;
  const KEY = "atlas_class";
  const parts = Object.fromEntries(["where", "title", "message", "join", "code", "card", "choices", "status", "answer", "try"]
    .map((name) => [name, element(`class-${name}`)]));
  const asked = (new URLSearchParams(location.search).get("code") || "").toUpperCase();
  let me = tab.get(KEY), shown = "", view = null;

  const complain = (sentence) => { parts.message.textContent = sentence || ""; parts.message.hidden = !sentence; };

  function joining(sentence) {
    tab.forget(KEY);
    me = null;
    complain(sentence);
    parts.title.textContent = say("join");
    for (const name of ["where", "card", "choices", "status", "answer"]) parts[name].textContent = "";
    parts.try.hidden = true;
    parts.join.hidden = false;
    parts.code.value = asked;
    if (!asked) parts.code.focus();
  }

  async function join(code) {
    const { value, error } = await send("join", { code });
    if (error) return joining(error);
    me = { code: value.code, pupil: value.pupil };
    tab.set(KEY, me);
    history.replaceState(null, "", `class?code=${value.code}`);
    begin();
  }

  function begin() {
    complain("");
    parts.join.hidden = true;
    shown = "";
    follow(me, {
      show,
      lost: (is) => { if (is) complain(say("lost")); else if (parts.message.textContent === say("lost")) complain(""); },
      gone: (sentence, code) => (code === "not_joined" ? join(me.code) : joining(sentence)),
    });
  }

  const letter = (i) => (i == null ? "" : `${LETTERS[i]} (${view.choices[lang][i]})`);

  function show(next) {
    view = next;
    if (view.over) return over();
    const place = `${view.plan}:${view.at}`;
    const isNew = place !== shown;
    if (isNew) complain("");
    shown = place;
    parts.where.textContent = view.at < 0 ? view.code
      : `${view.code} · ${say("where", { at: view.at + 1, steps: view.steps })} · ${view.title[lang]}`;
    if (view.at < 0) {
      parts.title.textContent = say("lobby");
      for (const name of ["card", "choices", "status", "answer"]) parts[name].textContent = "";
      parts.try.hidden = true;
      return;
    }
    parts.title.textContent = view.question[lang];
    parts.try.hidden = false;
    parts.try.href = view.address[lang];
    if (isNew) {
      parts.answer.textContent = "";
      parts.card.textContent = "";
      fetchHtml("card", { plan: view.plan, at: view.at })
        .then((html) => { if (shown === place) parts.card.innerHTML = html; }).catch(() => {});
      window.scrollTo(0, 0);
    }
    draw(isNew);
    if (view.phase === "answer") reveal(place);
    else delete parts.answer.dataset.place;
  }

  function draw(isNew) {
    const closed = view.phase === "answer", truth = view.answer[lang];
    // Who did not vote again keeps the first prediction.
    const mine = closed ? view.second ?? view.first : view.mine;
    if (isNew) {
      parts.choices.replaceChildren(...view.choices[lang].map((choice, i) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "class-choice";
        button.append(Object.assign(document.createElement("b"), { textContent: LETTERS[i] }), ` ${choice}`);
        button.addEventListener("click", () => vote(i));
        return button;
      }));
    }
    [...parts.choices.children].forEach((button, i) => {
      button.setAttribute("aria-pressed", String(mine === i));
      button.classList.toggle("true", closed && truth === i);
      // Not disabled: a button that loses the focus throws keyboard users back to the top.
      button.setAttribute("aria-disabled", String(closed));
    });
    let sentence = view.again ? say("again") : say("predict");
    if (closed && truth == null) sentence = say("neither");
    else if (closed && mine == null) sentence = say("unvoted", { truth: letter(truth) });
    else if (closed) sentence = say(mine === truth ? "right" : "wrong", { letter: letter(mine), truth: letter(truth) });
    else if (mine != null) sentence = say("taken", { letter: letter(mine) });
    if (parts.status.textContent !== sentence) parts.status.textContent = sentence;
  }

  async function vote(choice) {
    if (view.phase === "answer") return;
    const { value, error } = await send("vote", { ...me, at: view.at, choice });
    complain(error);
    if (value && `${value.plan}:${value.at}` === shown) { view = value; draw(false); }
  }

  async function reveal(place) {
    if (parts.answer.dataset.place === place) return;
    parts.answer.dataset.place = place;
    try {
      const html = await fetchHtml("answer", { ...me, at: view.at });
      if (shown === place) parts.answer.innerHTML = html;
    } catch (error) {
      delete parts.answer.dataset.place;
      complain(error.message);
    }
  }

  function over() {
    tab.forget(KEY);
    parts.title.textContent = say("over");
    for (const name of ["where", "card", "choices", "status", "answer"]) parts[name].textContent = "";
    parts.try.hidden = false;
    parts.try.href = "./";
    parts.try.textContent = say("home");
  }

  parts.join.addEventListener("submit", (event) => { event.preventDefault(); join(parts.code.value); });
  if (me && (!asked || me.code === asked)) begin();
  else if (asked) join(asked);
  else joining("");
})();
