import { createHash } from 'node:crypto';

/**
 * A table of how well a collection's own words are found: as they are, inflected, unfinished and mistyped, by meaning, by
 * wording and by both. It needs no labels: a hit is right where its title holds the word.
 */

/** How a word is asked for. */
export const FORMS = ['exact', 'plural', 'prefix', 'transposed'] as const;
export type Form = (typeof FORMS)[number];

/** Modes of search, as the table has them. */
export const PROBED_MODES = ['dense', 'sparse', 'hybrid'] as const;
export type ProbedMode = (typeof PROBED_MODES)[number];

/** How many words are asked for by default. */
export const PROBED_WORDS = 120;

/** Hits that are looked at. */
export const PROBED_HITS = 10;

/** Letters of a word at least: of a shorter one, little is left when a part is cut off. */
const LEAST_LETTERS = 4;

/** The part of a word that an unfinished one has. */
const UNFINISHED = 0.7;

/** One cell of the table: shares of the words. */
export interface Cell {
  /** The first hit is right. */
  first: number;
  /** One of the first ten is right. */
  firstTen: number;
  /** There is no hit at all. */
  empty: number;
}

/** The table, by form and mode. */
export type WordTable = Record<Form, Record<ProbedMode, Cell>>;

/**
 * Words to ask for: titles of one word, a seed's choice among them. It reads titles once and keeps `count` of them, so that a
 * collection may have any number.
 */
export class WordSample {
  readonly #seed: number;
  readonly #count: number;
  /** By word; how early it comes in the seed's order. */
  readonly #kept = new Map<string, string>();

  constructor(seed: number, count = PROBED_WORDS) {
    this.#seed = seed;
    this.#count = count;
  }

  add(title: string): void {
    const word = title.trim().normalize('NFKC').toLowerCase();
    if (!/^\p{L}+$/u.test(word) || Array.from(word).length < LEAST_LETTERS || this.#kept.has(word)) return;
    const place = createHash('sha256').update(`${this.#seed} ${word}`).digest('hex');
    this.#kept.set(word, place);
    // Sorting seldom: it is let grow to twice what is wanted.
    if (this.#kept.size >= 2 * this.#count) this.#trim();
  }

  /** In the order of the seed. */
  words(): string[] {
    this.#trim();
    return [...this.#kept.keys()];
  }

  #trim(): void {
    const first = [...this.#kept].sort(([, a], [, b]) => (a < b ? -1 : 1)).slice(0, this.#count);
    this.#kept.clear();
    for (const [word, place] of first) this.#kept.set(word, place);
  }
}

/** A word as a form of it. */
export function formOf(word: string, form: Form, seed: number): string {
  switch (form) {
    case 'exact':
      return word;
    case 'plural':
      return pluralOf(word);
    case 'prefix': {
      const letters = Array.from(word);
      return letters.slice(0, Math.ceil(UNFINISHED * letters.length)).join('');
    }
    case 'transposed':
      return transposed(word, seed);
  }
}

/** As English has it, for most nouns. */
function pluralOf(word: string): string {
  if (/(?:[sxz]|[cs]h)$/.test(word)) return `${word}es`;
  if (/[^aeiou]y$/.test(word)) return `${word.slice(0, -1)}ies`;
  return `${word}s`;
}

/** Two neighbours that differ, swapped: which, the seed says. The first letter stays where others can move. */
function transposed(word: string, seed: number): string {
  const letters = Array.from(word);
  const all = [...letters.keys()].filter(
    (index) => index + 1 < letters.length && letters[index] !== letters[index + 1],
  );
  const inner = all.filter((index) => index > 0);
  const choice = inner.length > 0 ? inner : all;
  if (choice.length === 0) return word;
  const drawn = createHash('sha256').update(`${seed} transposed ${word}`).digest().readUInt32LE();
  const at = choice[drawn % choice.length]!;
  [letters[at], letters[at + 1]] = [letters[at + 1]!, letters[at]!];
  return letters.join('');
}

/** Whether a title holds a word. */
export function holds(title: string, word: string): boolean {
  const words = title
    .normalize('NFKC')
    .toLowerCase()
    .match(/[\p{L}\p{N}\p{M}]+/gu);
  return words?.some((one) => one === word) ?? false;
}

/**
 * Asks for every word in every form and mode.
 *
 * @param titles of the hits, best first
 */
export async function probeWords(
  words: readonly string[],
  seed: number,
  titles: (mode: ProbedMode, query: string, form: Form) => Promise<readonly string[]>,
  onProgress?: (done: number, total: number) => void,
): Promise<WordTable> {
  const table = {} as WordTable;
  let done = 0;
  const total = FORMS.length * PROBED_MODES.length * words.length;
  for (const form of FORMS) {
    const row = {} as Record<ProbedMode, Cell>;
    for (const mode of PROBED_MODES) {
      const counts = { first: 0, firstTen: 0, empty: 0 };
      for (const word of words) {
        const found = await titles(mode, formOf(word, form, seed), form);
        const place = found.slice(0, PROBED_HITS).findIndex((title) => holds(title, word));
        if (place === 0) counts.first++;
        if (place >= 0) counts.firstTen++;
        if (found.length === 0) counts.empty++;
        onProgress?.(++done, total);
      }
      const share = (count: number): number => count / words.length;
      row[mode] = {
        first: share(counts.first),
        firstTen: share(counts.firstTen),
        empty: share(counts.empty),
      };
    }
    table[form] = row;
  }
  return table;
}
