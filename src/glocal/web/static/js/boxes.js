// Arithmetic of boxes [x, y, width, height] in whole pixels of the upright picture.

export const LEAST_PX = 16;

const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));

/** The nearest box that lies in the picture, at least LEAST_PX wide and high where the picture allows. */
export function fit([x, y, w, h], [width, height]) {
	const wide = clamp(Math.round(w), Math.min(LEAST_PX, width), width);
	const high = clamp(Math.round(h), Math.min(LEAST_PX, height), height);
	return [clamp(Math.round(x), 0, width - wide), clamp(Math.round(y), 0, height - high), wide, high];
}

/** Six tenths of the picture, in its middle. */
export const middle = ([width, height]) => fit([width * 0.2, height * 0.2, width * 0.6, height * 0.6], [width, height]);

export const moved = ([x, y, w, h], dx, dy, size) => fit([x + dx, y + dy, w, h], size);

/** Resize by dragging `edges`, some of "n", "e", "s", "w"; the opposite ones stay. */
export function resized([x, y, w, h], edges, dx, dy, [width, height]) {
	let [left, top, right, bottom] = [x, y, x + w, y + h];
	if (edges.includes("w")) left = clamp(left + dx, 0, right - LEAST_PX);
	if (edges.includes("e")) right = clamp(right + dx, left + LEAST_PX, width);
	if (edges.includes("n")) top = clamp(top + dy, 0, bottom - LEAST_PX);
	if (edges.includes("s")) bottom = clamp(bottom + dy, top + LEAST_PX, height);
	return fit([left, top, right - left, bottom - top], [width, height]);
}

/** Grow (factor > 1) or shrink about the centre. */
export function scaled([x, y, w, h], factor, size) {
	const [wide, high] = [Math.min(w * factor, size[0]), Math.min(h * factor, size[1])];
	return fit([x + (w - wide) / 2, y + (h - high) / 2, wide, high], size);
}

/** The box between two corners. */
export function between(a, b, size) {
	return fit([Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1])], size);
}
