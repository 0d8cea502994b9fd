// One hit: the photo with the matched area outlined, how sure it is, and why.

import { api } from "./api.js";
import { el, fill, icon, svg } from "./dom.js";
import { BANDS, baseOf, folderOf, percent, plural, readable, share, spokenName, spokenPercent } from "./words.js";

const RATIOS = [0.72, 2.1];

/** Polygon points of an outline. */
export const pointsOf = (quad) => quad.map(([x, y]) => `${x + 0.5},${y + 0.5}`).join(" ");

/** The outline over a picture of a hit; nothing where nothing was matched. */
export function outline(hit) {
	const quad = hit.verification?.target_quad;
	if (!quad || !hit.width || !hit.height) return null;
	return svg("svg.outline", { viewBox: `0 0 ${hit.width} ${hit.height}`, "aria-hidden": "true" },
		// An <svg> of its own cuts off what lies outside the picture.
		svg("svg", { width: hit.width, height: hit.height }, svg("polygon.under", { points: pointsOf(quad) }), svg("polygon.over", { points: pointsOf(quad) })),
	);
}

/** A card. `open(hit)` shows why, `again(hit)` searches with the picture. */
export function card(hit, index, { open, again }) {
	const ratio = hit.width && hit.height ? hit.width / hit.height : 4 / 3;
	const thumb = (width) => api.thumb(hit.id, index, width);
	const image = el("img", { src: thumb(320), srcset: `${thumb(320)} 1x, ${thumb(640)} 2x`, alt: "", loading: "lazy", decoding: "async", onerror: () => node.classList.add("gone") });
	const node = el("li.card", { data: { id: hit.id }, vars: { "--ratio": Math.min(Math.max(ratio, RATIOS[0]), RATIOS[1]).toFixed(3) } },
		el("button.shot", { tabindex: "-1", onclick: () => open(node.hit) }, image),
		el("div.caption"),
		el("button.again", { tabindex: "-1", title: "Search with this picture", "aria-label": `Search with ${spokenName(hit.name)}`, onclick: () => again(node.hit) }, icon("search")),
	);
	return node;
}

/** Bring a card up to date with what is known now. */
export function refresh(node, hit, { place, of, verified, judged }) {
	node.hit = hit;
	const judgement = verified && judged && Number.isFinite(hit.probability);
	const band = BANDS[hit.band] ?? BANDS.look_alike;
	const similarity = hit.similarity.toFixed(2);
	const found = verified && hit.verification;
	const inliers = found && plural(found.inliers, "inlier");
	const copies = hit.copies?.length ? `+${plural(hit.copies.length, "copy", "copies")}` : "";
	const folder = folderOf(hit.name);
	node.classList.remove("same", "possibly", "look_alike", "pending");
	node.classList.add(verified && judged ? hit.band : "pending");
	const shot = node.querySelector(".shot");
	node.querySelector(".outline")?.remove();
	if (verified) shot.append(outline(hit) ?? "");
	fill(
		node.querySelector(".caption"),
		el("p.odds",
			!verified
				? "checking…"
				: judgement
					? [el("span.mark", { "aria-hidden": "true" }, band.mark), el("b", percent(hit.probability)), el("span.wide", band.word)]
					: [el("b", similarity), el("span", "similarity")]),
		el("p.proof", found ? [inliers, found.query_overlap >= 0.01 && el("span.wide", ` · covers ${share(found.query_overlap)}`)] : verified ? "not compared closely" : `similarity ${similarity}`),
		el("p.file", { title: readable(hit.name) }, baseOf(hit.name), copies && el("span.muted", ` ${copies}`)),
		el("p.place", [folder, !folder.split("/").includes(hit.label) && readable(hit.label)].filter(Boolean).join(" · ")),
	);
	const words = judgement ? `${band.word} ${spokenPercent(hit.probability)}` : `similarity ${similarity}`;
	const label = [`Result ${place} of ${of}`, words, inliers, spokenName(hit.name), folder && `in ${folder}`, copies.slice(1)];
	shot.setAttribute("aria-label", label.filter(Boolean).join(", "));
}
