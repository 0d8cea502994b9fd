// Elements without markup in strings: names from photos can never become HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element: `el("p.small.muted", "Some text")`, `el("button.quiet", { onclick: go }, icon("next"), "Next")`.
 *
 * After the name and its classes may come properties: class, text, onEVENT (a handler), data {key: value},
 * vars {--name: value}, any attribute; what is null or false is left out. Then children, in lists or not.
 */
export const el = (name, ...rest) => build(document.createElement(name.split(".", 1)[0]), name, rest);

/** An SVG element, as `el`. */
export const svg = (name, ...rest) => build(document.createElementNS(SVG, name.split(".", 1)[0]), name, rest);

const isNothing = (value) => value === undefined || value === null || value === false;

function build(node, name, rest) {
	const [tag, ...classes] = name.split(".");
	if (classes.length) node.setAttribute("class", classes.join(" "));
	if (tag === "button") node.type = "button";
	const props = rest[0]?.constructor === Object ? rest.shift() : {};
	for (const [key, value] of Object.entries(props)) {
		if (isNothing(value)) continue;
		if (key === "text") node.textContent = value;
		else if (typeof value === "function") node.addEventListener(key.slice(2), value);
		else if (key === "data") Object.assign(node.dataset, value);
		else if (key === "vars") for (const [each, set] of Object.entries(value)) node.style.setProperty(each, set);
		else node.setAttribute(key, value === true ? "" : String(value));
	}
	node.append(...held(rest));
	return node;
}

const held = (children) => children.flat(Infinity).filter((child) => !isNothing(child));

/** Replace what a node holds. */
export function fill(node, ...children) {
	node.replaceChildren(...held(children));
	return node;
}

/** What this browser keeps between visits; nothing where storage is off. */
export function recall(key) {
	try {
		return localStorage.getItem(`glocal.${key}`);
	} catch {
		return null;
	}
}

/** Keep it; where storage is off it lasts until the page is closed. */
export function keep(key, value) {
	try {
		localStorage.setItem(`glocal.${key}`, value);
	} catch {
		// No harm done.
	}
}

export const byId = (id) => document.getElementById(id);

const PATHS = {
	search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13Zm4.8 11.3L20 20",
	close: "M6 6l12 12M18 6 6 18",
	back: "M15 5l-7 7 7 7",
	next: "M9 5l7 7-7 7",
	copy: "M9 9h10v11H9zM5 15V4h10",
	check: "M5 12.5l4.5 4.5L19 7",
	plus: "M12 5v14M5 12h14",
	box: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4",
	camera: "M4 8h3l2-3h6l2 3h3v11H4zM12 10a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7Z",
	picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
	open: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
	light: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.4M5.6 18.4 7 17M17 7l1.4-1.4",
	dark: "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10Z",
	auto: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16ZM12 4v16M12 8l5.5-1.8M12 12h8M12 16l5.5 1.8",
	library: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
	lab: "M9 4h6M10 4v6l-5 8.5A1 1 0 0 0 6 20h12a1 1 0 0 0 1-1.500L14 10V4",
	code: "M8 7l-5 5 5 5M16 7l5 5-5 5",
};

/** A line icon, hidden from screen readers. */
export function icon(name) {
	return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: PATHS[name] }));
}

/** A button that is only an icon; its label is spoken. */
export const iconButton = (name, label, onclick, props = {}) => el("button.icon-button", { "aria-label": label, onclick, ...props }, icon(name));
