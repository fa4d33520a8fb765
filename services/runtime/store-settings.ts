import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { FIELD_TYPES, type FieldType } from '../../store/indexed-fields.ts';
import type { StoreConfig } from '../../store/open.ts';
import { boolean, ConfigError, decimal, integer } from './setting-types.ts';

/** One pair of a list, with a comma before it: a key in quotes may hold commas and colons. */
const PAIR = /(?:^|,)(?<field>(?:"[^"]*"|[^",])*):(?<type>[^",:]*)(?=,|$)/gy;

/** `pos:keyword,"unit.price":float`, or in a file an object. */
const indexedFields = z
  .union([z.string(), z.record(z.string(), z.string())])
  .transform((value, context): Record<string, FieldType> => {
    const pairs = typeof value === 'string' ? pairsOf(value) : Object.entries(value);
    for (const [field, type] of pairs) {
      if (field !== '' && FIELD_TYPES.some((known) => known === type)) continue;
      context.addIssue(`must be FIELD:TYPE, separated by commas, with a TYPE of ${FIELD_TYPES.join(', ')}`);
      return z.NEVER;
    }
    return Object.fromEntries(pairs) as Record<string, FieldType>;
  });

/** Fields and types of a list; one pair of nothing where it can't be read to its end. */
function pairsOf(list: string): [field: string, type: string][] {
  const found = [...list.matchAll(PAIR)];
  if (found.reduce((sum, [text]) => sum + text.length, 0) !== list.length) return [['', '']];
  return found.map(({ groups }) => [groups?.['field'] ?? '', groups?.['type'] ?? '']);
}

const BAD_ADDRESS =
  'must be http://HOST:PORT or https://HOST:PORT, without user and password; a key goes into QDRANT_API_KEY';

function areAddresses(value: string): boolean {
  return value.split(',').every((address) => {
    if (!URL.canParse(address)) return false;
    const { protocol, username, password } = new URL(address);
    return /^https?:$/.test(protocol) && username === '' && password === '';
  });
}

/** Characters that an HTTP header can carry. */
const HEADER_VALUE = /^[!-~]+$/;
const BAD_KEY = 'must be characters of ASCII without white space';

/** The folder for data of the user's programs, as the XDG Base Directory Specification says. */
export function defaultDataDirectory(env: NodeJS.ProcessEnv): string {
  return join(env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share'), 'scalingnote');
}

/** Settings of both services that say which store, and how to reach it. */
const connection = {
  store: z
    .enum(['embedded', 'qdrant'], 'must be embedded or qdrant')
    .default('embedded')
    .describe('Where vectors are stored: embedded (a folder) or qdrant (a server or a cluster).'),
  data: z
    .string()
    .min(1)
    .default(defaultDataDirectory(process.env))
    .describe('Folder of the embedded store.'),
  qdrantUrl: z.string().refine(areAddresses, BAD_ADDRESS).default('http://127.0.0.1:6333').meta({
    description:
      'REST address of Qdrant. Name several nodes, separated by commas, if no load balancer is in front of them.',
    variable: 'QDRANT_URL',
  }),
  qdrantApiKey: z.string().regex(HEADER_VALUE, BAD_KEY).optional().meta({
    description: 'API key of Qdrant. There is no flag, because other processes can read flags.',
    variable: 'QDRANT_API_KEY',
    flag: false,
  }),
  qdrantApiKeyFile: z.string().min(1).optional().describe('File that holds the API key of Qdrant.'),
  qdrantCa: z
    .string()
    .min(1)
    .optional()
    .describe('PEM file of certificates to trust, if no public authority signed that of Qdrant.'),
  qdrantClientCert: z
    .string()
    .min(1)
    .optional()
    .describe('PEM file with the certificate that Qdrant asks us for, and its chain.'),
  qdrantClientKey: z
    .string()
    .min(1)
    .optional()
    .describe('PEM file with the private key of --qdrant-client-cert.'),
  qdrantTimeoutMs: integer(1, 600_000)
    .optional()
    .describe('Longest wait for one answer of Qdrant, in milliseconds. Default: 30000.'),
  qdrantConnections: integer(1, 1024)
    .optional()
    .describe('Most connections to each node of Qdrant. Default: 32.'),
};

/** Settings of the service that makes collections; existing ones stay as they are. */
const collections = {
  qdrantExpectedPassages: integer(1, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe(
      'Passages that a new collection will hold. The settings below take their defaults from it. Default: 1000000.',
    ),
  qdrantShards: integer(1, 1024).optional().describe('Shards of a new collection.'),
  qdrantReplicas: integer(1, 32).optional().describe('Copies of each shard of a new collection.'),
  qdrantWriteConsistency: integer(1, 32)
    .optional()
    .describe('Copies that must have a write before it is acknowledged. Default: a majority.'),
  qdrantQuantization: z
    .enum(['none', 'scalar', 'binary'], 'must be none, scalar or binary')
    .optional()
    .describe('How a new collection compresses vectors in memory: none, scalar or binary.'),
  qdrantOnDisk: boolean()
    .optional()
    .describe('Whether a new collection keeps uncompressed vectors on disk: true or false.'),
  qdrantHnswM: integer(0, 256)
    .optional()
    .describe('Edges of each node in the search graph of a new collection. Default: 16.'),
  qdrantHnswEfConstruct: integer(4, 4096)
    .optional()
    .describe('Candidates to examine for each node while that graph is built. Default: 128.'),
  indexedFields: indexedFields
    .optional()
    .describe(
      `Metadata fields for facets, orders and fast filters, as FIELD:TYPE,...; TYPE is ${FIELD_TYPES.join(', ')}.`,
    ),
  qdrantStrictMode: boolean()
    .optional()
    .describe('Whether a new collection limits what one request may ask for: true or false. Default: false.'),
};

/** Settings of the service that searches. */
const searches = {
  qdrantExact: boolean()
    .optional()
    .describe(
      'Whether a search compares every vector instead of using the graph: true or false. Default: false.',
    ),
  qdrantHnswEf: integer(1, 65_536)
    .optional()
    .describe('Candidates that a search examines in the graph. Default: as many as when it was built.'),
  qdrantOversampling: decimal(1, 100)
    .optional()
    .describe('Candidates per hit to compare uncompressed, if vectors are compressed.'),
  qdrantHedgeMs: integer(1, 60_000)
    .optional()
    .describe(
      'Send a search a second time if it has no answer after this many milliseconds. Default: never.',
    ),
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
export function storeConfig({ store, data, indexedFields: fields, ...rest }: StoreValues): StoreConfig {
  const declared = fields && { indexedFields: fields };
  if (store !== 'qdrant') return { kind: 'embedded', directory: data!, ...declared };
  const { url, apiKey, apiKeyFile, ...options } = Object.fromEntries(
    Object.entries(rest).map(([name, value]) => [name.charAt(6).toLowerCase() + name.slice(7), value]),
  ) as WithoutPrefix<StoreValues>;
  if (apiKey !== undefined && apiKeyFile !== undefined) {
    throw new ConfigError('QDRANT_API_KEY and SCALINGNOTE_QDRANT_API_KEY_FILE are both set; set one of them');
  }
  if (apiKeyFile !== undefined) checkKeyFile(apiKeyFile);
  return {
    kind: 'qdrant',
    url: url!,
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(apiKeyFile === undefined ? {} : { apiKeyFile }),
    ...declared,
    ...options,
  };
}

/** The store reads it as well, again and again; what is wrong with it now is told by the name of the setting. */
function checkKeyFile(file: string): void {
  let key: string;
  try {
    key = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new ConfigError(`can't read SCALINGNOTE_QDRANT_API_KEY_FILE: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (HEADER_VALUE.test(key)) return;
  throw new ConfigError(`SCALINGNOTE_QDRANT_API_KEY_FILE: what ${file} holds ${BAD_KEY}`);
}
