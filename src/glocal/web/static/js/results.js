// The answer in three bands. What is similar comes first; once it is verified, the cards settle into their places.

import { byId, el, fill, keep, recall } from "./dom.js";
import { card, refresh } from "./card.js";
import { say } from "./toast.js";
import { BANDS, plural, readable, seconds, thousands } from "./words.js";

const SORTS = {
	best: ["Best first", (a, b) => a.rank - b.rank],
	changed: ["Most changed", (a, b) => (a.verification?.target_overlap ?? 2) - (b.verification?.target_overlap ?? 2)],
	biggest: ["Biggest", (a, b) => b.width * b.height - a.width * a.height],
	name: ["Name", (a, b) => (a.name < b.name ? -1 : 1)],
};
const SETTLE_MS = 420;
const ROWS = { small: ["136px", ".17"], middle: ["190px", ".24"], large: ["268px", ".36"] };

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Builds the list. `open(hit)`, `again(hit)`, `suggest()` what to do where nothing was found. */
export function resultList({ open, again }) {
	const home = byId("results");
	let cards = new Map();
	let answer = null;
	let verified = false;
	let sort = "best";
	let pointed = false;
	let held = null;
	let opened = false;
	let picked = new Set();

	const title = el("h1.verdict");
	const summary = el("p.summary");
	const notes = el("div.notes", { hidden: true });
	const recognition = el("section.recognition.panel", { hidden: true, "aria-label": "What is this?" });
	const sorter = el("select", { id: "sort", "aria-label": "Sort", onchange: () => { sort = sorter.value; render(); } }, Object.entries(SORTS).map(([key, [label]]) => el("option", { value: key }, label)));
	const density = el("input", { id: "density", type: "range", min: "0", max: "2", step: "1", value: "1", "aria-valuetext": "middle", oninput: dense });
	const tools = el("div.result-tools", { hidden: true },
		el("label", el("span", "Sort"), sorter),
		el("label.density", el("span", "Size"), density),
	);
	const release = el("button.button.settle", { hidden: true, onclick: () => settle() }, "Verified – put in order");
	const body = el("div.bands", { id: "bands" });
	const bar = el("div.busy", { hidden: true, role: "progressbar", "aria-label": "Searching" });
	fill(home, bar, el("header.result-head", el("div", title, summary), tools), notes, recognition, release, body);

	body.addEventListener("pointermove", (event) => {
		if (event.pointerType === "mouse" && event.target.closest(".card")) pointed = true;
	});
	body.addEventListener("pointerleave", () => {
		pointed = false;
		if (held) settle();
	});
	body.addEventListener("focusin", (event) => {
		if (event.target.classList.contains("shot")) rove(event.target.closest(".card"));
	});

	function dense() {
		const size = Object.keys(ROWS)[Number(density.value)];
		density.setAttribute("aria-valuetext", size);
		home.style.setProperty("--wish", ROWS[size][0]);
		home.style.setProperty("--part", ROWS[size][1]);
		keep("density", density.value);
	}
	density.value = recall("density") ?? "1";
	dense();

	const judged = () => answer.verdict !== "not_judged" || !verified;
	const of = (band) => answer.results.filter((hit) => hit.band === band).sort(SORTS[sort][1]);

	/** Hits in the order of the screen. */
	function shown() {
		if (!answer) return [];
		if (!verified || !judged()) return [...answer.results].sort(SORTS[sort][1]);
		return ["same", "possibly", ...(opened ? ["look_alike"] : [])].flatMap(of);
	}

	function listOf(hits, label) {
		const list = el("ol.cards", { "aria-label": label });
		hits.forEach((hit, at) => {
			const node = cards.get(hit.id) ?? card(hit, answer.index.id, { open, again });
			cards.set(hit.id, node);
			refresh(node, hit, { place: at + 1, of: hits.length, verified, judged: judged() });
			node.classList.toggle("picked", picked.has(hit.id));
			list.append(node);
		});
		return list;
	}

	function band(name) {
		const hits = of(name);
		if (!hits.length) return null;
		const { title: words, mark } = BANDS[name];
		return el("section", { class: `band ${name}` },
			el("h2", el("span.mark", { "aria-hidden": "true" }, mark), words, el("span.count", ` (${thousands(hits.length)})`)),
			listOf(hits, `${words}, ${plural(hits.length, "picture")}`),
		);
	}

	function lookAlikes() {
		const hits = of("look_alike");
		if (!hits.length) return null;
		const none = answer.verdict === "no_match";
		const inside = el("div.fold");
		const build = () => {
			if (opened && !inside.firstChild) inside.append(listOf(hits, `Look-alikes, ${plural(hits.length, "picture")}`));
		};
		const toggled = () => {
			opened = fold.open;
			build();
			tools.hidden = !shown().length;
			firstStop();
		};
		const fold = el("details.band.look_alike", { open: opened, ontoggle: toggled },
			el("summary.panel",
				none
					? el("b", `Show ${plural(hits.length, "look-alike")}`)
					: el("span", el("b", `Look-alikes (${thousands(hits.length)})`), el("span.muted", " — similar, not the same"))),
			inside,
		);
		build();
		return fold;
	}

	function render() {
		if (!answer) return;
		const focused = document.activeElement?.closest?.(".card")?.dataset.id;
		const again = document.activeElement?.classList.contains("again");
		if (!verified || !judged()) {
			const words = verified ? "Most similar" : "Most similar so far";
			fill(
				body,
				el("section.band", el("h2", words, el("span.count", ` (${thousands(answer.results.length)})`)), listOf(shown(), words)),
			);
		} else fill(body, band("same"), band("possibly"), lookAlikes());
		tools.hidden = !shown().length;
		firstStop();
		if (focused) cards.get(focused)?.querySelector(again ? ".again" : ".shot")?.focus({ preventScroll: true });
	}

	/** Exactly one card is in the order of Tab; arrows go on from there. */
	function firstStop() {
		const first = body.querySelector(".card");
		if (first && !body.querySelector(".card.stop")) rove(first);
	}

	function rove(node) {
		for (const other of body.querySelectorAll(".card.stop")) {
			other.classList.remove("stop");
			for (const button of other.querySelectorAll("button")) button.tabIndex = -1;
		}
		node.classList.add("stop");
		for (const button of node.querySelectorAll("button")) button.tabIndex = 0;
	}

	const sizes = () => ["same", "possibly"].map((name) => (held ?? answer).results.filter((hit) => hit.band === name).length);

	function headline() {
		const { selected, verdict } = answer;
		const [same, maybe] = sizes();
		if (!selected) return "Nothing lies in what you chose.";
		if (!verified) return "Looking closer…";
		if (verdict === "not_judged") return "Most similar pictures";
		if (same) return `${plural(same, "picture shows", "pictures show")} the same object`;
		if (maybe) return `${plural(maybe, "picture", "pictures")} possibly ${maybe === 1 ? "shows" : "show"} it`;
		return selected === 1 ? "The only picture there does not show this object." : `None of the ${thousands(selected)} pictures shows this object.`;
	}

	const searched = ({ index, selected }) => `${selected < index.size ? `${thousands(selected)} of ` : ""}${thousands(index.size)} searched`;

	function facts() {
		const timing = answer.timing_ms;
		const parts = [searched(answer)];
		const close = answer.results.filter((hit) => hit.verification).length;
		if (verified && close) parts.push(`${thousands(close)} compared closely`);
		if (verified && timing?.total) parts.push(seconds(timing.total / 1000));
		return parts.join(" · ");
	}

	function heads() {
		title.textContent = headline();
		home.classList.toggle("none", verified && answer.verdict === "no_match");
		fill(summary, facts());
		if (!verified && answer.selected) summary.append(" · comparing the closest piece by piece");
		if (verified && answer.verdict === "no_match") summary.append(el("span.advice", answer.selected ? "Try a box around the object, or a sharper picture of it." : "Remove it, or check how it is written."));
		const warnings = (answer.warnings ?? []).map(readable);
		if (verified && answer.verdict === "not_judged") warnings.unshift("This model’s scores are not calibrated: these pictures are similar, and nothing says that they show the same object.");
		notes.hidden = !warnings.length;
		fill(notes, warnings.map((text) => el("p", text)));
	}

	/** Move the cards to their verified places, once. */
	function settle() {
		if (!held) return;
		answer = held;
		held = null;
		verified = true;
		release.hidden = true;
		const before = new Map();
		if (!still()) for (const [id, node] of cards) if (node.isConnected) before.set(id, node.getBoundingClientRect());
		render();
		heads();
		for (const [id, from] of before) {
			const node = cards.get(id);
			if (!node.isConnected) continue;
			const to = node.getBoundingClientRect();
			const far = [from.left - to.left, from.top - to.top];
			const seen = (area) => area.bottom > 0 && area.top < innerHeight;
			if ((far[0] || far[1]) && (seen(from) || seen(to))) {
				node.animate([{ transform: `translate(${far[0]}px, ${far[1]}px)` }, { transform: "none" }], { duration: SETTLE_MS, easing: "cubic-bezier(.2,.8,.2,1)" });
			}
		}
		say(`${headline()} ${searched(answer)}.`);
	}

	return {
		title,
		recognition,
		/** How many hits each band has, in words. */
		counts() {
			const [same, maybe] = sizes();
			if ((held ?? answer).verdict === "not_judged") return plural(answer.results.length, "similar picture");
			return same || maybe ? [same && `${thousands(same)} same`, maybe && `${thousands(maybe)} possibly`].filter(Boolean).join(" · ") : "No match";
		},
		/** Nothing yet: skeletons, or what was there before, dimmed. */
		busy(fresh) {
			held = null;
			pointed = false;
			release.hidden = true;
			bar.hidden = false;
			home.setAttribute("aria-busy", "true");
			recognition.hidden = recognition.hidden || fresh;
			if (fresh) {
				answer = null;
				verified = false;
				cards = new Map();
				picked = new Set();
				opened = false;
				title.textContent = "Searching…";
				fill(summary, "\u00a0");
				home.classList.remove("none");
				notes.hidden = true;
				tools.hidden = true;
				fill(body, el("div.cards.skeletons", { "aria-hidden": "true" }, [1.33, 0.75, 1.33, 1.5, 1, 1.33, 0.8, 1.6].map((ratio) => el("div.card.skeleton", { vars: { "--ratio": String(ratio) } }, el("div.shot"), el("div.caption")))));
			} else body.classList.add("old");
		},
		/** The index is not open yet. */
		waiting() {
			title.textContent = "Getting ready…";
			fill(summary, "The index and its model are being loaded. The search goes on by itself.");
		},
		/** By similarity alone. */
		hits(next) {
			answer = next;
			verified = false;
			cards = new Map();
			body.classList.remove("old");
			render();
			heads();
			say(`${plural(next.results.length, "similar picture")}. Checking them.`);
		},
		/** Verified. */
		result(next) {
			bar.hidden = true;
			home.removeAttribute("aria-busy");
			body.classList.remove("old");
			const first = !answer || verified;
			if (first) cards = new Map();
			held = next;
			if (!first && pointed && matchMedia("(hover: hover)").matches) {
				release.hidden = false; // never under the pointer: it settles when the pointer leaves
				say("Verified.");
				return;
			}
			settle();
		},
		/** A search that failed or was given up. */
		stop() {
			bar.hidden = true;
			home.removeAttribute("aria-busy");
			body.classList.remove("old");
			if (!answer) {
				title.textContent = "Nothing was searched";
				fill(summary, "This picture could not be searched with. Choose, drop or paste another one.");
				fill(body);
			}
		},
		get answer() {
			return held ?? answer;
		},
		shown,
		hit: (id) => (held ?? answer)?.results.find((hit) => hit.id === id),
		focus(id) {
			cards.get(id)?.querySelector(".shot")?.focus();
		},
		/** Arrow keys: the neighbour in a direction, by where the cards are. */
		move(key) {
			const nodes = [...body.querySelectorAll(".card")].filter((node) => node.offsetParent);
			const here = document.activeElement?.closest?.(".card") ?? null;
			if (!nodes.length) return false;
			if (!here) {
				(body.querySelector(".card.stop") ?? nodes[0]).querySelector(".shot").focus();
				return true;
			}
			const at = nodes.indexOf(here);
			let next = null;
			if (key === "ArrowRight" || key === "]") next = nodes[at + 1];
			else if (key === "ArrowLeft" || key === "[") next = nodes[at - 1];
			else if (key === "Home") next = nodes[0];
			else if (key === "End") next = nodes.at(-1);
			else {
				const from = here.getBoundingClientRect();
				const middle = from.left + from.width / 2;
				const down = key === "ArrowDown";
				let best = Infinity;
				for (const node of nodes) {
					const area = node.getBoundingClientRect();
					const away = down ? area.top - from.top : from.top - area.top;
					if (away < 8) continue;
					const cost = away * 10 + Math.abs(area.left + area.width / 2 - middle);
					if (cost < best) [best, next] = [cost, node];
				}
			}
			next?.querySelector(".shot").focus();
			return true;
		},
		/** Select or deselect the focused card; gives the names of all that are selected. */
		pick() {
			const node = document.activeElement?.closest?.(".card");
			if (!node) return null;
			const on = !picked.has(node.hit.id);
			if (on) picked.add(node.hit.id);
			else picked.delete(node.hit.id);
			node.classList.toggle("picked", on);
			return (answer?.results ?? []).filter((hit) => picked.has(hit.id)).map((hit) => hit.name);
		},
		unpick() {
			const any = picked.size > 0;
			picked = new Set();
			for (const node of body.querySelectorAll(".card.picked")) node.classList.remove("picked");
			return any;
		},
	};
}
