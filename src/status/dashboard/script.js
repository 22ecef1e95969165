// Makes pages move. Everything works without it.
(() => {
  "use strict";
  const place = document.body.dataset.live;
  const state = document.getElementById("live");

  // Durations as the server writes them: one or two units.
  const brief = (ms) => {
    const s = Math.max(0, Math.floor(ms / 1000));
    const pair = (a, u, b, v) => (b ? `${a}${u} ${b}${v}` : `${a}${u}`);
    if (s < 1) return "0s";
    if (s < 60) return `${s}s`;
    if (s < 3600) return pair(Math.floor(s / 60), "m", s % 60, "s");
    if (s < 86400) return pair(Math.floor(s / 3600), "h", Math.floor(s / 60) % 60, "m");
    return pair(Math.floor(s / 86400), "d", Math.floor(s / 3600) % 24, "h");
  };
  // The server's clock counts, not that of the browser.
  let ahead = 0;
  const shown = state && state.querySelector("time");
  if (shown) ahead = Date.parse(shown.dateTime) - Date.now();

  const words = (time) => {
    const at = Date.parse(time.dateTime);
    const now = Date.now() + ahead;
    if (time.hasAttribute("data-lasting")) return brief(now - at);
    const past = time.dataset.relative;
    if (at > now) return at - now < 1000 ? "now" : `in ${brief(at - now)}`;
    if (past) return past;
    return now - at < 1000 ? "just now" : `${brief(now - at)} ago`;
  };
  const update = () => {
    for (const time of document.querySelectorAll("time[data-relative], time[data-lasting]")) {
      const text = words(time);
      if (time.textContent !== text) time.textContent = text;
    }
  };

  // Changes an element into another one in place, so that focus, selection, scroll and what was typed stay.
  const keeps = (name, element) =>
    name === "open" && element.localName === "details" ||
    (name === "value" || name === "checked") && element.localName === "input" && element.type !== "hidden" ||
    name === "selected" || name === "hidden" && element.hasAttribute("data-copy");
  const same = (a, b) =>
    a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.nodeType !== 1 || keyOf(a) === keyOf(b));
  // A form with a field of that name has no id of its own as a property.
  const keyOf = (e) => e.getAttribute && e.getAttribute("id") || e.dataset && (e.dataset.job || e.dataset.event || e.dataset.webhook || e.dataset.operation || e.dataset.step) || "";
  const morph = (from, to) => {
    if (from.nodeType !== 1) {
      if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
      return;
    }
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && !keeps(name, from)) from.removeAttribute(name);
    }
    for (const { name, value } of [...to.attributes]) {
      if (from.getAttribute(name) !== value && !keeps(name, from)) from.setAttribute(name, value);
    }
    if (from.localName === "textarea") return;
    let at = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      let found = at;
      while (found && !same(found, wanted)) found = found.nextSibling;
      // Without a key only the next one can be the same.
      if (found && found !== at && !(wanted.nodeType === 1 && keyOf(wanted))) found = null;
      if (!found) {
        from.insertBefore(document.importNode(wanted, true), at);
        continue;
      }
      while (at !== found) {
        const next = at.nextSibling;
        at.remove();
        at = next;
      }
      morph(found, wanted);
      at = found.nextSibling;
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };
  const prepare = (root) => {
    for (const button of root.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  };

  // One stream while the page is visible.
  let stream = null;
  const say = (name, text) => {
    if (!state) return;
    state.dataset.state = name;
    if (state.textContent !== text) state.textContent = text;
  };
  const close = () => {
    if (stream) stream.close();
    stream = null;
  };
  let retry = 0;
  const open = () => {
    close();
    clearTimeout(retry);
    if (place === undefined || document.hidden) return;
    stream = new EventSource(`/dashboard/live?page=${encodeURIComponent(place)}`);
    stream.onopen = () => say("live", "Live");
    // The server lets a stream end from time to time, so that the session is renewed.
    stream.addEventListener("again", open);
    stream.addEventListener("state", (event) => {
      const wrong = JSON.parse(event.data);
      say(wrong ? "lost" : "live", wrong ? `Not current: ${wrong}` : "Live");
    });
    stream.onerror = () => {
      // After an answer that is no stream a browser gives up by itself.
      const isOver = stream && stream.readyState === 2;
      say("lost", `${isOver ? "Not live" : "Connection lost"}, trying again`);
      if (!isOver) return;
      retry = setTimeout(open, 5000);
      // Of a session that has ended the page is the form to sign in.
      fetch(location, { method: "HEAD" }).then((answer) => { if (answer.status === 401) location.reload(); }, () => {});
    };
    stream.addEventListener("part", (event) => {
      const template = document.createElement("template");
      template.innerHTML = JSON.parse(event.data);
      const wanted = template.content.firstElementChild;
      const old = wanted && document.getElementById(wanted.id);
      if (!old) return;
      morph(old, wanted);
      prepare(old);
      update();
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
      say("still", "Paused while hidden");
    } else open();
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => { if (event.persisted) open(); });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    navigator.clipboard.writeText(button.dataset.copy).then(
      () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 2000); },
      () => { button.textContent = "Not permitted"; });
  });
  document.addEventListener("submit", (event) => {
    const asked = event.submitter && event.submitter.dataset.confirm;
    if (asked && !window.confirm(asked)) return event.preventDefault();
    // What is secret does not stay in the page, not even for the way back.
    if (event.target.hasAttribute("data-secret")) setTimeout(() => event.target.reset(), 0);
  });

  const here = new URL(location);
  if (here.searchParams.has("done")) {
    here.searchParams.delete("done");
    history.replaceState(null, "", here);
  }
  prepare(document);
  update();
  setInterval(update, 1000);
  open();
})();
