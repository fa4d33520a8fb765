import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { LOG_LEVELS } from './log.ts';
import { ConfigError, integer } from './setting.ts';
import { storeSettings } from './store-settings.ts';

const port = () => integer(0, 65_535);

/** A list of texts: as such in a file, separated by commas as a flag or in the environment. */
function list(item: z.ZodString): z.ZodPreprocess<z.ZodArray<z.ZodString>> {
  return z.preprocess(
    (value) => (typeof value === 'string' ? value.split(',').map((each) => each.trim()) : value),
    z.array(item),
  );
}

const address = () =>
  z.string().regex(/^(?:\[[^\]]+\]|[^:\s]+):\d+$/, 'must be HOST:PORT, with an IPv6 address in brackets');

const optionalAddress = (fallback: string) =>
  z
    .string()
    .regex(/^(?:(?:\[[^\]]+\]|[^:\s]+):\d+)?$/, 'must be HOST:PORT, or empty for none')
    .default(fallback);

/**
 * Every setting of all services, so that one file and one environment can serve all; each service picks its own.
 *
 * A name is spelt once: `portQuery` in a file is `SCALINGNOTE_PORT_QUERY` in the environment and `--port-query` as a
 * flag, unless `variable` or `flag` says otherwise: `flag: false` keeps a secret out of process lists. The ports are
 * not called `..._QUERY_PORT`, for Kubernetes sets such a variable to `tcp://...` for each of its services.
 */
export const Settings = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').meta({ description: 'address to listen at' }),
  portDocument: port()
    .default(7401)
    .meta({ description: 'port of the document service; 0 for any free one', flag: 'port' }),
  portQuery: port()
    .default(7402)
    .meta({ description: 'port of the query service; 0 for any free one', flag: 'port' }),
  portConsole: port()
    .default(7400)
    .meta({ description: 'port of the console; 0 for any free one', flag: 'port' }),
  consoleAddress: optionalAddress('127.0.0.1:7400').meta({
    description:
      'HOST:PORT of the console, which spans are sent to where OTEL_EXPORTER_OTLP_ENDPOINT names no collector; empty for none',
  }),
  consoleTraces: integer(1, 1_000_000)
    .default(2000)
    .meta({ description: 'traces that the console keeps', flag: 'traces' }),
  consoleMemory: integer(1, 65_536)
    .default(128)
    .meta({ description: 'memory for these traces, in MiB; the oldest make room', flag: 'memory' }),
  documentAddress: address()
    .default('127.0.0.1:7401')
    .meta({ description: 'HOST:PORT where the document service is' }),
  queryAddress: address()
    .default('127.0.0.1:7402')
    .meta({ description: 'HOST:PORT where the query service is' }),
  documentMetrics: optionalAddress('127.0.0.1:7411').meta({
    description: 'HOST:PORT of the document service’s metrics; empty for none',
  }),
  queryMetrics: optionalAddress('127.0.0.1:7412').meta({
    description: 'HOST:PORT of the query service’s metrics; empty for none',
  }),
  compareAddresses: list(address()).default([]).meta({
    description:
      'HOST:PORT of further query services, separated by commas: other query towers of the same space, to compare',
  }),
  consoleHosts: list(z.string().min(1)).default([]).meta({
    description: 'host names, separated by commas, under which the console answers besides the loopback ones',
  }),
  ...storeSettings,
  documentTower: z.string().min(1).default('all-MiniLM-L6-v2').meta({
    description: 'document tower: a short name, npm:PACKAGE@VERSION/PATH, hf:ORG/NAME@REVISION or file:DIR',
  }),
  queryTower: z
    .string()
    .min(1)
    .default('all-MiniLM-L6-v2-lookup')
    .meta({ description: 'query tower, named likewise; of the space of the collections that are searched' }),
  device: z.string().min(1).default('auto').meta({
    description: 'where the tower runs: auto, cpu, cuda, cuda:N, or what else ONNX Runtime has here',
  }),
  threads: integer(0, 1024)
    .default(0)
    .meta({ description: 'threads of the tower on the CPU; 0 for one per core' }),
  querySlots: integer(1, 10_000)
    .default(16)
    .meta({ description: 'searches that are worked on at the same time' }),
  queryQueue: integer(0, 100_000)
    .default(256)
    .meta({ description: 'searches that may wait for that; what comes on top is refused' }),
  queryCache: integer(0, 1_000_000)
    .default(10_000)
    .meta({ description: 'query vectors that are kept, about 2 KB each; 0 for none' }),
  liveShare: z
    .preprocess(
      (value) => (typeof value === 'string' && value.trim() !== '' ? Number(value) : value),
      z.number('must be a number from 0 to 1').min(0).max(1),
    )
    .default(0)
    .meta({
      description: 'share of the live queries that the teacher reads too, to measure the query tower',
    }),
  liveTower: z.string().default('').meta({
    description: 'that teacher, named as towers are; by default what the query tower says is its teacher',
  }),
  ingestTokens: integer(1024, 16_777_216)
    .default(32_768)
    .meta({ description: 'tokens of documents in flight over all ingest streams; past that, senders wait' }),
  ingestStreams: integer(1, 10_000)
    .default(32)
    .meta({ description: 'ingest streams at the same time; what comes on top is refused' }),
  metricsHost: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .meta({ description: 'address that the metrics are served at' }),
  metricsPortDocument: port().default(7411).meta({
    description: 'port of the document service’s metrics; 0 for any free one',
    flag: 'metrics-port',
  }),
  metricsPortQuery: port()
    .default(7412)
    .meta({ description: 'port of the query service’s metrics; 0 for any free one', flag: 'metrics-port' }),
  slowMs: integer(1, 3_600_000)
    .default(500)
    .meta({ description: 'a call that takes longer is traced though nobody sampled it, in milliseconds' }),
  drainMs: integer(0, 600_000)
    .default(10_000)
    .meta({ description: 'time that calls have to end in when the service stops, in milliseconds' }),
  logLevel: z
    .enum(LOG_LEVELS)
    .default('info')
    .meta({ description: `what is logged: ${LOG_LEVELS.join(', ')}` }),
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
  const rows = Object.entries(schema.shape).map(([name, setting]) => {
    const fallback = setting.safeParse(undefined).data as string | number | boolean | undefined;
    const flag = flagOf(name, setting);
    return {
      names: `${flag === undefined ? '' : `--${flag}, `}${variableOf(name, setting)}, "${name}"`,
      text: `${setting.meta()?.description}${fallback === undefined ? '' : ` (default: ${String(fallback) || 'none'})`}`,
    };
  });
  rows.push(
    { names: `--config, ${CONFIG_VARIABLE}`, text: 'JSON file with settings, for all services' },
    { names: '--help', text: 'print this' },
  );
  const width = Math.max(...rows.map(({ names }) => names.length));
  return [
    `The ${service} service of scalingnote.`,
    '',
    'Settings, as flag, in the environment, and as key of the file; the first one given counts:',
    '',
    ...rows.map(({ names, text }) => `  ${names.padEnd(width)}  ${text}`),
    '',
    'OpenTelemetry’s own variables (OTEL_*) are honoured as they are. SIGUSR2 has more logged: debug, then trace,',
    'then what it was at first.',
    '',
  ].join('\n');
}

const PREFIX = 'SCALINGNOTE_';
const CONFIG_VARIABLE = `${PREFIX}CONFIG`;
/** What other parts read by themselves: the cache of towers. */
const OTHER_VARIABLES = ['CACHE'].map((name) => PREFIX + name);

function readFlags(schema: SettingsSchema, argv: readonly string[]): Record<string, string | undefined> {
  const names = Object.entries(schema.shape).flatMap(([name, setting]) => flagOf(name, setting) ?? []);
  const options = Object.fromEntries([...names, 'config'].map((name) => [name, { type: 'string' as const }]));
  try {
    return parseArgs({ args: [...argv], options, strict: true }).values;
  } catch (error) {
    throw new ConfigError(`${(error as Error).message}; "--help" lists what there is`, { cause: error });
  }
}

function readFile(file: string): object {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(`can't read the configuration: ${(error as Error).message}`, { cause: error });
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`${file} is not JSON: ${(error as Error).message}`, { cause: error });
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
