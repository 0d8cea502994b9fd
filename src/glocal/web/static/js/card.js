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
  return svg(
    "svg",
    { class: "outline", viewBox: `0 0 ${hit.width} ${hit.height}`, "aria-hidden": "true" },
    // An <svg> of its own cuts off what lies outside the picture.
    svg("svg", { width: hit.width, height: hit.height }, svg("polygon", { class: "under", points: pointsOf(quad) }), svg("polygon", { class: "over", points: pointsOf(quad) })),
  );
}

/** The words of a hit's odds: mark, number, word. */
export function odds(hit, verified, judged) {
  const band = BANDS[hit.band] ?? BANDS.look_alike;
  if (!verified) return [el("span", { class: "pending", text: "checking…" })];
  if (!judged || !Number.isFinite(hit.probability)) {
    return [el("b", { text: hit.similarity.toFixed(2) }), el("span", { text: "similarity" })];
  }
  return [
    el("span", { class: "mark", "aria-hidden": "true", text: band.mark }),
    el("b", { text: percent(hit.probability) }),
    el("span", { text: band.word }),
  ];
}

/** A card. `open(hit)` shows why, `again(hit)` searches with the picture. */
export function card(hit, index, { open, again }) {
  const ratio = hit.width && hit.height ? hit.width / hit.height : 4 / 3;
  const image = el("img", {
    src: api.thumb(hit.id, index, 320),
    srcset: `${api.thumb(hit.id, index, 320)} 1x, ${api.thumb(hit.id, index, 640)} 2x`,
    alt: "",
    loading: "lazy",
    decoding: "async",
  });
  const shot = el("button", { type: "button", class: "shot", tabindex: "-1" }, image);
  const node = el(
    "li",
    { class: "card", data: { id: hit.id }, vars: { "--ratio": Math.min(Math.max(ratio, RATIOS[0]), RATIOS[1]).toFixed(3) } },
    shot,
    el("div", { class: "caption" }, el("p", { class: "odds" }), el("p", { class: "proof" }), el("p", { class: "file" })),
  );
  const more = el(
    "button",
    { type: "button", class: "again", tabindex: "-1", title: "Search with this picture", "aria-label": `Search with ${spokenName(hit.name)}`, on: { click: () => again(node.hit) } },
    icon("search"),
  );
  node.append(more);
  image.addEventListener("error", () => node.classList.add("gone"), { once: true });
  shot.addEventListener("click", () => open(node.hit));
  return node;
}

/** Bring a card up to date with what is known now. */
export function refresh(node, hit, { place, of, verified, judged }) {
  node.hit = hit;
  const band = verified && judged ? hit.band : "pending";
  node.classList.remove("same", "possibly", "look_alike", "pending");
  node.classList.add(band);
  const shot = node.querySelector(".shot");
  node.querySelector(".outline")?.remove();
  const drawn = verified && outline(hit);
  if (drawn) shot.append(drawn);
  fill(node.querySelector(".odds"), odds(hit, verified, judged));
  const found = hit.verification;
  const proof = node.querySelector(".proof");
  if (!verified) proof.textContent = `similarity ${hit.similarity.toFixed(2)}`;
  else if (found) {
    const covers = found.query_overlap >= 0.01 && el("span", { text: `covers ${share(found.query_overlap)}` });
    fill(proof, el("span", { text: `${plural(found.inliers, "inlier")}${covers ? " ·" : ""}` }), covers && " ", covers);
  }
  else proof.textContent = "not compared closely";
  const copies = hit.copies?.length ? ` +${plural(hit.copies.length, "copy", "copies")}` : "";
  fill(node.querySelector(".file"), el("span", { text: baseOf(hit.name) }), copies && el("span", { class: "copies", text: copies }));
  node.querySelector(".file").title = readable(hit.name);
  const words = verified && judged ? `${(BANDS[hit.band] ?? BANDS.look_alike).word} ${spokenPercent(hit.probability)}` : `similarity ${hit.similarity.toFixed(2)}`;
  const folder = folderOf(hit.name);
  shot.setAttribute(
    "aria-label",
    [`Result ${place} of ${of}`, words, verified && found ? plural(found.inliers, "inlier") : "", spokenName(hit.name), folder && `in ${folder}`, copies && copies.slice(2)]
      .filter(Boolean)
      .join(", "),
  );
}
