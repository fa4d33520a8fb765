import { homedir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DocumentClient, QueryClient, type SearchResult } from '../../clients/index.ts';
import { type ServiceProcess, startService } from '../children.ts';
import { CliError, note, printJson, style, table } from '../output/print.ts';
import { loadSample, type SampleSize, type SampleSummary } from '../sample/load.ts';
import { pullWithProgress } from '../pull.ts';
import { SAMPLE_COLLECTION, SAMPLE_QUERIES } from '../sample/wordnet.ts';
import { renderHits, renderTimings, wholeNumber } from './search.ts';

interface Flags {
  once?: boolean;
  json?: boolean;
  documents: SampleSize;
  data: string;
  documentPort: number;
  queryPort: number;
  documentTower: string;
  queryTower: string;
  device: string;
}

/** Hits that the tour of the sample shows for each query. */
const TOUR_HITS = 10;

/** `scalingnote up` */
export const up = new Command('up')
  .description('start both services, put the sample in, and show a few searches')
  .option('--once', 'stop after the searches')
  .option('--json', 'print one JSON document')
  .option(
    '--documents <n|all>',
    'how much of the sample (default: what fits in two minutes)',
    sampleSize,
    'fitting',
  )
  .addOption(
    new Option('--data <dir>', 'folder of the embedded store')
      .env('SCALINGNOTE_DATA')
      .default(join(process.env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'scalingnote')),
  )
  .addOption(portOption('--document-port <port>', 'SCALINGNOTE_PORT_DOCUMENT', 7401))
  .addOption(portOption('--query-port <port>', 'SCALINGNOTE_PORT_QUERY', 7402))
  .addOption(
    new Option('--document-tower <reference>', 'document tower: a short name, file:, npm: or hf:')
      .env('SCALINGNOTE_DOCUMENT_TOWER')
      .default('all-MiniLM-L6-v2'),
  )
  .addOption(
    new Option('--query-tower <reference>', 'query tower of the same space')
      .env('SCALINGNOTE_QUERY_TOWER')
      .default('all-MiniLM-L6-v2-lookup'),
  )
  .addOption(
    new Option('--device <device>', 'where the document tower runs: auto, cpu, cuda, cuda:N')
      .env('SCALINGNOTE_DEVICE')
      .default('auto'),
  )
  .action(async (flags: Flags) => {
    const interrupted = new AbortController();
    const interrupt = (): void => interrupted.abort();
    process.on('SIGINT', interrupt);
    process.on('SIGTERM', interrupt);
    const services: ServiceProcess[] = [];
    try {
      await run(flags, services, interrupted.signal);
    } catch (error) {
      // Whoever pressed Ctrl-C knows why it ended.
      if (!interrupted.signal.aborted) throw error;
    } finally {
      await Promise.all(services.map((service) => service.stop()));
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', interrupt);
    }
  });

async function run(flags: Flags, services: ServiceProcess[], signal: AbortSignal): Promise<void> {
  for (const reference of [flags.documentTower, flags.queryTower]) await pullWithProgress(reference);
  signal.throwIfAborted();
  note('starting the services');
  const shared = ['--data', flags.data];
  services.push(
    await startService('document', [
      ...shared,
      '--port',
      String(flags.documentPort),
      '--document-tower',
      flags.documentTower,
      '--device',
      flags.device,
    ]),
  );
  services.push(
    await startService('query', [
      ...shared,
      '--port',
      String(flags.queryPort),
      '--query-tower',
      flags.queryTower,
    ]),
  );
  const died = Promise.race(
    services.map(async (service) => Promise.reject(new CliError(await service.died))),
  );
  // It is raced against below; when nobody waits any more it is no news.
  died.catch(() => {});
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  stopped.catch(() => {});
  const tourEnded = tour(flags, services, signal);
  await Promise.race([tourEnded, died, stopped]);
  if (flags.once === true) return;
  note(nextSteps(services));
  await Promise.race([died, stopped]);
}

async function tour(flags: Flags, services: readonly ServiceProcess[], signal: AbortSignal): Promise<void> {
  const [document, query] = services as [ServiceProcess, ServiceProcess];
  const documents = new DocumentClient({ address: document.address });
  const queries = new QueryClient({ address: query.address });
  try {
    const summary = await loadSample(documents, { data: flags.data, size: flags.documents, signal });
    const { tower: documentTower } = await documents.describe();
    const searches: { query: string; result: SearchResult }[] = [];
    for (const text of SAMPLE_QUERIES) {
      const request = { collection: SAMPLE_COLLECTION, query: text, limit: TOUR_HITS };
      searches.push({ query: text, result: await queries.search(request, { signal }) });
    }
    const queryTower = searches[0]!.result.queryTower;
    if (flags.json === true) {
      printJson({
        space: documentTower.space.fingerprint,
        documentTower: { name: documentTower.name, device: documentTower.device },
        queryTower: { name: queryTower.name, retention: queryTower.retention ?? null },
        addresses: { document: document.address, query: query.address },
        documents: {
          sent: summary.sent,
          indexed: summary.indexed,
          unchanged: summary.unchanged,
          rejected: summary.rejected,
        },
        searches: searches.map(({ query: text, result }) => ({
          query: text,
          hits: result.hits.map(({ id, title, score }) => ({ id, title, score })),
          timings: result.timings,
        })),
      });
    } else {
      process.stdout.write(renderTour(summary, searches));
    }
  } finally {
    documents.close();
    queries.close();
  }
}

function renderTour(
  summary: SampleSummary,
  searches: readonly { query: string; result: SearchResult }[],
): string {
  const counts = table(
    ['sent', 'indexed', 'unchanged', 'rejected'],
    [[summary.sent, summary.indexed, summary.unchanged, summary.rejected]],
  );
  const shown = searches.map(({ query, result }) => {
    const best = { ...result, hits: result.hits.slice(0, 3) };
    return `${style('green', `"${query}"`)}\n${renderHits(best)}\n${renderTimings(result)}\n`;
  });
  return `\n${counts}\n\n${shown.join('\n')}\n`;
}

function nextSteps([document, query]: readonly ServiceProcess[]): string {
  return [
    `document service at ${document?.address}, query service at ${query?.address}; Ctrl-C stops both`,
    'in another terminal:',
    '  npx scalingnote search "a place where bees live"',
    '  npx scalingnote ingest FILE.jsonl --collection mine && npx scalingnote search TEXT --collection mine',
    '  npx scalingnote status',
  ].join('\n');
}

function sampleSize(value: string): SampleSize {
  if (value === 'all') return 'all';
  const size = wholeNumber(value);
  if (size === 0) throw new InvalidArgumentError('It must be at least 1, or "all".');
  return size;
}

function portOption(flag: string, variable: string, port: number): Option {
  return new Option(flag, 'port; 0 for any free one').env(variable).default(port).argParser(wholeNumber);
}
