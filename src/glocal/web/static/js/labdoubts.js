// Doubts about the ground truth: kept in this browser, saved as a patch file. Nothing on the server changes.

import { el, fill, iconButton, keep, recall } from "./dom.js";
import { note } from "./toast.js";
import { baseOf, plural, readable } from "./words.js";

const WORDS = { right: "right", wrong: "wrong", ignored: "junk" };
const FORMAT = "glocal ground-truth doubts, 1";
const MOST = 2000;

/** The doubts about the ground truth of a run; `changed` is called when there are more or fewer. */
export function doubts(run, changed) {
	const truth = run.card.find((each) => each.key === "ground_truth")?.value ?? "";
	const key = `doubts.${truth.slice(0, 16)}`;
	let all = stored(key);

	const save = () => {
		keep(key, JSON.stringify(all));
		changed();
	};
	const same = (a, b) => a.query === b.query && a.photo === b.photo && a.setup === b.setup;

	function download() {
		const patch = { format: FORMAT, benchmark: run.benchmark, ground_truth: truth, doubts: all };
		const address = URL.createObjectURL(new Blob([`${JSON.stringify(patch, null, 1)}\n`], { type: "application/json" }));
		el("a", { href: address, download: `${run.benchmark.replace(/[^A-Za-z0-9_-]+/g, "_") || "benchmark"}-doubts.json` }).click();
		setTimeout(() => URL.revokeObjectURL(address), 10000);
	}

	return {
		/** What the dialog of a photo asks. */
		form(answer, entry, done) {
			const was = entry.relation === "missed" ? "right" : entry.relation;
			const mine = { query: answer.query.name, photo: entry.name, setup: answer.setup, was: WORDS[was] };
			const before = all.find((each) => same(each, mine));
			const select = el("select", Object.entries(WORDS).filter(([kind]) => kind !== was).map(([, word]) =>
				el("option", { value: word, selected: before?.should_be === word }, word)));
			const why = el("input", { type: "text", maxlength: "200", value: before?.note ?? "", autocomplete: "off" });
			const add = (event) => {
				event.preventDefault();
				all = [...all.filter((each) => !same(each, mine)), { ...mine, should_be: select.value, note: why.value.trim() }].slice(-MOST);
				save();
				done();
				note("Doubt noted");
			};
			return el("form.lab-doubt", { onsubmit: add },
				el("label", el("span", `The ground truth says ${WORDS[was]}; it should be`), select),
				el("label", el("span", "Because"), why),
				el("button.button", { type: "submit" }, before ? "Change the doubt" : "Note a doubt"));
		},
		/** The list of them. */
		draw(host) {
			host.hidden = !all.length;
			if (!all.length) return fill(host);
			return fill(host,
				el("div.lab-head",
					el("h2", plural(all.length, "doubt about the ground truth", "doubts about the ground truth")),
					el("button.button.quiet", { onclick: download }, "Save patch file")),
				el("ul", all.map((each) => el("li",
					el("span", el("b", baseOf(each.photo)), ` for ${baseOf(each.query)} (${readable(each.setup)}): ${each.was} → ${each.should_be}${each.note ? ` — ${readable(each.note)}` : ""}`),
					iconButton("close", `Forget the doubt about ${baseOf(each.photo)}`, () => { all = all.filter((other) => other !== each); save(); })))));
		},
	};
}

function stored(key) {
	try {
		const found = JSON.parse(recall(key) ?? "[]");
		const texts = ["query", "photo", "setup", "was", "should_be", "note"];
		return Array.isArray(found) ? found.filter((each) => each && texts.every((name) => typeof each[name] === "string")).slice(-MOST) : [];
	} catch {
		return [];
	}
}
