// The keyboard map, and the switch that turns single letters off (WCAG 2.1.4).

import { byId, el, fill, icon } from "./dom.js";

const MAP = [
  ["Anywhere", [["/", "choose a picture"], ["Ctrl V", "search with what was copied"], ["?", "this list"], ["Esc", "back, close"]]],
  ["Results", [["← → ↑ ↓", "go through the hits"], ["Enter", "open a hit"], ["Space", "why was it found?"], ["S", "search with this hit"], ["X", "select, to copy the names"], ["[ ]", "previous and next hit"]]],
  ["Why", [["L", "lines"], ["B", "blink"], ["O", "overlay"], ["[ ]", "previous and next hit"]]],
  ["Box", [["← → ↑ ↓", "move"], ["Shift + arrows", "resize"], ["+ −", "grow and shrink"], ["Delete", "remove"]]],
];

export function keyMap() {
  const dialog = byId("keys");
  const root = document.documentElement;
  const letters = el("input", { type: "checkbox", id: "letters" });
  try {
    root.dataset.letters = localStorage.getItem("glocal.letters") ?? "on";
  } catch {
    root.dataset.letters = "on";
  }
  letters.checked = root.dataset.letters !== "off";
  letters.addEventListener("change", () => {
    root.dataset.letters = letters.checked ? "on" : "off";
    try {
      localStorage.setItem("glocal.letters", root.dataset.letters);
    } catch {
      // Until the page is closed, then.
    }
  });
  fill(
    dialog,
    el("header", {}, el("h2", { id: "keys-title", text: "Keyboard" }), el("button", { type: "button", class: "icon-button", "aria-label": "Close", on: { click: () => dialog.close() } }, icon("close"))),
    el(
      "div",
      { class: "key-groups" },
      MAP.map(([title, rows]) => el("section", {}, el("h3", { text: title }), el("dl", {}, rows.map(([key, words]) => el("div", {}, el("dt", {}, el("kbd", { text: key })), el("dd", { text: words })))))),
    ),
    el("label", { class: "check" }, letters, el("span", { text: "Single keys are shortcuts" })),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  return { open: () => dialog.open || dialog.showModal() };
}
