import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import type { StoreConfig } from '../../store/open.ts';
import { boolean, ConfigError, decimal, integer } from './setting.ts';

/** What Qdrant can index in a payload, as far as metadata has it. */
const FIELD_TYPES = ['keyword', 'integer', 'float', 'bool'] as const;
type FieldType = (typeof FIELD_TYPES)[number];

/** `pos:keyword,year:integer`, or in a file an object. */
const indexedFields = z
  .union([z.string(), z.record(z.string(), z.string())])
  .transform((value, context): Record<string, FieldType> => {
    const pairs =
      typeof value === 'string'
        ? value.split(',').map((pair) => [pair.slice(0, pair.lastIndexOf(':')), pair.split(':').at(-1)!])
        : Object.entries(value);
    for (const [field, type] of pairs) {
      if (field !== '' && FIELD_TYPES.some((known) => known === type)) continue;
      context.addIssue(`must be FIELD:TYPE, separated by commas, with a TYPE of ${FIELD_TYPES.join(', ')}`);
      return z.NEVER;
    }
    return Object.fromEntries(pairs) as Record<string, FieldType>;
  });

const BAD_ADDRESS =
  'must be http://HOST:PORT or https://HOST:PORT, without user and password; a key goes into QDRANT_API_KEY';

function areAddresses(value: string): boolean {
  return value.split(',').every((address) => {
    if (!URL.canParse(address)) return false;
    const { protocol, username, password } = new URL(address);
    return /^https?:$/.test(protocol) && username === '' && password === '';
  });
}

/** What a header can carry. */
const HEADER_VALUE = /^[!-~]+$/;
const BAD_KEY = 'must be characters of ASCII without white space';

/** Data of a user's programs has its place, wherever they are started from (XDG Base Directory Specification). */
export function defaultDataDirectory(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'scalingnote');
}

/** Settings of both services that say which store, and how to reach it. */
const connection = {
  store: z
    .enum(['embedded', 'qdrant'], 'must be embedded or qdrant')
    .default('embedded')
    .meta({ description: 'where the vectors are: embedded (a folder) or qdrant (a server or a cluster)' }),
  data: z
    .string()
    .min(1)
    .default(defaultDataDirectory(process.env))
    .meta({ description: 'folder of the embedded store' }),
  qdrantUrl: z.string().refine(areAddresses, BAD_ADDRESS).default('http://127.0.0.1:6333').meta({
    description:
      'REST address of Qdrant; of several nodes, separated by commas, where nothing balances the load',
    variable: 'QDRANT_URL',
  }),
  qdrantApiKey: z.string().regex(HEADER_VALUE, BAD_KEY).optional().meta({
    description: 'API key of Qdrant; never a flag, for every process on a machine can read those',
    variable: 'QDRANT_API_KEY',
    flag: false,
  }),
  qdrantApiKeyFile: z
    .string()
    .min(1)
    .optional()
    .meta({ description: 'file that holds that key, as secrets are mounted' }),
  qdrantCa: z.string().min(1).optional().meta({
    description: 'PEM file with certificates to trust, where no public authority signed that of Qdrant',
  }),
  qdrantTimeoutMs: integer(1, 600_000)
    .optional()
    .meta({ description: 'longest wait for one answer of Qdrant, in milliseconds (default: 30000)' }),
  qdrantConnections: integer(1, 1024)
    .optional()
    .meta({ description: 'connections to each node of Qdrant, at most (default: 32)' }),
};

/** Settings of the service that makes collections; those that are there stay as they are. */
const collections = {
  qdrantExpectedPassages: integer(1, Number.MAX_SAFE_INTEGER).optional().meta({
    description:
      'passages that a new collection will grow to; what follows has its default from that (default: 1000000)',
  }),
  qdrantShards: integer(1, 1024).optional().meta({ description: 'shards of a new collection' }),
  qdrantReplicas: integer(1, 32).optional().meta({ description: 'copies of each shard of a new collection' }),
  qdrantWriteConsistency: integer(1, 32)
    .optional()
    .meta({ description: 'copies that must have a write before it is acknowledged (default: most of them)' }),
  qdrantQuantization: z
    .enum(['none', 'scalar', 'binary'], 'must be none, scalar or binary')
    .optional()
    .meta({ description: 'how a new collection compresses vectors in memory: none, scalar or binary' }),
  qdrantOnDisk: boolean()
    .optional()
    .meta({ description: 'whether a new collection keeps full vectors on disk: true or false' }),
  qdrantHnswM: integer(0, 256)
    .optional()
    .meta({ description: 'edges of each node in the graph of a new collection (default: 16)' }),
  qdrantHnswEfConstruct: integer(4, 4096)
    .optional()
    .meta({ description: 'candidates that are looked at as that graph is built (default: 128)' }),
  qdrantIndexedFields: indexedFields.optional().meta({
    description: `metadata fields that filters use, as FIELD:TYPE,...; TYPE is ${FIELD_TYPES.join(', ')}`,
  }),
  qdrantStrictMode: boolean().optional().meta({
    description: 'whether a new collection bounds what one request may ask: true or false (default: false)',
  }),
};

/** Settings of the service that searches. */
const searches = {
  qdrantExact: boolean().optional().meta({
    description: 'whether searches look at every vector instead of the graph: true or false (default: false)',
  }),
  qdrantHnswEf: integer(1, 65_536)
    .optional()
    .meta({ description: 'candidates that a search looks at in the graph (default: as it was built)' }),
  qdrantOversampling: decimal(1, 100)
    .optional()
    .meta({ description: 'candidates for each hit that are compared in full, where vectors are compressed' }),
  qdrantHedgeMs: integer(1, 60_000).optional().meta({
    description:
      'wait for an answer after which a search is asked a second time, in milliseconds (default: never)',
  }),
};

/** Every setting of the store. */
export const storeSettings = { ...connection, ...collections, ...searches };

type Name = keyof typeof storeSettings;

/** The settings of the store that each kind of service has. */
export const STORE_SETTINGS = {
  writes: [...Object.keys(connection), ...Object.keys(collections)] as Name[],
  reads: [...Object.keys(connection), ...Object.keys(searches)] as Name[],
};

/** Values of the store's settings; what a service does not have is not set. */
type StoreValues = Partial<z.infer<z.ZodObject<typeof storeSettings>>>;

/** `qdrantHnswEf` becomes `hnswEf`. */
type WithoutPrefix<Values> = {
  [Key in keyof Values as Key extends `qdrant${infer Rest}` ? Uncapitalize<Rest> : never]: Values[Key];
};

/**
 * The store that the settings name.
 *
 * @throws {ConfigError} where the API key is given twice or its file can't be read, in a line that never holds the key
 */
export function storeConfig({ store, data, ...rest }: StoreValues): StoreConfig {
  if (store !== 'qdrant') return { kind: 'embedded', directory: data! };
  const { url, apiKey, apiKeyFile, ...options } = Object.fromEntries(
    Object.entries(rest).map(([name, value]) => [name.charAt(6).toLowerCase() + name.slice(7), value]),
  ) as WithoutPrefix<StoreValues>;
  if (apiKey !== undefined && apiKeyFile !== undefined) {
    throw new ConfigError('QDRANT_API_KEY and SCALINGNOTE_QDRANT_API_KEY_FILE are both set; set one of them');
  }
  const key = apiKeyFile === undefined ? apiKey : readKey(apiKeyFile);
  return { kind: 'qdrant', url: url!, ...(key === undefined ? {} : { apiKey: key }), ...options };
}

function readKey(file: string): string {
  let key: string;
  try {
    key = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new ConfigError(`can't read SCALINGNOTE_QDRANT_API_KEY_FILE: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (!HEADER_VALUE.test(key))
    throw new ConfigError(`SCALINGNOTE_QDRANT_API_KEY_FILE: what ${file} holds ${BAD_KEY}`);
  return key;
}
