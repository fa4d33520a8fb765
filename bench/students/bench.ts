import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MANIFEST_FILE } from '../../towers/directory.ts';
import { KNOWN_TOWERS } from '../../towers/known.ts';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import { meanRatioInterval, type PairedValues } from '../../training/evaluation/bootstrap.ts';
import { type Dataset, readDataset } from '../../training/evaluation/dataset.ts';
import { evaluate } from '../../training/evaluation/evaluate.ts';
import { type Bench, BenchUsageError } from '../report.ts';

const TEACHER = 'all-MiniLM-L6-v2';
const DATASETS = fileURLToPath(new URL('../../../../shared/datasets', import.meta.url));

/** Goals on sets that the towers have not seen: the share of the teacher's nDCG@10, and of its throughput. */
const GOALS: Readonly<Record<string, { retention: number; speedup: number }>> = {
  'all-MiniLM-L6-v2-lookup': { retention: 0.94, speedup: 100 },
  'all-MiniLM-L6-v2-transformer-1': { retention: 0.96, speedup: 12 },
  'all-MiniLM-L6-v2-transformer-2': { retention: 0.985, speedup: 7 },
};

/** One student on one data set. */
interface Row {
  student: string;
  dataset: string;
  queries: number;
  documents: number;
  ndcg10: number;
  teacherNdcg10: number;
  retention: number;
  interval: [low: number, high: number];
  encodePerSecond: number;
  speedup: number;
}

/** A student over all data sets. */
interface Mean {
  student: string;
  megabytes: number;
  retention: number;
  interval: [low: number, high: number];
  speedup: number;
}

/**
 * What query towers keep of their teacher on every data set of a folder, as they are: nothing is fitted here.
 *
 *     npm run bench -- students --datasets DIR [--students NAME,FOLDER,...] [--teacher NAME] [--json]
 */
export const bench: Bench = {
  flags: { datasets: { type: 'string' }, students: { type: 'string' }, teacher: { type: 'string' } },
  run: async (progress, given) => {
    const root = resolve(given['datasets'] ?? DATASETS);
    const folders = foldersOf(root);
    const teacher = await openTower(given['teacher'] ?? TEACHER);
    const students: Tower[] = [];
    try {
      for (const name of given['students']?.split(',') ?? shippedStudents())
        students.push(await openTower(name));
      const rows: Row[] = [];
      const perQuery = new Map<string, PairedValues[]>(students.map(({ manifest: { name } }) => [name, []]));
      for (const folder of folders) {
        progress(`${folder}: measuring`);
        rows.push(...(await measure(join(root, folder), teacher, students, perQuery)));
      }
      const means = students.map((student) => meanOf(student, rows, perQuery.get(student.manifest.name)!));
      return {
        parameters: { teacher: teacher.manifest.name, datasets: folders, measure: 'nDCG@10' },
        details: { rows, means },
        table: tableOf(rows, means),
        comparisons: means.map(({ student, retention, interval }) => {
          const ours = meanBy(rows, student, (row) => row.ndcg10);
          const goal = GOALS[student]?.retention;
          return {
            what: `${student}: mean share of the teacher's nDCG@10`,
            unit: '',
            ours,
            peer: meanBy(rows, student, (row) => row.teacherNdcg10),
            ratio: retention,
            interval,
            ...(goal !== undefined && { goal: { text: `>= ${goal}`, met: retention >= goal } }),
          };
        }),
        notes: [
          'Intervals: 95 %, paired bootstrap over queries; that of a mean says nothing of other data sets.',
          "Speed: encodes per second in process, tokenising included, beside the teacher's in turns.",
        ],
      };
    } finally {
      await Promise.all([teacher, ...students].map((tower) => tower.close()));
    }
  },
};

/** Names of the folders in BEIR layout. */
function foldersOf(root: string): string[] {
  const found = existsSync(root)
    ? readdirSync(root).filter((name) => existsSync(join(root, name, 'queries.jsonl')))
    : [];
  if (found.length > 0) return found.toSorted();
  throw new BenchUsageError(`there is no data set in ${root}; --datasets names a folder of BEIR folders`);
}

function shippedStudents(): string[] {
  return KNOWN_TOWERS.filter(({ role }) => role === 'query').map(({ name }) => name);
}

async function measure(
  folder: string,
  teacher: Tower,
  students: readonly Tower[],
  perQuery: Map<string, PairedValues[]>,
): Promise<Row[]> {
  const values = new Map<string, number[]>();
  const { dataset, documents, queries, results } = await evaluate({
    dataset: folder,
    documentTower: teacher,
    queryTowers: students,
    keepIdenticalIds: !asksItself(await readDataset(folder)),
    speed: true,
    onAnswers: async (system, answers) =>
      void values.set(
        system,
        answers.map(({ measures }) => measures.ndcg10),
      ),
  });
  const [baseline, ...rest] = results;
  return students.map(({ manifest: { name } }, index) => {
    const { ndcg10, retention, speed } = rest[index]!;
    perQuery.get(name)!.push({ values: values.get(name)!, baseline: values.get(baseline!.queryTower)! });
    return {
      student: name,
      dataset,
      queries,
      documents,
      ndcg10,
      teacherNdcg10: baseline!.ndcg10,
      retention: retention.ndcg10,
      interval: retention.interval,
      encodePerSecond: speed!.encodePerSecond,
      speedup: speed!.speedup,
    };
  });
}

/** Whether queries are documents of the set: those that have the id of a document are then that document. */
function asksItself({ queries, documents }: Dataset): boolean {
  const texts = new Map(documents.map(({ id, text }) => [id, text.trim()]));
  return queries.some(({ id, text }) => text.trim() !== '' && texts.get(id)?.includes(text.trim()) === true);
}

function meanOf({ manifest, directory }: Tower, rows: readonly Row[], sets: readonly PairedValues[]): Mean {
  const { name, files } = manifest;
  const bytes = [MANIFEST_FILE, ...Object.keys(files)].reduce(
    (sum, file) => sum + statSync(join(directory, file)).size,
    0,
  );
  return {
    student: name,
    megabytes: bytes / 1e6,
    retention: meanBy(rows, name, (row) => row.retention),
    interval: meanRatioInterval(sets),
    speedup: meanBy(rows, name, (row) => row.speedup),
  };
}

function meanBy(rows: readonly Row[], student: string, pick: (row: Row) => number): number {
  const own = rows.filter((row) => row.student === student);
  return own.reduce((sum, row) => sum + pick(row), 0) / own.length;
}

function tableOf(rows: readonly Row[], means: readonly Mean[]): string[][] {
  const percent = (x: number): string => x.toFixed(3);
  const between = ([low, high]: readonly [number, number]): string => `${percent(low)} to ${percent(high)}`;
  return [
    ['student', 'data set', 'nDCG@10', "teacher's", 'kept', '95 %', 'times', 'MB'],
    ...rows.map(({ student, dataset, ndcg10, teacherNdcg10, retention, interval, speedup }) => [
      student,
      dataset,
      percent(ndcg10),
      percent(teacherNdcg10),
      percent(retention),
      between(interval),
      speedup.toFixed(1),
      '',
    ]),
    ...means.map(({ student, retention, interval, speedup, megabytes }) => [
      student,
      'mean',
      '',
      '',
      percent(retention),
      between(interval),
      speedup.toFixed(1),
      megabytes.toFixed(1),
    ]),
  ];
}
