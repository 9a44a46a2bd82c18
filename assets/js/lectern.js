// The teacher's screen of a class, made for the projector: who has joined, the step, the votes, the answer.
(() => {
  "use strict";
  const { lang, LETTERS, element, say, send, fetchHtml, follow, browser } = window.atlasRoom;
  const KEY = "atlas_lectern";
  const names = ["message", "where", "code", "count", "title", "lobby", "qr", "address", "step", "card", "choices", "answer",
    "controls", "notes", "page", "more"];
  const parts = Object.fromEntries(names.map((name) => [name, element(`lectern-${name}`)]));
  // The Teach room hands the key over behind the # of the address, which no server sees; it goes from the bar at once.
  let room = null;
  if (location.hash.length > 1) {
    try { room = JSON.parse(decodeURIComponent(location.hash.slice(1))); } catch { /* an address that was typed */ }
    history.replaceState(null, "", location.pathname);
  }
  if (room) browser.set(KEY, room);
  else room = browser.get(KEY);

  let view = null, shown = "", showsVotes = false, isBusy = false;
  const complain = (sentence) => { parts.message.textContent = sentence || ""; parts.message.hidden = !sentence; };
  const button = (name) => document.querySelector(`#lectern [data-do=${name}]`);

  function ended(sentence) {
    browser.forget(KEY);
    parts.title.textContent = sentence;
    for (const name of ["lobby", "step", "controls", "notes", "more"]) parts[name].hidden = true;
    for (const name of ["answer", "count", "code", "where"]) parts[name].textContent = "";
    const back = Object.assign(document.createElement("a"), { href: "teach", textContent: say("plans"), className: "atlas-chip" });
    parts.answer.append(back);
  }

  function show(next) {
    view = next;
    if (view.over) return ended(say("over"));
    complain(room.qr ? "" : say("only_here"));
    const place = `${view.plan}:${view.at}`, isNew = place !== shown, isLobby = view.at < 0;
    shown = place;
    parts.controls.hidden = parts.more.hidden = false;
    parts.lobby.hidden = !isLobby;
    parts.step.hidden = parts.notes.hidden = parts.page.hidden = isLobby;
    parts.code.textContent = isLobby ? "" : view.code;
    const people = `${say("joined", { count: view.pupils })} · ${say("connected", { count: view.connected })}`;
    parts.count.textContent = isLobby ? people : say("voted", { count: view.voted, pupils: view.pupils });
    parts.where.textContent = isLobby ? room.title[lang]
      : `${say("where", { at: view.at + 1, steps: view.steps })} · ${view.title[lang]}`;
    parts.title.textContent = isLobby ? view.code : view.question[lang];
    if (isLobby) {
      parts.qr.innerHTML = room.qr;
      parts.address.textContent = room.address.split("?")[0];
      parts.answer.textContent = "";
    }
    if (isNew) begin(place, isLobby);
    buttons(isLobby);
    if (!isLobby) { votes(); if (view.phase === "answer") reveal(place); }
  }

  function begin(place, isLobby) {
    showsVotes = false;
    parts.answer.textContent = parts.card.textContent = "";
    delete parts.answer.dataset.place;
    window.scrollTo(0, 0);
    if (isLobby) return;
    parts.page.href = `${view.address[lang]}${view.address[lang].includes("?") ? "&" : "?"}projector=1&plan=${view.plan}:${view.at}`;
    const facts = parts.notes.querySelector("dl");
    facts.replaceChildren(...["say", "usual", "next"].flatMap((name) => [
      Object.assign(document.createElement("dt"), { textContent: say(name) }),
      Object.assign(document.createElement("dd"), { textContent: view.notes[lang][name] }),
    ]));
    fetchHtml("card", { plan: view.plan, at: view.at })
      .then((html) => { if (shown === place) parts.card.innerHTML = html; }).catch(() => {});
  }

  function buttons(isLobby) {
    const closed = view.phase === "answer";
    // A switched-off button keeps the focus: the class is led by keys as well.
    const off = { previous: isLobby, votes: isLobby, again: isLobby || closed || view.again, run: isLobby || closed || isBusy,
      next: view.at + 1 >= view.steps };
    for (const [name, is] of Object.entries(off)) button(name).setAttribute("aria-disabled", String(is));
    button("next").classList.toggle("quiet", !isLobby && !closed);
    button("run").classList.toggle("quiet", isLobby || closed);
    button("next").textContent = isLobby ? say("begin") : say("following");
    button("run").textContent = isBusy ? say("running") : say("run");
    button("votes").textContent = say(showsVotes ? "hide" : "votes");
    button("votes").setAttribute("aria-pressed", String(showsVotes));
    button("door").textContent = say(view.closed ? "reopen" : "close");
  }

  // Both votes side by side. During a vote they are hidden, because a bar that grows draws further votes to it.
  function votes() {
    const seen = showsVotes || view.phase === "answer", truth = view.answer[lang];
    const rounds = view.after ? [view.before, view.after] : [view.before];
    const most = Math.max(1, ...rounds.map((round) => round.reduce((sum, count) => sum + count, 0)));
    const text = (tag, kind, words) => Object.assign(document.createElement(tag), { className: kind, textContent: words });
    parts.choices.setAttribute("aria-label", say("choices"));
    parts.choices.classList.toggle("seen", seen);
    parts.choices.replaceChildren(...view.choices[lang].map((choice, i) => {
      const row = document.createElement("li");
      const isTrue = view.phase === "answer" && truth === i;
      row.classList.toggle("true", isTrue);
      row.append(text("b", "", LETTERS[i]), text("span", "lectern-choice", choice + (isTrue ? ` ✓ ${say("truth")}` : "")));
      if (seen) {
        const bars = text("span", "lectern-bars", "");
        rounds.forEach((round, r) => {
          const bar = text("span", r ? "after" : "before", "");
          bar.style.setProperty("--share", `${(100 * round[i]) / most}%`);
          bar.append(text("em", "", `${round[i]}`), text("small", "", rounds.length > 1 ? say(r ? "after" : "before") : ""));
          bars.append(bar);
        });
        row.append(bars);
      }
      return row;
    }));
  }

  async function reveal(place) {
    if (parts.answer.dataset.place === place) return;
    parts.answer.dataset.place = place;
    try {
      const html = await fetchHtml("answer", { code: room.code, word: room.word, at: view.at });
      if (shown === place) parts.answer.innerHTML = html;
    } catch (error) {
      complain(error.message);
    }
  }

  async function lead(what, more = {}) {
    const { value, error } = await send("lead", { code: room.code, key: room.key, do: what, ...more });
    if (error) complain(error);
    else if (value.version >= view.version) show(value);
  }

  const ACTIONS = {
    previous: () => lead("move", { at: view.at - 1 }),
    next: () => lead("move", { at: view.at + 1 }),
    again: () => lead("again"),
    votes: () => { showsVotes = !showsVotes; buttons(false); votes(); },
    door: () => lead(view.closed ? "open" : "close"),
    end: () => { if (window.confirm(say("sure"))) lead("end"); },
    async run() {
      isBusy = true;
      buttons(false);
      await lead("run");
      isBusy = false;
      if (!view.over) buttons(view.at < 0);
    },
    async table() {
      const answer = await fetch("class/export", {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ code: room.code, key: room.key, lang }),
      });
      if (!answer.ok) return complain(say("failed"));
      const link = document.createElement("a");
      link.download = `class-${view.code}.csv`;
      link.href = URL.createObjectURL(await answer.blob());
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    },
  };

  function act(name) {
    const pressed = button(name);
    if (!view || view.over || !pressed || pressed.getAttribute("aria-disabled") === "true") return;
    ACTIONS[name]();
  }

  document.getElementById("lectern").addEventListener("click", (event) => {
    const pressed = event.target.closest("[data-do]");
    if (pressed) act(pressed.dataset.do);
  });
  const KEYS = { ArrowRight: "next", PageDown: "next", n: "next", ArrowLeft: "previous", PageUp: "previous", p: "previous",
    r: "run", v: "votes", a: "again" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, summary, audio, video")) return;
    if (event.key.toLowerCase() === "l") document.querySelector(`[data-set-lang=${lang === "zh" ? "en" : "zh"}]`).click();
    const name = KEYS[event.key] || KEYS[event.key.toLowerCase()];
    if (!name) return;
    event.preventDefault();
    act(name);
  });

  if (!room) { ended(say("not_here")); return; }
  follow({ code: room.code, word: room.word }, {
    show,
    lost: (is) => { if (is) complain(say("lost")); else if (parts.message.textContent === say("lost")) complain(""); },
    gone: (sentence) => ended(sentence),
  });
})();
