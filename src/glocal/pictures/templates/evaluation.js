"use strict";
document.documentElement.classList.add("live");
const list = document.querySelector(".strips"), strips = [...list.children];
const sort = document.querySelector("#sort"), tools = document.querySelector(".tools");
const setups = [...document.querySelectorAll("[name=setup]")];
const OPEN = strips.filter(strip => strip.open).length;

const keys = {
  worst: strip => rank(strip) < 0 ? Infinity : rank(strip),
  best: strip => rank(strip) < 0 ? Infinity : -rank(strip),
  name: strip => Number(strip.dataset.name),
};
let at = 0;
const rank = strip => Number(strip.dataset.order.split(" ")[at]); // -1: the query does not count

function arrange() {
  at = Math.max(0, setups.findIndex(each => each.checked));
  const limit = tools.getBoundingClientRect().bottom;
  // Whoever reads a strip keeps it before their eyes while the others move.
  const inside = list.getBoundingClientRect().top < limit;
  const read = inside ? strips.find(strip => strip.getBoundingClientRect().bottom > limit + 20) : null;
  const before = read ? read.getBoundingClientRect().top : 0;
  const key = keys[sort.value];
  const order = [...strips].sort((a, b) => key(a) - key(b) || Number(a.dataset.name) - Number(b.dataset.name));
  list.append(...order);
  strips.splice(0, strips.length, ...order);
  if (read) window.scrollBy(0, read.getBoundingClientRect().top - before);
}
for (const setup of setups) setup.addEventListener("change", arrange);
sort.addEventListener("change", () => {
  arrange();
  for (const strip of strips.slice(0, OPEN)) strip.open = true;
  if (list.getBoundingClientRect().top < 0) document.querySelector("#queries").scrollIntoView();
});
arrange(); // a reloaded page may keep the switches where they were

function show() {
  const strip = document.getElementById(location.hash.slice(1));
  if (!strip || !strip.matches(".strip")) return;
  strip.open = true;
  strip.scrollIntoView({block: "start"});
  strip.querySelector("summary").focus({preventScroll: true});
}
window.addEventListener("hashchange", show);
document.addEventListener("click", event => {
  const link = event.target.closest('a[href^="#q"]');
  if (link && link.getAttribute("href") === location.hash) show();
});
show();

const unfold = document.querySelector("#unfold");
unfold.addEventListener("click", () => {
  const open = strips.some(strip => !strip.open);
  for (const strip of strips) strip.open = open;
  unfold.textContent = open ? "Close all" : "Open all";
});

const readout = document.querySelector(".readout");
for (const chart of document.querySelectorAll(".bars")) {
  const bars = [...chart.querySelectorAll("a")];
  const tell = event => {
    const title = event.target.closest("a, g:not(.grid)")?.querySelector("title");
    if (title) readout.textContent = title.textContent;
  };
  chart.addEventListener("pointerover", tell);
  chart.addEventListener("focusin", tell);
  bars.forEach((bar, i) => bar.setAttribute("tabindex", i ? -1 : 0)); // one stop for Tab, arrows for the rest
  chart.addEventListener("keydown", event => {
    const from = bars.indexOf(event.target.closest("a"));
    const to = {ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: bars.length - 1}[event.key];
    if (from < 0 || !bars[to]) return;
    event.preventDefault();
    bars[from].setAttribute("tabindex", -1);
    bars[to].setAttribute("tabindex", 0);
    bars[to].focus();
  });
}
