// What went wrong, in words; and the quiet voice for screen readers.

import { byId, el, iconButton } from "./dom.js";
import { Problem } from "./api.js";
import { readable, sentence } from "./words.js";

let voiceTimer = 0;

/** Tell a screen reader. */
export function say(text) {
	clearTimeout(voiceTimer);
	byId("voice").textContent = "";
	voiceTimer = setTimeout(() => {
		byId("voice").textContent = text;
	}, 60);
}

/** Show a problem until it is put away. An aborted request is none. */
export function showProblem(error) {
	if (error?.name === "AbortError") return;
	const problem =
		error instanceof Problem
			? error
			: new Problem({ title: "The page has made a mistake", detail: String(error?.message ?? error ?? ""), hint: "Reload the page." });
	if (!(error instanceof Problem)) console.error(error);
	const same = [...byId("toasts").children].find((toast) => toast.dataset.title === problem.title);
	same?.remove();
	const toast = el("div.toast.problem", { role: "alert", data: { title: problem.title } },
		el("strong", problem.title),
		problem.detail && el("p", sentence(readable(problem.detail))),
		problem.hint && el("p.hint", `→ ${readable(problem.hint)}`),
		problem.request && el("p.small", `Request ${problem.request}`),
		iconButton("close", "Dismiss", () => toast.remove()),
	);
	place(toast);
}

/** A short confirmation that goes by itself. */
export function note(text) {
	const toast = el("div.toast", el("p", text));
	place(toast);
	say(text);
	setTimeout(() => toast.remove(), 4000);
}

function place(toast) {
	const dialog = document.querySelector("dialog[open]");
	const host = byId("toasts");
	// A modal dialog covers everything else: what is to be seen has to be inside it.
	(dialog ?? document.body).append(host);
	host.append(toast);
	while (host.children.length > 3) host.firstChild.remove();
}

export function clearProblems() {
	for (const toast of document.querySelectorAll(".toast.problem")) toast.remove();
}

/** Copy, and say so. */
export async function copy(text, what) {
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		// Plain http away from localhost has no clipboard; a selection still works.
		const field = el("textarea.unseen", { "aria-hidden": "true" });
		field.value = text;
		(document.querySelector("dialog[open]") ?? document.body).append(field);
		field.select();
		const done = document.execCommand("copy");
		field.remove();
		if (!done) {
			showProblem(new Problem({ title: "The browser did not allow copying", detail: "Select the text and copy it by hand." }));
			return;
		}
	}
	note(`${what} copied`);
}
