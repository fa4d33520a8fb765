const QUOTE = '"';

/**
 * A key that an object of a JSON text has twice: `JSON.parse` keeps the last value without a word.
 *
 * @param json that `JSON.parse` takes
 */
export function repeatedKey(json: string): string | undefined {
  /** Keys of the objects that are open; `undefined` for a list. */
  const open: (Set<string> | undefined)[] = [];
  const next = /["{}[\]]/g;
  for (let found = next.exec(json); found; found = next.exec(json)) {
    const [mark] = found;
    if (mark === '{') open.push(new Set());
    else if (mark === '[') open.push(undefined);
    else if (mark !== QUOTE) open.pop();
    else {
      const end = endOfString(json, found.index);
      next.lastIndex = end;
      if (!isKey(json, end)) continue;
      const key = JSON.parse(json.slice(found.index, end)) as string;
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}

/** Where a string ends, its closing quote included. */
function endOfString(json: string, start: number): number {
  for (let at = json.indexOf(QUOTE, start + 1); at !== -1; at = json.indexOf(QUOTE, at + 1)) {
    let backslashes = 0;
    while (json[at - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return at + 1;
  }
  return json.length;
}

/** Whether a colon follows. */
function isKey(json: string, end: number): boolean {
  const rest = /\s*:/y;
  rest.lastIndex = end;
  return rest.test(json);
}
