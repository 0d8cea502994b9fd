// Numbers and names as people read them; the same rules as in the HTML report.

const NARROW = "\u202f";

export const thousands = (value) => Math.round(Number(value) || 0).toString().replace(/\B(?=(\d{3})+$)/g, NARROW);

/** Never 100 % or 0 %: no estimate is a certainty. */
export function percent(value) {
	if (!Number.isFinite(value)) return "unknown";
	if (value > 0.99) return `>${NARROW}99${NARROW}%`;
	if (value < 0.01) return `<${NARROW}1${NARROW}%`;
	return `${Math.round(value * 100)}${NARROW}%`;
}

/** The same for a voice. */
export function spokenPercent(value) {
	if (!Number.isFinite(value)) return "";
	if (value > 0.99) return "more than 99 percent";
	return value < 0.01 ? "less than 1 percent" : `${Math.round(value * 100)} percent`;
}

/** A measured share. */
export function share(value) {
	if (!Number.isFinite(value)) return "–";
	return value < 0.01 ? `<${NARROW}1${NARROW}%` : `${Math.round(value * 100)}${NARROW}%`;
}

export function seconds(value) {
	if (!Number.isFinite(value)) return "–";
	return value < 10 ? `${value.toFixed(2)}${NARROW}s` : `${Math.round(value)}${NARROW}s`;
}

/** Time to wait: 26 s, 7 min, 2 h 40. */
export function wait(value) {
	if (!Number.isFinite(value)) return "";
	if (value < 60) return `${Math.max(1, Math.round(value))}${NARROW}s`;
	const minutes = Math.round(value / 60);
	if (minutes < 60) return `${minutes}${NARROW}min`;
	return `${Math.floor(minutes / 60)}${NARROW}h${NARROW}${String(minutes % 60).padStart(2, "0")}`;
}

export function bytes(value) {
	const units = ["bytes", "kB", "MB", "GB", "TB"];
	let step = 0;
	let count = Number(value) || 0;
	while (count >= 1000 && step < units.length - 1) {
		count /= 1000;
		step += 1;
	}
	return `${step && count < 100 ? count.toFixed(1) : Math.round(count)}${NARROW}${units[step]}`;
}

export function day(value) {
	const date = new Date(typeof value === "number" ? value * 1000 : value);
	if (value === null || value === undefined || Number.isNaN(date.getTime())) return "not known";
	return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export const plural = (count, one, many = `${one}s`) => `${thousands(count)} ${count === 1 ? one : many}`;

/** Controls, direction marks and lone surrogates made visible: they would disguise a name. */
export const readable = (name) =>
	String(name ?? "").replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (c) => (c === "\u200c" || c === "\u200d" ? c : "\ufffd"));

export const baseOf = (name) => readable(name).split("/").pop();

export function folderOf(name) {
	const parts = readable(name).split("/");
	return parts.slice(0, -1).join("/");
}

/** What starts in lower case, as a sentence. */
export const sentence = (text) => text && `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** A file name for a voice: IMG_2231.HEIC -> IMG 2231. */
export const spokenName = (name) => baseOf(name).replace(/\.[a-z0-9]{2,5}$/i, "").replace(/[_-]+/g, " ");

const REASONS = {
	truncated: "cut short",
	corrupt: "damaged",
	corrupt_image: "damaged",
	empty: "empty",
	not_an_image: "not a picture",
	unsupported_format: "format not supported",
	too_many_pixels: "too many pixels",
	image_too_many_pixels: "too many pixels",
	timeout: "took too long to read",
	unreadable: "cannot be read",
	permission_denied: "no permission to read it",
};

export const reasonOf = (code) => REASONS[code] ?? readable(code).replaceAll("_", " ");

export const BANDS = {
	same: { title: "Same object", word: "same object", mark: "✓" },
	possibly: { title: "Possibly", word: "possibly", mark: "?" },
	look_alike: { title: "Look-alikes", word: "look-alike", mark: "✗" },
};
