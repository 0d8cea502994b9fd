// Every request that the page makes. Answers that are no JSON and servers that are gone become a Problem as well.

export class Problem extends Error {
	constructor({ title = "Something went wrong", detail = "", hint = "", code = "", status = 0, request_id: request = "" } = {}) {
		super(title);
		Object.assign(this, { title, detail, hint, code, status, request });
	}
}

const gone = () =>
	new Problem({
		title: "The server does not answer",
		detail: "glocal serve has stopped, or the connection to it is broken.",
		hint: "Start it again, then repeat the search.",
		code: "offline",
	});

async function fetched(path, options) {
	let answer;
	try {
		answer = await fetch(path, { credentials: "same-origin", ...options });
	} catch (error) {
		if (error.name === "AbortError") throw error;
		throw gone();
	}
	if (answer.ok) return answer;
	let problem = {};
	try {
		problem = await answer.json();
	} catch {
		// Not JSON: the status has to do.
	}
	throw new Problem({
		...problem,
		status: answer.status,
		title: problem.title || `The server answered ${answer.status}`,
		hint: problem.hint || (answer.status === 401 ? "Open the address with the key that glocal serve printed." : ""),
	});
}

/** Options of a request: a POST where there is a body, of a form or as JSON. */
function request(accept, { method, body, signal }) {
	const options = { method: method ?? (body === undefined ? "GET" : "POST"), signal, headers: { Accept: accept }, body };
	if (body !== undefined && !(body instanceof FormData)) {
		options.body = JSON.stringify(body);
		options.headers["Content-Type"] = "application/json";
	}
	return options;
}

/** Its JSON. */
export async function ask(path, asked = {}) {
	const answer = await fetched(path, request("application/json", asked));
	if (answer.status === 204) return null;
	try {
		return await answer.json();
	} catch (error) {
		if (error.name === "AbortError") throw error;
		throw gone();
	}
}

/** Server-sent events of any request, in order; a server without streams gives one event, `result`. */
export async function* events(path, asked = {}) {
	const answer = await fetched(path, request("text/event-stream", asked));
	if (!(answer.headers.get("Content-Type") ?? "").startsWith("text/event-stream")) {
		yield { event: "result", data: await answer.json() };
		return;
	}
	const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
	let text = "";
	for (;;) {
		let part;
		try {
			part = await reader.read();
		} catch (error) {
			if (error.name === "AbortError") throw error;
			throw gone();
		}
		if (part.done) return;
		text = (text + part.value).replaceAll("\r\n", "\n");
		for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
			const event = parse(text.slice(0, end));
			text = text.slice(end + 2);
			if (event === null) continue;
			if (event.event === "problem") throw new Problem(event.data);
			yield event;
		}
	}
}

function parse(block) {
	let event = "message";
	const data = [];
	for (const line of block.split("\n")) {
		if (line.startsWith("event:")) event = line.slice(6).trim();
		else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
	}
	return data.length ? { event, data: JSON.parse(data.join("\n")) } : null;
}

const query = (values) => {
	const kept = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
	return kept.length ? `?${new URLSearchParams(kept)}` : "";
};
const safe = encodeURIComponent;

export const api = {
	ask,
	events,
	indexes: () => ask("/v1/indexes"),
	index: (id) => ask(`/v1/indexes/${safe(id)}`),
	skipped: (id, offset, limit) => ask(`/v1/indexes/${safe(id)}/skipped${query({ offset, limit })}`),
	images: (id, offset, limit, prefix) => ask(`/v1/indexes/${safe(id)}/images${query({ offset, limit, prefix })}`),
	update: (id) => ask(`/v1/indexes/${safe(id)}/update`, { method: "POST" }),
	upload: (id, files) => {
		const body = new FormData();
		for (const file of files) body.append("images", file, file.name);
		return ask(`/v1/indexes/${safe(id)}/images`, { body });
	},
	job: (id) => ask(`/v1/jobs/${safe(id)}`),
	stopJob: (id) => ask(`/v1/jobs/${safe(id)}`, { method: "DELETE" }),
	jobEvents: (id, signal) => events(`/v1/jobs/${safe(id)}/events`, { signal }),
	search: (body, signal) => events("/v1/search", { body, signal }),
	recognize: (body, signal) => ask("/v1/recognize", { body, signal }),
	matches: (queryId, imageId) => ask(`/v1/matches/${safe(queryId)}/${safe(imageId)}`),
	thumb: (id, index, w = 320) => `/v1/images/${safe(id)}/thumb${query({ w, index })}`,
	picture: (id, index) => `/v1/images/${safe(id)}${query({ index })}`,
	overlay: (id, index, queryId) => `/v1/images/${safe(id)}/overlay${query({ query: queryId, index })}`,
	queryPicture: (id, w = 1280) => `/v1/queries/${safe(id)}/picture${query({ w })}`,
};
