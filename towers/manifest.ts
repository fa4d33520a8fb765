import * as z from 'zod';
import { TowerError } from './errors.ts';
import { LookupError } from './lookup/errors.ts';
import { type LookupStages, parseStages } from './lookup/stages.ts';
import { RemoteRuntime } from './remote/runtime.ts';
import {
  fingerprint,
  Fingerprint,
  HeadLayer,
  Pooling,
  REMOTE_POOLING,
  Sha256,
  SpaceDefinition,
} from './space.ts';

/** What a tower reads. */
export const TowerRole = z.enum(['document', 'query']);
export type TowerRole = z.infer<typeof TowerRole>;

/** A source of the texts that a student was fitted to. */
export const TextSourceNote = z.strictObject({
  source: z.string().min(1),
  /** Under which its texts may be used, in the words of the source. */
  licence: z.string().min(1),
  /** Whom to name. */
  attribution: z.string().optional(),
  /** Where the texts are from, with the version. */
  origin: z.string().optional(),
  /** How many there are of it among the texts. */
  texts: z.int().positive(),
});
export type TextSourceNote = z.infer<typeof TextSourceNote>;

/** How a student came to be, with what it takes to make it again. */
export const Distillation = z.strictObject({
  /** Name of the teacher. */
  teacher: z.string(),
  /** What kind of student: `lookup`, `transformer:2`, ... */
  student: z.string(),
  /** What was minimised. */
  loss: z.string(),
  /** How many texts it was fitted to. */
  texts: z.int().positive(),
  /** Optimiser steps, or iterations of the solver. */
  steps: z.int().nonnegative(),
  /** How many numbers the student has. */
  parameters: z.int().positive().optional(),
  /** Texts of a step. */
  batch: z.int().positive().optional(),
  /** Largest learning rate. */
  rate: z.number().positive().optional(),
  /** Of a lookup: how many pairs of neighbouring tokens have a vector, at the most. */
  pairs: z.int().nonnegative().optional(),
  /** Of a lookup: components of its vectors, where a projection leads from them to the dimensions of the space. */
  width: z.int().positive().optional(),
  /** Of a lookup: how many positions in a text have a weight. */
  positions: z.int().nonnegative().optional(),
  /** Of a transformer: whether its embedding tables were trained as well. */
  trainTables: z.boolean().optional(),
  seed: z.int().nonnegative(),
  /** Where the texts come from, and under which licence. */
  corpus: z.string().optional(),
  /** Each source of the texts, where there are several. */
  sources: z.array(TextSourceNote).min(1).optional(),
  /** How many texts were left out because they are queries of an evaluation. */
  removed: z.int().nonnegative().optional(),
  /** Of a lookup: the one that it was started from, and how its weights' hash begins. */
  init: z.string().optional(),
  /** Of a lookup: bits of a number of its tables, where they are not 8. */
  bits: z.literal(4).optional(),
  /** Mean cosine to the teacher on texts held out from the fit. */
  heldOutCosine: z.number().min(-1).max(1),
  /** Which tokens the fit saw, and how often: see `familiarity.ts`. */
  familiarity: z.string().optional(),
  /** Student's nDCG@10 divided by the teacher's; absent where it was not measured. */
  retention: z
    .strictObject({
      ndcg10: z.number().nonnegative(),
      /** Names of the data sets that it is a mean over. */
      datasets: z.array(z.string()).min(1),
    })
    .optional(),
});
export type Distillation = z.infer<typeof Distillation>;

/** How a tower's weights were made smaller. */
export const QuantizedWeights = z.enum(['int8', 'int8-weights', 'fp16']);
export type QuantizedWeights = z.infer<typeof QuantizedWeights>;

/** What a tower with smaller weights keeps of the one it was made of. */
const Quantization = z.strictObject({
  /** Name and space of that one. */
  of: z.string().min(1),
  space: Fingerprint,
  weights: QuantizedWeights,
  /** Of its vectors to those before. */
  cosine: z.strictObject({
    texts: z.int().positive(),
    median: z.number().min(-1).max(1),
    /** One text in twenty is further away than this. */
    percentile5: z.number().min(-1).max(1),
    lowest: z.number().min(-1).max(1),
  }),
  /** On the data sets that were given. */
  ndcg10: z
    .array(
      z.strictObject({
        dataset: z.string(),
        before: z.number().min(0).max(1),
        after: z.number().min(0).max(1),
      }),
    )
    .min(1)
    .optional(),
});

function stagesOf(value: unknown, context: z.RefinementCtx): LookupStages {
  try {
    return parseStages(value);
  } catch (error) {
    if (!(error instanceof LookupError)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
}

/**
 * `tower.json`: what a directory holds and how to run it. Unknown keys are refused, so that a manifest from a newer
 * version is not half understood.
 */
export const TowerManifest = z
  .strictObject({
    name: z.string().regex(/^[\w.-]{1,128}$/, 'must be 1 to 128 letters, digits, "_", "." or "-"'),
    role: TowerRole,
    /** The space that the tower's vectors belong to, and its fingerprint. */
    space: SpaceDefinition.extend({ fingerprint: Fingerprint }),
    /** Length of a vector. */
    dimensions: z.int().positive(),
    pooling: z.union([Pooling, z.literal(REMOTE_POOLING)]),
    /** As in the space. */
    poolPrompt: z.literal(false).optional(),
    /** As in the space; the weights are among the files. */
    head: z.array(HeadLayer).min(1).optional(),
    normalize: z.boolean(),
    /**
     * `false` where a vector depends on the texts that it shares a run with, as the run at import showed: the tower then
     * encodes one text at a time. @default true
     */
    batchInvariant: z.boolean().optional(),
    /** Put before the input. */
    prompt: z.string(),
    /** Put before a query when the document tower of a symmetric model reads it as the teacher. @default prompt */
    queryPrompt: z.string().optional(),
    /** Longest input in tokens, special tokens included. */
    maxTokens: z.int().positive(),
    /**
     * Path in the directory → sha256, for every file but this one. `model.onnx` and `tokenizer.json` are there, unless the
     * model runs elsewhere.
     */
    files: z.record(z.string(), Sha256),
    /** Where the model runs, if not in this process. */
    runtime: RemoteRuntime.optional(),
    /** SPDX expression. */
    license: z.string(),
    /** Where it came from: a source (`npm:`, `hf:`, `file:`), or what made it. */
    source: z.string(),
    distillation: Distillation.optional(),
    /** Where `towers quantize` made it: of what, and what it keeps. */
    quantization: Quantization.optional(),
    /** Of a lookup: the stages that make its vectors, for what runs it without its graph. See `lookup/stages.ts`. */
    lookup: z.unknown().transform(stagesOf).optional(),
    /** How to search a graph index (HNSW) for this tower's queries, as `eval --calibrate` measured. */
    search: z
      .strictObject({
        /** Candidates to look at. */
        hnswEf: z.int().positive(),
        /** Share of the ten nearest passages that are found with it. */
        recall: z.number().min(0).max(1),
        /** How many passages there were: the more, the wider the search has to be. */
        passages: z.int().positive(),
        /**
         * How many times as many candidates as are wanted are to be compared in full where a store keeps one bit of
         * each number; absent in towers that were calibrated before it was measured.
         */
        oversampling: z.number().min(1).optional(),
      })
      .optional(),
  })
  .superRefine((manifest, context) => {
    const refuse = (path: string[], message: string): void =>
      context.addIssue({ code: 'custom', path, message });
    const { fingerprint: stated, ...definition } = manifest.space;
    const computed = fingerprint(definition);
    if (stated !== computed) {
      refuse(['space', 'fingerprint'], `is ${stated}, but the definition beside it has ${computed}`);
    }
    const { dimensions, space, files } = manifest;
    for (const [index, layer] of (manifest.head ?? []).entries()) {
      if (layer.type === 'normalize' || Object.values(files).includes(layer.weights)) continue;
      refuse(['head', String(index), 'weights'], 'is the hash of none of the files');
    }
    const { weights, model, golden } = space;
    const isHashed = Object.keys(weights).length > 0;
    if (isHashed && (model !== undefined || golden !== undefined)) {
      refuse(
        ['space', 'golden'],
        'stands beside weights: the space of weights that are hashed names no model',
      );
    }
    if (!isHashed && (model === undefined || golden === undefined)) {
      refuse(
        ['space', 'weights'],
        'are empty: name the files, or, where the model runs elsewhere, "model" and "golden"',
      );
    }
    if (dimensions !== space.dimensions) {
      refuse(['dimensions'], `is ${dimensions}, but the space has ${space.dimensions}`);
    }
    const { runtime, role, pooling } = manifest;
    if (role === 'document' && runtime !== undefined && space.model?.name !== runtime.model) {
      refuse(
        ['space', 'model', 'name'],
        `is ${space.model?.name}, but the runtime asks for ${runtime.model}`,
      );
    }
    if ((pooling === REMOTE_POOLING) !== (runtime !== undefined)) {
      refuse(['pooling'], `is ${String(pooling)}: "${REMOTE_POOLING}" and a remote runtime go together`);
    }
  });
export type TowerManifest = z.infer<typeof TowerManifest>;

/** How a tower pools whose graph is here. @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` where a server runs it */
export function localPooling({ name, pooling }: Pick<TowerManifest, 'name' | 'pooling'>): Pooling {
  if (pooling !== REMOTE_POOLING) return pooling;
  throw new TowerError(
    'TOWER_MODEL_UNSUPPORTED',
    `${name} runs on a server: its graph is not here to be run, cut or trained; it can be the teacher of a lookup student`,
  );
}
