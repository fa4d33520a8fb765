import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openTower } from '../../towers/open.ts';
import type { LocalTower } from '../../towers/pull.ts';
import { distill } from '../../training/distill/distill.ts';
import type { Corpus } from './corpus.ts';

/** Bytes that a row of a lookup takes besides its vector: scales, and of a token what it seeks and shows. */
const TOKEN_BYTES = 76;
const PAIR_BYTES = 4;

/** Bytes of the hash table, and the share of the pairs that find a free slot in it: eight slots of twelve bytes for each pair. */
const SLOT_BYTES = 96;
const PLACED = 8 * (1 - Math.exp(-1 / 8));

/** How far stored bytes may lie from what was asked for. */
const TOLERANCE = 0.01;

/** A lookup student of a document tower. */
export interface LookupStudent {
  folder: string;
  /** Of its weights as they are stored. */
  bytes: number;
  pairs: number;
  seconds: number;
}

/** What all students share, besides the corpus. */
export interface Recipe {
  /** Folder of the tokenizer that they read with. */
  tokenizer: string;
  /** Of their weights. */
  bytes: number;
  seed: number;
}

/**
 * Distils a lookup student that takes a given number of bytes, whatever the dimensions: what the tokens' vectors leave goes
 * to vectors of pairs.
 *
 * @throws {Error} where the tokens alone take more, or the texts do not have so many pairs
 */
export async function distillLookup(
  teacher: LocalTower,
  corpus: Corpus,
  { tokenizer, bytes, seed }: Recipe,
  options: { out: string; threads: number | undefined; log: (line: string) => void },
): Promise<LookupStudent> {
  const { name, dimensions } = teacher.manifest;
  const { out, threads, log } = options;
  const least = (await vocabularySize(tokenizer)) * (dimensions + TOKEN_BYTES);
  const pairs = Math.round((bytes - least) / (PLACED * (dimensions + PAIR_BYTES) + SLOT_BYTES));
  if (pairs <= 0)
    throw new Error(`a lookup for ${name} takes ${megabytes(least)} MB at the least; give more --megabytes`);
  const tower = await openTower(teacher.directory, { normalize: false, ...withThreads(threads) });
  try {
    const report = await distill({
      teacher: tower,
      student: { kind: 'lookup' },
      source: { texts: corpus.texts },
      exclude: [corpus.folder],
      tokenizer,
      // Also for teachers whose students would be narrower by default.
      width: dimensions,
      pairs,
      out,
      seed,
      threads,
      log: (line) => log(`${name}: ${line}`),
      onTeacher: everySoOften((done, total) => log(`${name}: has read ${done} of ${total} texts`)),
    });
    const stored = (await stat(join(out, 'model.onnx'))).size;
    if (Math.abs(stored / bytes - 1) > TOLERANCE) {
      throw new Error(
        `the student of ${name} takes ${megabytes(stored)} MB, not ${megabytes(bytes)}: the pairs of tokens in ` +
          `${corpus.fitted} texts do not fill it; give fewer --megabytes or more --texts`,
      );
    }
    return { folder: out, bytes: stored, pairs, seconds: report.seconds };
  } finally {
    await tower.close();
  }
}

/** An option is given or it is not there. */
export function withThreads(threads: number | undefined): { threads?: number } {
  return threads === undefined ? {} : { threads };
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(2);
}

/** One more than the highest token id. */
async function vocabularySize(directory: string): Promise<number> {
  const { model, added_tokens: added = [] } = JSON.parse(
    await readFile(join(directory, 'tokenizer.json'), 'utf8'),
  ) as { model: { vocab: Record<string, number> }; added_tokens?: { id: number }[] };
  const ids = [...Object.values(model.vocab), ...added.map(({ id }) => id)];
  return ids.reduce((most, id) => Math.max(most, id + 1), 0);
}

const REPORT_EVERY_MS = 30_000;

/** Passes progress on, but not each time. */
export function everySoOften(
  report: (done: number, total: number) => void,
): (done: number, total: number) => void {
  let last = performance.now();
  return (done, total) => {
    if (performance.now() - last < REPORT_EVERY_MS) return;
    last = performance.now();
    report(done, total);
  };
}
