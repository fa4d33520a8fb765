/** Most characters of a pattern: a tenant's name has 256 bytes at most. */
const MAX_PATTERN_CHARS = 256;
/** Most patterns of one kind in a credential. */
export const MAX_PATTERNS = 64;

/** Names of tenants or collections that a credential is for: `*` stands for any characters, the rest for itself. */
export class Patterns {
  readonly #exact: ReadonlySet<string>;
  /** The parts between the `*` of each. */
  readonly #wild: readonly (readonly string[])[];
  /** Whether every name fits. */
  readonly all: boolean;
  /** As they were written. */
  readonly texts: readonly string[];

  constructor(texts: readonly string[]) {
    this.texts = texts;
    this.all = texts.includes('*');
    this.#exact = new Set(texts.filter((text) => !text.includes('*')));
    this.#wild = texts.filter((text) => text.includes('*')).map((text) => text.split('*'));
  }

  has(name: string): boolean {
    return this.all || this.#exact.has(name) || this.#wild.some((parts) => fits(name, parts));
  }

  /** For people: `"acme", "wiki*"`. */
  toString(): string {
    return this.texts.map((text) => JSON.stringify(text)).join(', ') || 'none';
  }
}

/** What is wrong with a pattern, with the fix; `undefined` where nothing is. */
export function flawOfPattern(text: string): string | undefined {
  if (text.length > MAX_PATTERN_CHARS)
    return `has ${text.length} characters; ${MAX_PATTERN_CHARS} is the most`;
  if (text.includes('**')) return 'has "**"; one "*" stands for any characters';
  return undefined;
}

/** Whether a name is these parts with any characters between: the first place of each part is as good as any other. */
function fits(name: string, parts: readonly string[]): boolean {
  const last = parts.at(-1)!;
  const end = name.length - last.length;
  if (!name.startsWith(parts[0]!) || !name.endsWith(last)) return false;
  let at = parts[0]!.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return at <= end;
}
