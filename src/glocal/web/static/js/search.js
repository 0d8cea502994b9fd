// One search after another: what is asked, the address that says it, and who shows the answer.

import { api, Problem } from "./api.js";
import { MAX_VIEWS, NOTHING, write } from "./address.js";
import { byId } from "./dom.js";
import { filterOf } from "./filters.js";
import { queryPanel } from "./query.js";
import { awaitRecognition, hideRecognition, showRecognition } from "./recognition.js";
import { resultList } from "./results.js";
import { startPage } from "./start.js";
import { clearProblems, copy, note, showProblem } from "./toast.js";
import { baseOf, plural } from "./words.js";
import { whyDrawer } from "./why.js";

const TOPK = 100;
const LOADING_MS = 800;
const LOADING_TRIES = 100;

const keyOf = ({ index, views, box, folder, label }) => JSON.stringify([index, views, box, folder, label]);

/**
 * The search page. `state` is shared with the address; `ready` resolves once the indexes are known; `indexOf(id)` describes
 * one; `visit(view)` shows a page.
 */
export function searchPage({ state, ready, indexOf, visit }) {
	let source = null; // {kind: "file" | "id" | "query", file, id, name, url, query}
	let more = []; // further views of the same thing
	let adding = false; // the file dialog is for one of those
	let answered = ""; // what the list on the screen is the answer to
	let running = null;
	let quiet = false; // the drawer shows what the address says already
	let closing = false; // by the page, not by the user

	const choose = (kind, another) => {
		const input = byId(kind === "camera" ? "camera" : "file");
		adding = input.multiple = Boolean(another);
		input.value = "";
		input.click();
	};
	const list = resultList({ open: (hit) => why(hit, "lines", true), again });
	const panel = queryPanel({ boxChanged, filterChanged, another: choose, drop: (at) => reviewed([source, ...more].filter((_, other) => other !== at)) });
	const start = startPage({ choose, search: again });
	const drawer = whyDrawer({
		changed: ({ hit, mode }) => {
			const push = !state.hit && !quiet;
			Object.assign(state, { hit, mode });
			write(state, push);
		},
		closed: () => {
			if (closing) {
				closing = false;
				return;
			}
			const last = state.hit;
			Object.assign(state, { hit: null, mode: "lines" });
			write(state, true);
			if (last) list.focus(last);
		},
		again,
	});

	for (const id of ["file", "camera"]) {
		byId(id).addEventListener("change", (event) => {
			give([...event.target.files], adding);
			adding = false;
		});
	}

	function page(name) {
		byId("start").hidden = name !== "start";
		byId("work").hidden = name !== "work";
		document.body.classList.toggle("working", name === "work");
	}

	/** Search with files from a drop, the clipboard, the disk or the camera, or add them as views. */
	function give(files, another) {
		const pictures = files.filter((file) => !file.type || file.type.startsWith("image/"));
		if (!pictures.length) {
			if (files[0]) {
				showProblem(new Problem({ title: "This is not a picture", detail: `“${baseOf(files[0].name)}” is ${files[0].type}.`, hint: "Use a JPEG, PNG, WebP, HEIC, TIFF, GIF, BMP or AVIF file." }));
			}
			return;
		}
		const taken = pictures.map((file) => ({ kind: "file", file, name: file.name || "Pasted picture", url: URL.createObjectURL(file) }));
		if (another && source) return add(taken);
		if (pictures.length > 1) note(`Searching with the first of ${plural(pictures.length, "picture")}`);
		visit("search");
		Object.assign(state, NOTHING);
		adopt(taken[0], null);
		run({ push: true });
	}

	function add(taken) {
		const room = MAX_VIEWS - 1 - more.length;
		if (taken.length > room) note(`At most ${MAX_VIEWS} views of a thing`);
		if (room) reviewed([source, ...more, ...taken.slice(0, room)]);
	}

	/** Search with these views. */
	function reviewed(views) {
		const [first] = views;
		Object.assign(state, { image: first.kind === "id" ? first.id : null, query: first.query, box: null, hit: null });
		adopt(first, null, views.slice(1));
		run({ push: true, keep: true });
	}

	const indexed = (image) => ({ kind: "id", id: image.id, name: image.name, url: api.thumb(image.id, state.index, 1280) });
	const remembered = (id) => ({ kind: "query", id, name: "", query: id, url: api.queryPicture(id) });

	/** Search with a picture of the index, or add it as a view. */
	function again(image, another) {
		if (another && source) return add([indexed(image)]);
		visit("search");
		Object.assign(state, NOTHING, { image: image.id });
		adopt(indexed(image), null);
		write(state, true);
		run({ push: false });
		scrollTo({ top: 0 });
	}

	function adopt(next, box, others = []) {
		release([next, ...others]);
		if (source !== next) panel.picture(next.url, next.name, box);
		else panel.box(box);
		source = next;
		more = others;
		panels();
		page("work");
		document.title = `${baseOf(next.name)} · glocal`;
	}

	function release(kept) {
		for (const view of [source, ...more]) if (view?.file && !kept.includes(view)) URL.revokeObjectURL(view.url);
	}

	function panels() {
		panel.views([source, ...more]);
		panel.filter(state, state.index, labelled(state.index));
	}

	function filterChanged(kind, names) {
		Object.assign(state, { [kind]: names, hit: null });
		panels();
		run({ push: true, keep: true });
	}

	function boxChanged(box) {
		if (!source || String(box) === String(state.box)) return;
		const push = Boolean(box) !== Boolean(state.box);
		state.box = box;
		state.hit = null;
		run({ push, keep: true });
	}

	function params() {
		return { index: state.index, topk: TOPK, ...(state.box ? { box: state.box } : {}), ...filterOf(state) };
	}

	async function refer(view) {
		if (view.query) return { query: view.query };
		if (view.kind === "id") return { id: view.id };
		const reader = new FileReader();
		await new Promise((done) => {
			reader.onloadend = done;
			reader.readAsDataURL(view.file);
		});
		if (reader.error) throw new Problem({ title: "The picture cannot be read", detail: view.name });
		return { base64: reader.result.split(",")[1] };
	}

	async function body() {
		if (more.length) return { ...params(), images: await Promise.all([source, ...more].map(refer)) };
		if (source.kind === "file" && !source.query) {
			const form = new FormData();
			form.append("image", source.file, source.file.name || "picture");
			form.append("params", JSON.stringify(params()));
			return form;
		}
		return { ...params(), image: await refer(source) };
	}

	/** Ask, show what is similar, then what was verified. */
	async function run({ push = false, keep = false, tries = 0 } = {}) {
		running?.abort();
		running = new AbortController();
		answered = "";
		const { signal } = running;
		const [mine, others] = [source, more];
		clearProblems();
		drawerClose();
		if (!tries) list.busy(!keep);
		panel.words("Searching…");
		await ready();
		if (signal.aborted) return;
		panels();
		const asked = params();
		let pushed = !push;
		const place = ([id, ...ids]) => {
			if (mine.kind !== "id") {
				mine.query = id;
				state.query = id;
			}
			others.forEach((view, at) => (view.query = ids[at]));
			state.views = ids;
			write(state, !pushed);
			pushed = true;
		};
		try {
			let answer = null;
			for await (const { event, data } of api.search(await body(), signal)) {
				if (signal.aborted) return;
				if (event === "query") continue;
				answer = data;
				place(data.views);
				panel.views([mine, ...others]);
				panel.facts(data);
				panel.fallback(api.queryPicture(data.query.id));
				if (event === "hits") {
					list.hits(data);
					if (!keep && labelled(asked.index)) awaitRecognition(list.recognition);
				}
				else if (event === "result") {
					list.result(data);
					answered = keyOf(state);
					panel.words(list.counts());
					if (!mine.name) mine.name = "Shared picture";
				}
			}
			if (!answer) throw new Problem({ title: "The answer ended early", detail: "The server closed the connection before the hits were verified.", hint: "Search again." });
			if (state.hit) why({ id: state.hit, ...list.hit(state.hit) }, state.mode, false);
			recognize(answer, asked, signal);
		} catch (error) {
			if (error.name === "AbortError" || signal.aborted) return;
			const kept = [mine, ...others].filter((view) => view.kind !== "query" && view.query);
			if (error.code === "query_expired" && kept.length) {
				for (const view of kept) view.query = null; // the server has forgotten it; the file is still here
				run({ push, keep });
				return;
			}
			if (error.code === "index_loading" && tries < LOADING_TRIES) {
				list.waiting();
				await new Promise((resolve) => setTimeout(resolve, LOADING_MS));
				if (!signal.aborted) run({ push, keep, tries: tries + 1 });
				return;
			}
			panel.words("");
			hideRecognition(list.recognition);
			showProblem(error);
			list.stop();
			if (mine.kind !== "file" && !keep) {
				Object.assign(state, NOTHING);
				home();
			}
		}
	}

	const labelled = (index) => indexOf(index)?.labels > 0;

	async function recognize(answer, asked, signal) {
		if (!labelled(asked.index) || !["match", "uncertain"].includes(answer.verdict)) {
			hideRecognition(list.recognition);
			return;
		}
		try {
			const found = await api.recognize({ ...asked, topk: undefined, images: answer.views.map((query) => ({ query })) }, signal);
			if (!signal.aborted) showRecognition(list.recognition, found, asked.index, (hit) => why(list.hit(hit.id) ?? hit, "lines", true));
		} catch (error) {
			hideRecognition(list.recognition);
			if (error.code !== "no_labels") showProblem(error);
		}
	}

	function why(hit, mode, push) {
		const answer = list.answer;
		if (!answer) return;
		quiet = !push;
		drawer.open(hit, list.shown(), { views: answer.views, index: answer.index.id }, mode);
		quiet = false;
	}

	function drawerClose() {
		if (!drawer.isOpen) return;
		closing = true;
		drawer.close();
	}

	function home() {
		running?.abort();
		list.stop();
		release([]);
		source = null;
		more = [];
		page("start");
		document.title = "glocal";
		if (state.view === "search") write(state); // other pages have their own state there
		start.show(indexOf(state.index));
	}

	return {
		give,
		again,
		choose,
		/** Bring the page to what the address says: on load, on Back and Forward. */
		restore() {
			const { query, image, box, hit, mode } = state;
			if (!query && !image) {
				drawerClose();
				home();
				return;
			}
			const same = source && (image ? source.kind === "id" && source.id === image : !image && (source.query ?? source.id) === query);
			if (same && list.answer && answered === keyOf(state)) {
				if (!hit) drawerClose();
				else if (drawer.hit !== hit) why({ id: hit, ...list.hit(hit) }, mode, false);
				return;
			}
			const others = state.views.map((id) => more.find((view) => view.query === id) ?? remembered(id));
			adopt(same ? source : image ? indexed({ id: image, name: "" }) : remembered(query), box, others);
			run({ keep: Boolean(same) });
		},
		/** The same picture in another index. */
		reindex() {
			if (source?.kind === "file") {
				more = more.filter((view) => view.kind === "file");
				for (const view of [source, ...more]) view.query = null;
				Object.assign(state, { views: [], folder: [], label: [], hit: null });
				run({ push: true });
			} else {
				Object.assign(state, NOTHING);
				home();
			}
		},
		/** What the API tab shows. */
		isAsked: () => source !== null,
		asked: () => ({ params: params(), views: source ? [source, ...more] : [{}] }),
		answer: () => (source ? list.answer : null),
		/** Keys on the search page; gives whether one was used. */
		key(event) {
			const letters = document.documentElement.dataset.letters !== "off";
			const key = event.key;
			const card = document.activeElement?.closest?.(".card");
			if (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(key)) return Boolean(card) && list.move(key);
			if (key === "Escape") return list.unpick();
			if (!letters || !source) return false;
			if (key === "[" || key === "]") return list.move(key);
			if (!card) return false;
			const low = key.toLowerCase();
			const mode = { b: "blink", l: "lines", o: "overlay" }[low];
			if (mode) why(card.hit, mode, true);
			else if (low === "s") again(card.hit);
			else if (low === "x") {
				const names = list.pick();
				if (names?.length) copy(names.join("\n"), plural(names.length, "name"));
			} else return false;
			return true;
		},
	};
}
