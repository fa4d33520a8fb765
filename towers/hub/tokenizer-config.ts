import type * as z from 'zod';
import type { TokenizerConfig } from './schemas.ts';

/** A part of `tokenizer.json`, as much of it as is compared. */
type Part = Readonly<Record<string, unknown>>;

/**
 * What of `tokenizer_config.json` contradicts `tokenizer.json`: transformers rebuilds parts of the tokenizer from the
 * former, while the ids here come from the latter.
 *
 * @returns what to tell, naming file and field; undefined where both agree
 */
export function contradictions(config: z.infer<typeof TokenizerConfig>, tokenizer: Part): string | undefined {
  const normalizers = flatten(tokenizer['normalizer'], 'normalizers');
  const preTokenizers = flatten(tokenizer['pre_tokenizer'], 'pretokenizers');
  const bert = normalizers.find(({ type }) => type === 'BertNormalizer');
  const pairs: [field: string, stated: unknown, actual: unknown][] = [];
  if (bert !== undefined) {
    pairs.push(
      ['do_lower_case', config.do_lower_case, bert['lowercase'] ?? true],
      [
        'strip_accents',
        config.strip_accents ?? undefined,
        bert['strip_accents'] ?? bert['lowercase'] ?? true,
      ],
      ['tokenize_chinese_chars', config.tokenize_chinese_chars, bert['handle_chinese_chars'] ?? true],
      ['clean_text', config.clean_text, bert['clean_text'] ?? true],
    );
  } else {
    const lowers = normalizers.some(({ type }) => type === 'Lowercase');
    // Some tokenizers lower texts through a table of replacements, which nothing tells.
    if (config.do_lower_case === true) pairs.push(['do_lower_case', true, lowers || hasTable(normalizers)]);
    if (config.do_lower_case === false && lowers) pairs.push(['do_lower_case', false, true]);
  }
  const prefixes = preTokenizers.flatMap((part): boolean[] =>
    part['type'] === 'ByteLevel' && typeof part['add_prefix_space'] === 'boolean'
      ? [part['add_prefix_space']]
      : part['type'] === 'Metaspace'
        ? [
            part['prepend_scheme'] === undefined
              ? part['add_prefix_space'] !== false
              : part['prepend_scheme'] !== 'never',
          ]
        : [],
  );
  if (prefixes.length > 0) {
    pairs.push(['add_prefix_space', config.add_prefix_space ?? undefined, prefixes.some(Boolean)]);
  }
  const template = flatten(tokenizer['post_processor'], 'processors').find(
    ({ type }) => type === 'TemplateProcessing',
  )?.['single'];
  const pieces = Array.isArray(template) ? (template as Part[]) : [];
  const special = (piece: Part | undefined): boolean => piece !== undefined && 'SpecialToken' in piece;
  pairs.push(
    ['add_bos_token', config.add_bos_token ?? undefined, special(pieces[0])],
    ['add_eos_token', config.add_eos_token ?? undefined, special(pieces.at(-1))],
  );
  for (const [field, stated, actual] of pairs) {
    if (stated === undefined || stated === actual) continue;
    return (
      `tokenizer_config.json, ${field}: is ${JSON.stringify(stated)}, and tokenizer.json has it as ${JSON.stringify(actual)}; load the ` +
      'tokenizer in transformers and save it again, so that both say the same'
    );
  }
  return undefined;
}

function hasTable(normalizers: readonly Part[]): boolean {
  return normalizers.some(({ type }) => type === 'Precompiled');
}

/** A part, or the parts of a sequence. */
function flatten(part: unknown, list: string): Part[] {
  if (part === null || typeof part !== 'object') return [];
  const { type, [list]: inner } = part as Part;
  return type === 'Sequence' && Array.isArray(inner)
    ? inner.flatMap((each) => flatten(each, list))
    : [part as Part];
}
