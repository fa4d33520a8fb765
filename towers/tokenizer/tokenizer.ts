import { TowerError } from '../errors.ts';
import type { Soon } from '../passages.ts';
import type { Tokens } from '../tower.ts';
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

/** White space that no BERT tokenizer has a token for. */
const BLANK = /[ \t\n\r]+/;

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
  /** Ids of words, where what a word becomes does not depend on what is around it. */
  readonly #words: Map<string, readonly number[]> | undefined;

  private constructor(
    implementation: Implementation,
    limits: TextLimits,
    around: { prefix: readonly number[]; suffix: readonly number[] },
    wordByWord: boolean,
  ) {
    this.#implementation = implementation;
    this.#limits = limits;
    this.#prefix = around.prefix;
    this.#suffix = around.suffix;
    this.#words = wordByWord ? new Map([['', []]]) : undefined;
  }

  /**
   * @param file text of `tokenizer.json`
   * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED`
   */
  static async load(file: string, limits: TextLimits): Promise<TextTokenizer> {
    const implementation = await nativeTokenizer(file);
    const around = await specialsOf(implementation);
    return new TextTokenizer(
      implementation,
      limits,
      around,
      isWordByWord(JSON.parse(file) as TokenizerParts),
    );
  }

  /** How many tokens of a text there is room for. */
  get room(): number {
    return this.#limits.maxTokens - this.#prefix.length - this.#suffix.length;
  }

  /** Token ids without special tokens, however many; at once where all its words are known. */
  ids(text: string): Soon<readonly number[]> {
    const whole = text.toWellFormed();
    if (this.#words === undefined) return this.#implementation.ids(whole);
    const words = whole.split(BLANK);
    return joined(words, this.#words) ?? this.#ask(words, this.#words);
  }

  /** How many tokens a text has, without special tokens. */
  count(text: string): Soon<number> {
    return soon(this.ids(text), (ids) => ids.length);
  }

  /** Has the implementation say what the words become that are not known yet. */
  async #ask(words: readonly string[], known: Map<string, readonly number[]>): Promise<readonly number[]> {
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
    return soon(this.#idsNear(seen, Math.max(1, room) * CHARACTERS_PER_TOKEN), (ids) => ({
      ids: [
        ...this.#prefix,
        ...(right ? ids.slice(0, room) : ids.slice(Math.max(0, ids.length - room))),
        ...this.#suffix,
      ],
      truncated: ids.length > room || seen.length < text.length,
    }));
  }

  /** Ids of as much of a text as can be kept, from the side that is: more of them than there is room for, or all. */
  #idsNear(text: string, size: number): Soon<readonly number[]> {
    if (this.#words === undefined) return this.ids(text);
    const part = upToBlank(text, size, this.#limits.truncation);
    return soon(this.ids(part), (ids) =>
      ids.length > this.room || part.length === text.length ? ids : this.#idsNear(text, size * 4),
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

/** Some characters of one side of a text, and on to the next white space. */
function upToBlank(text: string, size: number, side: TextLimits['truncation']): string {
  if (size >= text.length) return text;
  if (side === 'right') {
    const end = text.slice(size).search(BLANK);
    return end < 0 ? text : text.slice(0, size + end);
  }
  for (let start = text.length - size; start > 0; start--) {
    if (BLANK.test(text[start]!)) return text.slice(start);
  }
  return text;
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

/** What says of a `tokenizer.json` whether a word's tokens depend on the word alone. */
interface TokenizerParts {
  normalizer?: { type?: string } | null;
  pre_tokenizer?: { type?: string } | null;
  model?: { type?: string };
  added_tokens?: { content: string; normalized?: boolean }[];
}

/**
 * Whether text may be taken apart at white space before it is tokenised: so it is with BERT's tokenizers, which split
 * there first and look at each word alone. An added token with white space in it would be torn, and what a normaliser
 * makes of one may hold white space.
 */
function isWordByWord(tokenizer: TokenizerParts): boolean {
  return (
    tokenizer.normalizer?.type === 'BertNormalizer' &&
    tokenizer.pre_tokenizer?.type === 'BertPreTokenizer' &&
    tokenizer.model?.type === 'WordPiece' &&
    (tokenizer.added_tokens ?? []).every(({ content }) => /^[!-~]*$/.test(content))
  );
}
