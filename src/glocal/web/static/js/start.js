// The empty state: how to begin, and pictures of the index to begin with.

import { api } from "./api.js";
import { byId, el, fill, icon } from "./dom.js";
import { plural, readable, spokenName } from "./words.js";

const SAMPLES = 24;
const PLACES = 3;

const local = () => ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
const paste = /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘ V" : "Ctrl V";

/** Fill the page. `choose(kind)` opens a file dialog, `search(image)` searches with an indexed picture. */
export function startPage({ choose, search }) {
	const home = byId("start");
	const samples = el("section.samples", { hidden: true });
	const privacy = local() ? "Nothing leaves this computer." : `It goes to ${location.hostname} only, and is not kept.`;
	fill(
		home,
		el("div.hero",
			el("h1", "Find every photo of the same thing"),
			el("p.lead", `Drop a picture anywhere, paste (${paste}), or `, el("button.link", { onclick: () => choose("file") }, "choose one"), `. ${privacy}`),
			el("p.hero-actions",
				el("button.button.large", { id: "choose", "aria-keyshortcuts": "/", onclick: () => choose("file") }, icon("picture"), "Choose a picture"),
				el("button.button.large.quiet.camera-only", { onclick: () => choose("camera") }, icon("camera"), "Take a picture"),
			),
		),
		samples,
	);

	async function pictures(index) {
		const total = index.counts?.indexed ?? index.size;
		const limit = total <= SAMPLES ? SAMPLES : SAMPLES / PLACES;
		const offsets = total <= SAMPLES ? [0] : Array.from({ length: PLACES }, (_, at) => Math.floor(((at + Math.random()) / PLACES) * (total - limit)));
		const pages = await Promise.all(offsets.map((offset) => api.images(index.id, offset, limit)));
		return [...new Map(pages.flatMap((page) => page.images).map((image) => [image.id, image])).values()];
	}

	return {
		/** Pictures of an index to start with. */
		async show(index) {
			if (!index || !index.size) {
				samples.hidden = false;
				fill(samples, el("p.notice", "This index is empty. Fill it with ", el("code", "glocal index PHOTOS"), ", or in the Library."));
				return;
			}
			let images = [];
			try {
				images = await pictures(index);
			} catch {
				// Nothing to start with is no error: everything else works without.
			}
			samples.hidden = !images.length;
			fill(
				samples,
				el("h2", index.size > 1 ? `Or start with one of your ${plural(index.size, "picture")}` : "Or start with yours"),
				el("ul.mosaic", images.map((image) => tile(image, index.id, search))),
			);
		},
	};
}

/** One indexed picture that a click searches with. */
export function tile(image, index, search) {
	const ratio = image.width && image.height ? image.width / image.height : 4 / 3;
	return el("li.tile", { vars: { "--ratio": Math.min(Math.max(ratio, 0.6), 2.2).toFixed(3) } },
		el("button", { title: readable(image.name), "aria-label": `Search with ${spokenName(image.name)}`, onclick: () => search(image) },
			el("img", { src: api.thumb(image.id, index, 320), alt: "", loading: "lazy", decoding: "async" }),
		),
	);
}
