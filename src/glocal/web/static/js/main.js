// Starts the page: indexes, pages, theme, keys, and pictures from anywhere.

import { api, Problem } from "./api.js";
import { NOTHING, read, write } from "./address.js";
import { byId, el, fill, icon, keep } from "./dom.js";
import { keyMap } from "./keys.js";
import { libraryPage } from "./library.js";
import { searchPage } from "./search.js";
import { showSnippets } from "./snippets.js";
import { say, showProblem } from "./toast.js";
import { readable, thousands } from "./words.js";

const THEMES = ["auto", "light", "dark"];
const state = read();
let indexes = [];
let lab = null;

const indexOf = (id) => indexes.find((index) => index.id === id) ?? null;
let loaded = null;
const search = searchPage({ state, ready: () => loaded, indexOf, visit: (view) => visit(view, false) });
const library = libraryPage({ search: search.again, changed: () => load().catch(showProblem) });
const keys = keyMap();

// Pages

async function visit(view, push = true) {
	const changed = state.view !== view;
	state.view = view;
	if (push && changed) write(state, true);
	for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== view;
	for (const link of document.querySelectorAll(".tabs a")) {
		if (link.dataset.view === view) link.setAttribute("aria-current", "page");
		else link.removeAttribute("aria-current");
	}
	if (changed) scrollTo({ top: 0 });
	if (view === "library") library.show(state.index);
	if (view === "api") showSnippets(search.asked(), search.answer());
	if (view === "lab") await openLab();
}

async function openLab() {
	if (lab) return lab.mountLab(byId("lab"), api);
	try {
		document.head.append(el("link", { rel: "stylesheet", href: "/static/css/lab.css" }));
		lab = await import("./lab.js");
		await lab.mountLab(byId("lab"), api);
	} catch (error) {
		lab = null;
		fill(byId("lab"), el("div.page", el("h1", "Lab"), el("p.lead", "The Lab could not be opened.")));
		showProblem(error);
	}
}

for (const link of document.querySelectorAll(".tabs a")) link.prepend(icon(link.dataset.icon));
document.addEventListener("click", (event) => {
	const link = event.target.closest?.("a[data-view]");
	if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
	event.preventDefault();
	if (link.classList.contains("brand")) {
		Object.assign(state, NOTHING, { view: "search" });
		write(state, true);
		visit("search", false);
		search.restore();
	} else visit(link.dataset.view);
});
addEventListener("popstate", () => {
	Object.assign(state, read());
	state.index = indexOf(state.index)?.id ?? indexes[0]?.id ?? null;
	byId("index").value = state.index ?? "";
	visit(state.view, false);
	if (state.view === "search") search.restore();
});

// Theme

function theme() {
	return document.documentElement.dataset.theme ?? "auto";
}

function showTheme() {
	const words = { auto: "as the system", light: "light", dark: "dark" };
	const button = byId("theme");
	fill(button, icon(theme()));
	button.setAttribute("aria-label", `Theme: ${words[theme()]}`);
	button.title = `Theme: ${words[theme()]}`;
}

byId("theme").addEventListener("click", () => {
	const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
	if (next === "auto") delete document.documentElement.dataset.theme;
	else document.documentElement.dataset.theme = next;
	keep("theme", next);
	showTheme();
	say(byId("theme").title);
});
showTheme();

// Indexes

async function load() {
	indexes = (await api.indexes()).indexes ?? [];
	const select = byId("index");
	fill(select, indexes.map((index) => el("option", { value: index.id }, `${readable(index.id)} · ${thousands(index.size)}`)));
	select.disabled = !indexes.length;
	if (!indexOf(state.index)) state.index = indexes[0]?.id ?? null;
	if (state.index) select.value = state.index;
}

byId("index").addEventListener("change", (event) => {
	state.index = event.target.value;
	if (state.view === "library") {
		Object.assign(state, NOTHING);
		write(state, true);
		library.show(state.index);
	} else search.reindex();
	if (state.view === "api") showSnippets(search.asked(), search.answer());
});

// Pictures from anywhere

function arrived(transfer, another) {
	const files = [...(transfer?.files ?? [])];
	if (files.length) {
		search.give(files, another);
		return true;
	}
	const link = transfer?.getData("text/uri-list") || transfer?.getData("text/plain") || "";
	const own = link.startsWith(`${location.origin}/v1/images/`) && /\/v1\/images\/([0-9a-f]{32})/.exec(link);
	if (own) {
		search.again({ id: own[1], name: "" }, another);
		return true;
	}
	if (/^https?:\/\//.test(link)) {
		showProblem(new Problem({ title: "Only the address of a picture arrived", detail: "glocal fetches nothing from the web.", hint: "Copy or save the picture itself, then paste or drop it." }));
		return true;
	}
	return false;
}

let inside = 0;
const carries = (event) => [...(event.dataTransfer?.types ?? [])].some((type) => type === "Files" || type === "text/uri-list");
addEventListener("dragenter", (event) => {
	if (!carries(event)) return;
	inside += 1;
	byId("drop").hidden = false;
});
addEventListener("dragleave", () => {
	inside = Math.max(0, inside - 1);
	if (!inside) byId("drop").hidden = true;
});
const onQuery = (event) => Boolean(event.target.closest?.("#query"));
addEventListener("dragover", (event) => {
	if (!carries(event)) return;
	event.preventDefault();
	byId("drop").firstChild.textContent = onQuery(event) ? "Drop to add a view" : "Drop to search";
	event.dataTransfer.dropEffect = "copy";
});
addEventListener("drop", (event) => {
	inside = 0;
	byId("drop").hidden = true;
	if (!carries(event)) return;
	event.preventDefault();
	document.querySelector("dialog[open]")?.close();
	arrived(event.dataTransfer, onQuery(event));
});
addEventListener("paste", (event) => {
	const typing = event.target.matches?.("input, textarea") && !event.clipboardData?.files.length;
	if (!typing && arrived(event.clipboardData)) {
		event.preventDefault();
		document.querySelector("dialog[open]")?.close();
	}
});

// Keys

byId("keys-open").addEventListener("click", keys.open);
addEventListener("keydown", (event) => {
	if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
	if (event.target.matches?.("input:not([type=range], [type=checkbox]), textarea, select")) return;
	const letters = document.documentElement.dataset.letters !== "off";
	if (letters && event.key === "?") keys.open();
	else if (letters && event.key === "/") {
		if (state.view !== "search") visit("search");
		const focus = byId("start").hidden ? document.querySelector(".query-actions .button:not(.strip-box)") : byId("choose");
		focus?.focus();
	} else if (state.view !== "search" || event.target.matches?.("input[type=range]") || !search.key(event)) return;
	event.preventDefault();
});

// Start

loaded = load().catch(showProblem);
visit(state.view, false);
await loaded;
if (state.view === "library") library.show(state.index);
if (!search.isAsked()) search.restore(); // else a picture has come already
if (state.view === "api") showSnippets(search.asked(), search.answer());
