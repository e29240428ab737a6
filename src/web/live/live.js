// Keeps the page up to date: puts parts that the server pushes in their places, and shows ages instead of times.
"use strict";
(() => {
  const live = document.getElementById("live");
  const word = live.querySelector(".word");
  const address = document.body.dataset.events;
  if (!address || !window.EventSource) return;

  const age = (seconds) => {
    if (seconds < 2) return "just now";
    if (seconds < 60) return Math.floor(seconds) + " s ago";
    if (seconds < 3600) return Math.floor(seconds / 60) + " min ago";
    if (seconds < 86400) return Math.floor(seconds / 3600) + " h ago";
    return Math.floor(seconds / 86400) + " d ago";
  };

  // the server's clock and this one may differ: all but the first tick are sent at the moment that they tell
  let ahead = 0;
  let ticks = 0;
  const tell = (root) => {
    const now = Date.now() / 1000 - ahead;
    for (const time of root.querySelectorAll("time[data-at]")) {
      const text = age(now - Number(time.dataset.at));
      if (time.textContent !== text) time.textContent = text;
    }
  };

  const key = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "");
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);

  // makes an element like another one, keeping what did not change: focus, scroll positions and what was opened stay
  const morph = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name, value } of [...fresh.attributes]) {
      if (name === "open" && old.nodeName === "DETAILS") continue;
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (name === "open" && old.nodeName === "DETAILS") continue;
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    if (old.nodeName === "TIME" && old.dataset.at) return;
    children(old, fresh);
  };

  const children = (old, fresh) => {
    const keyed = new Map();
    for (const child of old.childNodes) if (key(child)) keyed.set(key(child), child);
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const name = key(child);
      const known = name ? keyed.get(name) : at;
      if (known && alike(known, child)) {
        if (known === at) at = at.nextSibling;
        else old.insertBefore(known, at);
        morph(known, child);
      } else {
        old.insertBefore(child, at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  const state = (name, text) => {
    if (live.dataset.state === name) return;
    live.dataset.state = name;
    word.textContent = text;
  };

  const source = new EventSource(address);
  source.addEventListener("part", (event) => {
    const { id, html } = JSON.parse(event.data);
    const old = document.getElementById(id);
    if (!old) return;
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    children(old, fresh.content);
    tell(old);
  });
  source.addEventListener("tick", (event) => {
    const { at, title } = JSON.parse(event.data);
    if (ticks++ > 0) ahead = Date.now() / 1000 - at;
    document.title = title;
    const time = live.querySelector("time");
    if (time) time.dataset.at = at;
    state("live", "live ·");
    tell(document);
  });
  source.addEventListener("gone", () => {
    source.close();
    state("lost", "gone ·");
  });
  source.addEventListener("error", () => state("lost", "connection lost ·"));

  tell(document);
  setInterval(() => tell(document), 1000);
})();
