import { OutgoingTls } from '../../calls/outgoing-tls.ts';
import { fileSecret } from '../../calls/secret.ts';
import { StoreError } from '../errors.ts';
import { metadataPath } from '../filter.ts';
import type { FieldType } from '../indexed-fields.ts';

/** How to store the components that a search compares first: in full, as int8, or as bits. */
export type Quantization = 'none' | 'scalar' | 'binary';

/** How to make collections. Existing collections stay as they are. */
export interface CollectionSettings {
  /** Passages that a collection will grow to; the defaults below follow from it. @default 1_000_000 */
  expectedPassages?: number | undefined;
  /**
   * Shards of a collection. Each shard counts its own term statistics for sparse search.
   *
   * @default 1 up to 5 million passages, so that a search asks one shard and knows all terms; above, a
   *   multiple of 12 with at most 5 million in each, because a larger graph is slow to build and to move, and
   *   12 shards spread evenly over 1, 2, 3, 4, 6 or 12 nodes
   */
  shards?: number | undefined;
  /** Copies of each shard. @default the server's: 1 */
  replicas?: number | undefined;
  /**
   * Copies that have to accept a write before Qdrant acknowledges it.
   *
   * @default half of the replicas, rounded up: if all had to accept it, one dead node would stop all writes
   */
  writeConsistency?: number | undefined;
  /**
   * @default `none` up to 1 million passages, whose vectors fit in memory anywhere; `scalar` above: a quarter
   *   of the memory, with the best candidates scored again in full. Measure before you choose `binary`: it
   *   needs a thousand dimensions or more.
   */
  quantization?: Quantization | undefined;
  /** Whether full vectors and the graph stay on disk. @default true above 5 million passages */
  onDisk?: boolean | undefined;
  /** Edges of a point in the HNSW graph (Malkov and Yashunin, 2016). @default 16 */
  hnswM?: number | undefined;
  /**
   * Candidates while the graph is built.
   *
   * @default 100, Qdrant's own; 200 above 5 million passages, where more candidates are needed for the same recall
   */
  hnswEfConstruct?: number | undefined;
  /**
   * Metadata fields to index for filters, without `metadata.`; dots lead into objects.
   *
   * @default none: filters work on any field, but read the payload of every point that the search visits
   */
  indexedFields?: Readonly<Record<string, FieldType>> | undefined;
  /**
   * Whether Qdrant rejects expensive requests: filters on undeclared fields, limits above 10 000, filters of
   * more than 10 000 conditions.
   *
   * @default false
   */
  strictMode?: boolean | undefined;
}

/** How to reach a Qdrant server or cluster, and how to use it. */
export interface QdrantConfig extends CollectionSettings {
  kind: 'qdrant';
  /**
   * Address of the REST API, `http(s)://HOST[:PORT][/PREFIX]`; the default port is 6333. Several addresses,
   * separated by commas, take turns and stand in for each other: for a cluster without a load balancer.
   */
  url: string;
  /** Sent as `api-key`. @default none */
  apiKey?: string | undefined;
  /** File that holds the key and nothing else; it is read again when it changes. Give one of this and `apiKey`. */
  apiKeyFile?: string | undefined;
  /** PEM file with the certificates to trust. @default those that Node.js trusts */
  ca?: string | undefined;
  /** PEM file with our certificate, for a server that asks for one, and its chain; `clientKey` goes with it. */
  clientCert?: string | undefined;
  /** PEM file with its private key. */
  clientKey?: string | undefined;
  /** Candidates of a search in the graph. @default the server's: as many as the graph was built with */
  hnswEf?: number | undefined;
  /**
   * Candidates to score in full for each hit, if vectors are quantised.
   *
   * @default the server's 1 for int8; 3 for bits, which order candidates only roughly
   */
  oversampling?: number | undefined;
  /** Whether searches compare every vector instead of following the graph. @default false */
  exact?: boolean | undefined;
  /**
   * After this many milliseconds without an answer, a search is sent a second time, to another node if there
   * are several (Dean and Barroso, "The Tail at Scale", 2013). The 95th percentile is a good choice.
   *
   * @default never
   */
  hedgeMs?: number | undefined;
  /** Longest wait for one answer of the server, in milliseconds. @default 30_000 */
  timeoutMs?: number | undefined;
  /**
   * Connections to each node, at most. Each carries one call at a time.
   *
   * @default 32: excess calls wait here, not in the server, which has about as many cores
   */
  connections?: number | undefined;
}

/** Passages that fit in 1.5 GB, at 384 dimensions. */
const FITS_IN_MEMORY = 1_000_000;

/** Passages of one shard, at most. */
const SHARD_PASSAGES = 5_000_000;

/** Divides by 1, 2, 3, 4, 6 and 12 nodes. */
const SHARD_STEP = 12;

/** {@link CollectionSettings} with the defaults for the expected size. */
export type CollectionPlan = ReturnType<typeof planCollections>;

/**
 * How to make collections.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming the setting
 */
export function planCollections(settings: CollectionSettings) {
  const { expectedPassages = FITS_IN_MEMORY, replicas } = settings;
  checkWhole('expectedPassages', expectedPassages, 1);
  checkWhole('shards', settings.shards, 1);
  checkWhole('replicas', replicas, 1);
  checkWhole('writeConsistency', settings.writeConsistency, 1);
  checkWhole('hnswM', settings.hnswM, 0);
  checkWhole('hnswEfConstruct', settings.hnswEfConstruct, 4);
  const writeConsistency = settings.writeConsistency ?? (replicas && Math.ceil(replicas / 2));
  if (writeConsistency !== undefined && writeConsistency > (replicas ?? 1)) {
    invalid(`writeConsistency is ${writeConsistency}, but there are only ${replicas ?? 1} replicas`);
  }
  const large = expectedPassages > SHARD_PASSAGES;
  return {
    shards:
      settings.shards ?? (large ? SHARD_STEP * Math.ceil(expectedPassages / SHARD_PASSAGES / SHARD_STEP) : 1),
    replicas,
    writeConsistency,
    quantization: settings.quantization ?? (expectedPassages > FITS_IN_MEMORY ? 'scalar' : 'none'),
    onDisk: settings.onDisk ?? large,
    hnswM: settings.hnswM ?? 16,
    hnswEfConstruct: settings.hnswEfConstruct ?? (large ? 200 : 100),
    indexedFields: new Map(
      Object.entries(settings.indexedFields ?? {}).map(([field, type]) => {
        const name = `metadata.${field}`;
        metadataPath(name);
        return [name, type] as const;
      }),
    ),
    strictMode: settings.strictMode ?? false,
  };
}

/** What an HTTP header can carry. */
const HEADER_VALUE = /^[!-~]+$/;

/** Who we are to the server, and whom we trust. */
export interface QdrantIdentity {
  /** The key at this moment. */
  apiKey: (() => string) | undefined;
  tls: OutgoingTls;
}

/**
 * Reads what the server is shown, from files too.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT` if a file can't be used, in a line that never holds a key
 */
export function qdrantIdentity({
  apiKey,
  apiKeyFile,
  ca,
  clientCert: cert,
  clientKey: key,
}: Pick<QdrantConfig, 'apiKey' | 'apiKeyFile' | 'ca' | 'clientCert' | 'clientKey'>): QdrantIdentity {
  if (apiKey !== undefined && apiKeyFile !== undefined) {
    invalid('apiKey and apiKeyFile are both given; give one of them');
  }
  try {
    const check = (secret: string): void => {
      if (!HEADER_VALUE.test(secret)) throw new Error('it must be characters of ASCII without white space');
    };
    return {
      apiKey:
        apiKeyFile !== undefined
          ? fileSecret(apiKeyFile, check)
          : apiKey === undefined
            ? undefined
            : () => apiKey,
      tls: new OutgoingTls({ ca, cert, key }, { ca: 'ca', cert: 'clientCert', key: 'clientKey' }),
    };
  } catch (error) {
    return invalid((error as Error).message);
  }
}

/**
 * @throws {StoreError} `STORE_INVALID_ARGUMENT` if a setting is given and is not a whole number from `min`
 */
export function checkWhole(name: string, value: number | undefined, min: number): void {
  if (value !== undefined && (!Number.isSafeInteger(value) || value < min)) {
    invalid(`${name} is ${value}; use a whole number from ${min}`);
  }
}

function invalid(message: string): never {
  throw new StoreError('STORE_INVALID_ARGUMENT', message);
}
