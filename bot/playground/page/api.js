// The server's own API (documented in bot/playground/pageapi.py).

const BASE = "/playground/api";

/** What the server refused; `message` is its sentence, `option` the field it is about. */
export class ApiError extends Error {
  constructor(message, option) {
    super(message);
    this.option = option;
  }
}

async function call(method, path, body) {
  const options = { method };
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(BASE + path, options);
  } catch {
    throw new ApiError("The playground does not answer. Is it still running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(answer.error || `The playground answered ${response.status}.`, answer.option);
  return answer;
}

/** JSON, or multipart where there are files: {form field: File}. */
function withFiles(payload, files) {
  if (!Object.keys(files).length) return payload;
  const form = new FormData();
  form.append("payload_json", JSON.stringify(payload));
  for (const [field, file] of Object.entries(files)) form.append(field, file, file.name);
  return form;
}

export const api = {
  state: () => call("GET", "/state"),
  messages: (channel, user, before = "") =>
    call("GET", `/channels/${channel}/messages?user=${user}&limit=50&before=${before}`),
  send: (channel, payload, files) => {
    const fields = Object.fromEntries(files.map((file, index) => [`files[${index}]`, file]));
    return call("POST", `/channels/${channel}/messages`, withFiles(payload, fields));
  },
  interact: (payload, files = {}, { wait = false } = {}) =>
    call("POST", `/interactions?wait=${wait ? 1 : 0}`, withFiles(payload, files)),
};

/** Live events for one member. Reconnects by itself; `onOpen` runs after every (re)connection. */
export function listen(user, onEvent, onOpen, onLost) {
  const source = new EventSource(`${BASE}/events?user=${user}`);
  source.onopen = onOpen;
  source.onerror = onLost;
  source.onmessage = (event) => onEvent(JSON.parse(event.data));
  return () => source.close();
}
