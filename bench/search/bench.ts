import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exactSearch, MetricKind } from 'usearch';
import { v1 } from '../../proto/load.ts';
import { type Process, stopServices } from '../../services/runtime/testing/processes.ts';
import { compareCalls, type Effort, Pairs } from '../calls/compare.ts';
import { answerBytes, closedLoop, type Side, startEcho, warmUp } from '../calls/sides.ts';
import { readCount } from '../flags.ts';
import { framed } from '../load/messages.ts';
import { TOWER } from '../qdrant/corpus.ts';
import { LeanGrpc, messagesIn } from '../qdrant/load.ts';
import { COLLECTION, distinctTexts, prepare, startQueryService } from '../query-service.ts';
import { type Bench, median } from '../report.ts';

/** Documents of the sample that `up` loads first, about. */
const DOCUMENTS = 14_047;
const DIMENSIONS = 384;
const LIMIT = 10;
/** More than there are calls in a stretch, so that none is searched for twice there. */
const TEXTS = 5000;
/** The teacher of the lookup tower. */
const TEACHER = 'all-MiniLM-L6-v2';
/** What a search may take besides a bare call and a scan of int8 vectors, in milliseconds. */
const ALLOWED_MS = 0.3;
/** Scans of which the middle one counts. */
const SCANS = 31;
/** Searches whose own account of their time is read. */
const TIMED = 200;
const FULL: Effort = { starts: 5, turns: 3, ms: 2000 };
const QUICK: Effort = { starts: 1, turns: 3, ms: 1000 };

const { Search } = v1.QueryService.service;
const BESIDES = 'p50 less a bare call and an int8 scan, 1 in flight; peer: what is allowed';
const BESIDE_TEACHER = 'searches, 1 in flight; peer: the teacher as query tower';
const ENCODING = 'encoding, share of a search; peer: what is allowed';
const ENCODING_ALLOWED = 0.05;

/** What `Search` takes over the embedded store, beside a server that does nothing, and beside the teacher. */
export const bench: Bench = {
  hasQuick: true,
  flags: { documents: { type: 'string' } },
  run: async (progress, { documents: given }, { quick }) => {
    const effort = quick ? QUICK : FULL;
    const documents = readCount('documents', given, DOCUMENTS);
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    const pairs = new Pairs();
    const parts: Parts[] = [];
    try {
      progress(`storing ${documents} documents`);
      await prepare(folder, { documents, queries: 1, limit: LIMIT });
      for (let start = 1; start <= effort.starts; start++) {
        progress(`start ${start} of ${effort.starts}: beside a bare server`);
        parts.push(await besideEcho(folder, { documents, seed: start, effort, pairs }));
        progress(`start ${start} of ${effort.starts}: beside the teacher`);
        await besideTeacher(folder, start, effort, pairs);
      }
    } finally {
      await stopServices();
      rmSync(folder, { recursive: true, force: true });
    }
    const part = (name: keyof Parts): number => median(parts.map((each) => each[name]));
    const details = { encodeMs: part('encodeMs'), storeMs: part('storeMs'), totalMs: part('totalMs') };
    return {
      parameters: { tower: TOWER, teacher: TEACHER, documents, limit: LIMIT, ...effort, cache: 'off' },
      comparisons: pairs.comparisons({
        [BESIDES]: { atMost: 1 },
        [ENCODING]: { atMost: 1 },
      }),
      details,
      notes: [
        'peer: a bare server of grpc-js whose answers are as long',
        `of a search in the service, p50: ${ms(details.totalMs)}, of which encoding ${ms(details.encodeMs)} and ` +
          `the store ${ms(details.storeMs)}`,
        ...pairs.notes(),
      ],
    };
  },
};

/** Where the time of a search goes, as the service says; medians. */
interface Parts {
  encodeMs: number;
  storeMs: number;
  totalMs: number;
}

async function besideEcho(
  folder: string,
  { documents, seed, effort, pairs }: { documents: number; seed: number; effort: Effort; pairs: Pairs },
): Promise<Parts> {
  const service = await startQueryService(folder, {});
  const ours = searches(service, seed);
  const echo = await startEcho({ [Search.path]: await answerBytes(ours) });
  const peer = { ...ours, service: echo };
  await compareCalls({ ours, peer }, effort, pairs);
  const scan = int8Scan(documents);
  for (let turn = 0; turn < effort.turns; turn++) {
    const seen = await pairs.measure('1 in flight', turn, [ours, peer], (side) =>
      closedLoop(side, 1, effort.ms),
    );
    if (!seen) continue;
    const [search, bare] = seen;
    pairs.add(BESIDES, 'ms', Math.max(0, search.p50 - bare.p50 - scan()), ALLOWED_MS);
  }
  const parts = await partsOf(ours);
  pairs.add(ENCODING, '', parts.encodeMs / parts.totalMs, ENCODING_ALLOWED);
  await Promise.all([service.stop(), echo.stop('SIGKILL')]);
  return parts;
}

async function besideTeacher(
  folder: string,
  seed: number,
  { turns, ms: length }: Effort,
  pairs: Pairs,
): Promise<void> {
  const student = await startQueryService(folder, {});
  const teacher = await startQueryService(folder, { SCALINGNOTE_QUERY_TOWER: TEACHER });
  const sides = [searches(student, seed), searches(teacher, seed)] as const;
  for (const side of sides) await warmUp(side, 1);
  for (let turn = 0; turn < turns; turn++) {
    const seen = await pairs.measure('1 in flight', turn, sides, (side) => closedLoop(side, 1, length));
    if (seen) pairs.add(BESIDE_TEACHER, '/s', seen[0].perSecond, seen[1].perSecond);
  }
  await Promise.all([student.stop(), teacher.stop()]);
}

function searches(service: Process, seed: number): Side {
  const bodies = distinctTexts(TEXTS, seed).map((query) =>
    framed(Search.requestSerialize({ query, collection: COLLECTION, limit: LIMIT })),
  );
  return { service, path: Search.path, bodies };
}

/** Measures how long a scan of so many int8 vectors takes, whatever is in them. @returns the middle one, in milliseconds */
function int8Scan(documents: number): () => number {
  const codes = new Int8Array(documents * DIMENSIONS).fill(3);
  const query = codes.subarray(0, DIMENSIONS);
  const count = Math.min(LIMIT, documents);
  return () =>
    median(
      Array.from({ length: SCANS }, () => {
        const began = performance.now();
        exactSearch(codes, query, DIMENSIONS, count, MetricKind.IP, 1);
        return performance.now() - began;
      }),
    );
}

async function partsOf({ service, path, bodies }: Side): Promise<Parts> {
  const client = new LeanGrpc(service.address);
  const timings: Parts[] = [];
  try {
    for (const body of bodies.slice(0, TIMED)) {
      const [answer] = messagesIn(await client.call(path, [body]));
      const said = Search.responseDeserialize(answer!).timings!;
      const encodeMs = said.tokenizeMs + said.encodeMs;
      timings.push({ encodeMs, storeMs: said.searchMs, totalMs: said.totalMs });
    }
  } finally {
    client.close();
  }
  const part = (name: keyof Parts): number => median(timings.map((each) => each[name]));
  return { encodeMs: part('encodeMs'), storeMs: part('storeMs'), totalMs: part('totalMs') };
}

function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}
