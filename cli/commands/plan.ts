import { Command, Option } from 'commander';
import { openTower } from '../../towers/open.ts';
import { positiveNumber } from '../input/flags.ts';
import { interruptible } from '../interrupt.ts';
import { note, printResult, table } from '../output/print.ts';
import { measure } from '../plan/measure.ts';
import { EMBEDDED_VECTORS, FORMULAE, type Measured, type Plan, planOf, type Range } from '../plan/plan.ts';

interface Flags {
  documents: number;
  tokens: number;
  qps: number;
  nodeMemory: number;
  documentTower: string;
  queryTower: string;
  json?: boolean;
}

/** `scalingnote plan` */
export const plan = new Command('plan')
  .description('say what a number of documents takes: memory, machines and hours, by rates measured here')
  .requiredOption('--documents <number>', 'documents to store, e.g. 50e6', positiveNumber)
  .requiredOption('--tokens <number>', 'tokens of a document, on average', positiveNumber)
  .requiredOption('--qps <number>', 'searches a second', positiveNumber)
  .option('--node-memory <GB>', 'memory of a machine for vectors', positiveNumber, 64)
  .addOption(
    new Option('--document-tower <reference>', 'the tower that encodes the documents')
      .env('SCALINGNOTE_DOCUMENT_TOWER')
      .default('all-MiniLM-L6-v2'),
  )
  .addOption(
    new Option('--query-tower <reference>', 'the tower that encodes the queries')
      .env('SCALINGNOTE_QUERY_TOWER')
      .default('all-MiniLM-L6-v2-lookup'),
  )
  .action(async (flags: Flags) => {
    await interruptible('nothing was changed', async (signal) => {
      const documentTower = await openTower(flags.documentTower);
      const queryTower = await openTower(flags.queryTower);
      try {
        note('measuring this machine');
        const measured = await measure(documentTower, queryTower, flags.tokens, signal);
        const made = planOf(flags, measured, { memoryGb: flags.nodeMemory });
        const towers = { documentTower: documentTower.manifest.name, queryTower: queryTower.manifest.name };
        printResult(flags, { ...towers, measured, ...made, formulae: FORMULAE }, () =>
          describe(flags, measured, made),
        );
      } finally {
        await Promise.all([documentTower.close(), queryTower.close()]);
      }
    });
  });

function describe(flags: Flags, measured: Measured, made: Plan): string {
  const { embedded, qdrant } = made;
  const rows = [
    ['vectors', count(made.vectors)],
    ['hours to encode, on one machine like this', range(made.encodeHours)],
    ['cores that encode the queries', range(made.queryCores)],
    ...qdrant.kept.map(({ kind, memoryGb, shards }) => [
      `Qdrant, vectors as ${kind}`,
      `${number(memoryGb)} GB of memory, ${shards} of ${flags.nodeMemory} GB`,
    ]),
    ['Qdrant, vectors on its disk', `${number(qdrant.diskGb)} GB`],
    embedded
      ? [
          'embedded store',
          `${number(embedded.memoryGb)} GB of memory, a scan of ${range(embedded.scanMs)} ms, ${range(embedded.scanCores)} cores`,
        ]
      : ['embedded store', `too many vectors: it is for ${count(EMBEDDED_VECTORS)}`],
  ];
  return [
    table(['', 'middle (lowest to highest measurement)'], rows),
    '',
    `measured here: ${range(measured.tokensPerSecond)} tokens/s of documents; a query ${range(measured.queryMs)} ms of CPU; ` +
      `${range(measured.scanNs)} ns to scan a vector of ${measured.dimensions} dimensions`,
    `a document of ${count(flags.tokens)} tokens: ${number(measured.passages)} passages, ${number(measured.encodedTokens)} tokens to encode`,
    ...FORMULAE,
    'Texts, the index of terms, the network and the calls themselves come on top: docs/performance.md',
  ].join('\n');
}

function range({ low, middle, high }: Range): string {
  return `${number(middle)} (${number(low)} to ${number(high)})`;
}

function number(value: number): string {
  return value.toLocaleString('en', { maximumSignificantDigits: 3 });
}

function count(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: 0 });
}
