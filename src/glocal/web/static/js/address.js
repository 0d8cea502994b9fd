// The state that a link carries: what was asked, the box, the open hit. Back and sharing work through it.

export const VIEWS = ["search", "library", "lab", "api"];
export const MODES = ["lines", "blink", "overlay"];

/** Nothing is asked. */
export const NOTHING = { query: null, image: null, box: null, hit: null };

const NUMBER = /^-?\d{1,7}$/;

/** What the address says; anything odd in it is left out. */
export function read() {
  const given = new URLSearchParams(location.search);
  const id = (name, form) => (form.test(given.get(name) ?? "") ? given.get(name) : null);
  const numbers = (given.get("box") ?? "").split(",");
  return {
    view: VIEWS.includes(given.get("view")) ? given.get("view") : "search",
    index: id("index", /^[A-Za-z0-9_-]{1,64}$/),
    query: id("q", /^q_[A-Za-z0-9_-]{1,64}$/),
    image: id("id", /^[0-9a-f]{32}$/),
    box: numbers.length === 4 && numbers.every((part) => NUMBER.test(part)) ? numbers.map(Number) : null,
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
  if (state.box && (state.image || state.query)) kept.set("box", state.box.join(","));
  if (state.hit) {
    kept.set("hit", state.hit);
    if (state.mode && state.mode !== "lines") kept.set("mode", state.mode);
  }
  const text = kept.toString().replaceAll("%2C", ",");
  return text ? `/?${text}` : "/";
}

/** Put it into the address bar. A new entry for Back where `push` is set. */
export function write(state, push = false) {
  const address = addressOf(state);
  if (address === location.pathname + location.search) return;
  history[push ? "pushState" : "replaceState"](null, "", address);
}
