// The page's address: `?user=` says who is at the keyboard, so that two tabs can be two people; `channel` and
// `message` open the page at a place.

const KEY = "playground.me";

/** The member that the address or this tab's past names: an id or a name. Null: nobody. */
export function wantedMember(members) {
  const wanted = parameter("user") ?? sessionStorage.getItem(KEY);
  if (!wanted) return null;
  const same = (text) => text?.toLowerCase() === wanted.toLowerCase();
  return members.find((member) => member.id === wanted || same(member.username) || same(member.global_name)) ?? null;
}

/** {channel, message} of the address; used once. */
export function wantedPlace() {
  const place = { channel: parameter("channel"), message: parameter("message") };
  change((query) => {
    query.delete("channel");
    query.delete("message");
  });
  return place;
}

export function rememberMember(member, owner) {
  sessionStorage.setItem(KEY, member.id);
  change((query) => (member === owner ? query.delete("user") : query.set("user", member.username)));
}

const parameter = (name) => new URLSearchParams(location.search).get(name);

function change(edit) {
  const query = new URLSearchParams(location.search);
  edit(query);
  const text = query.toString();
  history.replaceState(history.state, "", text ? `?${text}` : location.pathname);
}
