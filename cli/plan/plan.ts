/** What has to be stored and searched. */
export interface Workload {
  documents: number;
  /** Tokens of a document, on average. */
  tokens: number;
  /** Searches a second. */
  qps: number;
}

/** A measured value: the middle one of several measurements, the lowest and the highest. */
export interface Range {
  low: number;
  middle: number;
  high: number;
}

/** What was measured on this machine. */
export interface Measured {
  dimensions: number;
  /** Of a document of the workload's length. */
  passages: number;
  /** Of its passages, as the model gets them: with prompts, overlaps and special tokens. */
  encodedTokens: number;
  /** That the document tower encodes. */
  tokensPerSecond: Range;
  /** Processor time in which the query tower encodes one, in milliseconds. */
  queryMs: Range;
  /** Time in which a core scans one vector for a search of the embedded store, in nanoseconds. */
  scanNs: Range;
}

/** A machine for a shard. */
export interface Node {
  memoryGb: number;
}

/** A way to keep vectors in memory. */
export interface Kept {
  kind: 'float32' | 'int8' | 'bits';
  memoryGb: number;
  /** Machines that hold one copy of everything. */
  shards: number;
}

export interface Plan {
  vectors: number;
  encodedTokens: number;
  /** To encode everything, on one machine like this one. */
  encodeHours: Range;
  /** Cores that encode the queries. */
  queryCores: Range;
  /** What Qdrant needs. The originals of quantised vectors are on its disk. */
  qdrant: { diskGb: number; kept: Kept[] };
  /** Absent where there are too many vectors for it. */
  embedded?: { memoryGb: number; scanMs: Range; scanCores: Range };
}

/** The most vectors for which the embedded store is made. */
export const EMBEDDED_VECTORS = 300_000;

/** Qdrant's own rule: memory is half as much again as the vectors take, for the graph and for segments under construction. */
const QDRANT_FACTOR = 1.5;
/** Bytes of a component. */
const COMPONENT_BYTES = { float32: 4, int8: 1, bits: 1 / 8 } as const;
/** The embedded store scans int8 and scores what that leaves in float32, so it keeps both. */
const EMBEDDED_COMPONENT_BYTES = COMPONENT_BYTES.float32 + COMPONENT_BYTES.int8;

const GB = 1e9;

/** The formulae, as `scalingnote plan` shows them. */
export const FORMULAE: readonly string[] = [
  'vectors = documents × passages of a document',
  'hours = documents × encoded tokens of a document / tokens a second of the document tower / 3600',
  `memory = vectors × dimensions × bytes of a component (float32 4, int8 1, bits 1/8) × ${QDRANT_FACTOR}`,
  'shards = memory / memory of a machine, rounded up; each further replica needs as many again',
  'query cores = searches a second × processor time of a query',
];

/** What a workload takes, by measured rates. */
export function planOf({ documents, qps }: Workload, measured: Measured, node: Node): Plan {
  const { dimensions, passages, tokensPerSecond, queryMs, scanNs } = measured;
  const vectors = Math.ceil(documents * passages);
  const encodedTokens = Math.ceil(documents * measured.encodedTokens);
  const bytes = (perComponent: number): number => vectors * dimensions * perComponent;
  const kept = (Object.keys(COMPONENT_BYTES) as Kept['kind'][]).map((kind): Kept => {
    const memoryGb = (QDRANT_FACTOR * bytes(COMPONENT_BYTES[kind])) / GB;
    return { kind, memoryGb, shards: Math.max(1, Math.ceil(memoryGb / node.memoryGb)) };
  });
  const scanMs = scaled(scanNs, vectors / 1e6);
  return {
    vectors,
    encodedTokens,
    encodeHours: scaled(inverse(tokensPerSecond), encodedTokens / 3600),
    queryCores: scaled(queryMs, qps / 1000),
    qdrant: { diskGb: bytes(COMPONENT_BYTES.float32) / GB, kept },
    ...(vectors <= EMBEDDED_VECTORS && {
      embedded: {
        memoryGb: bytes(EMBEDDED_COMPONENT_BYTES) / GB,
        scanMs,
        scanCores: scaled(scanMs, qps / 1000),
      },
    }),
  };
}

/** The range of some measurements. */
export function rangeOf(samples: readonly number[]): Range {
  const sorted = [...samples].sort((a, b) => a - b);
  return { low: sorted[0]!, middle: sorted[Math.floor(sorted.length / 2)]!, high: sorted.at(-1)! };
}

function scaled({ low, middle, high }: Range, factor: number): Range {
  return { low: low * factor, middle: middle * factor, high: high * factor };
}

function inverse({ low, middle, high }: Range): Range {
  return { low: 1 / high, middle: 1 / middle, high: 1 / low };
}
