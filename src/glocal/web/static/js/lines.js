// Two pictures side by side with a line for every pair of points that was matched.

import { fill, svg } from "./dom.js";
import { pointsOf } from "./card.js";

const GAP_PX = 28;
const LABEL_PX = 26;
const NEAR_PX = 16;

/** Where both pictures lie in an area: beside or below each other, whichever is larger. */
export function layout([wide, high], first, second) {
	const [a, b] = [first[0] / first[1], second[0] / second[1]];
	const beside = Math.min((wide - GAP_PX) / (a + b), high - LABEL_PX);
	const below = Math.min(wide, (high - GAP_PX - 2 * LABEL_PX) / (1 / a + 1 / b));
	if (beside * beside * (a + b) >= below * below * (1 / a + 1 / b)) {
		const left = (wide - beside * (a + b) - GAP_PX) / 2;
		const top = (high - LABEL_PX - beside) / 2 + LABEL_PX;
		return [
			{ x: left, y: top, w: beside * a, h: beside },
			{ x: left + beside * a + GAP_PX, y: top, w: beside * b, h: beside },
		];
	}
	const left = (wide - below) / 2;
	const total = below / a + below / b + GAP_PX + 2 * LABEL_PX;
	const top = (high - total) / 2 + LABEL_PX;
	return [
		{ x: left, y: top, w: below, h: below / a },
		{ x: left, y: top + below / a + GAP_PX + LABEL_PX, w: below, h: below / b },
	];
}

/** Colours from yellow through green to blue along the query, so that the eye can follow one line among many. */
const colour = (share) => `hsl(${Math.round(55 + 165 * Math.min(1, Math.max(0, share)))} 88% 66%)`;

/** Draw into `stage`; `pair` is the answer of /v1/matches. Gives a function that draws again with other options. */
export function drawLines(stage, pair, sources, yours) {
	const sheet = svg("svg.lines", { role: "img" });
	fill(stage, sheet);
	const sizes = [[pair.query.width, pair.query.height], [pair.target.width, pair.target.height]];
	let options = { outliers: false };
	let ends = [];

	function draw() {
		const area = [stage.clientWidth, stage.clientHeight];
		if (area[0] < 40 || area[1] < 40) return;
		const places = layout(area, ...sizes);
		const at = (side, x, y) => [
			places[side].x + ((x + 0.5) / sizes[side][0]) * places[side].w,
			places[side].y + ((y + 0.5) / sizes[side][1]) * places[side].h,
		];
		sheet.setAttribute("viewBox", `0 0 ${area[0]} ${area[1]}`);
		const pictures = places.map((place, side) =>
			svg("image", { href: sources[side], x: place.x, y: place.y, width: place.w, height: place.h, preserveAspectRatio: "none" }),
		);
		const dot = Math.min(2.6, Math.max(1.5, Math.min(...area) / 240));
		const labels = [yours, "This photo"].map((text, side) => {
			const label = svg("text", { x: places[side].x, y: places[side].y - 9 });
			label.textContent = text;
			return label;
		});
		const shapes = [];
		const box = pair.query.box;
		if (box) {
			const [x, y] = at(0, box[0] - 0.5, box[1] - 0.5);
			const [right, bottom] = at(0, box[0] + box[2] - 0.5, box[1] + box[3] - 0.5);
			shapes.push(svg("rect.asked", { x, y, width: right - x, height: bottom - y }));
		}
		for (const [side, quad] of [[0, pair.query_quad], [1, pair.verification?.target_quad]]) {
			if (!quad) continue;
			const { x, y, w, h } = places[side];
			// An <svg> of its own: an area that goes on outside the picture is cut off at its edge.
			const frame = { x, y, width: w, height: h, viewBox: `0 0 ${sizes[side][0]} ${sizes[side][1]}`, preserveAspectRatio: "none" };
			shapes.push(svg("svg", frame, svg("polygon.area", { points: pointsOf(quad) })));
		}
		ends = [];
		const lines = [];
		const kept = (pair.lines ?? []).filter((line) => line[4] || options.outliers).sort((a, b) => a[4] - b[4]);
		const inliers = kept.filter((line) => line[4]).length;
		for (const [qx, qy, tx, ty, agrees] of kept) {
			const [x1, y1] = at(0, qx, qy);
			const [x2, y2] = at(1, tx, ty);
			const stroke = agrees ? colour(qx / sizes[0][0]) : null;
			const line = svg("g", { class: agrees ? "agrees" : "differs", stroke, fill: stroke },
				svg("line", { x1, y1, x2, y2 }),
				svg("circle", { cx: x1, cy: y1, r: dot }),
				svg("circle", { cx: x2, cy: y2, r: dot }),
			);
			lines.push(line);
			ends.push([x1, y1, line], [x2, y2, line]);
		}
		sheet.classList.toggle("many", inliers > 80);
		sheet.setAttribute("aria-label", `${inliers} lines between matching points of your picture and this photo`);
		fill(sheet, pictures, shapes, lines, labels);
	}

	sheet.addEventListener("pointermove", (event) => {
		const area = sheet.getBoundingClientRect();
		const [x, y] = [event.clientX - area.left, event.clientY - area.top];
		let best = NEAR_PX;
		let near = null;
		for (const [ex, ey, line] of ends) {
			const away = Math.hypot(ex - x, ey - y);
			if (away < best) [best, near] = [away, line];
		}
		sheet.querySelector(".lit")?.classList.remove("lit");
		near?.classList.add("lit");
		sheet.classList.toggle("lighting", Boolean(near));
	});
	sheet.addEventListener("pointerleave", () => {
		sheet.querySelector(".lit")?.classList.remove("lit");
		sheet.classList.remove("lighting");
	});

	draw();
	return (next) => {
		options = { ...options, ...next };
		draw();
	};
}
