import { Tokenizer } from '@huggingface/tokenizers';
import { TowerError } from './errors.ts';
import type { Tokens } from './tower.ts';

/**
 * Characters that are looked at first for each token of room; natural text has four to six. Where they are too few,
 * more are: a text to be cut costs what is kept of it, not all of it.
 */
const FIRST_CHARACTERS_PER_TOKEN = 16;

/**
 * What lies further than this is cut unseen: so few tokens in so many characters are white space or no language, and
 * on a word of millions of letters the tokenizer runs out of stack.
 */
const MOST_CHARACTERS_PER_TOKEN = 256;

/** Tokens at the edge of a cut text that the rest of the text could have changed. */
const EDGE_TOKENS = 8;

/**
 * Words whose ids are kept. Queries and passages are made of few different words, and finding the tokens of one takes
 * several microseconds.
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

/** Text to token ids, after a Hugging Face `tokenizer.json`. */
export class TextTokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #limits: TextLimits;
  /** Special tokens before and after each text. */
  readonly #prefix: readonly number[];
  readonly #suffix: readonly number[];
  /** Ids of words, where what a word becomes does not depend on what is around it. */
  readonly #words: Map<string, readonly number[]> | undefined;

  /**
   * @param tokenizer parsed `tokenizer.json`
   * @param config parsed `tokenizer_config.json`; most tokenizers do without
   */
  constructor(tokenizer: object, config: object, limits: TextLimits) {
    this.#tokenizer = new Tokenizer(tokenizer, config);
    this.#limits = limits;
    this.#words = isWordByWord(tokenizer) ? new Map() : undefined;
    const bare = this.ids('a');
    const full: number[] = this.#tokenizer.encode('a').ids;
    const start = full.findIndex((_, index) => bare.every((id, offset) => full[index + offset] === id));
    if (bare.length === 0 || start < 0) {
      throw new TowerError('TOWER_MODEL_UNSUPPORTED', 'tokenizer.json has no token for the letter "a"');
    }
    this.#prefix = full.slice(0, start);
    this.#suffix = full.slice(start + bare.length);
  }

  /** How many tokens of a text there is room for. */
  get room(): number {
    return this.#limits.maxTokens - this.#prefix.length - this.#suffix.length;
  }

  /** Token ids without special tokens, however many. Lone surrogates count as U+FFFD. */
  ids(text: string): number[] {
    const whole = text.toWellFormed();
    if (this.#words === undefined) return this.#idsOf(whole);
    const ids: number[] = [];
    for (const word of whole.split(/[ \t\n\r]+/)) {
      for (const id of this.#idsOfWord(word, this.#words)) ids.push(id);
    }
    return ids;
  }

  #idsOfWord(word: string, words: Map<string, readonly number[]>): readonly number[] {
    let ids = words.get(word);
    if (ids === undefined) {
      ids = this.#idsOf(word);
      if (words.size >= MAX_KEPT_WORDS) words.clear();
      if (word.length <= MAX_KEPT_CHARACTERS) words.set(word, ids);
    }
    return ids;
  }

  #idsOf(text: string): number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: false }).ids;
  }

  /** Token ids between special tokens; what is too long is cut, the special tokens stay. */
  encode(text: string): Tokens {
    const { room } = this;
    const right = this.#limits.truncation === 'right';
    const { ids, complete } = this.#idsNear(text, right);
    const kept = right ? ids.slice(0, room) : ids.slice(Math.max(0, ids.length - room));
    return {
      ids: [...this.#prefix, ...kept, ...this.#suffix],
      truncated: !complete || ids.length > room,
    };
  }

  /** Ids of as much of a text as can be kept, from the side that is. */
  #idsNear(text: string, right: boolean): { ids: number[]; complete: boolean } {
    const enough = this.room + EDGE_TOKENS;
    const most = enough * MOST_CHARACTERS_PER_TOKEN;
    for (let size = enough * FIRST_CHARACTERS_PER_TOKEN; size < text.length; size *= 4) {
      const ids = this.ids(right ? text.slice(0, size) : text.slice(-size));
      if (ids.length >= enough || size >= most) return { ids, complete: false };
    }
    return { ids: this.ids(text), complete: true };
  }
}

/** What says of a `tokenizer.json` whether a word's tokens depend on the word alone. */
interface TokenizerParts {
  normalizer?: { type?: string } | null;
  pre_tokenizer?: { type?: string } | null;
  model?: { type?: string };
  added_tokens?: { content: string }[];
}

/**
 * Whether text may be taken apart at white space before it is tokenised: so it is with BERT's tokenizers, which split
 * there first and look at each word alone. An added token with white space in it would be torn.
 */
function isWordByWord(tokenizer: TokenizerParts): boolean {
  return (
    tokenizer.normalizer?.type === 'BertNormalizer' &&
    tokenizer.pre_tokenizer?.type === 'BertPreTokenizer' &&
    tokenizer.model?.type === 'WordPiece' &&
    (tokenizer.added_tokens ?? []).every(({ content }) => !/\s/.test(content))
  );
}
