// The Lab: evaluation runs, their queries from the worst on, two runs against each other.

import { el, fill, icon } from "./dom.js";
import { chart, names, overview, points, signed, table } from "./labparts.js";
import { doubts } from "./labdoubts.js";
import { ranked } from "./labgrid.js";
import { copy, say, showProblem } from "./toast.js";
import { baseOf, plural, readable, spokenName, thousands } from "./words.js";

const STEP = 240; // queries that the strip shows at first, and more of at a time
const MOST = 200; // photos of a ranking that the server gives
const RUN = /^r[0-9a-f]{16}$/;

/** Show the Lab in an element; again, and it looks for new runs. */
export function mountLab(element, api) {
	element.lab ??= new Lab(element, api);
	return element.lab.refresh();
}

class Lab {
	constructor(element, api) {
		this.element = element;
		this.ask = (path) => api.ask(path, { signal: this.waiting.signal });
		this.waiting = new AbortController();
		this.state = fromAddress();
		this.shown = STEP;
		this.top = this.portion = matchMedia("(max-width: 760px)").matches ? 12 : 30;
		element.classList.add("lab");
		element.addEventListener("keydown", (event) => this.key(event));
		addEventListener("hashchange", () => {
			const asked = fromAddress();
			if (!asked.run || !this.runs || toAddress(asked) === toAddress(this.state)) return;
			this.state = asked;
			this.openRuns();
		});
	}

	async refresh() {
		try {
			const found = await this.ask("/v1/lab/runs");
			this.runs = found.runs;
			this.found = found;
			if (!found.runs.length) return this.empty();
			if (!this.run(this.state.run)) this.state = { ...this.state, run: found.runs[0].run, query: null };
			if (!this.run(this.state.other)) this.state.other = null;
			await this.openRuns();
		} catch (error) {
			showProblem(error);
		}
	}

	run(id) {
		return this.runs.find((run) => run.run === id);
	}

	empty() {
		fill(
			this.element,
			el("div.lab-empty",
				el("h1", "Lab"),
				el("p.lead", this.found.has_folders ? "There is no evaluation run in these folders yet." : "This server was started without a folder of evaluation runs."),
				el("p", "Measure something, then show the folder:"),
				el("pre", { tabindex: "0" }, "glocal eval my-photos/ --rerank geometric\nglocal serve --runs runs/"),
			),
			this.unreadable(),
		);
	}

	unreadable() {
		const bad = this.found.unreadable;
		if (!bad.length) return null;
		return el("details.lab-unreadable",
			el("summary", `${plural(bad.length, "folder")} cannot be read as a run`),
			el("ul", bad.map((each) => el("li", el("strong", each.name), ` — ${each.detail}`))),
		);
	}

	/** Load what the state names, then draw all. */
	async openRuns() {
		this.waiting.abort();
		this.waiting = new AbortController();
		this.element.setAttribute("aria-busy", "true");
		const { run, other } = this.state;
		try {
			const [first, second, compared] = await Promise.all([
				this.ask(`/v1/lab/runs/${run}`),
				other && this.ask(`/v1/lab/runs/${other}`),
				other && this.ask(`/v1/lab/compare?a=${run}&b=${other}`),
			]);
			Object.assign(this, { first, second, compared, curves: null });
		} catch (error) {
			this.element.removeAttribute("aria-busy");
			if (other && error.name !== "AbortError") {
				// Whatever is wrong with the second run, the first can still be seen.
				this.state.other = null;
				showProblem(error);
				return this.openRuns();
			}
			if (error.name !== "AbortError" && !this.first) this.picker(run);
			return showProblem(error);
		}
		if (!this.first.setups.includes(this.state.setup)) this.state.setup = middle(this.first.setups);
		if (!this.first.queries[this.state.query]) this.state.query = this.order()[0] ?? 0;
		this.shown = STEP;
		this.draw();
		this.element.removeAttribute("aria-busy");
		this.loadCurves(run, other);
		say(`${plural(this.first.num_queries, "query", "queries")} of ${readable(this.first.benchmark)}`);
	}

	/** Numbers of the queries as the strip shows them. */
	order() {
		const { setup, sort } = this.state;
		const ap = (number) => this.first.queries[number].ap[setup];
		const all = this.first.queries.map((_, number) => number);
		if (sort === "listed") return all;
		if (sort === "name") return all.sort((a, b) => (this.first.queries[a].name < this.first.queries[b].name ? -1 : 1));
		if (this.compared) {
			const gain = new Map(this.moved().map((each) => [each.a_query, each.difference]));
			const sign = sort === "gain" ? -1 : 1;
			return all.sort((a, b) => sign * ((gain.get(a) ?? 0) - (gain.get(b) ?? 0)) || a - b);
		}
		const sign = sort === "best" ? -1 : 1;
		return all.sort((a, b) => (ap(a) === null) - (ap(b) === null) || sign * (ap(a) - ap(b)) || a - b);
	}

	moved() {
		return this.compared.setups.find((each) => each.setup === this.state.setup)?.moved ?? [];
	}

	draw() {
		const { first, second } = this;
		this.doubts = doubts(first, () => this.drawDoubts());
		this.numbers = el("section.lab-numbers", { "aria-label": "Scores" });
		this.strip = el("section.lab-queries", { "aria-label": "Queries" });
		this.answer = el("section.lab-answer", { "aria-label": "Ranking" });
		this.told = el("section.lab-doubts", { "aria-label": "Doubts about the ground truth" });
		const trouble = [first, second].filter((run) => run?.trouble);
		fill(
			this.element,
			el("h1.unseen", "Lab"),
			this.controls(),
			trouble.map((run) => el("p.lab-trouble", { role: "note" }, second ? el("strong", `${readable(run.name)}: `) : null, run.trouble)),
			el("div.lab-columns",
				el("div.lab-main", this.numbers, this.strip, this.answer, this.told),
				el("aside.lab-card.panel", { "aria-label": "Protocol card" }, overview(first, second, this.compared)),
			),
			this.unreadable(),
		);
		this.drawSetup();
		this.drawDoubts();
	}

	picker(run) {
		this.first = null;
		fill(this.element, el("h1.unseen", "Lab"), el("div.lab-bar", this.choice("Run", this.runs, run, (id) => this.go({ run: id, query: null }))));
	}

	choice(label, runs, chosen, change, none) {
		const select = el("select", { "aria-label": label, onchange: () => change(select.value || null) },
			none && el("option", { value: "" }, none),
			runs.map((run) => el("option", { value: run.run, selected: run.run === chosen }, readable(run.name))),
		);
		return el("label.lab-choice", el("span", label), select);
	}

	controls() {
		const { state } = this;
		const others = this.runs.filter((run) => run.run !== state.run && run.benchmark === this.first.benchmark);
		const setups = this.first.setups;
		return el("div.lab-bar",
			this.choice("Run", this.runs, state.run, (run) => this.go({ run, other: null, query: null, sort: null })),
			this.choice("Compare with", others, state.other, (other) => this.go({ other, sort: null, query: null }), others.length ? "nothing" : "no other run"),
			setups.length > 1 && el("fieldset.segments.lab-setups",
				el("legend.unseen", "Setup"),
				setups.map((setup) => el("label",
					el("input", { type: "radio", name: "lab-setup", value: setup, checked: setup === state.setup, onchange: () => this.setSetup(setup) }),
					el("span.segment", names.setup(setup)))),
			),
			el("button.button.quiet", { onclick: () => this.worst() }, this.compared ? "Biggest loss" : "Worst query"),
		);
	}

	/** Change what is loaded. */
	go(change) {
		this.state = { ...this.state, ...change };
		this.openRuns();
	}

	setSetup(setup) {
		this.state.setup = setup;
		this.drawSetup();
		say(`${names.setup(setup)}: ${points(this.first.means[setup])}`);
	}

	drawSetup() {
		const { setup } = this.state;
		fill(this.numbers,
			el("div.lab-scores",
				table(this.first, this.compared, setup),
				el("div.lab-actions",
					el("button.button.quiet", { onclick: () => copy(this.first.latex.row, "LaTeX row") }, icon("copy"), el("span", "Copy LaTeX row")),
					this.second && el("button.button.quiet", { onclick: () => copy(`${this.first.latex.row}\n${this.second.latex.row}`, "Two LaTeX rows") }, icon("copy"), el("span", "Both rows")),
					el("button.button.quiet", { onclick: () => copy(this.first.latex.header, "LaTeX header") }, el("span", "Header"))),
			),
			this.drawn = el("div", this.chart()),
		);
		this.drawStrip();
		this.drawAnswer();
	}

	/** They take a moment where there are many queries: all else is shown before. */
	async loadCurves(run, other) {
		try {
			const [first, second] = await Promise.all([this.ask(`/v1/lab/runs/${run}/curves`), other && this.ask(`/v1/lab/runs/${other}/curves`)]);
			this.curves = [first.curves, second?.curves];
			fill(this.drawn, this.chart());
		} catch (error) {
			showProblem(error);
		}
	}

	chart() {
		if (!this.curves) return null;
		const { setup } = this.state;
		const lines = this.second
			? [this.first, this.second].map((run, i) => ({ name: `${"AB"[i]} ${readable(run.name)}`, values: this.curves[i][setup], kind: i ? 3 : 1 }))
			: this.first.setups.map((each, i) => ({ name: names.setup(each), values: this.curves[0][each], kind: i % 4, strong: each === setup }));
		return chart("Precision over recall", lines);
	}

	drawStrip(focus = false) {
		const { state } = this;
		const order = this.order();
		this.ordered = order;
		const at = order.indexOf(state.query);
		if (at >= this.shown) this.shown = Math.ceil((at + 1) / STEP) * STEP;
		const sorts = this.compared
			? [["", "Biggest loss first"], ["gain", "Biggest gain first"], ["listed", "As listed"], ["name", "By name"]]
			: [["", "Worst first"], ["best", "Best first"], ["listed", "As listed"], ["name", "By name"]];
		const select = el("select", { "aria-label": "Order of the queries", onchange: () => { state.sort = select.value || null; this.drawStrip(); this.remember(); } },
			sorts.map(([value, text]) => el("option", { value, text, selected: value === (state.sort ?? "") })));
		const gain = this.compared && new Map(this.moved().map((each) => [each.a_query, each.difference]));
		this.list = el("div.lab-strip", { role: "listbox", "aria-label": "Queries", "aria-orientation": "horizontal" },
			order.slice(0, this.shown).map((number, place) => this.option(number, place, gain)));
		fill(this.strip,
			el("div.lab-head",
				el("h2", plural(this.first.num_queries, "query", "queries")),
				el("label.lab-choice.inline", el("span", "Order"), select)),
			this.list,
			order.length > this.shown && el("button.button.quiet", { onclick: () => { this.shown += STEP; this.drawStrip(); } }, `${thousands(Math.min(STEP, order.length - this.shown))} more`),
			this.first.queries.length < this.first.num_queries && el("p.small", `The first ${thousands(this.first.queries.length)} of ${thousands(this.first.num_queries)} are listed.`),
		);
		this.mark(focus);
	}

	option(number, place, gain) {
		const query = this.first.queries[number];
		const ap = query.ap[this.state.setup];
		const change = gain && (gain.get(number) ?? 0);
		const said = ap === null ? "does not count" : gain ? `AP ${points(ap)}, ${change < 0 ? "loses" : "gains"} ${points(Math.abs(change))}` : `AP ${points(ap)}`;
		return el("div.lab-query", { role: "option", tabindex: "-1", data: { number, place }, title: query.name, "aria-label": `${spokenName(query.name)}, ${said}`, "aria-selected": "false", onclick: () => this.choose(number) },
			names.photo(query.thumb_url, 160),
			el("span.lab-ap", gain ? signed(change) : points(ap)),
			el("span", { class: `lab-meter${change < 0 ? " loss" : change > 0 ? " gain" : ""}`, vars: { "--part": gain ? Math.abs(change) : ap ?? 0 } }),
		);
	}

	/** Show which query is chosen; the strip keeps one stop for the Tab key. */
	mark(focus) {
		for (const each of this.list.children) {
			const chosen = Number(each.dataset.number) === this.state.query;
			each.setAttribute("aria-selected", String(chosen));
			each.tabIndex = chosen ? 0 : -1;
			if (!chosen) continue;
			// Not scrollIntoView: that would move the page as well.
			const left = each.offsetLeft - this.list.offsetLeft;
			if (left < this.list.scrollLeft || left + each.offsetWidth > this.list.scrollLeft + this.list.clientWidth) this.list.scrollLeft = left - 40;
			if (focus) each.focus({ preventScroll: true });
		}
		if (!this.list.querySelector('[tabindex="0"]') && this.list.firstChild) this.list.firstChild.tabIndex = 0;
	}

	choose(number, focus = false) {
		if (number === undefined) return;
		if (number !== this.state.query) this.top = this.portion;
		this.state.query = number;
		if (this.ordered.indexOf(number) >= this.shown) this.drawStrip(focus);
		else this.mark(focus);
		this.drawAnswer();
	}

	step(by, focus = false) {
		const at = this.ordered.indexOf(this.state.query);
		this.choose(this.ordered[Math.min(Math.max(at + by, 0), this.ordered.length - 1)], focus);
	}

	worst() {
		this.state.sort = null;
		this.drawStrip();
		this.choose(this.ordered[0], true);
		this.strip.scrollIntoView({ block: "nearest" });
	}

	async drawAnswer() {
		this.remember();
		const { state } = this;
		const asked = `${state.run} ${state.other} ${state.query} ${state.setup}`;
		this.asked = asked;
		const moved = this.compared && this.moved().find((each) => each.a_query === state.query);
		const other = moved ? moved.b_query : this.second?.queries.findIndex((each) => each.name === this.first.queries[state.query].name);
		const path = (run, query) => `/v1/lab/runs/${run}/queries/${query}?top=${this.top}&setup=${encodeURIComponent(state.setup)}`;
		try {
			const [first, second] = await Promise.all([
				this.ask(path(state.run, state.query)),
				this.second && other >= 0 ? this.ask(path(state.other, other)) : null,
			]);
			if (this.asked !== asked) return;
			ranked(this.answer, {
				first, second, doubts: this.doubts, cutoffs: this.first.cutoffs,
				runs: [this.first, this.second], place: [this.ordered.indexOf(state.query) + 1, this.ordered.length], step: (by) => this.step(by),
				more: this.top < MOST && [first, second].some((each) => each && each.num_ranked > each.results.length) ? () => this.more() : null,
			});
			const right = first.results.filter((each) => each.relation === "right").length;
			say(first.num_right === null ? baseOf(first.query.name) : `${spokenName(first.query.name)}: ${right} of ${first.num_right} right ones among the first ${first.results.length}`);
		} catch (error) {
			showProblem(error);
		}
	}

	more() {
		this.top = Math.min(MOST, this.top + this.portion);
		this.drawAnswer();
	}

	drawDoubts() {
		this.doubts.draw(this.told);
	}

	remember() {
		if (this.element.hidden) return;
		const address = toAddress(this.state);
		if (address !== location.hash) history.replaceState(null, "", location.pathname + location.search + address);
	}

	key(event) {
		if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog") || !this.first) return;
		const inStrip = event.target.closest(".lab-strip");
		const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -1e6, End: 1e6 };
		if (inStrip && event.key in steps) this.step(steps[event.key], true);
		else if (document.documentElement.dataset.letters === "off") return;
		else if (event.key === "]") this.step(1);
		else if (event.key === "[") this.step(-1);
		else if (event.key === "w") this.worst();
		else return;
		event.preventDefault();
		event.stopPropagation();
	}
}

const middle = (setups) => setups[Math.floor((setups.length - 1) / 2)];

/** What the part of the address after # says of the Lab. */
function fromAddress() {
	const given = new URLSearchParams(location.hash.slice(1));
	const run = (name) => (RUN.test(given.get(name) ?? "") ? given.get(name) : null);
	const number = given.get("query") ?? "";
	return {
		run: run("run"), other: run("with"), setup: given.get("setup"),
		query: /^\d{1,6}$/.test(number) ? Number(number) : null,
		sort: ["best", "gain", "listed", "name"].includes(given.get("sort")) ? given.get("sort") : null,
	};
}

function toAddress({ run, other, setup, query, sort }) {
	const kept = Object.entries({ run, with: other, setup, query, sort }).filter(([, value]) => value !== null && value !== undefined);
	return `#${new URLSearchParams(kept)}`;
}
