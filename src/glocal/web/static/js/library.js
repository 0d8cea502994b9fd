// The Library: what the index holds, what was skipped and why, bringing it up to date, and its pictures.

import { api, Problem } from "./api.js";
import { byId, el, fill, icon } from "./dom.js";
import { tile } from "./start.js";
import { note, say, showProblem } from "./toast.js";
import { bytes, day, plural, readable, reasonOf, share, thousands, wait } from "./words.js";

const PAGE = 48;
const ENDED = { done: "Up to date", stopped: "Stopped; what was saved stays", failed: "Failed" };

/** Builds the page. `search(image)` searches with a picture, `changed()` after an index has changed. */
export function libraryPage({ search, changed }) {
	const home = byId("library");
	let watching = null;
	let shownIndex = null;

	const head = el("header.page-head");
	const job = el("section.job.panel", { hidden: true, "aria-label": "Update" });
	const stats = el("dl.stats.panel");
	const skipped = el("section.skipped", { hidden: true });
	const gallery = el("section.gallery");
	fill(home, head, job, stats, skipped, gallery);

	async function show(id) {
		shownIndex = id;
		if (!id) {
			fill(head, el("h1", "Library"), el("p.lead", "No index is served. Make one with ", el("code", "glocal index PHOTOS"), "."));
			fill(stats);
			return;
		}
		try {
			const about = await api.index(id);
			if (shownIndex !== id) return;
			await draw(about);
			if (about.job) watch(about.job);
		} catch (error) {
			showProblem(error);
		}
	}

	async function draw(about) {
		heads(about);
		figures(about);
		await Promise.all([listSkipped(about), listPictures(about)]);
	}

	function heads(about) {
		const adder = el("input.unseen", { type: "file", multiple: true, accept: "image/*,.heic,.heif", "aria-label": "Pictures to add", tabindex: "-1", hidden: true, onchange: () => adder.files.length && start(api.upload(about.id, adder.files)) });
		fill(
			head,
			el("div", el("p.eyebrow", "Library"), el("h1", readable(about.id)), el("p.muted", `Last updated ${day(about.last_update)}`)),
			el("div.page-actions",
				about.managed && [el("button.button.quiet", { onclick: () => adder.click() }, icon("picture"), "Add pictures"), adder],
				el("button.button", { id: "update", onclick: () => start(api.update(about.id)) }, "Update now"),
			),
		);
	}

	function figures(about) {
		const { counts } = about;
		const rows = [
			["Pictures", thousands(counts.indexed), "searchable"],
			["Skipped", thousands(counts.rejected), counts.rejected ? "could not be read" : "everything could be read"],
			counts.missing ? ["Gone", thousands(counts.missing), "no longer in the folder"] : null,
			["Model", readable(about.model).replaceAll("_", "_\u200b"), readable(about.model_hash ?? "").replace(/^sha256:/, "weights ").slice(0, 20)],
			["On disk", bytes(about.bytes.file + about.bytes.caches), "descriptors and local features"],
			about.labels ? ["Labelled", thousands(about.labels), "pictures with a name"] : null,
			Number.isFinite(about.recall_probe) ? ["Recall probe", share(about.recall_probe), "of exact neighbours found"] : null,
		];
		fill(stats, rows.filter(Boolean).map(([name, value, words]) => el("div.stat", el("dt", name), el("dd", el("b", value), el("span.small.muted", words)))));
	}

	async function listSkipped(about) {
		const count = about.counts.rejected;
		skipped.hidden = !count;
		if (!count) return;
		const rows = el("tbody");
		const more = el("button.button.quiet", { hidden: true, onclick: load }, "Show more");
		const reasons = Object.entries(about.rejected).sort((a, b) => b[1] - a[1]);
		fill(
			skipped,
			el("details.skipped-list.panel",
				el("summary", el("b", `${plural(count, "file")} skipped`), el("span.reasons", reasons.map(([reason, number]) => el("span.chip", `${thousands(number)} ${reasonOf(reason)}`)))),
				el("div.scroll", { tabindex: "0", role: "group", "aria-label": "Skipped files" }, el("table", el("thead", el("tr", ["File", "Reason", "Detail"].map((text) => el("th", { scope: "col", text })))), rows)),
				more,
				el("p.small.muted", "After a repair, Update now tries them again where the file has changed."),
			),
		);
		async function load() {
			const page = await api.skipped(about.id, rows.children.length, PAGE);
			rows.append(...page.skipped.map((file) => el("tr", el("td", el("code", readable(file.path))), el("td", reasonOf(file.reason)), el("td.muted", readable(file.detail)))));
			more.hidden = rows.children.length >= page.total || !page.skipped.length;
		}
		await load();
	}

	async function listPictures(about) {
		const list = el("ul.mosaic");
		const more = el("button.button.quiet", { hidden: true, onclick: load }, "Show more");
		const count = el("span.count.muted");
		const filter = el("input", { type: "search", id: "prefix", placeholder: "2019/Roma", autocomplete: "off", spellcheck: "false" });
		let timer = 0;
		let offset = 0;
		let round = 0;
		filter.addEventListener("input", () => {
			clearTimeout(timer);
			timer = setTimeout(() => {
				offset = 0;
				load();
			}, 250);
		});
		fill(
			gallery,
			el("header.gallery-head", el("h2", "Pictures", count), el("label.filter", el("span", "Folder or name begins with"), filter)),
			list,
			more,
		);
		async function load() {
			round += 1;
			const mine = round;
			try {
				const page = await api.images(about.id, offset, PAGE, filter.value.trim());
				if (mine !== round) return;
				if (offset === 0) fill(list);
				offset += page.images.length;
				list.append(...page.images.map((image) => tile(image, about.id, search)));
				if (!list.children.length) list.append(el("li.muted", "No picture’s name begins so."));
				count.textContent = ` ${thousands(page.total)}`;
				more.hidden = offset >= page.total || !page.images.length;
			} catch (error) {
				showProblem(error);
			}
		}
		await load();
	}

	/** Follow the job that a request begins. */
	async function start(asked) {
		try {
			watch((await asked).job);
		} catch (error) {
			showProblem(error);
		}
	}

	async function watch(id) {
		watching?.abort();
		watching = new AbortController();
		const mine = watching;
		const index = shownIndex;
		say("Updating");
		let last = null;
		try {
			for await (const { event, data } of api.jobEvents(id, mine.signal)) {
				last = data;
				progress(data);
				if (event === "end") break;
			}
			if (last && !ENDED[last.state]) {
				last = await api.job(id);
				progress(last);
			}
			if (last?.state === "failed" && last.error) showProblem(new Problem(last.error));
			else if (last) note(ENDED[last.state] ?? "Done");
			changed();
			if (shownIndex === index && last?.state === "done") {
				await draw(await api.index(index));
			}
		} catch (error) {
			if (error.name !== "AbortError") job.hidden = true;
			showProblem(error);
		}
	}

	function progress(data) {
		const over = Boolean(ENDED[data.state]);
		const known = data.total > 0;
		const part = known ? Math.min(1, data.done / data.total) : 0;
		job.hidden = false;
		const words = over ? ENDED[data.state] : data.state === "queued" ? "Waiting for its turn" : known ? "Updating" : "Looking through the folder";
		const details = [
			known ? `${thousands(data.done)} of ${thousands(data.total)}` : null,
			data.num_skipped ? `${thousands(data.num_skipped)} skipped` : null,
			!over && data.rate ? `${data.rate < 10 ? data.rate.toFixed(1) : Math.round(data.rate)} per second` : null,
			!over && data.eta_s ? `${wait(data.eta_s)} left` : null,
		];
		let bar = job.querySelector("progress");
		if (!bar) {
			const stop = el("button.button.quiet.stop", "Stop");
			bar = el("progress", { max: "1", "aria-label": "Progress of the update" });
			fill(job, el("div.job-head", el("p.job-words", { role: "status" }), el("p.job-details.muted"), stop), bar, el("ul.job-skipped"));
		}
		if (known || over) bar.value = over && data.state === "done" ? 1 : part;
		else bar.removeAttribute("value");
		const spoken = job.querySelector(".job-words");
		if (spoken.textContent !== words) spoken.textContent = words;
		job.querySelector(".job-details").textContent = details.filter(Boolean).join(" · ");
		byId("update").disabled = !over;
		const stop = job.querySelector(".stop");
		stop.hidden = over;
		stop.onclick = () => api.stopJob(data.job).catch(showProblem);
		fill(job.querySelector(".job-skipped"), (data.skipped ?? []).slice(-3).map((file) => el("li.small", el("code", readable(file.path)), el("span.muted", ` ${reasonOf(file.reason)}`))));
	}

	return { show };
}
