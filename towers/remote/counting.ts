import { LRUCache } from 'lru-cache';
import type { Soon } from '../passages.ts';
import type { Tokens } from '../tower.ts';

/** Makes of a text what a remote model gets: not longer than it takes, and how many tokens that is. */
export interface TextCounter {
  /** How many tokens of a text there is room for. */
  readonly room: number;
  /** Tokens of a text by itself, without special tokens. */
  count(text: string): Soon<number>;
  /** The text as it is sent: cut, where it is too long. */
  encode(text: string): Promise<Tokens>;
}

/** What {@link FileCounter} needs of a tokenizer. */
export interface Tokenizer {
  readonly room: number;
  ids(text: string): Soon<readonly number[]>;
  encode(text: string): Soon<Tokens>;
}

/** Counts with the model's own tokenizer. */
export class FileCounter implements TextCounter {
  readonly #tokenizer: Tokenizer;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  get room(): number {
    return this.#tokenizer.room;
  }

  async count(text: string): Promise<number> {
    return (await this.#tokenizer.ids(text)).length;
  }

  async encode(text: string): Promise<Tokens> {
    const tokens = await this.#tokenizer.encode(text);
    if (!tokens.truncated) return { ...tokens, text };
    const cut = await cutText(text, async (start) => !(await this.#tokenizer.encode(start)).truncated);
    return { ids: (await this.#tokenizer.encode(cut)).ids, text: cut, truncated: true };
  }
}

/** Counts that are kept: sentences of a document are counted alone and, in passages, together. */
const KEPT_COUNTS = 20_000;

/** A longer text hardly comes twice. */
const MAX_KEPT_CHARACTERS = 1_024;

/** Has the server count. */
export class EndpointCounter implements TextCounter {
  readonly room: number;
  readonly #special: number;
  readonly #ask: (text: string) => Promise<number>;
  readonly #kept = new LRUCache<string, number>({ max: KEPT_COUNTS });

  /** @param special tokens around every text, which the server counts too @param ask has a text counted */
  constructor(maxTokens: number, special: number, ask: (text: string) => Promise<number>) {
    this.room = maxTokens - special;
    this.#special = special;
    this.#ask = ask;
  }

  async count(text: string): Promise<number> {
    if (text === '') return 0;
    const known = this.#kept.get(text);
    if (known !== undefined) return known;
    const count = Math.max(0, (await this.#ask(text)) - this.#special);
    if (text.length <= MAX_KEPT_CHARACTERS) this.#kept.set(text, count);
    return count;
  }

  encode(text: string): Promise<Tokens> {
    return encodeBy(text, { special: this.#special, room: this.room, count: (each) => this.count(each) });
  }
}

/** Special tokens that are reckoned with where nobody knows: most models have one or two. */
const SPECIAL_TOKENS = 2;

/**
 * Counts what a text can become at the most in usual tokenizers, without having one: two letters of a word are a token,
 * each digit, sign and ideograph is one, and what WordPiece or byte-level BPE hardly knows counts its bytes. For English
 * that is about twice the tokens.
 */
export class CharacterCounter implements TextCounter {
  readonly room: number;

  constructor(maxTokens: number) {
    this.room = maxTokens - SPECIAL_TOKENS;
  }

  count(text: string): number {
    return countCharacters(text);
  }

  encode(text: string): Promise<Tokens> {
    return encodeBy(text, { special: SPECIAL_TOKENS, room: this.room, count: countCharacters });
  }
}

/** See {@link CharacterCounter}. */
export function countCharacters(text: string): number {
  let halves = 0;
  for (const [run] of text.matchAll(/[A-Za-z]+|[^A-Za-z\s]/gu)) {
    const code = run.codePointAt(0)!;
    if (/[A-Za-z]/.test(run)) halves += run.length + (run.length % 2);
    else if (code < 0x80) halves += 2;
    else if (code < 0x800) halves += 3;
    else halves += code < 0x10000 ? 6 : 8;
  }
  return Math.ceil(halves / 2);
}

async function encodeBy(
  text: string,
  { special, room, count }: { special: number; room: number; count: (text: string) => Soon<number> },
): Promise<Tokens> {
  const tokens =
    text.length > room * MOST_CHARACTERS_PER_TOKEN ? Number.POSITIVE_INFINITY : await count(text);
  if (tokens <= room) return { ids: standIns(tokens + special), text, truncated: false };
  const cut = await cutText(
    text.slice(0, room * MOST_CHARACTERS_PER_TOKEN),
    async (start) => (await count(start)) <= room,
  );
  return { ids: standIns((await count(cut)) + special), text: cut, truncated: true };
}

/** What lies further is not looked at: so few tokens in so many characters are white space or no language. */
const MOST_CHARACTERS_PER_TOKEN = 64;

/** Ids of tokens that are not known, only how many they are. */
function standIns(count: number): number[] {
  return Array.from({ length: count }, () => 0);
}

/** The longest start of a text that fits, never half a surrogate pair. */
async function cutText(text: string, fits: (start: string) => Promise<boolean>): Promise<string> {
  let fitting = 0;
  let tooLong = text.length;
  while (tooLong - fitting > 1) {
    const middle = (fitting + tooLong) >>> 1;
    if (await fits(text.slice(0, middle).toWellFormed())) fitting = middle;
    else tooLong = middle;
  }
  const whole = text.slice(0, fitting);
  return whole.isWellFormed() ? whole : whole.slice(0, -1);
}
