import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defaultCacheDir } from '../../towers/cache.ts';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import { distill } from '../../training/distill/distill.ts';
import type { StudentKind } from '../../training/distill/request.ts';
import { evaluate } from '../../training/evaluation/evaluate.ts';
import { hasCheckpoint } from '../../training/run-folder.ts';
import type { Bench, Comparison } from '../report.ts';

const TEACHER = 'all-MiniLM-L6-v2';

/** Folder of data sets in BEIR layout. By default it lies beside the repository. */
const DATASETS_VARIABLE = 'SCALINGNOTE_BENCH_DATASETS';
const DEFAULT_DATASETS = fileURLToPath(new URL('../../../../shared/datasets', import.meta.url));

/** Goals, as means over the data sets. */
const LADDER: readonly { name: string; student: StudentKind; retention: number; speedup: number }[] = [
  { name: 'lookup', student: { kind: 'lookup' }, retention: 0.985, speedup: 100 },
  { name: 'transformer:1', student: { kind: 'transformer', layers: 1 }, retention: 0.98, speedup: 4.5 },
  { name: 'transformer:2', student: { kind: 'transformer', layers: 2 }, retention: 0.995, speedup: 2.5 },
  { name: 'transformer:4', student: { kind: 'transformer', layers: 4 }, retention: 0.998, speedup: 1 },
];

/** One student on one data set. */
interface Rung {
  student: string;
  dataset: string;
  ndcg10: number;
  retention: number;
  interval: [low: number, high: number];
  encodePerSecond: number;
  speedup: number;
}

/**
 * The ladder of students: distils each from a data set's own texts and measures it on the set's queries,
 * against the teacher in the same run. A run takes an hour or two. It keeps its students where towers are
 * until all have been measured, so that an interrupted run can continue.
 */
export const bench: Bench = {
  async run(progress) {
    const root = resolve(process.env[DATASETS_VARIABLE] ?? DEFAULT_DATASETS);
    const datasets = existsSync(root)
      ? readdirSync(root).filter((name) => existsSync(join(root, name, 'corpus.jsonl')))
      : [];
    if (datasets.length === 0) {
      throw new Error(
        `there is no data set in ${root}; set ${DATASETS_VARIABLE} to a folder of BEIR folders`,
      );
    }
    const students = join(defaultCacheDir(), 'bench-distill');
    const ladder: Rung[] = [];
    for (const dataset of datasets) {
      ladder.push(...(await climb(join(root, dataset), dataset, students, progress)));
    }
    // The next run distils its own students.
    rmSync(students, { recursive: true, force: true });
    return {
      parameters: { teacher: TEACHER, datasets, ladder },
      comparisons: LADDER.flatMap(({ name, retention, speedup }) =>
        summarize(name, retention, speedup, ladder),
      ),
    };
  },
};

/** Distils and measures every student on one data set. */
async function climb(
  folder: string,
  dataset: string,
  students: string,
  progress: (line: string) => void,
): Promise<Rung[]> {
  const outs: string[] = [];
  for (const { name, student } of LADDER) {
    const out = join(students, dataset, name.replace(':', '-'));
    outs.push(out);
    const resume = await hasCheckpoint(out);
    const made = join(out, 'tower.json');
    if (!resume && existsSync(made)) {
      progress(
        `${dataset}: ${name} was distilled at ${statSync(made).mtime.toISOString()}, in a run that was broken off`,
      );
      continue;
    }
    progress(`${dataset}: distilling ${name}`);
    const teacher = await openTower(TEACHER, { normalize: false });
    try {
      const report = await distill({
        teacher,
        student,
        source: { corpus: folder },
        out,
        resume,
        log: progress,
      });
      progress(
        `${dataset}: ${name}: held-out cosine ${report.heldOutCosine.toFixed(4)} in ${report.seconds.toFixed(0)} s`,
      );
    } finally {
      await teacher.close();
    }
  }
  const opened: Tower[] = [];
  try {
    for (const reference of [TEACHER, ...outs]) opened.push(await openTower(reference));
    progress(`${dataset}: measuring`);
    const [documentTower, ...queryTowers] = opened;
    const { results } = await evaluate({
      dataset: folder,
      documentTower: documentTower!,
      queryTowers,
      // Cranfield and Medline use the same numbers for documents and queries, so equal ids mean nothing.
      keepIdenticalIds: true,
      speed: true,
    });
    return LADDER.map(({ name }, index) => {
      const { ndcg10, retention, speed } = results[index + 1]!;
      return {
        student: name,
        dataset,
        ndcg10,
        retention: retention.ndcg10,
        interval: retention.interval,
        encodePerSecond: speed!.encodePerSecond,
        speedup: speed!.speedup,
      };
    });
  } finally {
    await Promise.all(opened.map((tower) => tower.close()));
  }
}

/** Means over the data sets, against the goals. */
function summarize(
  student: string,
  retention: number,
  speedup: number,
  ladder: readonly Rung[],
): Comparison[] {
  const rungs = ladder.filter((rung) => rung.student === student);
  const mean = (pick: (rung: Rung) => number): number =>
    rungs.reduce((sum, rung) => sum + pick(rung), 0) / rungs.length;
  const ndcg = mean((rung) => rung.ndcg10);
  const kept = mean((rung) => rung.retention);
  const rate = mean((rung) => rung.encodePerSecond);
  const faster = mean((rung) => rung.speedup);
  return [
    {
      what: `${student}: nDCG@10 against the teacher's`,
      unit: '',
      ours: ndcg,
      peer: ndcg / kept,
      ratio: kept,
      goal: { text: `>= ${retention}`, met: kept >= retention },
    },
    {
      what: `${student}: encoding against the teacher's`,
      unit: 'queries/s',
      ours: rate,
      peer: rate / faster,
      ratio: faster,
      goal: { text: `>= ${speedup}`, met: faster >= speedup },
    },
  ];
}
