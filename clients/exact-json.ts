/**
 * `JSON.parse` that refuses what it would change without a word: a number that a JavaScript number does not hold, and a
 * key that comes twice in one object. A text that looks harmless costs one pass of two regular expressions more.
 *
 * @throws {Error} what is wrong, and where in the value
 */
export function parseExactly(text: string): unknown {
  const value = JSON.parse(text) as unknown;
  if (SUSPICIOUS_NUMBER.test(text) || mayRepeatKeys(text, value)) new Inspection(text).run();
  return value;
}

/** Sixteen digits or an exponent: fewer digits are exact. These may stand in a string, too. */
const SUSPICIOUS_NUMBER = /\d{16}|\d[eE]/;

/** The end of a key. A string that ends before a colon inside another string looks the same. */
const KEY_END = /"\s*:/g;

/** What a version may be. */
export const VERSION_RANGE = 'a whole number from 0 to 2^53 - 1';

/** Most digits that a double keeps, whatever they are. */
const SAFE_DIGITS = 15;

/** Whether there may be more keys in the text than in what was made of it. */
function mayRepeatKeys(text: string, value: unknown): boolean {
  let ends = 0;
  KEY_END.lastIndex = 0;
  while (KEY_END.test(text)) ends++;
  return ends !== keysOf(value);
}

function keysOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  let keys = 0;
  if (Array.isArray(value)) {
    for (const item of value) if (typeof item === 'object') keys += keysOf(item);
    return keys;
  }
  for (const item of Object.values(value)) {
    keys++;
    if (typeof item === 'object') keys += keysOf(item);
  }
  return keys;
}

/**
 * Why a number as it is written would be another one as a JavaScript number; `undefined` where it stays what it is, or
 * is a fraction that is rounded as fractions always are.
 */
export function numberProblem(literal: string): string | undefined {
  const value = Number(literal);
  if (!Number.isFinite(value)) return `${clipped(literal)} is too large for a number; write it as a text`;
  const [mantissa = ''] = literal.split(/[eE]/);
  const digits = mantissa.replace(/[-+.]/g, '').replace(/^0+/, '');
  if (value === 0 && digits !== '') {
    return `${clipped(literal)} is too small for a number; write it as a text`;
  }
  if (!Number.isInteger(value) || Number.isSafeInteger(value)) return undefined;
  const plain = /^-?\d+$/.test(literal);
  if (!plain && digits.replace(/0+$/, '').length <= SAFE_DIGITS) return undefined;
  return `${clipped(literal)} is beyond 2^53, where numbers are not exact; write it as a text`;
}

function clipped(literal: string): string {
  return literal.length <= 32 ? literal : `${literal.slice(0, 32)}...`;
}

/** Walks over a text that is known to be JSON, and looks at each number and each key. */
class Inspection {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** @throws {Error} */
  run(): void {
    this.#value('');
  }

  #value(path: string): void {
    this.#blank();
    const first = this.#text[this.#at];
    if (first === '{') this.#object(path);
    else if (first === '[') this.#array(path);
    else if (first === '"') this.#string();
    else this.#scalar(path);
    this.#blank();
  }

  #object(path: string): void {
    const keys = new Set<string>();
    this.#at++;
    for (this.#blank(); this.#text[this.#at] !== '}';) {
      this.#blank();
      const key = JSON.parse(this.#string()) as string;
      if (keys.has(key)) {
        throw new Error(`key "${join(path, key)}" comes twice in one object; keep one of them`);
      }
      keys.add(key);
      this.#blank();
      this.#at++;
      this.#value(join(path, key));
      if (this.#text[this.#at] === ',') this.#at++;
    }
    this.#at++;
  }

  #array(path: string): void {
    this.#at++;
    this.#blank();
    for (let index = 0; this.#text[this.#at] !== ']'; index++) {
      this.#value(`${path}[${index}]`);
      if (this.#text[this.#at] === ',') this.#at++;
    }
    this.#at++;
  }

  /** @returns the string with its quotes, as it is written */
  #string(): string {
    const start = this.#at++;
    for (; this.#text[this.#at] !== '"'; this.#at++) if (this.#text[this.#at] === '\\') this.#at++;
    return this.#text.slice(start, ++this.#at);
  }

  #scalar(path: string): void {
    const literal = matchAt(/[^\s,\]}]+/y, this.#text, this.#at);
    this.#at += literal.length;
    const problem = /^[-\d]/.test(literal) ? numberProblem(literal) : undefined;
    if (problem === undefined) return;
    // The one field of a record that is a number, and can't be a text instead.
    if (path === 'version') throw new Error(`"version" is ${clipped(literal)}, but must be ${VERSION_RANGE}`);
    throw new Error(path === '' ? problem : `"${path}": ${problem}`);
  }

  #blank(): void {
    this.#at += matchAt(/\s*/y, this.#text, this.#at).length;
  }
}

function matchAt(pattern: RegExp, text: string, at: number): string {
  pattern.lastIndex = at;
  return pattern.exec(text)?.[0] ?? '';
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
