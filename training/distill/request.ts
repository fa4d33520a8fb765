import type { TextSourceNote } from '../../towers/manifest.ts';
import type { Tower } from '../../towers/tower.ts';
import { TrainingError } from '../errors.ts';
import type { LossWeights } from '../gradient/losses.ts';
import type { CorpusDocument } from '../texts.ts';
import type { FitProgress } from './fit.ts';

/** What kind of query tower: a vector for each token, or some of the teacher's own layers. */
export type StudentKind =
  | { kind: 'lookup' }
  | {
      kind: 'transformer';
      layers: number | readonly number[];
      /** Components of its tokens' vectors, fewer than the teacher's. @default as many */
      width?: number | undefined;
    };

/** Where texts come from, one of them. */
export type TextSource =
  /** Folder in BEIR layout or file of documents, from which queries are made. */
  | { corpus: string }
  /** File of query texts, one a line. */
  | { texts: string }
  /** Queries, each with the document that answers it: with a contrastive term, it is what to find. */
  | { queries: readonly { query: string; document: string }[]; name: string }
  /** Documents from elsewhere; they are gone through once, with a contrastive term twice. */
  | { documents: () => AsyncIterable<CorpusDocument>; name: string };

/** What to make. */
export interface DistillRequest {
  /**
   * Its query vectors are imitated; for a symmetric model, the document tower. Opened with `normalize: false`, so that the
   * MSE sees lengths.
   */
  teacher: Tower;
  student: StudentKind;
  source: TextSource;
  /** Reads the documents of a term that looks at them. @default the teacher, who does where a model is symmetric */
  documentTower?: Tower | undefined;
  /** Folder of the new tower. */
  out: string;
  /** Sources of the texts with their licences, for the manifest. @default none */
  sources?: readonly TextSourceNote[] | undefined;
  /** Folders in BEIR layout whose queries must not be trained on; that of the corpus is always one. @default none */
  exclude?: readonly string[] | undefined;
  /** Seed for the choice of texts, the held-out texts and the order of batches. @default 1 */
  seed?: number | undefined;
  /** @default for a transformer 1000, of one layer 3000; for a lookup as many as see each text six times, within bounds */
  steps?: number | undefined;
  /** Texts per step. @default depends on the student */
  batch?: number | undefined;
  /** Peak learning rate. @default depends on the student and the teacher's dimensions */
  rate?: number | undefined;
  /** @default depends on the student */
  loss?: LossWeights | undefined;
  /** How many pairs of neighbouring tokens get a vector of their own in a lookup student. @default {@link DEFAULT_PAIRS} */
  pairs?: number | undefined;
  /** How many positions in a text have a weight of their own in a lookup student. @default none */
  positions?: number | undefined;
  /**
   * Components of a lookup's vectors: a projection leads from them to the teacher's dimensions. @default as many as the
   * teacher has, up to {@link MAX_BARE_WIDTH}; {@link DEFAULT_WIDTH} for a teacher that has more
   */
  width?: number | undefined;
  /**
   * Bits of a number of a lookup's tables in the tower that is written. Half the bytes cost 0.004 of the mean cosine.
   * @default as in the lookup that it starts from, 8 where there is none
   */
  bits?: 4 | 8 | undefined;
  /**
   * A student of the same kind to start from: a tower of the teacher's space. A lookup keeps its tokenizer, its width and its
   * pairs; a thousand texts adapt it, where a new one wants tens of thousands. @default the teacher's vectors of single
   * tokens; of a transformer, the teacher's layers
   */
  init?: string | undefined;
  /**
   * What a lookup student reads with: a tower, a folder or a file `tokenizer.json`. The teacher is then asked for vectors
   * of texts, and for nothing else. @default the teacher's tokenizer
   */
  tokenizer?: string | undefined;
  /** Whether a transformer's embedding tables are trained as well. @default unless they are very large */
  trainTables?: boolean | undefined;
  /** Resumes from the checkpoint in `out`. @default false */
  resume?: boolean | undefined;
  /** Of ONNX Runtime: with another number the weights differ in their last digits. @default one for each core */
  threads?: number | undefined;
  /** Ends the run early, with a tower and a checkpoint. */
  signal?: AbortSignal | undefined;
  /** Where the teacher's vectors are kept between runs. @default where towers are kept */
  cacheDir?: string | undefined;
  log?: ((message: string) => void) | undefined;
  /** How many texts the teacher has read. */
  onTeacher?: ((done: number, total: number) => void) | undefined;
  onProgress?: ((progress: FitProgress) => void) | undefined;
}

/** What was made. */
export interface DistillReport {
  out: string;
  /** `lookup`, `transformer:2`, ... */
  student: string;
  /** How many texts it was fitted to. */
  texts: number;
  /** How many texts were left out because an evaluation asks them. */
  removed: number;
  steps: number;
  seconds: number;
  /** Mean cosine of the written tower to the teacher, on texts of documents that the fit did not see. */
  heldOutCosine: number;
  parameters: number;
  bytes: number;
  /** Whether the signal ended it early: then `resume` continues it. */
  interrupted: boolean;
}

/** Defaults of each kind of student. The steps of a lookup depend on its texts. */
export const STUDENT_DEFAULTS = {
  lookup: { batch: 256, rate: 2e-3, loss: { mse: 1, cosine: 1 } },
  transformer: { batch: 128, rate: 1e-3, loss: { mse: 1, cosine: 1 } },
} as const;

/** A transformer that starts from a student: at the rate of a new one it first forgets (0.915 to 0.901), and ended at 0.912, not 0.930. */
const CONTINUED_RATE = 3e-4;

/** Steps of a transformer. A single layer has further to go: 3 000 steps kept 0.986 where 1 000 kept 0.968 (docs/students.md). */
function transformerSteps(layers: number | readonly number[]): number {
  return (typeof layers === 'number' ? layers : layers.length) === 1 ? 3_000 : 1_000;
}

/** Dimensions that a transformer's rate is for. Wider ones take a proportionally smaller rate (https://arxiv.org/abs/2203.03466). */
const RATE_DIMENSIONS = 384;

/** How often a lookup sees each text. More often, it would learn the texts by heart. */
const LOOKUP_EPOCHS = 6;

/** Bounds of a lookup's steps. */
const LOOKUP_STEPS = { least: 300, most: 3_000 };

/**
 * Steps of a lookup that starts from another: it has less to learn. Held-out texts end the run before it forgets: of 1 000
 * texts, after about 60 (docs/students.md).
 */
const CONTINUED_STEPS = { least: 150, most: 3_000 };

/** Pairs that a lookup may add to those of the one that it starts from. */
export const ADDED_PAIRS = 4_000;

/** Fewer texts than this, and a lookup that starts afresh keeps less of its teacher than a shipped one that saw none of them. */
export const FEW_TEXTS = 20_000;

/** Pairs of neighbouring tokens with a vector of their own. In eight bits they take as much room as the tokens. */
export const DEFAULT_PAIRS = 40_000;

/** Dimensions up to which a lookup's vectors are the space's own by default, without a projection. */
export const MAX_BARE_WIDTH = 1_024;

/** Components of a lookup's vectors by default where the space has more than {@link MAX_BARE_WIDTH} dimensions. */
export const DEFAULT_WIDTH = 512;

/**
 * Components of a lookup's vectors where they are fewer than the space's dimensions.
 *
 * @throws {TrainingError} `REQUEST_INVALID` for more than the space has
 */
export function lookupWidth({ teacher, width }: DistillRequest): number | undefined {
  const { dimensions } = teacher.manifest;
  if (width === undefined) return dimensions > MAX_BARE_WIDTH ? DEFAULT_WIDTH : undefined;
  if (!Number.isInteger(width) || width < 1 || width > dimensions) {
    throw new TrainingError(
      'REQUEST_INVALID',
      `a width of ${width} is not between 1 and ${dimensions}, the teacher's dimensions`,
    );
  }
  return width < dimensions ? width : undefined;
}

/** What a fit is to do, defaults filled in. */
export interface FitPlan {
  steps: number;
  /** Texts of a step. */
  batch: number;
  /** Largest learning rate. */
  rate: number;
  loss: LossWeights;
}

/** The plan of a fit to so many texts. */
export function planOf(request: DistillRequest, texts: number): FitPlan {
  const { teacher, student, steps, batch, rate, loss } = request;
  const defaults = STUDENT_DEFAULTS[student.kind];
  const share =
    student.kind === 'transformer' ? Math.min(1, RATE_DIMENSIONS / teacher.manifest.dimensions) : 1;
  const size = Math.min(batch ?? defaults.batch, texts);
  const byTexts = Math.ceil((LOOKUP_EPOCHS * texts) / size);
  const continues = student.kind === 'transformer' && request.init !== undefined;
  const { least, most } = request.init === undefined ? LOOKUP_STEPS : CONTINUED_STEPS;
  const bounded = Math.max(least, Math.min(most, byTexts));
  return {
    steps: steps ?? (student.kind === 'transformer' ? transformerSteps(student.layers) : bounded),
    batch: size,
    rate: rate ?? (continues ? CONTINUED_RATE : defaults.rate) * share,
    loss: loss ?? defaults.loss,
  };
}

/** Settings that only one kind of student has, defaults filled in. */
export type Choices =
  | { pairs: number; positions: number; width?: number; bits?: 4; init?: string }
  | { trainTables: boolean; init?: string };

/** The name of a kind of student on the command line and in a manifest. */
export function nameOf(student: StudentKind): string {
  if (student.kind === 'lookup') return 'lookup';
  const { layers, width } = student;
  const kept = typeof layers === 'number' ? layers : layers.join(',');
  return `transformer:${kept}${width === undefined ? '' : `x${width}`}`;
}

/** A kind of student by its name; undefined for what is no name of one. */
export function parseStudent(name: string): StudentKind | undefined {
  if (name === 'lookup') return { kind: 'lookup' };
  const [, layers, width] = /^transformer:(\d+(?:,\d+)*)(?:x(\d+))?$/.exec(name) ?? [];
  if (layers === undefined) return undefined;
  return {
    kind: 'transformer',
    layers: layers.includes(',') ? layers.split(',').map(Number) : Number(layers),
    ...(width !== undefined && { width: Number(width) }),
  };
}

/** The loss, as a manifest states it. */
export function describeLoss(weights: LossWeights): string {
  const { mse = 1, cosine = 1, contrastive = 0, ranking = 0 } = weights;
  const terms = [
    [mse, 'mse'],
    [cosine, '(1 - cosine)'],
    [contrastive, 'contrastive'],
    [ranking, 'ranking'],
  ] as const;
  return terms
    .filter(([weight]) => weight > 0)
    .map(([weight, term]) => (weight === 1 ? term : `${weight} * ${term}`))
    .join(' + ');
}
