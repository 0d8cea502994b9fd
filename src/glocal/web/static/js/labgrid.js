// One query of a run: its photo, its ranking, what it missed; for two runs side by side.

import { el, fill, iconButton } from "./dom.js";
import { KINDS, chart, names, points, signed } from "./labparts.js";
import { baseOf, plural, readable, spokenName, thousands } from "./words.js";

/** Draw it into an element. */
export function ranked(host, { first, second, runs, cutoffs, doubts, place, step, more }) {
	const open = (answer, entry) => look(host, answer, entry, doubts);
	fill(host,
		el("div.lab-head",
			el("h2", { title: first.query.name }, baseOf(first.query.name)),
			el("span.small", `${thousands(place[0])} of ${thousands(place[1])}`),
			el("span.lab-steps",
				iconButton("back", "Previous query", () => step(-1), { title: "Previous query [", disabled: place[0] <= 1 }),
				iconButton("next", "Next query", () => step(1), { title: "Next query ]", disabled: place[0] >= place[1] }))),
		el("div.lab-asked",
			el("figure.lab-asked-photo", names.photo(first.query.thumb_url, 320, `Query ${spokenName(first.query.name)}`), el("figcaption", first.query.name)),
			second ? both(first, second) : facts(first, cutoffs),
			chart("This query", second
				? [{ name: "A", values: first.curve, kind: 1 }, { name: "B", values: second.curve, kind: 3 }]
				: [{ name: names.setup(first.setup), values: first.curve, kind: 1, strong: true }])),
		legend(second ? [first, second] : [first]),
		el("div", { class: second ? "lab-two" : "lab-one" },
			column(first, second && `A ${readable(runs[0].name)}`, open, more),
			second && column(second, `B ${readable(runs[1].name)}`, open, more)));
}

function facts(answer, cutoffs) {
	const found = answer.results.filter((each) => each.relation === "right").length;
	return el("dl.lab-facts",
		fact("AP", answer.ap === null ? "does not count" : points(answer.ap), "strong"),
		answer.num_right !== null && fact(`Right in the first ${answer.results.length}`, `${found} of ${answer.num_right}`),
		fact("First right one", answer.first === null ? "not found" : `place ${thousands(answer.first)}`),
		cutoffs.map((k, i) => fact(`P@${k}`, points(answer.precision[i]))));
}

function both(first, second) {
	const change = first.ap === null || second.ap === null ? null : second.ap - first.ap;
	return el("dl.lab-facts",
		fact("AP of A", points(first.ap)), fact("AP of B", points(second.ap)),
		fact("B − A", signed(change), change < 0 ? "bad strong" : change > 0 ? "good strong" : "strong"),
		fact("First right one", `A ${first.first ?? "–"}, B ${second.first ?? "–"}`));
}

const fact = (title, value, kind) => el("div", el("dt", title), el("dd", { class: kind }, value));

function legend(answers) {
	const kinds = new Set(answers.flatMap((answer) => [...answer.results, ...answer.missed]).map((each) => each.relation));
	return el("ul.lab-kinds", { "aria-label": "Legend" }, Object.keys(KINDS).filter((kind) => kinds.has(kind)).map((kind) =>
		el("li", { class: kind }, el("span.lab-mark", { "aria-hidden": "true" }, KINDS[kind].mark), KINDS[kind].word)));
}

function column(answer, title, open, more) {
	const label = title ? `${title}: ` : "";
	const missed = answer.num_missed > 0 && [
		el("h3", `Missed: ${plural(answer.num_missed, "right photo")} further down`),
		grid(answer, answer.missed, `${label}missed`, open),
		answer.num_missed > answer.missed.length && el("p.small", `The nearest ${thousands(answer.missed.length)} are shown.`),
	];
	return el("div.lab-column",
		title && el("h3.lab-column-title", { title }, title),
		answer.results.length ? grid(answer, answer.results, `${label}ranking`, open) : el("p", "Nothing was ranked."),
		more && answer.num_ranked > answer.results.length && el("button.button.quiet.lab-more", { onclick: more }, "Show more"),
		missed);
}

function grid(answer, entries, label, open) {
	const list = el("ol.lab-grid", { "aria-label": label, onkeydown: (event) => move(event, list) },
		entries.map((entry, i) => el("li", tile(answer, entry, i, open))));
	return list;
}

function tile(answer, entry, i, open) {
	const kind = KINDS[entry.relation];
	const place = entry.place === null ? (entry.relation === "missed" ? "not ranked" : "no place") : `place ${entry.place}`;
	const number = entry.place ?? (entry.relation === "missed" ? "∅" : entry.relation === "ignored" ? "" : entry.position);
	return el("button", { class: `lab-tile ${entry.relation}`, tabindex: i ? "-1" : "0", "aria-label": `${place}, ${kind.word}, ${spokenName(entry.name)}`, title: entry.name, onclick: () => open(answer, entry) },
		names.photo(entry.thumb_url, 160),
		el("span.lab-tag", { "aria-hidden": "true" }, el("span.lab-mark", kind.mark), ` ${number}`));
}

/** Arrows move in a grid; one tile is a stop for the Tab key. */
function move(event, list) {
	const tiles = [...list.querySelectorAll(".lab-tile")];
	const at = tiles.indexOf(event.target);
	if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
	const top = tiles[0].offsetTop;
	const columns = Math.max(1, tiles.findIndex((tile) => tile.offsetTop > top + 4));
	const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -at, End: tiles.length - 1 - at };
	if (!(event.key in steps)) return;
	const next = tiles[at + steps[event.key]];
	if (next) {
		tiles[at].tabIndex = -1;
		next.tabIndex = 0;
		next.focus();
	}
	event.preventDefault();
	event.stopPropagation();
}

/** One photo beside the query, large, and whether the ground truth is right about it. */
function look(host, answer, entry, doubts) {
	const kind = KINDS[entry.relation];
	const close = () => dialog.close();
	const dialog = el("dialog.lab-look.panel", { "aria-labelledby": "lab-look-title", onclose: () => dialog.remove(), onclick: (event) => event.target === dialog && close() },
		el("div.lab-head",
			el("h2", { id: "lab-look-title" }, el("span", { class: `lab-mark ${entry.relation}`, "aria-hidden": "true" }, kind.mark), ` ${kind.word}${entry.place === null ? "" : `, place ${thousands(entry.place)}`}`),
			iconButton("close", "Close", close)),
		el("div.lab-pair",
			el("figure", names.photo(answer.query.thumb_url, 640, "The query"), el("figcaption", el("b", "Query "), answer.query.name)),
			el("figure", names.photo(entry.thumb_url, 640, "The photo found"), el("figcaption", entry.name))),
		entry.relation !== "unknown" && doubts.form(answer, entry, close));
	host.append(dialog);
	dialog.showModal();
}
