// The server's own API (documented in bot/playground/pageapi.py).

const BASE = "/playground/api";

/** What the server refused; `message` is its sentence, `option` the field it is about. */
class ApiError extends Error {
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

/** JSON, or multipart where there are files: {form field: File}. `names` are file names other than their own. */
function withFiles(payload, files, names = {}) {
  if (!Object.keys(files).length) return payload;
  const form = new FormData();
  form.append("payload_json", JSON.stringify(payload));
  for (const [field, file] of Object.entries(files)) form.append(field, file, names[field] ?? file.name);
  return form;
}

export const api = {
  state: (user = "", channel = "") => call("GET", `/state?user=${user}&channel=${channel}`),
  messages: (channel, user, before = "") =>
    call("GET", `/channels/${channel}/messages?user=${user}&limit=50&before=${before}`),
  /** uploads: [{file, name, description}] */
  send: (channel, payload, uploads) => {
    const described = uploads.flatMap(({ description }, id) => (description ? [{ id, description }] : []));
    const fields = Object.fromEntries(uploads.map(({ file }, index) => [`files[${index}]`, file]));
    const names = Object.fromEntries(uploads.map(({ name }, index) => [`files[${index}]`, name]));
    const body = described.length ? { ...payload, attachments: described } : payload;
    return call("POST", `/channels/${channel}/messages`, withFiles(body, fields, names));
  },
  forward: (channel, user, message) =>
    call("POST", `/channels/${channel}/messages`, { user, forward: { channel: message.channel_id, message: message.id } }),
  remove: (channel, message, user) => call("DELETE", `/channels/${channel}/messages/${message}?user=${user}`),
  createThread: (channel, payload) => call("POST", `/channels/${channel}/threads`, payload),
  changeThread: (channel, payload) => call("PATCH", `/channels/${channel}`, payload),
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
