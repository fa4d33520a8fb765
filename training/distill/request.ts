import type { Tower } from '../../towers/tower.ts';
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
  /** Reads the documents of a contrastive term. @default the teacher, who does where a model is symmetric */
  documentTower?: Tower | undefined;
  /** Folder of the new tower. */
  out: string;
  /** Folders in BEIR layout whose queries must not be trained on; that of the corpus is always one. @default none */
  exclude?: readonly string[] | undefined;
  /** For choosing texts, for what is held out, and for the order of batches. @default 1 */
  seed?: number | undefined;
  /** @default for a transformer 1000; for a lookup as many as see each text six times, within bounds */
  steps?: number | undefined;
  /** Texts of a step. @default by student */
  batch?: number | undefined;
  /** Largest learning rate. @default by student, and by the teacher's dimensions */
  rate?: number | undefined;
  /** @default by student */
  loss?: LossWeights | undefined;
  /** How many pairs of neighbouring tokens get a vector of their own in a lookup student. @default {@link DEFAULT_PAIRS} */
  pairs?: number | undefined;
  /** How many positions in a text have a weight of their own in a lookup student. @default none */
  positions?: number | undefined;
  /** Whether a transformer's embedding tables are trained as well. @default unless they are very large */
  trainTables?: boolean | undefined;
  /** Goes on from the checkpoint in `out`. @default false */
  resume?: boolean | undefined;
  /** Of ONNX Runtime: with another number the weights differ in their last digits. @default one for each core */
  threads?: number | undefined;
  /** Ends the run early; what there is then is saved. */
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
  /** Mean cosine to the teacher, of the tower as it was written, on texts of documents that the fit did not see. */
  heldOutCosine: number;
  parameters: number;
  bytes: number;
  /** Whether it was ended early by the signal: then `resume` goes on. */
  interrupted: boolean;
}

/** What serves each kind of student when nobody says otherwise; how many steps a lookup takes goes by its texts. */
export const STUDENT_DEFAULTS = {
  lookup: { batch: 256, rate: 2e-3, loss: { mse: 1, cosine: 1 } },
  transformer: { steps: 1_000, batch: 128, rate: 1e-3, loss: { mse: 1, cosine: 1 } },
} as const;

/** What a transformer's rate is for; wider ones take one that is smaller in proportion (https://arxiv.org/abs/2203.03466). */
const RATE_DIMENSIONS = 384;

/** How often a lookup sees each text: more often, it learns the texts and not the teacher. */
const LOOKUP_EPOCHS = 6;

/** However few texts there are, and however many. */
const LOOKUP_STEPS = { least: 300, most: 3_000 };

/** Pairs of neighbouring tokens that have a vector of their own: in eight bits they take as much again as the tokens. */
export const DEFAULT_PAIRS = 40_000;

/** What is done, whoever said so. */
export interface FitPlan {
  steps: number;
  /** Texts of a step. */
  batch: number;
  /** Largest learning rate. */
  rate: number;
  loss: LossWeights;
}

/** What is to be done with as many texts. */
export function planOf(request: DistillRequest, texts: number): FitPlan {
  const { teacher, student, steps, batch, rate, loss } = request;
  const defaults = STUDENT_DEFAULTS[student.kind];
  const share =
    student.kind === 'transformer' ? Math.min(1, RATE_DIMENSIONS / teacher.manifest.dimensions) : 1;
  const size = Math.min(batch ?? defaults.batch, texts);
  const byTexts = Math.ceil((LOOKUP_EPOCHS * texts) / size);
  const bounded = Math.max(LOOKUP_STEPS.least, Math.min(LOOKUP_STEPS.most, byTexts));
  return {
    steps: steps ?? ('steps' in defaults ? defaults.steps : bounded),
    batch: size,
    rate: rate ?? defaults.rate * share,
    loss: loss ?? defaults.loss,
  };
}

/** What is chosen for one kind of student alone, as it is in the end. */
export type Choices = { pairs: number; positions: number } | { trainTables: boolean };

/** How a student is called on the command line and in its manifest. */
export function nameOf(student: StudentKind): string {
  if (student.kind === 'lookup') return 'lookup';
  const { layers, width } = student;
  const kept = typeof layers === 'number' ? layers : layers.join(',');
  return `transformer:${kept}${width === undefined ? '' : `x${width}`}`;
}

/** What is minimised, as a manifest says it. */
export function describeLoss(weights: LossWeights): string {
  const { mse = 1, cosine = 1, contrastive = 0 } = weights;
  const terms = [
    [mse, 'mse'],
    [cosine, '(1 - cosine)'],
    [contrastive, 'contrastive'],
  ] as const;
  return terms
    .filter(([weight]) => weight > 0)
    .map(([weight, term]) => (weight === 1 ? term : `${weight} * ${term}`))
    .join(' + ');
}
