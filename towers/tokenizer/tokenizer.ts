import { TowerError } from '../errors.ts';
import { countedPart, type TokenCount } from '../lookup/counted.ts';
import type { Soon } from '../passages.ts';
import type { Tokens } from '../tower.ts';
import { boundaryOf } from './boundary.ts';
import { type Implementation, nativeTokenizer } from './native.ts';

/**
 * Characters that are looked at first for each token of room, where a text may be taken apart; natural text has four
 * to six. Where they are too few, more are: a text to be cut costs what is kept of it, not all of it.
 */
const CHARACTERS_PER_TOKEN = 16;

/**
 * Longest text, in characters, that is tokenised; what lies further is cut unseen. A million characters take the
 * tokenizer five seconds and half a gigabyte.
 */
const MAX_CHARACTERS = 1 << 18;

/** The same for each token of room, where the window is large. */
const MAX_CHARACTERS_PER_TOKEN = 32;

/**
 * Words whose ids are kept. Queries and passages are made of few different words, and asking another thread for the
 * tokens of one takes a tenth of a millisecond.
 */
const MAX_KEPT_WORDS = 100_000;

/** A longer word is no word: it hardly comes twice. */
const MAX_KEPT_CHARACTERS = 32;

/** What a text is cut to. */
export interface TextLimits {
  /** Special tokens included. */
  maxTokens: number;
  /** The side on which what is too long is cut. */
  truncation: 'right' | 'left';
}

/** Text to token ids, after a Hugging Face `tokenizer.json`. Lone surrogates count as U+FFFD. */
export class TextTokenizer {
  readonly #implementation: Implementation;
  readonly #limits: TextLimits;
  /** Special tokens before and after each text. */
  readonly #prefix: readonly number[];
  readonly #suffix: readonly number[];
  /** Where a text may be taken apart, if anywhere. */
  readonly #boundary: RegExp | undefined;
  /** Ids of the words between. */
  readonly #words = new Map<string, readonly number[]>();

  private constructor(
    implementation: Implementation,
    limits: TextLimits,
    around: { prefix: readonly number[]; suffix: readonly number[] },
    boundary: RegExp | undefined,
  ) {
    this.#implementation = implementation;
    this.#limits = limits;
    this.#prefix = around.prefix;
    this.#suffix = around.suffix;
    this.#boundary = boundary;
  }

  /**
   * @param file text of `tokenizer.json`
   * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED`
   */
  static async load(file: string, limits: TextLimits): Promise<TextTokenizer> {
    const implementation = await nativeTokenizer(file);
    const around = await specialsOf(implementation);
    return new TextTokenizer(implementation, limits, around, boundaryOf(JSON.parse(file) as object));
  }

  /** How many tokens of a text there is room for. */
  get room(): number {
    return this.#limits.maxTokens - this.#prefix.length - this.#suffix.length;
  }

  /** Whether it keeps words by heart, so that a text of known words is answered at once. */
  get keepsWords(): boolean {
    return this.#boundary !== undefined;
  }

  /** Token ids without special tokens, however many; at once where all its words are known. */
  ids(text: string): Soon<readonly number[]> {
    const whole = text.toWellFormed();
    if (this.#boundary === undefined) return this.#implementation.ids(whole);
    return this.#idsOfWords(whole.split(this.#boundary));
  }

  /** How many tokens a text has, without special tokens. */
  count(text: string): Soon<number> {
    return soon(this.ids(text), (ids) => ids.length);
  }

  /** How many tokens a text has that {@link encode} cuts, special tokens included. */
  async countWhole(text: string): Promise<TokenCount> {
    const { part, atLeast } = countedPart(text, this.#limits.truncation);
    const tokens = (await this.count(part)) + this.#prefix.length + this.#suffix.length;
    return { tokens, atLeast };
  }

  #idsOfWords(words: readonly string[]): Soon<readonly number[]> {
    return joined(words, this.#words) ?? this.#ask(words);
  }

  /** Has the implementation say what the words become that are not known yet. */
  async #ask(words: readonly string[]): Promise<readonly number[]> {
    const known = this.#words;
    const asked = new Map<string, readonly number[]>();
    const unknown = [...new Set(words)].filter((word) => {
      const ids = known.get(word);
      if (ids !== undefined) asked.set(word, ids);
      return ids === undefined;
    });
    const answers = await this.#implementation.idsOfAll(unknown);
    if (known.size + unknown.length > MAX_KEPT_WORDS) known.clear();
    for (const [index, word] of unknown.entries()) {
      asked.set(word, answers[index]!);
      if (word.length <= MAX_KEPT_CHARACTERS) known.set(word, answers[index]!);
    }
    return joined(words, asked)!;
  }

  /** Token ids between special tokens; what is too long is cut, the special tokens stay. */
  encode(text: string): Soon<Tokens> {
    const { room } = this;
    const right = this.#limits.truncation === 'right';
    const most = Math.max(MAX_CHARACTERS, room * MAX_CHARACTERS_PER_TOKEN);
    const seen = text.length <= most ? text : right ? text.slice(0, most) : text.slice(-most);
    return soon(this.#idsNear(seen.toWellFormed()), (ids) => ({
      ids: [
        ...this.#prefix,
        ...(right ? ids.slice(0, room) : ids.slice(Math.max(0, ids.length - room))),
        ...this.#suffix,
      ],
      truncated: ids.length > room || seen.length < text.length,
    }));
  }

  /** Ids of as much of a text as can be kept, from the side that is: more of them than there is room for, or all. */
  #idsNear(text: string): Soon<readonly number[]> {
    const size = Math.max(1, this.room) * CHARACTERS_PER_TOKEN;
    if (this.#boundary === undefined || text.length <= size) return this.ids(text);
    return this.#idsOfSide(text.split(this.#boundary), size);
  }

  #idsOfSide(words: readonly string[], size: number): Soon<readonly number[]> {
    const part = sideOf(words, size, this.#limits.truncation);
    return soon(this.#idsOfWords(part), (ids) =>
      ids.length > this.room || part.length === words.length ? ids : this.#idsOfSide(words, size * 4),
    );
  }
}

/** Goes on with a value, at once where it is there. */
function soon<T, U>(value: Soon<T>, use: (value: T) => Soon<U>): Soon<U> {
  return value instanceof Promise ? value.then(use) : use(value);
}

/** The ids of words one after the other; undefined where one is not known. */
function joined(
  words: readonly string[],
  known: ReadonlyMap<string, readonly number[]>,
): readonly number[] | undefined {
  const ids: number[] = [];
  for (const word of words) {
    const own = known.get(word);
    if (own === undefined) return undefined;
    for (const id of own) ids.push(id);
  }
  return ids;
}

/** The words at one side of a text that have so many characters together, or a few more. */
function sideOf(words: readonly string[], size: number, side: TextLimits['truncation']): readonly string[] {
  let taken = 0;
  for (let characters = 0; taken < words.length && characters < size; taken++) {
    characters += words[side === 'right' ? taken : words.length - 1 - taken]!.length;
  }
  return side === 'right' ? words.slice(0, taken) : words.slice(words.length - taken);
}

/** Which tokens the tokenizer puts before and after each text. @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` */
async function specialsOf(
  implementation: Implementation,
): Promise<{ prefix: readonly number[]; suffix: readonly number[] }> {
  const bare = await implementation.ids('a');
  const full = await implementation.ids('a', true);
  const start = full.findIndex((_, index) => bare.every((id, offset) => full[index + offset] === id));
  if (bare.length === 0 || start < 0) {
    throw new TowerError('TOWER_MODEL_UNSUPPORTED', 'tokenizer.json has no token for the letter "a"');
  }
  return { prefix: full.slice(0, start), suffix: full.slice(start + bare.length) };
}
