import { normalizeRows } from '../../towers/session/pooling.ts';
import type { Tower } from '../../towers/tower.ts';
import { TrainingError } from '../errors.ts';
import { seededRandom, shuffle } from '../random.ts';
import type { TrainingText } from '../texts.ts';
import { encodeToFile, type CacheSettings, type VectorFile } from '../vectors.ts';
import type { Batch } from './student.ts';
import type { StudentTokenizer } from './tokenizer.ts';

/** One group of texts in so many is held out. */
const HELD_OUT_EVERY = 20;

/** Most held-out texts that are measured: enough for the fourth digit of a mean cosine. */
const MAX_HELD_OUT = 1_000;

/** Characters of a text that a message shows. */
const SHOWN = 80;

/** Texts and the teacher's vectors of them. */
export interface TrainingData {
  /** Token ids of each text as the student reads it. */
  readonly ids: readonly (readonly number[])[];
  /** Indices of texts that the student is fitted to. */
  readonly fitted: readonly number[];
  /** Indices of texts that it is measured on, of documents that it is not fitted to. */
  readonly heldOut: readonly number[];
  /** The teacher's vectors, a row for each text; not normalised where the teacher was opened so. */
  readonly vectors: VectorFile;
  /** Vectors of the documents that the texts are from, a row for each group. */
  readonly documents: VectorFile | undefined;
  readonly groups: readonly number[];
}

/**
 * Encodes the texts with the teacher, of whom nothing is asked but vectors of texts. Close the vectors when done.
 *
 * @param tokenizer - the student's
 * @throws {TrainingError} `TEXTS_INVALID` for a text whose vector is no number
 */
export async function prepareData(
  teacher: Tower,
  tokenizer: StudentTokenizer,
  texts: readonly TrainingText[],
  settings: CacheSettings & { seed: number },
): Promise<TrainingData> {
  const { manifest } = teacher;
  const prompt = manifest.queryPrompt ?? manifest.prompt;
  const all = texts.map(({ text }) => text);
  const vectors = await encodeToFile(teacher, await teacher.tokenizeAll(all, { prompt }), settings);
  const broken = vectors.firstBroken();
  if (broken !== undefined) {
    vectors.close();
    throw new TrainingError(
      'TEXTS_INVALID',
      `${manifest.name} gives no finite numbers for the text ${JSON.stringify(all[broken]!.slice(0, SHOWN))}: leave it out, or ` +
        'take another teacher',
    );
  }
  const fitted: number[] = [];
  const heldOut: number[] = [];
  for (const [index, { group }] of texts.entries()) {
    (group % HELD_OUT_EVERY === HELD_OUT_EVERY - 1 ? heldOut : fitted).push(index);
  }
  // With few documents the rule may hold out none, or all.
  if (heldOut.length === 0) heldOut.push(fitted.pop()!);
  if (fitted.length === 0) fitted.push(...heldOut.splice(1));
  return {
    ids: await tokenizer.read(all),
    fitted,
    heldOut: shuffle(heldOut, seededRandom(settings.seed)).slice(0, MAX_HELD_OUT),
    vectors,
    documents: undefined,
    groups: texts.map(({ group }) => group),
  };
}

/** How often each token is in the texts that the student is fitted to, by id. */
export function countTokens({ ids, fitted }: TrainingData): Uint32Array {
  let highest = 0;
  for (const row of fitted) for (const id of ids[row]!) highest = Math.max(highest, id);
  const counts = new Uint32Array(highest + 1);
  for (const row of fitted) for (const id of ids[row]!) counts[id]!++;
  return counts;
}

/** Texts and vectors of a batch. */
export function batchOf(data: TrainingData, rows: readonly number[]): Batch {
  const batch = { texts: rows.map((row) => data.ids[row]!), teacher: data.vectors.read(rows) };
  if (data.documents === undefined) return batch;
  const documents = data.documents.read(rows.map((row) => data.groups[row]!));
  normalizeRows(documents, data.documents.dimensions);
  return { ...batch, documents };
}

/** Mean cosine of the student's vectors and the teacher's. @throws {TrainingError} where there is nothing to compare */
export function meanCosine(a: Float32Array, b: Float32Array, dimensions: number): number {
  const rows = a.length / dimensions;
  if (rows === 0) throw new TrainingError('TEXTS_INVALID', 'no text is held out');
  let sum = 0;
  for (let start = 0; start < a.length; start += dimensions) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = start; i < start + dimensions; i++) {
      ab += a[i]! * b[i]!;
      aa += a[i]! * a[i]!;
      bb += b[i]! * b[i]!;
    }
    sum += ab / (Math.sqrt(aa * bb) || 1);
  }
  return sum / rows;
}
