// The box on the query: drawn and dragged by mouse or finger, moved by keys. Number fields are beside it, in query.js.

import { el, svg } from "./dom.js";
import * as boxes from "./boxes.js";

const EDGES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const SLOP_PX = 5;

/**
 * Puts a box editor over a picture.
 *
 * `stage` is the positioned element that the picture fills; `changed(box, final)` is called on every step, `final`
 * when a drag ends or a key was pressed. Gives { set(box), size(size), focus() }.
 */
export function boxEditor(stage, changed) {
	let size = null;
	let box = null;
	let drag = null;

	const hole = svg("path", { "fill-rule": "evenodd" });
	const shade = svg("svg.box-shade", { preserveAspectRatio: "none", "aria-hidden": "true" }, hole);
	const handles = EDGES.map((edges) => el("span", { class: `handle ${edges}`, data: { edges } }));
	const frame = el("div.box", { tabindex: "0", role: "group", "aria-roledescription": "box", "aria-describedby": "box-help", hidden: true, onkeydown: onKey },
		handles,
	);
	stage.append(shade, frame);
	stage.addEventListener("pointerdown", onDown);
	stage.addEventListener("pointermove", onMove);
	stage.addEventListener("pointerup", onUp);
	stage.addEventListener("pointercancel", onCancel);

	function draw() {
		frame.hidden = !box || !size;
		shade.classList.toggle("on", !frame.hidden);
		if (frame.hidden) return;
		const [width, height] = size;
		const [x, y, w, h] = box;
		for (const [name, value] of [["--x", x / width], ["--y", y / height], ["--w", w / width], ["--h", h / height]]) {
			frame.style.setProperty(name, String(value));
		}
		shade.setAttribute("viewBox", `0 0 ${width} ${height}`);
		hole.setAttribute("d", `M0 0H${width}V${height}H0ZM${x} ${y}h${w}v${h}h${-w}Z`);
		frame.setAttribute("aria-label", `Box on your picture: left ${x}, top ${y}, ${w} wide, ${h} high`);
	}

	function put(next, final) {
		box = next;
		draw();
		changed(box, final);
	}

	function place(event) {
		const area = stage.getBoundingClientRect();
		return [((event.clientX - area.left) / area.width) * size[0], ((event.clientY - area.top) / area.height) * size[1]];
	}

	function onDown(event) {
		if (!size || event.button !== 0 || stage.dataset.locked === "true") return;
		const edges = event.target.dataset?.edges;
		drag = { from: place(event), start: box, kind: edges ? "resize" : frame.contains(event.target) ? "move" : "draw", edges, x: event.clientX, y: event.clientY, far: false };
		stage.setPointerCapture(event.pointerId);
		if (drag.kind !== "draw") frame.focus({ preventScroll: true });
		event.preventDefault();
	}

	function onMove(event) {
		if (!drag) return;
		if (!drag.far && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < SLOP_PX) return;
		drag.far = true;
		const now = place(event);
		const [dx, dy] = [now[0] - drag.from[0], now[1] - drag.from[1]];
		if (drag.kind === "move") put(boxes.moved(drag.start, dx, dy, size), false);
		else if (drag.kind === "resize") put(boxes.resized(drag.start, drag.edges, dx, dy, size), false);
		else put(boxes.between(drag.from, now, size), false);
	}

	function onUp() {
		if (!drag) return;
		const { far, kind } = drag;
		drag = null;
		if (!far) return;
		if (kind === "draw") frame.focus({ preventScroll: true });
		changed(box, true);
	}

	function onCancel() {
		if (!drag) return;
		const { start } = drag;
		drag = null;
		put(start, true);
	}

	function onKey(event) {
		if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
		const step = Math.max(1, Math.round(Math.max(...size) / 100));
		const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
		let next = null;
		let remove = false;
		if (way) {
			const [dx, dy] = [way[0] * step, way[1] * step];
			next = event.shiftKey ? boxes.resized(box, "es", dx, dy, size) : boxes.moved(box, dx, dy, size);
		} else if (event.key === "+" || event.key === "=") next = boxes.scaled(box, 1.1, size);
		else if (event.key === "-" || event.key === "_") next = boxes.scaled(box, 1 / 1.1, size);
		else if (event.key === "Delete" || event.key === "Backspace") remove = true;
		else return;
		event.preventDefault();
		event.stopPropagation();
		put(remove ? null : next, true);
	}

	return {
		set(next) {
			box = next && size ? boxes.fit(next, size) : next;
			draw();
		},
		size(next) {
			size = next;
			if (box) box = boxes.fit(box, size);
			draw();
		},
		focus: () => frame.focus(),
	};
}
