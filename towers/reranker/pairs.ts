import { TowerError } from '../errors.ts';

/** How a tokenizer puts two texts together, as token ids. */
export interface PairForm {
  before: readonly number[];
  between: readonly number[];
  after: readonly number[];
  /** Whether the second text is a segment of its own for the model, from its first token on. */
  hasSegments: boolean;
}

type Piece = {
  SpecialToken?: { id: string; type_id: number };
  Sequence?: { id: 'A' | 'B'; type_id: number };
};

interface PostProcessor {
  type?: string;
  pair?: readonly Piece[];
  special_tokens?: Readonly<Record<string, { ids: readonly number[] }>>;
  cls?: [string, number];
  sep?: [string, number];
  processors?: readonly PostProcessor[];
}

/** Reads the form of pairs from a `tokenizer.json`. @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` */
export function pairFormOf(tokenizer: string): PairForm {
  const { post_processor: processor } = JSON.parse(tokenizer) as { post_processor?: PostProcessor | null };
  const all = processor?.type === 'Sequence' ? (processor.processors ?? []) : processor ? [processor] : [];
  for (const one of all) {
    const form = formOf(one);
    if (form) return form;
  }
  throw new TowerError(
    'TOWER_MODEL_UNSUPPORTED',
    `tokenizer.json does not say how two texts are put together (its post-processor is ${processor?.type ?? 'missing'}); ` +
      'a cross-encoder needs that',
  );
}

function formOf({
  type,
  pair,
  special_tokens: specials = {},
  cls,
  sep,
}: PostProcessor): PairForm | undefined {
  if (type === 'TemplateProcessing' && pair) return templateOf(pair, specials);
  if (!cls || !sep) return undefined;
  const [first, end] = [cls[1], sep[1]];
  if (type === 'BertProcessing') return { before: [first], between: [end], after: [end], hasSegments: true };
  if (type === 'RobertaProcessing') {
    return { before: [first], between: [end, end], after: [end], hasSegments: false };
  }
  return undefined;
}

function templateOf(
  pair: readonly Piece[],
  specials: NonNullable<PostProcessor['special_tokens']>,
): PairForm | undefined {
  const parts: number[][] = [[]];
  let second = 0;
  for (const { SpecialToken: special, Sequence: sequence } of pair) {
    if (special) parts.at(-1)!.push(...(specials[special.id]?.ids ?? []));
    if (!sequence) continue;
    if (sequence.id !== (parts.length === 1 ? 'A' : 'B')) return undefined;
    if (sequence.id === 'B') second = sequence.type_id;
    parts.push([]);
  }
  const [before, between, after] = parts;
  return before && between && after && parts.length === 3
    ? { before, between, after, hasSegments: second === 1 }
    : undefined;
}
