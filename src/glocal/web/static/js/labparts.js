// Pieces of the Lab: words, the table of scores, the protocol card, curves.

import { el, svg } from "./dom.js";
import { baseOf, plural, readable, thousands } from "./words.js";

const MINUS = "\u2212";
const THIN = "\u202f";

/** A share as points of 100, as in papers. */
export const points = (value) => (Number.isFinite(value) ? (100 * value).toFixed(1) : "–");
const exact = (value) => (Number.isFinite(value) ? (100 * value).toFixed(2) : "–");

/** A difference with its sign. */
export function signed(value, digits = 1) {
	if (!Number.isFinite(value)) return "–";
	const text = Math.abs(100 * value).toFixed(digits);
	if (Number(text) === 0) return text;
	return (value < 0 ? MINUS : "+") + text;
}

export const names = {
	setup: (setup) => readable(setup.slice(0, 1).toUpperCase() + setup.slice(1)),
	/** A thumbnail, or a place for one that nobody has. */
	photo(url, width, alt = "") {
		if (!url) return el("span.lab-photo.none", { "aria-hidden": alt ? null : "true" }, "no photo");
		const missing = () => image.replaceWith(el("span.lab-photo.none", "cannot be read"));
		const image = el("img.lab-photo", { src: `${url}?w=${width}`, alt, loading: "lazy", decoding: "async", draggable: "false", onerror: missing });
		return image;
	},
};

const cell = (text, props = {}) => el("td", { ...props, text });
const head = (text, props = {}) => el("th", { scope: "col", ...props }, text);

/** The scores of a run, or the difference of two. */
export function table(run, compared, chosen) {
	const row = (setup, cells) => el("tr", { class: setup === chosen ? "chosen" : null }, el("th", { scope: "row" }, names.setup(setup)), cells);
	const rows = compared
		? compared.setups.map((each) => row(each.setup, [
				cell(exact(each.a)), cell(exact(each.b)),
				cell(signed(each.difference, 2), { class: each.distinguishable ? (each.difference < 0 ? "bad strong" : "good strong") : "strong" }),
				cell(each.low === null ? "–" : `${signed(each.low)} … ${signed(each.high)}`),
				cell(each.p === null ? "–" : each.p < 0.001 ? "<0.001" : each.p.toFixed(3)),
				cell(`${each.better} / ${each.worse} / ${each.equal}`),
			]))
		: run.metrics.map((each) => row(each.setup, [
				cell(exact(each.mean), { class: "strong" }),
				each.precision.map((value) => cell(points(value))),
				cell(points(each.recall.at(-1))),
				cell(thousands(each.counted)),
			]));
	const titles = compared
		? [`${run.title} A`, `${run.title} B`, "B − A", "95 % interval", "p", "better / worse / equal"]
		: [run.title, ...run.cutoffs.map((k) => `mP@${k}`), run.cutoffs.length ? `mR@${run.cutoffs.at(-1)}` : "mR", "queries"];
	const caption = compared ? "Two runs: points of 100, over the queries that count in both" : "Scores in points of 100";
	return el("div.lab-table", { tabindex: "0", role: "region", "aria-label": caption },
		el("table",
			el("caption.unseen", caption),
			el("thead", el("tr", head(el("span.unseen", "Setup")), titles.map((title) => head(title)))),
			el("tbody", rows)),
		!compared && run.first_four !== null && el("p", `${run.first_four.toFixed(2)} of the first four are right`),
		!compared && run.groups.length > 1 && groups(run));
}

function groups(run) {
	return el("details", el("summary", `${plural(run.groups.length, "kind")} of queries`),
		el("table",
			el("caption.unseen", "Scores of kinds of queries"),
			el("thead", el("tr", head("Kind"), run.setups.map((setup) => head(names.setup(setup))), head("queries"))),
			el("tbody", run.groups.map((each) => el("tr", el("th", { scope: "row" }, each.name),
				run.setups.map((setup) => cell(points(each.means[setup]))), cell(thousands(each.queries)))))));
}

const MAIN = ["protocol", "gallery", "distractors", "crop", "model", "weights", "rerank", "image_size"];
const SHORT = { weights: 12, ground_truth: 12, images: 12 };
const WIDE = "(min-width: 1101px)";

/** The protocol card of a run; of two runs with what differs between them first. */
export function overview(run, other, compared) {
	const fact = (each) => pair(each.title, [side("A", each.a || "not told"), side("B", each.b || "not told")]);
	return [
		compared && el("section",
			el("h2", "What differs"),
			compared.differs.length ? el("dl", compared.differs.map(fact)) : el("p", "Nothing that the cards say.")),
		card(run, other && "A", run.notes),
		other && card(other, "B", other.notes.filter((note) => !run.notes.includes(note))),
	];
}

const side = (letter, text) => el("span.lab-side", el("b", letter), ` ${text}`);
const pair = (title, ...value) => el("div", el("dt", title), el("dd", value));

function card(run, letter, notes) {
	const value = (key) => run.card.find((each) => each.key === key)?.value ?? "";
	const fact = (each) => pair(each.title, SHORT[each.key] ? el("span", { title: each.value }, `${each.value.slice(0, SHORT[each.key])}…`) : each.value);
	const first = MAIN.map((key) => run.card.find((each) => each.key === key)).filter(Boolean);
	const rest = run.card.filter((each) => !MAIN.includes(each.key));
	const gist = [value("model"), value("rerank") === "none" ? "no re-ranking" : value("rerank"), `query boxes ${value("crop") || "not told"}`, `${thousands(value("gallery"))} photos`];
	return el("section",
		el("h2", letter && el("b", `${letter} `), readable(letter ? run.name : run.benchmark)),
		el("p.lab-gist", gist.filter(Boolean).join(" · ")),
		notes.map((note) => el("p.lab-note", note)),
		el("details", { open: matchMedia(WIDE).matches && letter !== "B" }, el("summary", "Protocol"), el("dl", first.map(fact))),
		el("details", el("summary", run.cost.length ? "More facts, cost, command" : "More facts, command"),
			el("dl", rest.map(fact)),
			run.cost.length > 0 && [el("h3", "Cost"), el("dl", run.cost.map((each) => pair(each.name, each.value)))],
			run.command && [el("h3", "Command"), el("pre", { tabindex: "0" }, run.command)]));
}

const W = 300;
const H = 170;

/** Precision over recall: lines of 101 values each, told apart by dashes as well. */
export function chart(title, lines) {
	const drawn = lines.filter((line) => line.values);
	if (!drawn.length) return null;
	const path = (values) => `M${values.map((value, i) => `${((W * i) / 100).toFixed(1)} ${(H - H * value).toFixed(1)}`).join("L")}`;
	const told = drawn.map((line) => `${line.name}: ${[0, 50, 100].map((i) => `${points(line.values[i])} at recall ${i}${THIN}%`).join(", ")}`).join("; ");
	const ticks = [0, 0.5, 1];
	return el("figure.lab-chart",
		el("figcaption", title),
		svg("svg", { viewBox: `-34 -8 ${W + 48} ${H + 40}`, role: "img", "aria-label": `${title}. ${told}` },
			[0, 0.25, 0.5, 0.75, 1].map((at) => svg("path.lab-grid-line", { d: `M0 ${H * at}H${W}M${W * at} 0V${H}` })),
			ticks.map((at) => svg("text", { x: -6, y: H - H * at + 5, "text-anchor": "end" }, String(100 * at))),
			ticks.map((at) => svg("text", { x: W * at, y: H + 18, "text-anchor": "middle" }, String(100 * at))),
			svg("text", { x: W * 0.75, y: H + 18, "text-anchor": "middle" }, "recall"),
			drawn.map((line) => svg("path", { class: `lab-line kind-${line.kind}${line.strong ? " strong" : ""}`, d: path(line.values) })),
		),
		el("ul.lab-legend", drawn.map((line) => el("li", { class: line.strong ? "strong" : null },
			svg("svg", { viewBox: "0 0 28 8", "aria-hidden": "true" }, svg("path", { class: `lab-line kind-${line.kind}`, d: "M0 4H28" })), el("span", line.name)))),
	);
}

export const KINDS = {
	right: { mark: "✓", word: "right" },
	wrong: { mark: "✗", word: "wrong" },
	ignored: { mark: "–", word: "ignored" },
	missed: { mark: "◌", word: "missed" },
	unknown: { mark: "?", word: "not known" },
};
