// The keyboard map, and the switch that turns single letters off (WCAG 2.1.4).

import { byId, el, fill, iconButton, keep, recall } from "./dom.js";

const MAP = [
	["Anywhere", [["/", "choose a picture"], ["Ctrl V", "search with what was copied"], ["?", "this list"], ["Esc", "back, close"]]],
	["Results", [["← → ↑ ↓", "go through the hits"], ["Enter Space", "why was it found?"], ["S", "search with this hit"], ["X", "select, to copy the names"], ["[ ]", "previous and next hit"]]],
	["Why", [["L", "lines"], ["B", "blink"], ["O", "overlay"], ["[ ]", "previous and next hit"]]],
	["Lab", [["← → ↑ ↓", "go through queries and photos"], ["W", "worst query"], ["[ ]", "previous and next query"]]],
	["Box", [["← → ↑ ↓", "move"], ["Shift + arrows", "resize"], ["+ −", "grow and shrink"], ["Delete", "remove"]]],
];

export function keyMap() {
	const dialog = byId("keys");
	const root = document.documentElement;
	const letters = el("input", { type: "checkbox", id: "letters" });
	root.dataset.letters = recall("letters") ?? "on";
	letters.checked = root.dataset.letters !== "off";
	letters.addEventListener("change", () => {
		root.dataset.letters = letters.checked ? "on" : "off";
		keep("letters", root.dataset.letters);
	});
	fill(
		dialog,
		el("header", el("h2", { id: "keys-title" }, "Keyboard"), iconButton("close", "Close", () => dialog.close())),
		el("div.key-groups",
			MAP.map(([title, rows]) => el("section", el("h3", title), el("dl", rows.map(([key, words]) => el("div", el("dt", el("kbd", key)), el("dd", words)))))),
		),
		el("label.check", letters, el("span", "Single keys are shortcuts")),
	);
	dialog.addEventListener("click", (event) => {
		if (event.target === dialog) dialog.close();
	});
	return { open: () => dialog.open || dialog.showModal() };
}
