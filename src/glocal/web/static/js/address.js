// The state that a link carries: what was asked, the box, the filter, the open hit. Back and sharing work through it.

export const VIEWS = ["search", "library", "lab", "api"];
export const MAX_VIEWS = 8;
export const FILTERS = ["folder", "label"];
export const MODES = ["lines", "blink", "overlay"];

/** Nothing is asked. */
export const NOTHING = { query: null, views: [], image: null, box: null, folder: [], label: [], hit: null };

const QUERY = /^q_[A-Za-z0-9_-]{1,64}$/;

const NUMBER = /^-?\d{1,7}$/;

/** What the address says; anything odd in it is left out. */
export function read() {
	const given = new URLSearchParams(location.search);
	const id = (name, form) => (form.test(given.get(name) ?? "") ? given.get(name) : null);
	const numbers = (given.get("box") ?? "").split(",");
	return {
		view: VIEWS.includes(given.get("view")) ? given.get("view") : "search",
		index: id("index", /^[A-Za-z0-9_-]{1,64}$/),
		query: id("q", QUERY),
		views: (given.get("views") ?? "").split(",").filter((each) => QUERY.test(each)).slice(0, MAX_VIEWS - 1),
		image: id("id", /^[0-9a-f]{32}$/),
		box: !given.get("views") && numbers.length === 4 && numbers.every((part) => NUMBER.test(part)) ? numbers.map(Number) : null,
		...Object.fromEntries(FILTERS.map((name) => [name, given.getAll(name).filter((text) => text && text.length <= 1000).slice(0, 100)])),
		hit: id("hit", /^[0-9a-f]{32}$/),
		mode: MODES.includes(given.get("mode")) ? given.get("mode") : "lines",
	};
}

/** Its address. */
export function addressOf(state) {
	const kept = new URLSearchParams();
	if (state.view && state.view !== "search") kept.set("view", state.view);
	if (state.index) kept.set("index", state.index);
	if (state.image) kept.set("id", state.image);
	else if (state.query) kept.set("q", state.query);
	if (state.image || state.query) {
		if (state.views.length) kept.set("views", state.views.join(","));
		else if (state.box) kept.set("box", state.box.join(","));
		for (const name of FILTERS) for (const text of state[name]) kept.append(name, text);
	}
	if (state.hit) {
		kept.set("hit", state.hit);
		if (state.mode && state.mode !== "lines") kept.set("mode", state.mode);
	}
	const text = kept.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
	return text ? `/?${text}` : "/";
}

/** Put it into the address bar. A new entry for Back where `push` is set. */
export function write(state, push = false) {
	const address = addressOf(state);
	if (address === location.pathname + location.search) return;
	history[push ? "pushState" : "replaceState"](null, "", address);
}
