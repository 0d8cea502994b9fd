// The panel of the query: the picture, the box on it, its numbers, and ways to another picture.

import { api } from "./api.js";
import { byId, el, fill, icon } from "./dom.js";
import { boxEditor } from "./boxeditor.js";
import { MAX_VIEWS } from "./address.js";
import { fit, middle } from "./boxes.js";
import { filterFields } from "./filters.js";
import { plural, readable, share, thousands } from "./words.js";

const FIELDS = [["x", "Left"], ["y", "Top"], ["w", "Width"], ["h", "Height"]];
const SETTLE_MS = 450;

/**
 * Builds the panel; `boxChanged(box)` when the user has finished with a box, `filterChanged(kind, names)`, `another(kind, view)`
 * to choose a picture or a further view, `drop(at)` to remove one.
 */
export function queryPanel({ boxChanged, filterChanged, another, drop }) {
	const panel = byId("query");
	let size = null;
	let box = null;
	let timer = 0;
	let known = null;

	const image = el("img.query-image", { alt: "Your picture" });
	const stage = el("div.query-stage", image);
	const editor = boxEditor(stage, (next, final) => {
		box = next;
		show();
		if (final) later();
	});
	const inputs = FIELDS.map(([key, label]) =>
		el("input", { id: `box-${key}`, type: "number", inputmode: "numeric", min: "0", step: "1", "aria-label": `Box, ${label.toLowerCase()} in pixels`, onchange: typed }),
	);
	const whole = el("button.segment", { onclick: () => choose(null) }, "Whole picture");
	const part = el("button.segment", { onclick: () => choose(box ?? (size && middle(size))) }, "Box");
	const numbers = el("div.box-fields", { hidden: true },
		FIELDS.map(([, label], at) => el("label", el("span", label), inputs[at])),
	);
	const help = el("p.small.muted.box-help", { id: "box-help" }, "Draw on the picture to search for a part of it.");
	const facts = el("p.small.muted.facts-line");
	const name = el("p.query-name");
	const filters = filterFields(filterChanged);
	const views = el("ul.views", { hidden: true, "aria-label": "Views" });
	const more = el("button.button.quiet.add-view", { onclick: () => another("file", true) }, icon("plus"), "Add a view");
	const done = el("button.button.done", { onclick: close }, "Done");
	const strip = el("p.strip-words");
	const openStrip = el("button.button.quiet.strip-box", { onclick: open }, icon("box"), "Refine");
	fill(
		panel,
		el("h2.eyebrow", "Your picture"),
		el("div.stage-wrap", stage),
		views,
		strip,
		el("div.query-tools",
			el("div.segments", { role: "group", "aria-label": "Search for" }, whole, part),
			numbers,
			help,
			name,
			facts,
			filters.section,
		),
		el("div.query-actions",
			openStrip,
			el("button.button.quiet", { "aria-label": "Another picture", onclick: () => another("file") }, icon("picture"), el("span", "Another picture")),
			more,
			el("button.button.quiet.camera-only", { onclick: () => another("camera") }, icon("camera"), el("span", "Camera")),
			done,
		),
	);
	image.addEventListener("load", () => {
		if (!known && image.naturalWidth) resize([image.naturalWidth, image.naturalHeight], false);
		panel.classList.remove("no-preview");
	});
	image.addEventListener("error", () => panel.classList.add("no-preview"));
	stage.addEventListener("click", () => {
		if (isStrip()) open();
	});
	panel.addEventListener("keydown", (event) => {
		if (event.key === "Escape" && panel.classList.contains("open")) {
			event.stopPropagation();
			close();
		}
	});
	const narrow = matchMedia("(max-width: 760px)");
	const isStrip = () => narrow.matches && !panel.classList.contains("open");
	const lock = () => {
		stage.dataset.locked = String(isStrip());
	};
	narrow.addEventListener("change", () => {
		close();
		lock();
	});
	lock();

	function open() {
		panel.classList.add("open");
		for (const other of [byId("results"), document.querySelector(".bar")]) other.inert = true;
		lock();
		panel.querySelector(".views button, .segment[aria-pressed=true]").focus();
	}

	function close() {
		if (!panel.classList.contains("open")) return;
		panel.classList.remove("open");
		for (const other of [byId("results"), document.querySelector(".bar")]) other.inert = false;
		lock();
		openStrip.focus({ preventScroll: true });
	}

	function resize(next, sure) {
		size = next;
		known = sure ? next : known;
		stage.style.setProperty("--ratio", String(size[0] / size[1]));
		editor.size(size);
		if (box) box = fit(box, size);
		inputs.forEach((input, at) => input.setAttribute("max", String(size[at % 2])));
		show();
	}

	function choose(next) {
		box = next ? fit(next, size) : null;
		editor.set(box);
		show();
		if (box) editor.focus();
		commit();
	}

	function typed() {
		const values = inputs.map((input) => Number.parseInt(input.value, 10));
		if (!size || values.some((value) => !Number.isFinite(value))) return show();
		box = fit(values, size);
		editor.set(box);
		show();
		later();
	}

	function later() {
		clearTimeout(timer);
		timer = setTimeout(commit, SETTLE_MS);
	}

	function commit() {
		clearTimeout(timer);
		boxChanged(box);
	}

	function show() {
		whole.setAttribute("aria-pressed", String(!box));
		part.setAttribute("aria-pressed", String(Boolean(box)));
		part.disabled = !size;
		numbers.hidden = !box;
		if (box) inputs.forEach((input, at) => (input.value = String(box[at])));
		help.textContent = !box
			? "Draw on the picture to search for a part of it."
			: matchMedia("(pointer: coarse)").matches
				? "Drag the box or its handles, or type the numbers."
				: "Arrow keys move the box, with Shift they resize it; + and − grow and shrink it; Delete removes it.";
	}

	return {
		/** A new picture. `source` is its address, `label` its name; `start` the box. */
		picture(source, label, start) {
			image.alt = "Your picture";
			size = null;
			known = null;
			box = start;
			clearTimeout(timer);
			editor.set(null);
			editor.size(null);
			editor.set(start);
			panel.classList.remove("no-preview");
			image.src = source;
			name.textContent = readable(label);
			facts.textContent = "";
			strip.textContent = "";
			show();
		},
		/** The box of a search that came from elsewhere: an address, a button. */
		box(next) {
			clearTimeout(timer);
			box = next;
			editor.set(next);
			show();
		},
		/** Where the browser cannot show the file itself. */
		fallback(source) {
			if (panel.classList.contains("no-preview") || !image.src) image.src = source;
		},
		/** What the answer says of the picture. */
		facts(answer) {
			const { width, height, features } = answer.query;
			if (width && height && (!size || size[0] !== width || size[1] !== height)) resize([width, height], true);
			known = [width, height];
			const parts = [`${thousands(width)} × ${thousands(height)} px`];
			if (Number.isFinite(features?.local)) parts.push(`${thousands(features.local)} local features`);
			if (panel.classList.contains("many")) parts.splice(0, 2, "Whole pictures: a box is for one view.");
			else if (box && size) parts.push(`the box is ${share((box[2] * box[3]) / (size[0] * size[1]))} of it`);
			facts.textContent = parts.join(" · ");
			filters.learn(answer.results);
		},
		/** Several views of a thing; the first is the picture. */
		views(all) {
			const many = all.length > 1;
			panel.classList.toggle("many", many);
			views.hidden = !many;
			more.disabled = all.length >= MAX_VIEWS;
			name.textContent = many ? plural(all.length, "view") : readable(all[0].name);
			const focused = [...views.querySelectorAll("button")].indexOf(document.activeElement);
			fill(views, many && all.map((view, at) => el("li",
				el("img", { src: view.query ? api.queryPicture(view.query, 320) : view.url, alt: `View ${at + 1}` }),
				el("button.again", { "aria-label": `Remove view ${at + 1}`, onclick: () => drop(at) }, icon("close")))));
			if (focused >= 0) (views.querySelectorAll("button")[focused] ?? more).focus();
		},
		filter: filters.set,
		/** The short form on a phone. */
		words(text) {
			fill(strip, el("span", name.textContent || "Your picture"), el("span.small.muted", text));
		},
		close,
	};
}
