/** A part of `tokenizer.json`. */
type Part = Readonly<Record<string, unknown>> & { readonly type?: string };

interface TokenizerFile {
  added_tokens?: readonly { content: string; rstrip?: boolean }[];
  normalizer?: Part | null;
  pre_tokenizer?: Part | null;
  model?: Part;
}

/** White space at which BERT's tokenizers split before they look at anything. */
const BLANK = /[ \t\n\r]+/;

/** Before a space that stands between two of these: no tokenizer below looks across it, and what begins there keeps it. */
const BEFORE_WORD = /(?<=[A-Za-z0-9.,;:!?])(?= [A-Za-z0-9])/;

/** Normalisers that change each letter by itself, with the marks that follow it. */
const LOCAL = new Set([
  'BertNormalizer',
  'Lowercase',
  'NFC',
  'NFD',
  'NFKC',
  'NFKD',
  'Nmt',
  'Precompiled',
  'StripAccents',
]);

/** Expressions of Replace that can't match at a single space between two words. */
const REPLACED = new Set([' {2,}', '\\s+', '\\s{2,}']);

/** Pre-tokenizers that split at every white space. */
const SPLITTING = new Set(['BertPreTokenizer', 'Whitespace', 'WhitespaceSplit']);

/** Expressions of Split whose matches begin at a space and never run on into one: GPT-4, Llama 3, Qwen, GPT-4o, CLIP. */
const EXPRESSIONS = new Set([
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
]);

/**
 * Where a text may be taken apart before it is tokenised, so that the ids of the parts, one after the other, are those of
 * the whole. Undefined where nothing is known to be such a place: each step that is not named here may look across it.
 *
 * @param file parsed `tokenizer.json`
 */
export function boundaryOf(file: object): RegExp | undefined {
  const { added_tokens: added = [], normalizer, pre_tokenizer: splitter, model } = file as TokenizerFile;
  if (
    normalizer?.type === 'BertNormalizer' &&
    splitter?.type === 'BertPreTokenizer' &&
    model?.type === 'WordPiece' &&
    // What a normaliser makes of other letters may hold white space.
    added.every(({ content }) => /^[!-~]*$/.test(content))
  ) {
    return BLANK;
  }
  const normalizers = partsOf(normalizer, 'normalizers');
  const marksSpaces = normalizers.some((part) => isReplace(part, ' ') && part['content'] === '\u2581');
  const whole =
    added.every(keepsApart) &&
    normalizers.every(isLocal) &&
    splits(partsOf(splitter, 'pretokenizers')[0], model, marksSpaces);
  return whole ? BEFORE_WORD : undefined;
}

/** Whether no match of an added token has part in both sides, and none takes the space away from the other side. */
function keepsApart({ content, rstrip }: { content: string; rstrip?: boolean }): boolean {
  const crosses = /.[\s\u2581]/su.test(content) && !/^[\s\u2581]+$/.test(content);
  return !crosses && !(rstrip === true && /[A-Za-z0-9.,;:!?]$/.test(content));
}

function isLocal(part: Part): boolean {
  if (part.type === 'Strip') return part['strip_left'] === false;
  if (part.type !== 'Replace') return LOCAL.has(part.type ?? '');
  const { String: text, Regex: expression } = (part['pattern'] ?? {}) as { String?: string; Regex?: string };
  if (expression !== undefined) return REPLACED.has(expression);
  return text === ' ' || (text !== undefined && /^[^\sA-Za-z0-9.,;:!?]+$/.test(text));
}

function isReplace(part: Part, text: string): boolean {
  return part.type === 'Replace' && (part['pattern'] as { String?: string } | undefined)?.String === text;
}

/**
 * Whether the first step of a pre-tokenizer, or the model itself, keeps words apart.
 *
 * @param marksSpaces whether no space is left when the first step begins, and each is a U+2581
 */
function splits(first: Part | undefined, model: Part | undefined, marksSpaces: boolean): boolean {
  if (marksSpaces) return (first === undefined || isPattern(first, ' ')) && joinsNoWords(model);
  if (first === undefined) return false;
  if (SPLITTING.has(first.type ?? '')) return true;
  if (first.type === 'ByteLevel') return first['use_regex'] !== false;
  if (first.type === 'Split') {
    const { Regex: expression } = (first['pattern'] ?? {}) as { Regex?: string };
    const { behavior, invert } = first as { behavior?: string; invert?: boolean };
    const kept = behavior === 'Isolated' || (behavior === 'Removed' && invert === true);
    return kept && expression !== undefined && EXPRESSIONS.has(expression);
  }
  if (first.type !== 'Metaspace' || first['replacement'] !== '\u2581') return false;
  return first['split'] !== false || joinsNoWords(model);
}

function isPattern(part: Part, text: string): boolean {
  return part.type === 'Split' && (part['pattern'] as { String?: string } | undefined)?.String === text;
}

/** Whether a model that gets a whole text as one word has no token that begins in one word and ends in the next. */
function joinsNoWords(model: Part | undefined): boolean {
  const { type, vocab } = (model ?? {}) as { type?: string; vocab?: Record<string, number> };
  if (type !== 'BPE' || vocab === undefined || vocab['\u2581'] === undefined) return false;
  return Object.keys(vocab).every((token) => !/[^\u2581]\u2581/u.test(token));
}

/** A part, or the parts of a sequence. */
function partsOf(part: Part | null | undefined, list: 'normalizers' | 'pretokenizers'): Part[] {
  if (part === null || part === undefined) return [];
  const inner = part[list];
  return part.type === 'Sequence' && Array.isArray(inner)
    ? inner.flatMap((each) => partsOf(each as Part, list))
    : [part];
}
