import type { Pooling } from '../space.ts';

/** What a model's card says and its files often do not. */
export interface KnownModel {
  /** Names of the family's models, as the last part of a hub's name or of a folder. */
  pattern: RegExp;
  /** For people. */
  family: string;
  queryPrompt: string;
  documentPrompt: string;
  pooling: Pooling;
}

/** Families whose cards ask for prompts that their files do not have, with the pooling that the cards describe. */
const KNOWN_MODELS: readonly KnownModel[] = [
  {
    pattern: /^bge-(?:small|base|large)-en(?:-v1\.5)?(?:$|[-_.](?:onnx|q|int8|fp16|quant))/i,
    family: 'BGE, English',
    queryPrompt: 'Represent this sentence for searching relevant passages: ',
    documentPrompt: '',
    pooling: 'cls',
  },
  {
    pattern: /^bge-(?:small|base|large)-zh(?:-v1\.5)?(?:$|[-_.](?:onnx|q|int8|fp16|quant))/i,
    family: 'BGE, Chinese',
    queryPrompt: '为这个句子生成表示以用于检索相关文章：',
    documentPrompt: '',
    pooling: 'cls',
  },
  {
    pattern: /^(?:multilingual-)?e5-(?:small|base|large)(?:-v2)?(?:$|[-_.](?:onnx|q|int8|fp16|quant))/i,
    family: 'E5',
    queryPrompt: 'query: ',
    documentPrompt: 'passage: ',
    pooling: 'mean',
  },
];

/** The family of a model, by any of its names. */
export function knownModel(names: readonly (string | undefined)[]): KnownModel | undefined {
  const last = names.flatMap((name) => name?.split('/').at(-1) ?? []);
  return KNOWN_MODELS.find(({ pattern }) => last.some((name) => pattern.test(name)));
}
