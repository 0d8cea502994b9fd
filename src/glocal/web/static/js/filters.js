// "Only in": folders and labels that the search keeps to. What is chosen is a chip that one press removes.

import { api } from "./api.js";
import { el, fill, icon } from "./dom.js";
import { readable } from "./words.js";

const LISTED = 200;
const NAMES = { folder: "Folder", label: "Label" };

/** The filter of a request: {} or {filter}. */
export function filterOf(chosen) {
	const kept = Object.keys(NAMES).filter((kind) => chosen[kind].length);
	return kept.length ? { filter: Object.fromEntries(kept.map((kind) => [kind, { in: chosen[kind] }])) } : {};
}

/** Builds the section; `changed(kind, names)` when the user has added or removed one. */
export function filterFields(changed) {
	let index = null;
	let chosen = {};
	let seen = {};
	const chips = el("ul.picks");
	const parts = Object.entries(NAMES).map(([kind, title]) => {
		const names = el("datalist", { id: `${kind}-names` });
		const add = () => {
			const name = kind === "folder" ? input.value.replace(/^[\s/]+|[\s/]+$/g, "") : input.value.trim();
			input.value = "";
			if (name && !chosen[kind].includes(name)) changed(kind, [...chosen[kind], name]);
		};
		const typed = (event) => {
			if (!/^(insertT|delete)/.test(event.inputType ?? "") && seen[kind].has(input.value)) add(); // taken from the list
			else if (kind === "folder") list(input.value);
		};
		const input = el("input", { id: `only-${kind}`, type: "text", list: names.id, maxlength: "1000", autocomplete: "off", onchange: add, onfocus: () => list(""), oninput: typed });
		return { kind, input, names, field: el("label", el("span", title), input, names) };
	});

	/** Suggestions; without them a name can be typed as well. */
	async function list(prefix) {
		const mine = index;
		const page = await api.images(mine, 0, LISTED, prefix).catch(() => null);
		if (page && mine === index) learn(page.images);
	}

	function learn(images) {
		for (const { name, label } of images) {
			for (let end = name.indexOf("/"); end > 0; end = name.indexOf("/", end + 1)) seen.folder.add(name.slice(0, end));
			if (label) seen.label.add(label);
		}
		for (const { kind, names } of parts) fill(names, [...seen[kind]].sort().map((value) => el("option", { value })));
	}

	function chip({ kind, input }, name) {
		const remove = () => {
			input.focus();
			changed(kind, chosen[kind].filter((other) => other !== name));
		};
		return el("li", el("button", { "aria-label": `Remove the filter: ${kind} ${readable(name)}`, onclick: remove }, el("span.muted", NAMES[kind]), readable(name), icon("close")));
	}

	return {
		section: el("section.only", { "aria-label": "Only in" }, el("h3.eyebrow", "Only in"), el("div.fields", parts.map(({ field }) => field)), chips),
		learn,
		/** What the address says, and whether the index has labels. */
		set(next, place, labelled) {
			if (index !== place) seen = { folder: new Set(), label: new Set() };
			index = place;
			chosen = next;
			parts[1].field.hidden = !labelled;
			fill(chips, parts.map((part) => chosen[part.kind].map((name) => chip(part, name))));
		},
	};
}
