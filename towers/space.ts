import { createHash } from 'node:crypto';
import * as z from 'zod';
import { canonicalJson } from './json.ts';

/** A sha256 in lower-case hex. */
export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be a sha256 in 64 lower-case hex digits');

/**
 * One way in which token vectors become one vector: the mean, the first token, the last one, the largest of each
 * component, the sum over the root of the number of tokens, the mean weighted by position (1, 2, 3, ...).
 */
export const PoolingMode = z.enum(['mean', 'cls', 'last', 'max', 'mean_sqrt_len_tokens', 'weightedmean']);
export type PoolingMode = z.infer<typeof PoolingMode>;

/** How token vectors become one vector; of several modes the vectors are put one after the other. */
export const Pooling = z.union([PoolingMode, z.array(PoolingMode).min(2)]);
export type Pooling = z.infer<typeof Pooling>;

/** What says of a model's pooling that its vectors come pooled from elsewhere. */
export const REMOTE_POOLING = 'remote';

/** Functions that a dense layer may end in. */
export const Activation = z.enum(['identity', 'tanh', 'relu', 'gelu', 'sigmoid', 'silu']);
export type Activation = z.infer<typeof Activation>;

/** A layer between the pooling and the end, over the pooled vector. Its weights lie in the file with this sha256. */
export const HeadLayer = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('dense'),
    weights: Sha256,
    activation: Activation,
    /** Whether the layer's input is added to its output. */
    residual: z.literal(true).optional(),
  }),
  z.strictObject({ type: z.literal('layer_norm'), weights: Sha256 }),
  z.strictObject({ type: z.literal('normalize') }),
]);
export type HeadLayer = z.infer<typeof HeadLayer>;

/**
 * Everything that moves a document's vector, and nothing else: device, threads, batch size and half precision at
 * run time are not here; changed weights, quantised ones included, are.
 */
export const SpaceDefinition = z.strictObject({
  /** Weight files of the document tower: path → sha256. None where the model runs elsewhere: then `golden` pins it. */
  weights: z.record(z.string(), Sha256),
  /** Tokenizer files of the document tower: path → sha256. */
  tokenizer: z.record(z.string(), Sha256),
  /** Put before every passage. */
  documentPrompt: z.string(),
  /** Longest input of the document tower in tokens, special tokens included. */
  maxTokens: z.int().positive(),
  /** The side on which what is too long is cut. */
  truncation: z.enum(['right', 'left']),
  pooling: z.union([Pooling, z.literal(REMOTE_POOLING)]),
  /** `false` where the tokens of the prompt are read and not pooled. @default true */
  poolPrompt: z.literal(false).optional(),
  /** What the pooled vector goes through, in this order, before the cut and the final scaling. @default nothing */
  head: z.array(HeadLayer).min(1).optional(),
  /** Whether vectors are scaled to unit length. */
  normalize: z.boolean(),
  /** Length of a vector, after any Matryoshka cut. */
  dimensions: z.int().positive(),
  /** How a document becomes passages, in tokens without special tokens and prompt. */
  passageWindow: z.strictObject({
    tokens: z.int().positive(),
    /** How many tokens a passage repeats of the one before, at most. */
    overlap: z.int().nonnegative(),
  }),
  /** The model, as whoever runs it calls it. With `golden` alone. */
  model: z.strictObject({ name: z.string().min(1), revision: z.string().min(1).optional() }).optional(),
  /** What pins a model whose weights can't be hashed: the hash of its golden vectors, see `golden/golden.ts`. */
  golden: Sha256.optional(),
});
export type SpaceDefinition = z.infer<typeof SpaceDefinition>;

/** `sp1_` and 32 hex digits. */
export const Fingerprint = z
  .string()
  .regex(/^sp1_[0-9a-f]{32}$/, 'must be "sp1_" and 32 lower-case hex digits');
export type Fingerprint = z.infer<typeof Fingerprint>;

/**
 * The identity of a space: sha256 over the canonical JSON (RFC 8785: keys sorted, no white space) of its definition,
 * cut to 128 bits. Paths of weight and tokenizer files do not count, only their contents do, so that the same model
 * has the same space wherever it came from.
 */
export function fingerprint(space: SpaceDefinition): Fingerprint {
  const { weights, tokenizer, ...rest } = space;
  const identity = {
    ...rest,
    weights: Object.values(weights).sort(),
    tokenizer: Object.values(tokenizer).sort(),
  };
  return `sp1_${createHash('sha256').update(canonicalJson(identity)).digest('hex').slice(0, 32)}`;
}
