// "What is this?": the label, how sure, and the photos that voted for it.

import { api } from "./api.js";
import { el, fill } from "./dom.js";
import { percent, plural, readable, sentence, share, thousands } from "./words.js";

const SHOWN = 3;

/** Keep its place, so that the results do not jump when it comes. */
export function awaitRecognition(home) {
  fill(home);
  home.hidden = false;
  home.classList.add("waiting");
}

export function hideRecognition(home) {
  home.hidden = true;
  home.classList.remove("waiting");
}

/** Fill the card above the results. `open(hit)` shows why a photo voted. */
export function showRecognition(home, answer, index, open) {
  const votes = (answer.votes ?? []).slice(0, SHOWN);
  const [first, all] = [answer.votes?.[0]?.evidence?.length ?? 0, (answer.votes ?? []).reduce((sum, vote) => sum + (vote.evidence?.length ?? 0), 0)];
  home.hidden = false;
  home.classList.remove("waiting");
  home.classList.toggle("unknown", !answer.label);
  const head = el(
    "div",
    { class: "recognition-head" },
    el("h2", { class: "eyebrow", text: "What is this?" }),
    answer.label
      ? el("p", { class: "label" }, el("b", { text: readable(answer.label) }), Number.isFinite(answer.confidence) ? el("span", { class: "muted", text: ` ${percent(answer.confidence)}` }) : null)
      : el("p", { class: "label" }, el("b", { text: "Unknown" })),
    el("p", { class: "small muted", text: answer.label ? `${thousands(first)} of ${plural(all, "vote")} of the closest labelled photos` : sentence(readable(answer.reason)) || "No labelled photo shows the same for sure." }),
  );
  const bars = el(
    "ul",
    { class: "votes" },
    votes.map((vote) =>
      el(
        "li",
        { class: "vote" },
        el("div", { class: "vote-name" }, el("span", { text: readable(vote.label) }), el("span", { class: "muted", text: share(vote.share) })),
        el("div", { class: "meter", vars: { "--share": String(Math.min(1, Math.max(0, vote.share))) }, "aria-hidden": "true" }),
        el(
          "div",
          { class: "voters" },
          (vote.evidence ?? []).slice(0, 6).map((hit) =>
            el(
              "button",
              { type: "button", class: "voter", title: readable(hit.name), "aria-label": `Why ${readable(hit.name)} votes for ${readable(vote.label)}`, on: { click: () => open(hit) } },
              el("img", { src: api.thumb(hit.id, index, 160), alt: "", loading: "lazy" }),
            ),
          ),
          (vote.evidence?.length ?? 0) > 6 ? el("span", { class: "small muted", text: `+${plural(vote.evidence.length - 6, "photo")}` }) : null,
        ),
      ),
    ),
  );
  fill(home, head, votes.length ? bars : null);
}
