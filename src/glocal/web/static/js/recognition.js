// "What is this?": the label, how sure, and the photos that voted for it.

import { api } from "./api.js";
import { el, fill } from "./dom.js";
import { percent, plural, readable, sentence, share, thousands } from "./words.js";

const SHOWN = 3;
const VOTERS = 6;

const head = (...children) => el("div.recognition-head", el("h2.eyebrow", "What is this?"), children);

/** Keep its place, so that the results do not jump when it comes. */
export function awaitRecognition(home) {
	fill(home, head(el("p.label.muted", "Asking…"), el("p.small.muted", "The closest labelled photos vote.")));
	home.hidden = false;
	home.className = "recognition panel waiting";
}

export function hideRecognition(home) {
	home.hidden = true;
	home.className = "recognition panel";
}

/** Fill the card above the results. `open(hit)` shows why a photo voted. */
export function showRecognition(home, { label, confidence, reason, votes }, index, open) {
	const all = votes.reduce((sum, vote) => sum + vote.evidence.length, 0);
	home.hidden = false;
	home.className = label ? "recognition panel" : "recognition panel unknown";
	const voter = (vote, hit) =>
		el("button.voter", { title: readable(hit.name), "aria-label": `Why ${readable(hit.name)} votes for ${readable(vote.label)}`, onclick: () => open(hit) },
			el("img", { src: api.thumb(hit.id, index, 160), alt: "", loading: "lazy" }));
	fill(
		home,
		head(
			el("p.label", el("b", label ? readable(label) : "Unknown"), label && Number.isFinite(confidence) && el("span.muted", ` ${percent(confidence)}`)),
			el("p.small.muted", label ? `${thousands(votes[0].evidence.length)} of ${plural(all, "vote")} of the closest labelled photos` : sentence(readable(reason)) || "No labelled photo shows the same for sure."),
		),
		votes.length > 0 && el("ul.votes", votes.slice(0, SHOWN).map((vote) =>
			el("li.vote",
				el("div.vote-name", el("span", readable(vote.label)), el("span.muted", share(vote.share))),
				el("div.meter", { vars: { "--share": String(Math.min(1, Math.max(0, vote.share))) }, "aria-hidden": "true" }),
				el("div.voters",
					vote.evidence.slice(0, VOTERS).map((hit) => voter(vote, hit)),
					vote.evidence.length > VOTERS && el("span.small.muted", `+${plural(vote.evidence.length - VOTERS, "photo")}`)),
			))),
	);
}
