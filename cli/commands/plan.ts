import { Command, Option } from 'commander';
import { openTower } from '../../towers/open.ts';
import { limits } from '../../machine/limits.ts';
import { decimal, positiveNumber } from '../input/flags.ts';
import { interruptible } from '../interrupt.ts';
import { CliError, note, printResult, table } from '../output/print.ts';
import { BUDGET_FORMULAE, type Costs, costsOf } from '../plan/budget.ts';
import { measure } from '../plan/measure.ts';
import { EMBEDDED_VECTORS, FORMULAE, type Measured, type Plan, planOf, type Range } from '../plan/plan.ts';

interface Flags {
  documents: number;
  tokens: number;
  qps: number;
  nodeMemory: number;
  nodeCores?: number;
  budget?: number;
  pricePerCoreHour?: number;
  pricePerGbMonth?: number;
  pricePerDiskGbMonth?: number;
  documentTower: string;
  queryTower: string;
  json?: boolean;
}

/** Cores of a machine for vectors, where nothing is said. */
const NODE_CORES = 8;

/** `scalingnote plan` */
export const plan = new Command('plan')
  .description('say what a number of documents takes: memory, machines and hours, by rates measured here')
  .requiredOption('--documents <number>', 'documents to store, e.g. 50e6', positiveNumber)
  .requiredOption('--tokens <number>', 'tokens of a document, on average', positiveNumber)
  .requiredOption('--qps <number>', 'searches a second', positiveNumber)
  .option('--node-memory <GB>', 'memory of a machine for vectors', positiveNumber, 64)
  .option('--budget <money>', 'money a month: says what fits, by the prices that you give', positiveNumber)
  .option('--price-per-core-hour <money>', 'with --budget: of a core for an hour', decimal)
  .option('--price-per-gb-month <money>', 'with --budget: of a GB of memory for a month', decimal)
  .option(
    '--price-per-disk-gb-month <money>',
    'with --budget: of a GB of disk for a month (default: 0)',
    decimal,
  )
  .option(
    '--node-cores <number>',
    'with --budget: cores of a machine for vectors (default: 8)',
    positiveNumber,
  )
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
    const priced = pricesOf(flags);
    await interruptible('nothing was changed', async (signal) => {
      const documentTower = await openTower(flags.documentTower);
      const queryTower = await openTower(flags.queryTower);
      try {
        note('measuring this machine');
        const measured = await measure(documentTower, queryTower, flags.tokens, signal);
        const made = planOf(flags, measured, { memoryGb: flags.nodeMemory });
        const costs = priced && costsOf(made, { ...priced, cores: limits().cpus });
        const towers = { documentTower: documentTower.manifest.name, queryTower: queryTower.manifest.name };
        const formulae = [...FORMULAE, ...(costs ? BUDGET_FORMULAE : [])];
        printResult(flags, { ...towers, measured, ...made, ...(costs && { costs }), formulae }, () =>
          [describe(flags, measured, made), ...(costs ? describeCosts(costs) : [])].join('\n'),
        );
      } finally {
        await Promise.all([documentTower.close(), queryTower.close()]);
      }
    });
  });

/** What --budget needs, and what needs --budget. @throws {CliError} where one is without the other */
function pricesOf(flags: Flags): Omit<Parameters<typeof costsOf>[1], 'cores'> | undefined {
  const { budget, pricePerCoreHour: coreHour, pricePerGbMonth: gbMonth, nodeCores } = flags;
  const { pricePerDiskGbMonth: diskGbMonth } = flags;
  if (budget === undefined) {
    const given = [
      [coreHour, '--price-per-core-hour'],
      [gbMonth, '--price-per-gb-month'],
      [diskGbMonth, '--price-per-disk-gb-month'],
      [nodeCores, '--node-cores'],
    ].find(([value]) => value !== undefined);
    if (given) throw new CliError(`${given[1]} does nothing without --budget; give a budget, or drop it`);
    return undefined;
  }
  for (const [price, flag] of [
    [coreHour, '--price-per-core-hour'],
    [gbMonth, '--price-per-gb-month'],
    [diskGbMonth ?? 0, '--price-per-disk-gb-month'],
  ] as const) {
    if (price === undefined) {
      throw new CliError(`--budget needs ${flag}: no prices are built in; take it from your provider's list`);
    }
    if (price < 0) throw new CliError(`${flag} is ${price}; a price is 0 or more`);
  }
  return {
    budget,
    prices: { coreHour: coreHour!, gbMonth: gbMonth!, diskGbMonth: diskGbMonth ?? 0 },
    node: { memoryGb: flags.nodeMemory, cores: nodeCores ?? NODE_CORES },
  };
}

function describeCosts({ budget, fits, encodeOnce, offers }: Costs): string[] {
  const rows = offers.map(({ store, kind, shards, money, fits: one, replicas }) => [
    store === 'qdrant' ? `Qdrant, vectors as ${kind}` : 'embedded store',
    shards,
    range(money),
    one,
    replicas,
  ]);
  return [
    '',
    table(['', 'shards', 'money a month, one copy', `fits ${number(budget)}`, 'copies that fit'], rows),
    fits
      ? `something fits; to encode everything costs ${range(encodeOnce)} once`
      : `nothing fits by the slowest measurement; to encode everything costs ${range(encodeOnce)} once`,
    ...BUDGET_FORMULAE,
    'Cores that Qdrant takes for its searches, the calls themselves, texts and terms are not in it.',
  ];
}

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
