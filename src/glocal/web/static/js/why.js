// Why a photo was found: match lines, both pictures blinking in one frame, one laid over the other, and the figures.

import { api } from "./api.js";
import { byId, el, fill, icon, iconButton } from "./dom.js";
import { drawLines } from "./lines.js";
import { copy, showProblem } from "./toast.js";
import { BANDS, baseOf, folderOf, percent, plural, readable, share, thousands } from "./words.js";

const MODES = { lines: ["Lines", "L"], blink: ["Blink", "B"], overlay: ["Overlay", "O"] };
const BLINK_MS = 700; // a full change and back every 1.4 s: far below three flashes a second
const SWIPE_PX = 60;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Builds the drawer. `changed({hit, mode})` when it shows something else, `closed()` when it has gone, `again(hit)`. */
export function whyDrawer({ changed, closed, again }) {
	const dialog = byId("why");
	let hit = null;
	let all = [];
	let context = null;
	let mode = "lines";
	let pair = null;
	let redraw = null;
	let blinker = 0;
	let turn = 0;

	const title = el("h2", { id: "why-title" });
	const where = el("p.why-where");
	const modes = Object.entries(MODES).map(([key, [label, letter]]) =>
		el("button.segment", { data: { mode: key }, "aria-keyshortcuts": letter, onclick: () => switchTo(key) }, label),
	);
	const previous = iconButton("back", "Previous hit", () => step(-1), { "aria-keyshortcuts": "[" });
	const next = iconButton("next", "Next hit", () => step(1), { "aria-keyshortcuts": "]" });
	const position = el("span.position");
	const stage = el("div.why-stage");
	const controls = el("div.why-controls");
	const figures = el("aside.why-facts", { "aria-label": "Figures" });
	fill(
		dialog,
		el("header.why-head",
			el("div.why-name", title, where),
			el("div.segments", { role: "group", "aria-label": "How to compare" }, modes),
			el("div.why-steps",
				previous,
				position,
				next,
				iconButton("close", "Close", () => dialog.close()),
			),
		),
		el("div.why-body", el("div.why-main", stage, controls), figures),
	);

	dialog.addEventListener("close", () => {
		stopBlinking();
		hit = null;
		turn += 1; // an answer that comes now is nobody's
		document.body.append(byId("toasts"));
		closed();
	});
	dialog.addEventListener("keydown", onKey);
	new ResizeObserver(() => redraw?.()).observe(stage);
	calm.addEventListener("change", () => hit && pair && show());

	let swipe = null;
	stage.addEventListener("pointerdown", (event) => {
		swipe = event.pointerType === "touch" && mode !== "overlay" ? [event.clientX, event.clientY] : null;
	});
	stage.addEventListener("pointerup", (event) => {
		if (!swipe) return;
		const [dx, dy] = [event.clientX - swipe[0], event.clientY - swipe[1]];
		swipe = null;
		if (Math.abs(dx) < SWIPE_PX || Math.abs(dx) < 2 * Math.abs(dy)) return;
		const keys = Object.keys(MODES);
		switchTo(keys[Math.min(keys.length - 1, Math.max(0, keys.indexOf(mode) + (dx < 0 ? 1 : -1)))]);
	});

	function onKey(event) {
		if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=text], textarea")) return;
		const slider = event.target.matches("input[type=range]");
		const key = event.key.toLowerCase();
		const chosen = Object.keys(MODES).find((name) => MODES[name][1].toLowerCase() === key);
		if (document.documentElement.dataset.letters !== "off" && chosen) switchTo(chosen);
		else if (key === "]" || (key === "arrowright" && !slider)) step(1);
		else if (key === "[" || (key === "arrowleft" && !slider)) step(-1);
		else return;
		event.preventDefault();
		event.stopPropagation();
	}

	function step(by) {
		const at = all.findIndex((other) => other.id === hit?.id) + by;
		if (at >= 0 && at < all.length) open(all[at], mode);
	}

	function switchTo(name) {
		mode = name;
		changed({ hit: hit.id, mode });
		show();
	}

	async function open(wanted, wantedMode) {
		mode = wantedMode;
		hit = wanted;
		turn += 1;
		const mine = turn;
		pair = null;
		redraw = null;
		stopBlinking();
		head();
		fill(stage, el("div.why-wait"));
		fill(controls);
		fill(figures);
		if (!dialog.open) dialog.showModal();
		changed({ hit: hit.id, mode });
		try {
			const answer = await (wanted.matches_url ? api.ask(wanted.matches_url) : api.matches(query(), wanted.id));
			if (mine !== turn) return;
			pair = answer;
			if (!hit.name) hit = { ...hit, name: pair.target.name };
			head();
			show();
			tell();
		} catch (error) {
			if (mine !== turn) return;
			fill(stage, el("p.why-none", error.title ? `${error.title}. ${error.hint}` : "This comparison is not available."));
			showProblem(error);
		}
	}

	function head() {
		title.textContent = `Why ${baseOf(hit.name ?? "")}?`;
		where.textContent = folderOf(hit.name ?? "");
		const at = all.findIndex((other) => other.id === hit.id);
		position.textContent = at < 0 ? "" : `${thousands(at + 1)} of ${thousands(all.length)}`;
		previous.disabled = at <= 0;
		next.disabled = at < 0 || at >= all.length - 1;
	}

	const number = () => hit.query_number ?? 0;
	const query = () => context.views[number()];
	const yours = () => (context.views.length > 1 ? `View ${number() + 1}` : "Your picture");
	const aligned = () => Boolean(pair.verification?.H ?? (pair.verification?.model && pair.verification.inliers > 0));

	function show() {
		stopBlinking();
		redraw = null;
		const moves = modes.includes(document.activeElement);
		for (const button of modes) {
			button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
			if (moves && button.dataset.mode === mode) button.focus();
		}
		if (!pair) return;
		dialog.dataset.mode = mode;
		if (mode === "lines") lines();
		else if (!aligned()) {
			fill(stage, el("p.why-none", "No geometry ties these two pictures together, so there is nothing to lay over the other."));
			fill(controls);
		} else if (mode === "blink") blink();
		else overlay();
	}

	function lines() {
		redraw = drawLines(stage, pair, [api.queryPicture(query()), api.thumb(hit.id, context.index, 1280)], yours());
		const outside = (pair.lines ?? []).filter((line) => !line[4]).length;
		const toggle = el("input", { type: "checkbox", id: "outliers", disabled: !outside, onchange: () => redraw({ outliers: toggle.checked }) });
		fill(
			controls,
			el("span.legend.agrees", "agrees"),
			el("label.check", toggle, el("span.legend.differs", `${thousands(outside)} that do not`)),
			el("span.legend.area", "matched area"),
			pair.query.box ? el("span.legend.asked", "your box") : null,
		);
	}

	function frame(...extra) {
		const under = el("img", { src: api.queryPicture(query()), alt: yours() });
		const over = el("img.over", { src: api.overlay(hit.id, context.index, query()), alt: "This photo, laid over your picture" });
		over.addEventListener("error", () => fill(stage, el("p.why-none", "The aligned picture could not be made.")));
		const node = el("div.frame", { vars: { "--ratio": String(pair.query.width / pair.query.height) } }, under, over, extra);
		fill(stage, node);
		return node;
	}

	function blink() {
		const tag = el("span.frame-tag");
		const node = frame(tag);
		const set = (second) => {
			node.classList.toggle("second", second);
			tag.textContent = second ? "This photo" : yours();
		};
		const swap = () => set(!node.classList.contains("second"));
		const play = el("button.button.quiet");
		const run = (on) => {
			stopBlinking();
			if (on) blinker = setInterval(swap, BLINK_MS);
			play.textContent = on ? "Pause" : "Blink";
			play.setAttribute("aria-pressed", String(on));
		};
		play.addEventListener("click", () => run(!blinker));
		set(false);
		run(!calm.matches);
		fill(
			controls,
			calm.matches ? null : play,
			el("button.button.quiet", { onclick: () => { run(false); swap(); } }, "Swap once"),
			calm.matches ? el("span.small.muted", "Blinking is off: your system asks for less motion.") : null,
		);
	}

	function stopBlinking() {
		clearInterval(blinker);
		blinker = 0;
	}

	function overlay() {
		const line = el("span.wipe-line", { "aria-hidden": "true" });
		const node = frame(line, el("span.frame-tag", yours()), el("span.frame-tag.right", "This photo"));
		node.classList.add("wiping");
		const slider = el("input", { type: "range", id: "wipe", min: "0", max: "100", value: "50" });
		const set = (value) => {
			slider.value = String(value);
			node.style.setProperty("--wipe", `${value}%`);
			slider.setAttribute("aria-valuetext", `${value} percent your picture`);
		};
		slider.addEventListener("input", () => set(Number(slider.value)));
		const drag = (event) => {
			if (event.type !== "pointerdown" && !event.buttons) return;
			const area = node.getBoundingClientRect();
			set(Math.round(Math.min(1, Math.max(0, (event.clientX - area.left) / area.width)) * 100));
			if (event.type === "pointerdown") node.setPointerCapture(event.pointerId);
		};
		node.addEventListener("pointerdown", drag);
		node.addEventListener("pointermove", drag);
		set(50);
		fill(controls, el("label.wipe", el("span", yours()), slider, el("span", "This photo")));
	}

	function tell() {
		const found = pair.verification;
		const band = BANDS[hit.band];
		const rows = [];
		const row = (name, value) => value && rows.push(el("div", el("dt", name), el("dd", value)));
		if (context.views.length > 1) row("Found by", `view ${number() + 1} of ${context.views.length}`);
		row(pair.query.box ? "Your box covered" : "Your picture covered", found?.inliers ? share(found.query_overlap) : "");
		row("This photo covered", found?.inliers ? share(found.target_overlap) : "");
		row("Similarity", Number.isFinite(hit.similarity) ? hit.similarity.toFixed(2) : "");
		row("Mirrored", found?.inliers ? (found.mirrored ? "yes" : "no") : "");
		row("Your picture turned", pair.turn ? `${pair.turn * 90}°` : "");
		row("Size", `${thousands(pair.target.width)} × ${thousands(pair.target.height)} px`);
		row("Label", hit.label ? readable(hit.label) : "");
		row("Exact copies", (hit.copies ?? []).map(readable).join(", "));
		fill(
			figures,
			band && Number.isFinite(hit.probability)
				? el("p", { class: `why-odds ${hit.band}` }, el("span.mark", { "aria-hidden": "true" }, band.mark), el("b", percent(hit.probability)), el("span", band.word))
				: null,
			el("p.why-agree", found?.tentative ? `${thousands(found.inliers)} of ${thousands(found.tentative)} matches agree` : "Not compared point by point"),
			el("dl.figures", rows),
			el("div.why-actions",
				el("button.button", { onclick: () => { const wanted = hit; dialog.close(); again(wanted); } }, icon("search"), "Search with this photo"),
				el("a.button.quiet", { href: api.picture(hit.id, context.index), target: "_blank", rel: "noopener" }, icon("open"), "Open picture"),
				el("button.button.quiet", { onclick: () => copy(hit.name, "Name") }, icon("copy"), "Copy name"),
			),
		);
	}

	return {
		/** Show why. `around` are the hits that previous and next walk through; `where` has the query's id and the index. */
		open(wanted, around, where, wantedMode = "lines") {
			all = around.some((other) => other.id === wanted.id) ? around : [wanted];
			context = where;
			return open(wanted, wantedMode);
		},
		close() {
			if (dialog.open) dialog.close();
		},
		get hit() {
			return hit?.id ?? null;
		},
		get isOpen() {
			return dialog.open;
		},
	};
}
