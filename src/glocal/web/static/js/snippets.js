// The API tab: the search on the screen as curl and as Python, to copy.

import { ask } from "./api.js";
import { byId, el, fill, icon } from "./dom.js";
import { copy } from "./toast.js";
import { baseOf } from "./words.js";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const literal = (value) =>
	value === null
		? "None"
		: Array.isArray(value)
			? `[${value.map(literal).join(", ")}]`
			: typeof value === "object"
				? `{${Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${literal(inner)}`).join(", ")}}`
				: JSON.stringify(value);

let described = null;

/** Show the snippets of what was asked, `params` and the `views` of the thing, and of its answer, if there is one. */
export function showSnippets({ params, views }, answer) {
	const home = byId("api");
	const calls = el("ul.calls");
	const origin = location.origin;
	const { topk, box, filter } = params;
	const files = views.map(({ file }, at) => (file?.name ? baseOf(file.name) : `query${at || ""}.jpg`));
	const refs = views.map(({ kind, id, query }) => (kind === "id" ? { id } : { query }));
	const named = views.some(({ kind }) => kind === "id") && { ...params, images: refs };
	const curl = named
		? `curl -s ${origin}/v1/search \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(named))}`
		: `curl -s ${origin}/v1/search \\${files.map((file) => `\n  -F image=@${quoted(file)} \\`).join("")}\n  -F ${quoted(`params=${JSON.stringify(params)}`)}`;
	const body = named
		? `body = ${literal(named)}`
		: `pictures = [base64.b64encode(pathlib.Path(file).read_bytes()).decode() for file in ${literal(files)}]\nbody = ${literal(params).slice(0, -1)}, "images": [{"base64": picture} for picture in pictures]}`;
	const chosen = [["folders=tuple", filter?.folder], ["labels=frozenset", filter?.label]].filter(([, some]) => some).map(([name, some]) => `${name}(${literal(some.in)})`).join(", ");

	const http = `import ${named ? "" : "base64, "}json, ${named ? "" : "pathlib, "}urllib.request

${body}
request = urllib.request.Request(
    "${origin}/v1/search",
    json.dumps(body).encode(),
    {"Content-Type": "application/json"},
)
answer = json.load(urllib.request.urlopen(request))
for hit in answer["results"]:
    print(hit["band"], hit["probability"], hit["name"])`;
	const library = `import glocal${filter ? "\nfrom glocal.search import Selection" : ""}

with glocal.Index.open("PHOTOS/.glocal") as index:
    result = index.search(${literal(views.length > 1 ? files : files[0])}, topk=${topk}${box ? `, box=(${box.join(", ")})` : ""}${filter ? `, selection=Selection(${chosen})` : ""})
    for hit in result:
        print(hit.band, hit.probability, hit.inliers, hit.path)`;
	fill(
		home,
		el("h1", "API"),
		el("p.lead", answer ? "The search on the screen, as a program makes it." : "A search as a program makes it. Search for something first, and these lines will be that search."),
		snippet("curl", curl),
		snippet("Python, over HTTP", http),
		named ? null : snippet("Python, in the same process", library),
		answer ? response(answer) : null,
		el("section.more",
			el("h2", "Every request"),
			el("p.lead", "Described in full, for people and for generators of clients, by ", el("a", { href: "/openapi.json" }, "openapi.json"), " (OpenAPI 3.1)."),
			calls,
		),
	);
	list(calls);
}

async function list(calls) {
	try {
		described ??= await ask("/openapi.json");
	} catch {
		return; // the link says the same
	}
	const rows = Object.entries(described.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, what]) => [method.toUpperCase(), path, what]));
	fill(
		calls,
		rows.map(([method, path, what]) => el("li", el("b", method), el("code", path), el("span.muted", (what.description || what.summary || "").split("\n\n")[0].replaceAll("`", "")))),
	);
}

function snippet(title, text) {
	return el("section.snippet",
		el("header", el("h2", title), el("button.button.quiet", { "aria-label": `Copy ${title}`, onclick: () => copy(text, title) }, icon("copy"), "Copy")),
		el("pre", { tabindex: "0", "aria-label": title }, el("code", text)),
	);
}

function response(answer) {
	const short = { ...answer, results: answer.results.slice(0, 1) };
	const rest = answer.results.length - short.results.length;
	const text = JSON.stringify(short, null, 2);
	return el("details.snippet",
		el("summary", el("h2", "The answer"), el("span.muted", rest > 0 ? ` first result of ${answer.results.length}` : "")),
		el("pre", { tabindex: "0", "aria-label": "The answer" }, el("code", text)),
	);
}
