import { writeFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { writeManifest } from '../../towers/directory.ts';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import { evaluate as evaluateTowers, type Evaluation } from '../../training/evaluation/evaluate.ts';
import { reportPage } from '../../training/evaluation/report-page.ts';
import { type Report, summarize } from '../../training/evaluation/report.ts';
import { fileNameOf } from '../../training/evaluation/trec.ts';
import { type Addresses, withDocumentAddress, withQueryAddress } from '../connection.ts';
import { MODES, type EvaluatedMode } from '../evaluation/modes.ts';
import { PROBED_WORDS } from '../evaluation/probe-words.ts';
import { runModes, type ModesFlags } from '../evaluation/run-modes.ts';
import { TUNED_BY } from '../evaluation/tune.ts';
import { runProbe, type ProbeFlags } from '../evaluation/run-probe.ts';
import { openAnswerFiles } from '../output/answer-files.ts';
import { note, printJson, table, UsageError } from '../output/print.ts';
import { Progress } from '../output/progress.ts';
import { rankThroughServices, type ServiceRankers } from '../service-rankers.ts';
import { collect, decimal, positive, wholeNumber } from '../input/flags.ts';

/** How deep an nDCG may look: as deep as runs of TREC go. */
const MAX_CUTOFF = 1000;

interface Flags extends Addresses {
  dataset: string[];
  mode?: readonly EvaluatedMode[];
  probe?: 'words';
  collection?: string;
  documentTower: string;
  queryTower: string[];
  report?: string;
  calibrate?: boolean;
  services?: boolean;
  ndcg: number[];
  perQuery?: string;
  runs?: string;
  keepIdenticalIds?: boolean;
  json?: boolean;
}

/** `scalingnote eval` */
export const evaluate = withQueryAddress(withDocumentAddress(new Command('eval')))
  .description('measure query towers on data sets in BEIR layout, against the document tower itself and BM25')
  .option(
    '--dataset <dir>',
    'folder with corpus.jsonl, queries.jsonl and qrels; repeat for more',
    collect,
    [],
  )
  .option(
    '--mode <modes>',
    'compare modes of search instead: dense, sparse, hybrid and rerank, separated by commas, with intervals and BM25 beside them',
    modes,
  )
  .addOption(
    new Option(
      '--tune [by]',
      'with --mode: look for the best fusion on half of the queries ("labels") and try it on the other half, or without labels, ' +
        'on titles that have to find their documents ("titles")',
    )
      .choices(TUNED_BY)
      .preset('labels'),
  )
  .addOption(
    new Option('--fusion <method>', 'with --mode: how hybrid fuses its legs').choices([
      'ranks',
      'scores',
      'distribution',
    ]),
  )
  .option('--dense-weight <w>', 'with --mode: weight of the leg by meaning in hybrid, 0 to 1', decimal)
  .option(
    '--reranker <reference>',
    'for the mode rerank: rerank:http://HOST:PORT, or the folder of a cross-encoder',
  )
  .option('--rerank <n>', 'how many documents of hybrid the reranker reads (default: 20)', positive)
  .addOption(
    new Option(
      '--probe <what>',
      "ask running services instead, for words of a collection's own titles: exact, plural, unfinished, mistyped",
    ).choices(['words']),
  )
  .option('-c, --collection <name>', 'with --probe: the collection')
  .option('--tenant <tenant>', 'with --probe: tenant that owns the documents; empty for none', '')
  .option('--words <n>', 'with --probe: how many words', positive, PROBED_WORDS)
  .option('--seed <n>', 'with --probe: which words, and where they are mistyped', wholeNumber, 1)
  .option('--document-tower <reference>', 'document tower', 'all-MiniLM-L6-v2')
  .option('--query-tower <reference>', 'query tower; repeat for more', collect, [])
  .option(
    '--services',
    'also rank through the Ingest and Search RPCs of the services at the addresses, or, without an address, of services started for this run',
  )
  .option(
    '--calibrate',
    'also find how many candidates a graph index has to look at for each query tower, and write it into its tower.json',
  )
  .option('--ndcg <k>', 'also nDCG at rank k, 1 to 1000; repeat for more', cutoff, [])
  .option('--per-query <file>', 'also write what each system scores on each query, as JSON Lines')
  .option(
    '--runs <dir>',
    'also write files that trec_eval and pytrec_eval read: DATASET.qrels, and DATASET.SYSTEM.run for each system',
  )
  .option(
    '--keep-identical-ids',
    'let a document answer a query that has the same id (default: it is left out, as BEIR does)',
  )
  .option('--report <file>', 'also write a page of HTML with tables and plots')
  .action(async (flags: Flags, command: Command) => {
    const opened: Tower[] = [];
    let served: ServiceRankers | undefined;
    if (flags.probe !== undefined) {
      if (flags.collection === undefined) throw new UsageError('--probe needs a --collection');
      return runProbe(flags as Flags & ProbeFlags);
    }
    if (flags.dataset.length === 0)
      throw new UsageError('--dataset is missing; give a folder, or --probe words');
    if (flags.mode !== undefined) return runModes(flags as Flags & ModesFlags);
    try {
      checkNames(flags);
      const files = await openAnswerFiles(flags);
      const open = async (reference: string): Promise<Tower> => {
        const tower = await openTower(reference, { log: note });
        opened.push(tower);
        return tower;
      };
      const documentTower = await open(flags.documentTower);
      const queryTowers: Tower[] = [];
      for (const reference of flags.queryTower) queryTowers.push(await open(reference));
      const evaluations: Evaluation[] = [];
      for (const dataset of flags.dataset.map((folder) => resolve(folder))) {
        if (flags.services === true) served = await startServices(dataset, flags, command);
        const progress = new Progress('encoding documents', 'passages');
        const evaluation = await evaluateTowers({
          dataset,
          documentTower,
          queryTowers,
          rankers: served?.rankers ?? [],
          speed: true,
          calibrate: flags.calibrate === true,
          cutoffs: flags.ndcg,
          keepIdenticalIds: flags.keepIdenticalIds === true,
          ...files,
          onProgress: (done, total) => progress.update(done, total),
        });
        noteIdenticalIds(evaluation);
        evaluations.push(evaluation);
        await served?.close();
        served = undefined;
      }
      if (flags.calibrate === true) await writeCalibrations(evaluations, queryTowers);
      const report = await summarize(evaluations, [documentTower, ...queryTowers]);
      if (flags.report !== undefined) await writeFile(flags.report, reportPage(report));
      if (flags.json === true) printJson(asJson(report));
      else process.stdout.write(`${evaluations.map(render).join('\n\n')}\n\n${renderTowers(report)}\n`);
    } finally {
      await served?.close();
      await Promise.all(opened.map((tower) => tower.close()));
    }
  });

function modes(value: string): readonly EvaluatedMode[] {
  const names = value.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !MODES.some((mode) => mode === name));
  if (unknown !== undefined)
    throw new InvalidArgumentError(`"${unknown}" is no mode; known are ${MODES.join(', ')}.`);
  return MODES.filter((mode) => names.includes(mode));
}

function cutoff(value: string, previous: readonly number[]): number[] {
  const rank = positive(value);
  if (rank > MAX_CUTOFF) throw new InvalidArgumentError(`It must be at most ${MAX_CUTOFF}.`);
  return previous.includes(rank) ? [...previous] : [...previous, rank];
}

/** @throws {UsageError} where two data sets would share the files that --runs names by them */
function checkNames({ dataset, runs }: Flags): void {
  const names = dataset.map((folder) => fileNameOf(basename(resolve(folder))));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined && runs !== undefined) {
    throw new UsageError(`--runs names its files by data sets, and two of them are called "${twice}"`);
  }
}

function noteIdenticalIds({ dataset, queries, identicalIds }: Evaluation): void {
  if (identicalIds === 0) return;
  note(
    `${dataset}: ${identicalIds} of ${queries} queries have the id of a document; it is left out of their answers, as BEIR ` +
      'does. Where equal ids mean nothing, give --keep-identical-ids',
  );
}

function startServices(dataset: string, flags: Flags, command: Command): Promise<ServiceRankers> {
  return rankThroughServices(
    dataset,
    ['documentAddress', 'queryAddress'].some((flag) => command.getOptionValueSource(flag) !== 'default')
      ? { addresses: flags }
      : {
          documentTower: flags.documentTower,
          queryTowers: flags.queryTower.length > 0 ? flags.queryTower : [flags.documentTower],
        },
  );
}

/** Writes into each tower's manifest the widest search that any data set needed. */
async function writeCalibrations(
  evaluations: readonly Evaluation[],
  towers: readonly Tower[],
): Promise<void> {
  for (const [index, { manifest, directory }] of towers.entries()) {
    const found = evaluations.map(({ results }) => results[index + 1]!.calibration!);
    const widest = found.reduce((most, each) => (each.hnswEf > most.hnswEf ? each : most));
    const oversampling = Math.max(...found.map((each) => each.oversampling));
    await writeManifest(directory, { ...manifest, search: { ...widest, oversampling } });
    note(
      `${manifest.name}: hnsw_ef ${widest.hnswEf} finds ${widest.recall.toFixed(4)} of the ten nearest; ` +
        `where vectors are kept as bits, ${oversampling} candidates for each hit have to be compared in full`,
    );
  }
}

/** One data set's measures are the document itself, several are a list in it. The means over all are beside them. */
function asJson({ evaluations, towers }: Report): object {
  return evaluations.length === 1 ? { ...evaluations[0], towers } : { evaluations, towers };
}

function render({ dataset, documents, queries, results }: Evaluation): string {
  const cutoffs = Object.keys(results[0]!.ndcg ?? {});
  const rows = results.map((result) => {
    const [low, high] = result.retention.interval;
    return [
      result.queryTower,
      result.ndcg10.toFixed(4),
      ...cutoffs.map((rank) => result.ndcg![rank]!.toFixed(4)),
      result.mrr10.toFixed(4),
      result.recall50.toFixed(4),
      result.recall100.toFixed(4),
      `${result.retention.ndcg10.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`,
      result.retention.recall50.toFixed(3),
    ];
  });
  const head = [
    'query tower',
    'nDCG@10',
    ...cutoffs.map((rank) => `nDCG@${rank}`),
    'MRR@10',
    'Recall@50',
    'Recall@100',
    'kept of nDCG@10',
    'of Recall@50',
  ];
  return `${dataset}: ${documents} documents, ${queries} queries\n${table(head, rows)}`;
}

function renderTowers({ towers }: Report): string {
  const rows = towers.map(({ queryTower, bytes, retention, speed, onFront }) => [
    queryTower,
    `${(bytes / 1e6).toFixed(1)} MB`,
    retention.ndcg10.toFixed(3),
    `${speed?.p50Ms.toFixed(3)} / ${speed?.p99Ms.toFixed(3)} ms`,
    `${Math.round(speed?.encodePerSecond ?? 0).toLocaleString('en')}/s`,
    `${speed?.speedup.toFixed(1)} times`,
    onFront ? 'yes' : '',
  ]);
  const head = [
    'query tower',
    'size',
    'kept of nDCG@10',
    'encode p50 / p99',
    'encodes',
    'speed-up',
    'Pareto front',
  ];
  return table(head, rows);
}
