import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defaultCacheDir } from '../../towers/cache.ts';
import { openTower } from '../../towers/open.ts';
import { pullTower, type LocalTower } from '../../towers/pull.ts';
import type { Tower } from '../../towers/tower.ts';
import { evaluate } from '../../training/evaluation/evaluate.ts';
import { BenchUsageError, type Bench } from '../report.ts';
import { cutCorpus, type Corpus } from './corpus.ts';
import { DOCUMENT_TOWERS } from './document-towers.ts';
import { compareAll, notMeasured, rungOf, tableOf, type Measured, type Rung } from './findings.ts';
import { picture } from './picture.ts';
import { measureQueryCost, measureTeachers, type QueryCost, type TeacherTimes } from './query-cost.ts';
import { distillLookup, everySoOften, withThreads, type LookupStudent } from './students.ts';
import { cutVocabulary } from './vocabulary.ts';
import { widen } from './wide.ts';

/** Data sets lie beside the repository by default. The first that is there is taken. */
const DATASETS = fileURLToPath(new URL('../../../../shared/datasets', import.meta.url));
const CANDIDATES = ['scifact', 'cranfield', 'medline'];

const DEFAULTS = { queries: 150, documents: 200, texts: 3_000, vocabulary: 4_000, megabytes: 4.6 };
const SEED = 1;

/** The tower whose vocabulary is cut down for the students. */
const VOCABULARY_OF = 'all-MiniLM-L6-v2';

/** Dimensions of a tower that is made wide. */
const WIDE_DIMENSIONS = 1_024;

/**
 * The headline: document towers of growing size, the same lookup recipe for each (texts, seed, stored bytes), and what
 * happens to quality and to the cost of a query. Vectors of the document towers are kept between runs.
 */
export const bench: Bench = {
  flags: {
    dataset: { type: 'string' },
    queries: { type: 'string' },
    documents: { type: 'string' },
    texts: { type: 'string' },
    vocabulary: { type: 'string' },
    megabytes: { type: 'string' },
    towers: { type: 'string' },
    threads: { type: 'string' },
    plot: { type: 'string' },
  },
  async run(log, given) {
    const number = (flag: keyof typeof DEFAULTS): number => positive(flag, given[flag]) ?? DEFAULTS[flag];
    const limits = { queries: number('queries'), documents: number('documents'), texts: number('texts') };
    const [megabytes, vocabulary] = [number('megabytes'), number('vocabulary')];
    const threads = positive('threads', given['threads']);
    const chosen = chooseTowers(given['towers']);
    const root = join(defaultCacheDir(), 'bench-scaling');
    const corpus = await cutCorpus(chooseDataset(given['dataset']), limits, join(root, 'corpora'), SEED);
    log(described(corpus));

    const recipe = {
      tokenizer: await cutVocabulary(
        await pullTower(VOCABULARY_OF, { log }),
        (await readFile(corpus.texts, 'utf8')).trim().split('\n'),
        vocabulary,
        join(root, 'tokenizers', `${corpus.dataset}-${vocabulary}`),
      ),
      bytes: megabytes * 1e6,
      seed: SEED,
    };
    const measure = async (teacher: LocalTower, from: string): Promise<Measured> => {
      const out = join(root, 'students', teacher.manifest.name);
      const student = await distillLookup(teacher, corpus, recipe, { out, threads, log });
      return { from, teacher, student, scores: await judge(teacher, student, corpus, { threads, log }) };
    };
    const ladder: Measured[] = [];
    const leftOut: string[] = [];
    for (const { name, from, open } of chosen) {
      try {
        ladder.push(await measure(await open(join(root, 'towers'), log), from));
      } catch (error) {
        leftOut.push(`${name} is left out: ${(error as Error).message}`);
        log(leftOut.at(-1)!);
      }
    }
    const [first] = ladder;
    if (first === undefined) throw new Error('no document tower could be measured');
    log(`${first.teacher.manifest.name} with ${WIDE_DIMENSIONS} dimensions`);
    const wide = await measure(
      await widen(first.teacher, WIDE_DIMENSIONS, join(root, 'towers', 'wide'), SEED),
      'made here',
    );
    log('timing');
    const measured = [...ladder, wide];
    const costs = await timeStudents(measured, corpus);
    const times = await timeTeachers(measured, corpus, threads);
    const rungs: Rung[] = [];
    for (const [index, each] of measured.entries())
      rungs.push(await rungOf(each, first, times[index]!, costs[index]!));
    const wideRung = rungs.pop()!;

    const plot = resolve(given['plot'] ?? join(root, 'scaling.svg'));
    await mkdir(dirname(plot), { recursive: true });
    await writeFile(plot, picture(rungs, `${described(corpus)}; lookup students of ${megabytes} MB`));
    return {
      parameters: {
        corpus: described(corpus),
        texts: corpus.fitted,
        vocabulary,
        megabytes,
        seed: SEED,
        plot,
      },
      details: { rungs, wide: wideRung },
      table: tableOf([...rungs, wideRung]),
      notes: [...leftOut, ...notMeasured(rungs)],
      comparisons: compareAll(rungs, wideRung),
    };
  },
};

function positive(flag: string, given: string | undefined): number | undefined {
  if (given === undefined) return undefined;
  const value = Number(given);
  if (value > 0 && (Number.isInteger(value) || flag === 'megabytes')) return value;
  throw new BenchUsageError(
    `--${flag} takes a ${flag === 'megabytes' ? '' : 'whole '}number above 0, not "${given}"`,
  );
}

function chooseTowers(given: string | undefined): typeof DOCUMENT_TOWERS {
  if (given === undefined) return DOCUMENT_TOWERS;
  return given.split(',').map((name) => {
    const found = DOCUMENT_TOWERS.find((tower) => tower.name === name);
    if (found !== undefined) return found;
    const names = DOCUMENT_TOWERS.map((tower) => tower.name).join(', ');
    throw new BenchUsageError(`--towers: there is no "${name}"; there are ${names}`);
  });
}

function chooseDataset(given: string | undefined): string {
  if (given !== undefined) return resolve(given);
  const found = CANDIDATES.map((name) => join(DATASETS, name)).find((folder) => existsSync(folder));
  if (found !== undefined) return found;
  throw new BenchUsageError(
    `there is no data set in ${DATASETS}; give a folder in BEIR layout with --dataset`,
  );
}

/** The part of the data set. */
function described({ dataset, queries, documents, of }: Corpus): string {
  return `${dataset}, ${queries.length} of ${of.queries} queries, ${documents.length} of ${of.documents} documents`;
}

/** What a document tower and its student find, query by query. */
async function judge(
  teacher: LocalTower,
  student: LookupStudent,
  corpus: Corpus,
  { threads, log }: { threads: number | undefined; log: (line: string) => void },
): Promise<Measured['scores']> {
  const { name } = teacher.manifest;
  const opened: Tower[] = [];
  try {
    opened.push(await openTower(teacher.directory, withThreads(threads)));
    opened.push(await openTower(student.folder));
    const [documentTower, queryTower] = opened;
    const answered: number[][] = [];
    await evaluate({
      dataset: corpus.folder,
      documentTower: documentTower!,
      queryTowers: [queryTower!],
      // Cranfield and Medline use the same numbers for documents and queries, so equal ids mean nothing.
      keepIdenticalIds: true,
      onProgress: everySoOften((done, total) => log(`${name}: has read ${done} of ${total} passages`)),
      onAnswers: async (_system, answers) => {
        answered.push(answers.map(({ measures }) => measures.ndcg10));
      },
    });
    return { teacher: answered[0]!, student: answered[1]! };
  } finally {
    await Promise.all(opened.map((tower) => tower.close()));
  }
}

async function timeStudents(measured: readonly Measured[], { queries }: Corpus): Promise<QueryCost[]> {
  const towers: Tower[] = [];
  try {
    for (const { student } of measured) towers.push(await openTower(student.folder));
    return await measureQueryCost(towers, queries);
  } finally {
    await Promise.all(towers.map((tower) => tower.close()));
  }
}

async function timeTeachers(
  measured: readonly Measured[],
  { queries, documents }: Corpus,
  threads: number | undefined,
): Promise<TeacherTimes[]> {
  const towers: Tower[] = [];
  try {
    for (const { teacher } of measured) towers.push(await openTower(teacher.directory, withThreads(threads)));
    return await measureTeachers(towers, documents, queries);
  } finally {
    await Promise.all(towers.map((tower) => tower.close()));
  }
}
