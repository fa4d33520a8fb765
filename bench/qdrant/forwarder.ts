import { readFileSync } from 'node:fs';
import { Server, ServerCredentials, type handleBidiStreamingCall, type handleUnaryCall } from '@grpc/grpc-js';
import type { IngestRequest__Output } from '../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { IngestResponse } from '../../proto/generated/scalingnote/v1/IngestResponse.ts';
import type { SearchRequest__Output } from '../../proto/generated/scalingnote/v1/SearchRequest.ts';
import type { SearchResponse } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { v1 } from '../../proto/load.ts';
import { toStruct } from '../../proto/struct.ts';
import type { ServiceReport } from '../../services/runtime/run-service.ts';
import { DirectQdrant, type RestRequest } from './load.ts';

/** What the forwarder is told. */
export interface Forwarded {
  url: string;
  apiKey: string | undefined;
  connections: number;
  /** File: the request for each query text. */
  searches: string;
  /** File with a point as JSON on each line, by sequence from 1. */
  points: string;
  /** Points of one request, and how many requests of a stream are under way. */
  batch: number;
  inFlight: number;
}

interface Answer {
  result: {
    points: {
      score: number;
      payload: {
        document_id: string;
        title?: string;
        passage: number;
        text?: string;
        metadata?: Record<string, unknown>;
      };
    }[];
  };
}

// The least that gRPC services before Qdrant can do: no vector is made, no request is written, nothing is checked, bounded,
// tried again or told of. What is slower than this is ours; the rest is gRPC on Node.
const settings = JSON.parse(process.env['BENCH_FORWARDED'] ?? '{}') as Forwarded;
const searches = JSON.parse(readFileSync(settings.searches, 'utf8')) as Record<string, RestRequest>;
const points = readFileSync(settings.points, 'utf8').split('\n');
const qdrant = new DirectQdrant(settings.url, settings.apiKey, settings.connections);

const search: handleUnaryCall<SearchRequest__Output, SearchResponse> = async ({ request }, callback) => {
  const answer = await qdrant.send(searches[request.query]!);
  const { result } = JSON.parse(answer.toString()) as Answer;
  const hits = result.points.slice(0, request.limit).map(({ score, payload }) => ({
    documentId: payload.document_id,
    score,
    title: payload.title ?? '',
    passage: payload.passage,
    text: payload.text ?? '',
    metadata: toStruct(payload.metadata ?? {}),
  }));
  callback(null, { hits });
};

const ingest: handleBidiStreamingCall<IngestRequest__Output, IngestResponse> = async (call) => {
  let path = '';
  let batch: { sequence: number; documentId: string }[] = [];
  const underWay = new Set<Promise<void>>();
  const write = (): void => {
    const documents = batch;
    batch = [];
    const body = `{"points":[${documents.map(({ sequence }) => points[sequence - 1]!).join(',')}]}`;
    const sent = qdrant.send({ method: 'PUT', path, body }).then(() => {
      for (const document of documents) {
        call.write({ outcome: { ...document, kind: 'OUTCOME_KIND_INDEXED' } });
      }
      underWay.delete(sent);
    });
    underWay.add(sent);
  };
  // Left to itself the iterator destroys the call at its end, answers included.
  for await (const message of call.iterator({ destroyOnReturn: false })) {
    const { begin, document, sequence } = message as IngestRequest__Output;
    if (begin) path = `/collections/${begin.collection}/points?wait=true`;
    if (document) batch.push({ sequence: Number(sequence), documentId: document.id });
    if (batch.length < settings.batch) continue;
    if (underWay.size >= settings.inFlight) await Promise.race(underWay);
    write();
  }
  if (batch.length > 0) write();
  await Promise.all(underWay);
  call.end();
};

const server = new Server({ 'grpc.max_receive_message_length': -1 });
server.addService(v1.QueryService.service, { Search: search });
server.addService(v1.DocumentService.service, { Ingest: ingest });
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  const report: ServiceReport =
    error === null
      ? { type: 'ready', address: `127.0.0.1:${port}`, pid: process.pid }
      : { type: 'failed', message: error.message };
  process.send?.(report);
});
process.on('SIGTERM', () => process.exit(0));
