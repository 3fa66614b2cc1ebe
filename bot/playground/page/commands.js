// Slash commands: flattening subcommands, reading a typed line, checking values.

export const TYPE = { STRING: 3, INTEGER: 4, BOOLEAN: 5, USER: 6, CHANNEL: 7, NUMBER: 10, ATTACHMENT: 11 };

/** A value that does not fit; `option` is the name of its option. */
export class ValueError extends Error {
  constructor(option, message) {
    super(message);
    this.option = option;
  }
}

/** Every command that can be run: {name: "concepts list", description, options}. */
export function leaves(commands) {
  const found = [];
  const visit = (node, name) => {
    const children = (node.options ?? []).filter((option) => option.type <= 2);
    if (!children.length) found.push({ name, description: node.description, options: node.options ?? [] });
    for (const child of children) visit(child, `${name} ${child.name}`);
  };
  for (const command of commands) visit(command, command.name);
  return found;
}

/** The command that this line starts with, and what follows it. */
export function findCommand(line, commands) {
  const text = line.replace(/^\//, "");
  const command = commands
    .filter(({ name }) => text === name || (text.startsWith(name) && /\s/.test(text[name.length])))
    .sort((a, b) => b.name.length - a.name.length)[0];
  return command ? { command, rest: text.slice(command.name.length).trim() } : null;
}

/** `prompt: a red apple guidance: 3` → {prompt: "a red apple", guidance: "3"}. Text before the first name is
 *  the first text option's. */
export function splitOptions(rest, options) {
  const names = options.map((option) => option.name).sort((a, b) => b.length - a.length);
  const values = {};
  if (!rest) return values;
  if (!names.length) throw new ValueError(null, "This command takes no options.");
  const pattern = new RegExp(`(?:^|\\s)(${names.join("|")}):\\s*`, "g");
  const marks = [...rest.matchAll(pattern)];
  const leading = rest.slice(0, marks[0]?.index ?? rest.length).trim();
  const first = options.find((option) => option.type === TYPE.STRING);
  if (leading && first) values[first.name] = leading;
  marks.forEach((mark, index) => {
    const value = rest.slice(mark.index + mark[0].length, marks[index + 1]?.index ?? rest.length).trim();
    if (value) values[mark[1]] = value;
  });
  return values;
}

/** The JSON value of what was typed. Throws ValueError with one sentence. */
export function toValue(option, raw) {
  const { name, type } = option;
  const text = String(raw).trim();
  if (option.choices?.length && !option.autocomplete) {
    const choice = option.choices.find((one) => [one.name,
      String(one.value)].some((word) => word.toLowerCase() === text.toLowerCase()));
    if (!choice) throw new ValueError(name, `${name} is one of ${option.choices.map((one) => one.name).join(", ")}.`);
    return choice.value;
  }
  if (type === TYPE.INTEGER || type === TYPE.NUMBER) return toNumber(option, text);
  if (type === TYPE.BOOLEAN) {
    if (/^(true|yes|on)$/i.test(text)) return true;
    if (/^(false|no|off)$/i.test(text)) return false;
    throw new ValueError(name, `${name} is true or false.`);
  }
  if (type === TYPE.STRING) {
    if (option.max_length && text.length > option.max_length) {
      throw new ValueError(name, `${name} has at most ${option.max_length} characters; this is ${text.length}.`);
    }
    if (option.min_length && text.length < option.min_length) {
      throw new ValueError(name, `${name} has at least ${option.min_length} characters.`);
    }
  }
  return text;
}

function toNumber({ name, type, min_value: low, max_value: high }, text) {
  const whole = type === TYPE.INTEGER;
  const normal = text.replace(/^\+/, "").replace(/^(-?\d+),(\d+)$/, "$1.$2");
  const value = Number(normal);
  if (normal === "" || !Number.isFinite(value) || (whole && !Number.isSafeInteger(value))) {
    throw new ValueError(name, `${name} is a ${whole ? "whole number" : "number"}, for example ${low ?? 1}.`);
  }
  if ((low !== undefined && value < low) || (high !== undefined && value > high)) {
    const range = high === undefined ? `is at least ${low}` : low === undefined ? `is at most ${high}`
      : `goes from ${low} to ${high}`;
    throw new ValueError(name, `${name} ${range}; ${text} is outside.`);
  }
  return value;
}

/** What an option takes, in a few words. */
export function hint(option) {
  const { min_value: low, max_value: high } = option;
  if (low !== undefined && high !== undefined) return `${low} to ${high}`;
  if (low !== undefined) return `at least ${low}`;
  if (high !== undefined) return `at most ${high}`;
  return "";
}

/** The line that would run this command. */
export function toLine(name, values) {
  const parts = Object.entries(values).filter(([, value]) => !(value instanceof File));
  return [`/${name}`, ...parts.map(([key, value]) => `${key}: ${value}`)].join(" ");
}
