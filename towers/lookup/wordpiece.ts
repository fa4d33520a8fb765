import { countedPart, type TokenCount } from './counted.ts';
import { LookupError } from './errors.ts';
import { anyObject, type Json, list, object, text, whole, yes } from './read.ts';
import { IDEOGRAPHS, isIn, MARKS, PUNCTUATION, REMOVED, SPACES, UNKNOWN_TO_NFD } from './unicode.ts';

/**
 * Longest text, in UTF-16 units, that is tokenised, as in `towers/tokenizer/tokenizer.ts`: what lies further is cut
 * unseen.
 */
export const MAX_CHARACTERS = 1 << 18;

/** The same for each token of room, where the window is large. */
export const MAX_CHARACTERS_PER_TOKEN = 32;

/** Words whose ids are kept, so that a text of known words costs a look at each. */
const MAX_KEPT_WORDS = 20_000;

/** A longer word is no word: it hardly comes twice. */
const MAX_KEPT_CHARACTERS = 32;

/** What a text is cut to. */
export interface Limits {
  /** Special tokens included. */
  maxTokens: number;
  /** The side on which what is too long is cut. */
  truncation: 'right' | 'left';
}

/** How a text becomes words. */
interface Rules {
  clean: boolean;
  ideographs: boolean;
  accents: boolean;
  lowercase: boolean;
}

/**
 * BERT's tokenizer without a native add-on: the ids are those of the reference implementation. It knows `tokenizer.json`
 * with BertNormalizer, BertPreTokenizer and WordPiece, and refuses any other by name.
 */
export class WordPiece {
  readonly #rules: Rules;
  readonly #vocabulary: ReadonlyMap<string, number>;
  readonly #prefix: string;
  readonly #unknown: number;
  readonly #longest: number;
  /** Tokens that are found in the text as it is, longest first. */
  readonly #added: RegExp | undefined;
  readonly #addedIds: ReadonlyMap<string, number>;
  /** Special tokens before and after each text. */
  readonly #before: readonly number[];
  readonly #after: readonly number[];
  readonly #limits: Limits;
  readonly #known = new Map<string, readonly number[]>();

  /**
   * @param file text of a `tokenizer.json`
   * @throws {LookupError} for one that is not of this kind
   */
  constructor(file: string, limits: Limits) {
    const json = object(parse(file), 'tokenizer.json', [
      'version',
      'truncation',
      'padding',
      'added_tokens',
      'normalizer',
      'pre_tokenizer',
      'post_processor',
      'decoder',
      'model',
    ]);
    this.#rules = rulesOf(json['normalizer']);
    kindOf(json['pre_tokenizer'], 'pre_tokenizer', 'BertPreTokenizer', ['type']);
    const model = kindOf(json['model'], 'model', 'WordPiece', [
      'type',
      'unk_token',
      'continuing_subword_prefix',
      'max_input_chars_per_word',
      'vocab',
    ]);
    const vocabulary = new Map<string, number>();
    for (const [token, id] of Object.entries(anyObject(model['vocab'], 'model.vocab'))) {
      vocabulary.set(token, whole(id, `model.vocab[${JSON.stringify(token)}]`));
    }
    this.#vocabulary = vocabulary;
    this.#prefix = text(model['continuing_subword_prefix'], 'model.continuing_subword_prefix');
    this.#longest = whole(model['max_input_chars_per_word'], 'model.max_input_chars_per_word');
    const unknown = vocabulary.get(text(model['unk_token'], 'model.unk_token'));
    if (unknown === undefined) throw new LookupError('model.unk_token is not in the vocabulary');
    this.#unknown = unknown;
    this.#addedIds = addedOf(json['added_tokens']);
    const added = [...this.#addedIds.keys()].sort((a, b) => b.length - a.length);
    this.#added = added.length === 0 ? undefined : new RegExp(`(${added.map(escaped).join('|')})`, 'u');
    const { before, after } = aroundOf(json['post_processor']);
    this.#before = before;
    this.#after = after;
    this.#limits = limits;
  }

  /** How many tokens of a text there is room for. */
  get room(): number {
    return this.#limits.maxTokens - this.#before.length - this.#after.length;
  }

  /** Token ids between special tokens; what is too long is cut, the special tokens stay. */
  encode(text: string): { ids: number[]; truncated: boolean } {
    const { room } = this;
    const right = this.#limits.truncation === 'right';
    const most = Math.max(MAX_CHARACTERS, room * MAX_CHARACTERS_PER_TOKEN);
    const seen = text.length <= most ? text : right ? text.slice(0, most) : text.slice(-most);
    // One more than there is room for says that there are more.
    const ids = this.ids(seen, right ? room + 1 : Number.POSITIVE_INFINITY);
    const kept = right ? ids.slice(0, room) : ids.slice(Math.max(0, ids.length - room));
    return {
      ids: [...this.#before, ...kept, ...this.#after],
      truncated: ids.length > room || seen.length < text.length,
    };
  }

  /** How many tokens a text has that {@link encode} cuts, special tokens included. */
  countWhole(text: string): TokenCount {
    const { part, atLeast } = countedPart(text, this.#limits.truncation);
    return { tokens: this.ids(part).length + this.#before.length + this.#after.length, atLeast };
  }

  /** Token ids without special tokens, at least `enough` of them where there are so many. */
  ids(text: string, enough = Number.POSITIVE_INFINITY): number[] {
    const ids: number[] = [];
    const whole = text.toWellFormed();
    const parts = this.#added === undefined ? [whole] : whole.split(this.#added);
    for (const [index, part] of parts.entries()) {
      if (index % 2 === 1) {
        ids.push(this.#addedIds.get(part)!);
      } else {
        for (const word of wordsOf(part, this.#rules)) {
          for (const id of this.#idsOfWord(word)) ids.push(id);
          if (ids.length >= enough) return ids;
        }
      }
    }
    return ids;
  }

  #idsOfWord(word: string): readonly number[] {
    const known = this.#known.get(word);
    if (known !== undefined) return known;
    const ids = this.#pieces(word);
    if (word.length <= MAX_KEPT_CHARACTERS) {
      if (this.#known.size >= MAX_KEPT_WORDS) this.#known.clear();
      this.#known.set(word, ids);
    }
    return ids;
  }

  /** The longest piece of the vocabulary, again and again; a word that is not made of pieces is unknown. */
  #pieces(word: string): readonly number[] {
    const letters = Array.from(word);
    if (letters.length > this.#longest) return [this.#unknown];
    const ids: number[] = [];
    for (let start = 0; start < letters.length;) {
      let end = letters.length;
      let id: number | undefined;
      for (; end > start; end--) {
        const piece = letters.slice(start, end).join('');
        id = this.#vocabulary.get(start === 0 ? piece : this.#prefix + piece);
        if (id !== undefined) break;
      }
      if (id === undefined) return [this.#unknown];
      ids.push(id);
      start = end;
    }
    return ids;
  }
}

/** Words of plain text, in which no rule but lower case and punctuation has anything to do. */
const PLAIN = /^[ -~]*$/;
const PLAIN_WORDS = /[a-zA-Z0-9]+|[^ ]/g;

function wordsOf(part: string, rules: Rules): readonly string[] {
  if (PLAIN.test(part)) return (rules.lowercase ? part.toLowerCase() : part).match(PLAIN_WORDS) ?? [];
  return split(normalize(part, rules));
}

function normalize(part: string, rules: Rules): string {
  let found = '';
  for (const letter of part) {
    const code = letter.codePointAt(0)!;
    // Before controls, which tabulators and ends of lines are as well.
    if (rules.clean && (letter === '\t' || letter === '\n' || letter === '\r')) found += ' ';
    else if (rules.clean && isIn(REMOVED, code)) continue;
    else if (rules.clean && isIn(SPACES, code)) found += ' ';
    else if (rules.ideographs && isIn(IDEOGRAPHS, code)) found += ` ${letter} `;
    else found += letter;
  }
  if (rules.accents) found = withoutAccents(found);
  // Letter by letter: as a whole, a text's last sigma would become another than the rest.
  return rules.lowercase ? Array.from(found, (letter) => letter.toLowerCase()).join('') : found;
}

function withoutAccents(part: string): string {
  let found = '';
  let pending = '';
  const flush = (): void => {
    for (const letter of pending.normalize('NFD')) {
      if (!isIn(MARKS, letter.codePointAt(0)!)) found += letter;
    }
    pending = '';
  };
  for (const letter of part) {
    if (isIn(UNKNOWN_TO_NFD, letter.codePointAt(0)!)) {
      flush();
      if (!isIn(MARKS, letter.codePointAt(0)!)) found += letter;
    } else {
      pending += letter;
    }
  }
  flush();
  return found;
}

function split(part: string): string[] {
  const words: string[] = [];
  let word = '';
  const end = (): void => {
    if (word !== '') words.push(word);
    word = '';
  };
  for (const letter of part) {
    const code = letter.codePointAt(0)!;
    if (isIn(SPACES, code)) {
      end();
    } else if (isIn(PUNCTUATION, code)) {
      end();
      words.push(letter);
    } else {
      word += letter;
    }
  }
  end();
  return words;
}

function parse(file: string): unknown {
  try {
    return JSON.parse(file) as unknown;
  } catch (error) {
    throw new LookupError(`tokenizer.json is no JSON: ${String(error)}`, { cause: error });
  }
}

/** A part of the file that must be of one kind. */
function kindOf(value: unknown, path: string, kind: string, keys: readonly string[]): Json {
  const type = value === null || value === undefined ? 'none' : anyObject(value, path)['type'];
  if (type !== kind) {
    throw new LookupError(`tokenizer.json: ${path} is ${String(type)}; here only ${kind} can be read`);
  }
  return object(value, path, keys);
}

function rulesOf(value: unknown): Rules {
  const path = 'normalizer';
  const keys = ['type', 'clean_text', 'handle_chinese_chars', 'strip_accents', 'lowercase'];
  const json = kindOf(value, path, 'BertNormalizer', keys);
  const lowercase = yes(json['lowercase'], `${path}.lowercase`);
  // Unless it says otherwise, a tokenizer that ignores case ignores accents.
  const accents = json['strip_accents'] ?? lowercase;
  return {
    clean: yes(json['clean_text'], `${path}.clean_text`),
    ideographs: yes(json['handle_chinese_chars'], `${path}.handle_chinese_chars`),
    accents: yes(accents, `${path}.strip_accents`),
    lowercase,
  };
}

const NEVER = ['single_word', 'lstrip', 'rstrip', 'normalized'] as const;

function addedOf(value: unknown): Map<string, number> {
  const found = new Map<string, number>();
  for (const [index, item] of list(value ?? [], 'added_tokens').entries()) {
    const path = `added_tokens[${index}]`;
    const token = object(item, path, ['id', 'content', 'special', ...NEVER]);
    const content = text(token['content'], `${path}.content`);
    if (content === '') throw new LookupError(`${path}.content is empty`);
    for (const key of NEVER) {
      if (token[key] !== undefined && yes(token[key], `${path}.${key}`)) {
        throw new LookupError(`tokenizer.json: ${path} (${content}) has ${key}, which is not known here`);
      }
    }
    found.set(content, whole(token['id'], `${path}.id`));
  }
  return found;
}

/** Which tokens are put before and after each text. */
function aroundOf(value: unknown): { before: number[]; after: number[] } {
  if (value === null || value === undefined) return { before: [], after: [] };
  const path = 'post_processor';
  const { type } = anyObject(value, path);
  if (type === 'BertProcessing') {
    const json = object(value, path, ['type', 'sep', 'cls']);
    const id = (key: string): number => whole(list(json[key], `${path}.${key}`)[1], `${path}.${key}[1]`);
    return { before: [id('cls')], after: [id('sep')] };
  }
  const json = kindOf(value, path, 'TemplateProcessing', ['type', 'single', 'pair', 'special_tokens']);
  const special = anyObject(json['special_tokens'], `${path}.special_tokens`);
  const [before, after]: [number[], number[]] = [[], []];
  let isAfter = false;
  for (const [index, item] of list(json['single'], `${path}.single`).entries()) {
    const at = `${path}.single[${index}]`;
    const part = object(item, at, ['SpecialToken', 'Sequence']);
    if (part['Sequence'] !== undefined) {
      if (isAfter) throw new LookupError(`${at} is a second sequence; one text has one`);
      isAfter = true;
      continue;
    }
    const name = text(anyObject(part['SpecialToken'], at)['id'], `${at}.id`);
    const token = anyObject(special[name], `${path}.special_tokens[${JSON.stringify(name)}]`);
    const ids = list(token['ids'], `${path}.special_tokens[${JSON.stringify(name)}].ids`);
    for (const id of ids) (isAfter ? after : before).push(whole(id, at));
  }
  if (!isAfter) throw new LookupError(`${path}.single has no sequence`);
  return { before, after };
}

function escaped(content: string): string {
  return content.replaceAll(/[$()*+./?[\\\]^{|}]/g, String.raw`\$&`);
}
