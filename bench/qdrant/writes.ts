import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { IngestRequest } from '../../proto/generated/scalingnote/v1/IngestRequest.ts';
import { v1 } from '../../proto/load.ts';
import { toStruct } from '../../proto/struct.ts';
import type { Comparison } from '../report.ts';
import { writeOf } from './corpus.ts';
import { DOCUMENTS, type Ground, POINTS, WRITERS } from './ground.ts';
import { drive, frame, LeanGrpc, type Load, messagesIn, type RestRequest } from './load.ts';
import type { Process } from '../../services/runtime/testing/processes.ts';
import { compare, compareBare, ROUNDS, type Side } from './sides.ts';

/** Documents written in one turn. */
export const WRITES = Math.min(10_000, DOCUMENTS);
/** Ingest streams. */
export const STREAMS = 4;

const { Ingest } = v1.DocumentService.service;

/** Compares documents sent through streams, without the cost of encoding, with points upserted directly. */
export async function compareWrites(ground: Ground, points: readonly string[]): Promise<Comparison[]> {
  ground.progress(`preparing ${WRITES} writes`);
  const vectors = join(ground.folder, 'vectors.f32');
  const { dimensions } = ground.corpus.manifest;
  writeFileSync(vectors, new Uint8Array(ground.corpus.vectors.buffer, 0, WRITES * dimensions * 4));
  const prepared = JSON.stringify({ vectors, manifest: ground.corpus.manifest });
  const module = new URL('./document-service.js', import.meta.url);
  const service = await ground.start(module, { BENCH_PREPARED: prepared }, ['--max-semi-space-size=64']);
  const streams = streamsOf(ground);
  const forwarder = await ground.startForwarder(points, {});

  const turns: Record<Side, Load[]> = { ours: [], peer: [], bare: [] };
  for (let round = 0; round <= ROUNDS; round++) {
    ground.progress(`writing, round ${round} of ${ROUNDS}`);
    const peer = await fresh(ground, `${ground.name}-direct`, (physical) =>
      upsertDirectly(ground, physical, points),
    );
    const bare = await fresh(ground, `${ground.name}-bare`, (physical) =>
      ingest(forwarder, physical, streams),
    );
    const name = `${ground.name}-service`;
    const ours = await fresh(ground, name, () => ingest(service, name, streams));
    // The first round only warms up all sides.
    if (round === 0) continue;
    turns.peer.push(peer);
    turns.bare.push(bare);
    turns.ours.push(ours);
  }
  const written = compare('documents written/s', '/s', turns, (load) => load.perSecond);
  return [
    { ...written, goal: { text: 'at least 0.8', met: written.ratio >= 0.8 } },
    compareBare('documents written/s', '/s', turns, (load) => load.perSecond),
  ];
}

/** Measures writes into a new collection, and drops it before the next side's turn. */
async function fresh(
  ground: Ground,
  name: string,
  write: (physical: string) => Promise<void>,
): Promise<Load> {
  const physical = await ground.collection(name);
  const started = performance.now();
  await write(physical);
  const seconds = (performance.now() - started) / 1000;
  const { documents } = await ground.store.count(physical, '');
  if (documents !== WRITES) throw new Error(`${name} has ${documents} documents instead of ${WRITES}`);
  await ground.drop(physical);
  return { samples: [], perSecond: WRITES / seconds };
}

/** The JSON that the store sends to Qdrant for each document. */
export async function recordPoints(ground: Ground): Promise<string[]> {
  const physical = await ground.collection(`${ground.name}-recorded`);
  ground.recorder.take();
  const points: string[] = [];
  for (let first = 0; first < WRITES; first += POINTS) {
    const writes = Array.from({ length: POINTS }, (_, row) => writeOf(ground.corpus, first + row));
    await ground.store.writeDocuments(physical, writes);
    for (const { body } of ground.recorder.take()) {
      const parsed = JSON.parse(body || '{}') as { points?: unknown[] };
      for (const point of parsed.points ?? []) points.push(JSON.stringify(point));
    }
  }
  await ground.drop(physical);
  return points;
}

async function upsertDirectly(ground: Ground, physical: string, points: readonly string[]): Promise<void> {
  const path = `/collections/${physical}/points?wait=true`;
  const requests: RestRequest[] = [];
  for (let first = 0; first < points.length; first += POINTS) {
    const body = `{"points":[${points.slice(first, first + POINTS).join(',')}]}`;
    requests.push({ method: 'PUT', path, body });
  }
  await drive(
    async (index) => void (await ground.direct.send(requests[index]!)),
    0,
    requests.length,
    WRITERS,
  );
}

/** The frames of each stream. */
function streamsOf(ground: Ground): Buffer[][] {
  return Array.from({ length: STREAMS }, (_, stream) => {
    const frames: Buffer[] = [];
    for (let row = stream; row < WRITES; row += STREAMS) {
      const { id, title, text, metadata } = ground.corpus.documents[row]!;
      const document = { id, title, text, metadata: toStruct({ ...metadata }) };
      frames.push(frame(Ingest.requestSerialize({ sequence: row + 1, document })));
    }
    return frames;
  });
}

async function ingest({ address }: Process, collection: string, streams: readonly Buffer[][]): Promise<void> {
  const grpc = new LeanGrpc(address);
  const begin = frame(Ingest.requestSerialize({ begin: { collection } } satisfies IngestRequest));
  const answers = await Promise.all(streams.map((frames) => grpc.call(Ingest.path, [begin, ...frames])));
  grpc.close();
  for (const answer of answers) {
    const events = [...messagesIn(answer)].map((message) => Ingest.responseDeserialize(message));
    const other = events.find(({ outcome }) => outcome && outcome.kind !== 'OUTCOME_KIND_INDEXED');
    if (other) throw new Error(`a document was not indexed: ${JSON.stringify(other.outcome)}`);
  }
}
