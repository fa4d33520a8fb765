import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { Tower } from '../../towers/tower.ts';
import { dot } from '../evaluation/search.ts';
import { readTexts, textsFromCorpus } from '../texts.ts';
import { encodeCached } from '../vectors.ts';
import { dequantize, quantize, writeLookupTower } from './export.ts';
import { countTokens, sharedFloats, sumVectors, type TokenCounts } from './counts.ts';
import { ITERATIONS, solveLookup } from './solve.ts';

/** What to make. */
export interface LookupRequest {
  /** Its query vectors are imitated; for a symmetric model, the document tower. */
  teacher: Tower;
  /** Folder in BEIR layout or file of documents, from which queries are made. One of `corpus` and `texts` is given. */
  corpus?: string;
  /** File of query texts, one a line. */
  texts?: string;
  /** Folder of the new tower. */
  out: string;
  /** For choosing texts. @default 1 */
  seed?: number;
  /** Where the teacher's vectors are kept between runs. @default where towers are kept */
  cacheDir?: string;
  log?: (message: string) => void;
  /** How many texts the teacher has read. */
  onProgress?: (done: number, total: number) => void;
}

/** What was made. */
export interface LookupReport {
  out: string;
  student: 'lookup';
  /** How many texts it was fitted to. */
  texts: number;
  /** Iterations of the solver. */
  steps: number;
  seconds: number;
  /** Mean cosine to the teacher on texts of documents that the fit did not see. */
  heldOutCosine: number;
  parameters: number;
  bytes: number;
}

/**
 * How strongly a token is held to the teacher's vector of it alone: as strongly as some dozen texts of a dozen tokens
 * pull at it. Chosen on held-out cosine.
 */
const RIDGE = 1;

/** One group of texts in so many is held out. */
const HELD_OUT_EVERY = 20;

/**
 * Distils a query tower that is a vector for each token, from texts without labels: the token vectors are fitted to the
 * teacher's vectors of the texts, from the teacher's vectors of the single tokens.
 *
 * @throws {TrainingError} `TEXTS_INVALID`
 */
export async function distillLookup(request: LookupRequest): Promise<LookupReport> {
  const started = performance.now();
  const { teacher, seed = 1, log = () => {} } = request;
  const { manifest } = teacher;
  const { dimensions } = manifest;
  const texts =
    request.corpus === undefined
      ? await readTexts(request.texts ?? '')
      : await textsFromCorpus(request.corpus, seed);
  const isHeldOut = texts.map(({ group }) => group % HELD_OUT_EVERY === HELD_OUT_EVERY - 1);
  // With few documents the rule may hold out none, or all.
  if (!isHeldOut.includes(true)) isHeldOut[texts.length - 1] = true;

  log(`the teacher reads ${texts.length} texts`);
  const prompt = manifest.queryPrompt ?? manifest.prompt;
  const cache = { cacheDir: request.cacheDir };
  const targets = await encodeCached(
    teacher,
    texts.map(({ text }) => teacher.tokenize(text, { prompt })),
    { ...cache, onProgress: request.onProgress },
  );
  const single = await encodeCached(teacher, await singleTokens(teacher, prompt), {
    ...cache,
    onProgress: request.onProgress,
  });
  const prior = sharedFloats(single.length);
  prior.set(single);
  removeMean(prior, dimensions);

  const ids = texts.map(({ text }) => teacher.tokenize(text, { prompt: '' }).ids);
  const part = (heldOut: boolean) => {
    const rows = [...ids.keys()].filter((row) => isHeldOut[row] === heldOut);
    const vectors = sharedFloats(rows.length * dimensions);
    for (const [to, from] of rows.entries()) {
      vectors.set(targets.subarray(from * dimensions, (from + 1) * dimensions), to * dimensions);
    }
    return { texts: countTokens(rows.map((row) => ids[row]!)), targets: vectors };
  };
  const fit = part(false);
  log(`fitting ${fit.texts.rows} texts`);
  const vectors = await solveLookup({ ...fit, dimensions, prior, ridge: RIDGE });
  const table = quantize(vectors, dimensions);
  const heldOut = part(true);
  const heldOutCosine = meanCosine(heldOut.texts, dequantize(table, dimensions), heldOut.targets, dimensions);

  const out = resolve(request.out);
  const bytes = await writeLookupTower(out, {
    name: basename(out).replaceAll(/[^\w.-]/g, '-'),
    teacher,
    table,
    distillation: {
      teacher: manifest.name,
      student: 'lookup',
      loss: '1 - cosine, by reweighted least squares',
      texts: fit.texts.rows,
      steps: ITERATIONS,
      seed,
      corpus: basename(resolve(request.corpus ?? request.texts ?? '')),
      heldOutCosine,
    },
  });
  return {
    out,
    student: 'lookup',
    texts: fit.texts.rows,
    steps: ITERATIONS,
    seconds: (performance.now() - started) / 1000,
    heldOutCosine,
    parameters: vectors.length,
    bytes,
  };
}

/** Each token of the vocabulary alone, between the tokens that the tokenizer puts around every text. */
async function singleTokens(teacher: Tower, prompt: string) {
  const empty = teacher.tokenize('', { prompt }).ids;
  const one = teacher.tokenize('a', { prompt }).ids;
  let before = 0;
  while (before < empty.length && empty[before] === one[before]) before++;
  const head = empty.slice(0, before);
  const tail = empty.slice(before);
  const size = await vocabularySize(teacher.directory);
  return Array.from({ length: size }, (_, id) => ({ ids: [...head, id, ...tail], truncated: false }));
}

/** One more than the highest token id of a Hugging Face `tokenizer.json`. */
async function vocabularySize(directory: string): Promise<number> {
  const { model, added_tokens: added = [] } = JSON.parse(
    await readFile(join(directory, 'tokenizer.json'), 'utf8'),
  ) as { model: { vocab: Record<string, number> | unknown[] }; added_tokens?: { id: number }[] };
  const regular = Array.isArray(model.vocab) ? model.vocab.keys() : Object.values(model.vocab);
  let highest = -1;
  for (const id of regular) highest = Math.max(highest, id);
  for (const { id } of added) highest = Math.max(highest, id);
  return highest + 1;
}

/**
 * What all single-token vectors have in common would be added once for each token of a text; the tokens that are in
 * every text carry it better.
 */
function removeMean(vectors: Float32Array, dimensions: number): void {
  const count = vectors.length / dimensions;
  const mean = new Float64Array(dimensions);
  for (const [index, value] of vectors.entries()) mean[index % dimensions]! += value / count;
  for (let index = 0; index < vectors.length; index++) vectors[index]! -= mean[index % dimensions]!;
}

function meanCosine(
  texts: TokenCounts,
  vectors: Float32Array,
  targets: Float32Array,
  dimensions: number,
): number {
  const sum = new Float32Array(dimensions);
  let total = 0;
  for (let row = 0; row < texts.rows; row++) {
    sumVectors(texts, row, vectors, sum);
    const norm = Math.sqrt(dot(sum, 0, sum, 0, dimensions)) || 1;
    total += dot(sum, 0, targets, row * dimensions, dimensions) / norm;
  }
  return total / texts.rows;
}
