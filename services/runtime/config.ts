import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { memoryBudget, PLACE_VARIABLE } from '../../machine/limits.ts';
import { isLogicalName } from '../../store/names.ts';
import { accessSettings } from './access/access-settings.ts';
import { oidcSettings } from './access/oidc-settings.ts';
import { ONE_PROCESS, processCount } from './fleet/process-count.ts';
import { fusionSetting } from './fusion-setting.ts';
import { LOG_LEVELS } from './log.ts';
import { boolean, ConfigError, decimal, integer } from './setting-types.ts';
import { storeSettings } from './store-settings.ts';

/** A port that is called the same as a flag in every service. */
const port = (fallback: number, whose: string, flag: string) =>
  integer(0, 65_535)
    .default(fallback)
    .meta({ description: `Port of ${whose}; 0 picks a free one.`, flag });

/** Of the thread that answers `/livez` and `/readyz`, which runs where somebody asks for it. */
const livenessPort = (service: 'document' | 'query') =>
  integer(0, 65_535)
    .optional()
    .meta({
      description:
        `Port of the ${service} service for plain HTTP, at which a thread of its own answers /livez and /readyz while ` +
        'the service may be blocked; 0 picks a free one. By default there is none.',
      flag: 'liveness-port',
    });

/** A list of texts: an array in a file, separated by commas as a flag or in the environment. */
function list(item: z.ZodString) {
  return z
    .preprocess(
      (value) => (typeof value === 'string' ? value.split(',').map((each) => each.trim()) : value),
      z.array(item),
    )
    .default([]);
}

/** Half of what the heap of a console in a small container may grow to. */
function traceMib(): number {
  const mib = 1024 * 1024;
  return Math.floor(memoryBudget({ wanted: 128 * mib, share: 1 / 16, least: mib }) / mib);
}

const ADDRESS = String.raw`(?:\[[^\]]+\]|[^:\s]+):\d+`;
const address = () =>
  z.string().regex(new RegExp(`^${ADDRESS}$`), 'must be HOST:PORT, with an IPv6 address in brackets');
const optionalAddress = (fallback: string) =>
  z
    .string()
    .regex(new RegExp(`^(?:${ADDRESS})?$`), 'must be HOST:PORT, or empty for none')
    .default(fallback);
const text = () => z.string().min(1);

/**
 * Every setting of all services, so that one file and one environment can serve all; each service picks its own.
 *
 * A name is spelt once: `portQuery` in a file is `SCALINGNOTE_PORT_QUERY` in the environment and `--port-query` as a
 * flag, unless `variable` or `flag` says otherwise: `flag: false` keeps a secret out of process lists. The ports are
 * not called `..._QUERY_PORT`, because Kubernetes sets such a variable to `tcp://...` for each of its services.
 */
export const Settings = z.strictObject({
  host: text().default('127.0.0.1').describe('Address to listen on.'),
  portDocument: port(7401, 'the document service', 'port'),
  portQuery: port(7402, 'the query service', 'port'),
  portConsole: port(7400, 'the console', 'port'),
  consoleAddress: optionalAddress('127.0.0.1:7400').describe(
    'HOST:PORT of the console, which receives the spans unless OTEL_EXPORTER_OTLP_ENDPOINT names a collector; empty for none.',
  ),
  consoleCa: text()
    .optional()
    .describe('PEM file with the CAs of the console. With it, spans go there over TLS.'),
  consoleClientCert: text()
    .optional()
    .describe('PEM file with the certificate that the console asks us for, and its chain.'),
  consoleClientKey: text().optional().describe('PEM file with the private key of --console-client-cert.'),
  consoleLogin: boolean()
    .default(false)
    .meta({
      description:
        'Ask for an API key or a token before the console shows anything, on a loopback address as well; elsewhere it ' +
        'always does, but with --anonymous.',
      switch: true,
      flag: 'login',
    }),
  consoleTraces: integer(1, 1_000_000)
    .default(2000)
    .meta({ description: 'Traces that the console keeps.', flag: 'traces' }),
  consoleMemory: integer(1, 65_536)
    .default(traceMib())
    .meta({
      description:
        'Memory for these traces, in MiB. When it is full, the oldest traces are dropped. By default 128, and no more than a ' +
        'sixteenth of the memory that the process may use.',
      flag: 'memory',
    }),
  documentAddress: address().default('127.0.0.1:7401').describe('HOST:PORT of the document service.'),
  queryAddress: address().default('127.0.0.1:7402').describe('HOST:PORT of the query service.'),
  documentMetrics: optionalAddress('127.0.0.1:7411').describe(
    'HOST:PORT of the metrics of the document service; empty for none.',
  ),
  queryMetrics: optionalAddress('127.0.0.1:7412').describe(
    'HOST:PORT of the metrics of the query service; empty for none.',
  ),
  compareAddresses: list(address()).describe(
    'HOST:PORT of more query services, separated by commas: other query towers of the same space, to compare.',
  ),
  consoleHosts: list(text()).describe(
    'Host names that browsers may use to reach the console, separated by commas. Loopback names always work.',
  ),
  corsOrigins: list(
    z.string().regex(/^https?:\/\/[^/\s*]+$/, 'must be an exact origin, for example https://example.com'),
  ).describe(
    'Origins of web pages that may call the services with JSON, separated by commas: https://example.com, for example.',
  ),
  ...accessSettings,
  ...oidcSettings,
  ...storeSettings,
  documentTower: text()
    .default('all-MiniLM-L6-v2')
    .describe(
      'Document tower: a short name, npm:PACKAGE@VERSION/PATH, hf:ORG/NAME@REVISION, remote:http://HOST:PORT#MODEL, ' +
        'tei:http://HOST:PORT#MODEL, file:DIR or the path of a folder.',
    ),
  queryTower: text()
    .default('all-MiniLM-L6-v2-lookup')
    .describe('Query tower, named as document towers are. It must belong to the space of the collections.'),
  device: text()
    .default('auto')
    .describe('Where the tower runs: auto, cpu, cuda, cuda:N, or another provider of ONNX Runtime.'),
  threads: integer(0, 1024)
    .default(0)
    .describe(
      'Threads that the tower uses on the CPU; 0 for one per core, or as many as affinity and the CPU quota of its cgroup leave.',
    ),
  sessions: integer(0, 64)
    .default(0)
    .describe(
      'Runs of the document tower at the same time on the CPU, each with its part of the threads and its own copy of the ' +
        'weights; 0 for as many as are fastest, measured at the first start and kept in the cache. With --threads it is one.',
    ),
  maxTokensSpent: integer(0, 1_000_000_000_000)
    .default(0)
    .describe(
      'Tokens that a tower on a server may cost, from the start of this process; then encoding is refused. 0 for no limit.',
    ),
  remoteCa: text()
    .optional()
    .describe('PEM file with the CAs of the server of a remote tower. By default those of Node.js.'),
  remoteClientCert: text()
    .optional()
    .describe('PEM file with the certificate that such a server asks us for, and its chain.'),
  remoteClientKey: text().optional().describe('PEM file with the private key of --remote-client-cert.'),
  queryProcesses: processCount()
    .default(1)
    .meta({
      description:
        'Processes of the query service, which share its port, its slots and all its limits: auto for one per core, or as ' +
        'many as affinity and the CPU quota of its cgroup leave. See docs/processes.md.',
      flag: 'processes',
    }),
  querySlots: integer(1, 10_000).default(16).describe('Searches that run at the same time.'),
  queryQueue: integer(0, 100_000)
    .default(256)
    .describe('Searches that may wait for a slot. Excess searches are rejected.'),
  defaultCollection: z
    .string()
    .refine(
      (name) => name === '' || isLogicalName(name),
      'must be the name of a collection: 1 to 64 of a-z, A-Z, 0-9, "_" and "-", with no "--"',
    )
    .default('')
    .describe(
      'Collection that a search means which names none. By default the only one that the store has; with several, ' +
        'such a search is refused.',
    ),
  fusion: fusionSetting
    .optional()
    .describe(
      'How hybrid searches of a collection fuse where they do not say, as "eval --mode hybrid --tune" prints it: ' +
        'COLLECTION=METHOD:DENSE_WEIGHT, separated by commas.',
    ),
  reranker: z
    .string()
    .default('')
    .describe(
      'Reads the best documents of a search again, where the search asks for that: rerank:http://HOST:PORT of a server that ' +
        'answers POST /rerank, or the folder of a cross-encoder with model.onnx and tokenizer.json. None by default.',
    ),
  queryCache: integer(0, 1_000_000)
    .default(10_000)
    .describe('Query vectors to cache, about 2 KB each; 0 for none.'),
  serveTower: boolean()
    .default(false)
    .describe(
      'Whether the query service gives the files of its lookup tower to whoever may call it, so that pages encode queries ' +
        'themselves: true or false. They are some 12 MB, and with them anybody can encode texts and compare vectors.',
    ),
  liveShare: decimal(0, 1)
    .default(0)
    .describe('Share of live queries, 0 to 1, that the teacher encodes too, to measure the query tower.'),
  liveTower: z
    .string()
    .default('')
    .describe('The teacher for --live-share. By default the teacher that the query tower names.'),
  ingestTokens: integer(1024, 16_777_216)
    .default(32_768)
    .describe('Document tokens in flight, over all ingest streams. When they are used up, senders wait.'),
  ingestStreams: integer(1, 10_000)
    .default(32)
    .describe('Ingest streams at the same time. Excess streams are rejected.'),
  ingestIdleMs: integer(1000, 86_400_000)
    .default(30_000)
    .describe(
      'An ingest stream that has done nothing for so many milliseconds gives its place to a new one, where all are taken.',
    ),
  tenantQuotas: text()
    .optional()
    .describe(
      'File of JSON with how much each tenant may store and do; see docs/tenants.md. It is read again when it changes. By ' +
        'default nobody has a quota.',
    ),
  driftCheckS: integer(0, 604_800)
    .optional()
    .describe(
      'Seconds between two encodings of the probes, which show whether the document tower is still the same; 0 for none ' +
        'but those at the start. By default 900 where the model runs elsewhere, and 0 where its weights are here. Each ' +
        'takes some 2 000 tokens.',
    ),
  metricsHost: text().default('127.0.0.1').describe('Address that serves the metrics.'),
  metricsPortDocument: port(7411, 'the metrics of the document service', 'metrics-port'),
  metricsPortQuery: port(7412, 'the metrics of the query service', 'metrics-port'),
  livenessHost: text().default('127.0.0.1').describe('Address that says whether the process lives.'),
  livenessPortDocument: livenessPort('document'),
  livenessPortQuery: livenessPort('query'),
  livenessMs: integer(1_000, 3_600_000)
    .default(30_000)
    .describe(
      'A process whose event loop has not turned for longer than this many milliseconds does not live.',
    ),
  slowMs: integer(1, 3_600_000)
    .default(500)
    .describe('Calls that take longer than this many milliseconds are traced even if they were not sampled.'),
  drainMs: integer(0, 600_000)
    .default(10_000)
    .describe('How long open calls may take to finish when the service stops, in milliseconds.'),
  lameDuckMs: integer(0, 600_000)
    .default(0)
    .describe(
      'How long a service that stops goes on taking calls while it says that it is not serving, in milliseconds: as long as ' +
        'load balancers take to notice.',
    ),
  connectionIdleS: integer(1, 604_800)
    .default(300)
    .describe('After so many seconds without a call a connection of HTTP/2 is ended.'),
  connectionAgeS: integer(1, 31_536_000)
    .default(3600)
    .describe(
      'After so many seconds, some tenth more or less, a connection of HTTP/2 takes no more calls and ends when those under ' +
        'way have: so that callers find services that were started later.',
    ),
  logLevel: z
    .enum(LOG_LEVELS)
    .default('info')
    .describe(`Lowest level to log: ${LOG_LEVELS.join(', ')}.`),
});

/** A service's own settings: some of {@link Settings}. */
export type SettingsSchema = z.ZodObject<Partial<typeof Settings.shape>>;

/** Name of a setting. */
export type SettingName = keyof typeof Settings.shape;

/** Values of some settings. */
export type Config<Name extends SettingName = SettingName> = Pick<z.infer<typeof Settings>, Name>;

/** The schema of some settings, which come in the order of {@link Settings}. */
export function settingsOf(names: readonly SettingName[]): SettingsSchema {
  const chosen: ReadonlySet<string> = new Set(names);
  return z.strictObject(
    Object.fromEntries(Object.entries(Settings.shape).filter(([name]) => chosen.has(name))),
  ) as SettingsSchema;
}

/** Flags over environment over a file over defaults. */
export interface Loaded<Schema extends SettingsSchema> {
  config: z.infer<Schema>;
  /**
   * `SCALINGNOTE_*` variables that no service knows. They are not refused as an unknown flag is: an environment
   * belongs to many programs, and Kubernetes puts variables of such names there by itself.
   */
  unknownVariables: string[];
}

/**
 * Reads a service's settings.
 *
 * @throws {ConfigError} where a flag or a key of the file is unknown, or a value is not what it has to be
 */
export function loadConfig<Schema extends SettingsSchema>(
  schema: Schema,
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
): Loaded<Schema> {
  const flags = readFlags(schema, argv);
  const file = flags['config'] ?? env[CONFIG_VARIABLE];
  const values: Record<string, unknown> = {};
  const origins: Record<string, string> = {};
  if (file !== undefined) {
    for (const [name, value] of Object.entries(readFile(file))) {
      if (!Object.hasOwn(Settings.shape, name)) {
        throw new ConfigError(`${file}: there is no setting "${name}"; "--help" lists them`);
      }
      if (!Object.hasOwn(schema.shape, name)) continue;
      values[name] = value;
      origins[name] = `"${name}" in ${file}`;
    }
  }
  for (const [name, setting] of Object.entries(schema.shape)) {
    const variable = variableOf(name, setting);
    const flag = flagOf(name, setting);
    if (env[variable] !== undefined && env[variable] !== '') {
      values[name] = env[variable];
      origins[name] = variable;
    }
    if (flag !== undefined && flags[flag] !== undefined) {
      values[name] = flags[flag];
      origins[name] = `--${flag}`;
    }
  }
  const parsed = schema.safeParse(values);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const name = String(issue?.path[0]);
    throw new ConfigError(`${origins[name] ?? name}: ${issue?.message}`);
  }
  const known = new Set([
    CONFIG_VARIABLE,
    ...OTHER_VARIABLES,
    ...Object.entries(Settings.shape).map(([name, setting]) => variableOf(name, setting)),
  ]);
  return {
    config: parsed.data,
    unknownVariables: Object.keys(env).filter((name) => name.startsWith(PREFIX) && !known.has(name)),
  };
}

/** How people set a setting: `--port or SCALINGNOTE_PORT_QUERY`. */
export function namesOf(name: SettingName): string {
  const setting = Settings.shape[name];
  const flag = flagOf(name, setting);
  return `${flag === undefined ? '' : `--${flag} or `}${variableOf(name, setting)}`;
}

/** What `--help` prints. */
export function helpText(service: string, schema: SettingsSchema): string {
  const settings = Object.entries(schema.shape).map(([name, setting]) => {
    const fallback = setting.safeParse(undefined).data as string | number | boolean | undefined;
    const flag = flagOf(name, setting);
    return [
      `  ${flag === undefined ? '' : `--${flag}, `}${variableOf(name, setting)}, "${name}"`,
      `      ${setting.meta()?.description}`,
      ...(fallback === undefined ? [] : [`      Default: ${String(fallback) || 'none'}`]),
    ].join('\n');
  });
  return [
    `Runs the ${service} service of scalingnote.`,
    '',
    'Each setting is a flag, an environment variable, and a key of the configuration file. A flag overrides the',
    'environment, and the environment overrides the file.',
    '',
    ...settings,
    `  --config, ${CONFIG_VARIABLE}`,
    '      JSON file with settings, for all services.',
    '  --help',
    '      Print this text.',
    '',
    'The standard OTEL_* variables of OpenTelemetry apply too. Each SIGUSR2 raises the log level: first to debug, then',
    'to trace, then back to the level at the start.',
    '',
  ].join('\n');
}

const PREFIX = 'SCALINGNOTE_';
const CONFIG_VARIABLE = `${PREFIX}CONFIG`;
/** What other parts read by themselves: the cache of towers, the credentials of clients. */
const OTHER_VARIABLES = [
  ...['CACHE', 'API_KEY', 'API_KEY_FILE', 'CA', 'CLIENT_CERT', 'CLIENT_KEY'].map((name) => PREFIX + name),
  PLACE_VARIABLE,
];

function readFlags(schema: SettingsSchema, argv: readonly string[]): Record<string, string | undefined> {
  if (!Object.hasOwn(schema.shape, 'queryProcesses') && argv.some((each) => /^--processes(=|$)/.test(each))) {
    throw new ConfigError(ONE_PROCESS);
  }
  const settings = Object.entries(schema.shape).map(([name, setting]) => ({
    flag: flagOf(name, setting),
    isSwitch: setting.meta()?.['switch'] === true,
  }));
  const options = Object.fromEntries(
    [...settings, { flag: 'config', isSwitch: false }].flatMap(({ flag, isSwitch }) =>
      flag === undefined ? [] : [[flag, { type: isSwitch ? ('boolean' as const) : ('string' as const) }]],
    ),
  );
  try {
    const { values } = parseArgs({ args: [...argv], options, strict: true });
    return Object.fromEntries(Object.entries(values).map(([flag, value]) => [flag, String(value)]));
  } catch (error) {
    throw new ConfigError(`${(error as Error).message}; "--help" lists what there is`, { cause: error });
  }
}

function readFile(file: string): object {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    const { message } = error as Error;
    const isSyntax = error instanceof SyntaxError;
    const why = isSyntax ? `${file} is not JSON: ${message}` : `can't read the configuration: ${message}`;
    throw new ConfigError(why, { cause: error });
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new ConfigError(`${file} must hold one JSON object of settings`);
  }
  return parsed;
}

/** Name of the environment variable that sets a setting. */
export function variableOf(name: string, setting: z.ZodType): string {
  const own = setting.meta()?.['variable'];
  return typeof own === 'string' ? own : PREFIX + name.replace(/[A-Z]/g, '_$&').toUpperCase();
}

function flagOf(name: string, setting: z.ZodType): string | undefined {
  const flag = setting.meta()?.['flag'];
  if (flag === false) return undefined;
  return typeof flag === 'string' ? flag : name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
