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

/** Arguments of the forwarder. */
export interface Forwarded {
  url: string;
  apiKey: string | undefined;
  connections: number;
  /** File with the request for each query text. */
  searches: string;
  /** File with a point as JSON on each line, by sequence from 1. */
  points: string;
  /** Points in one request, and requests of a stream in flight. */
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

// The least that gRPC services in front of Qdrant can do: it makes no vector and writes no request; it
// checks, bounds, retries and reports nothing. Its own cost is that of gRPC on Node; any cost above that is
// ours.
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
  // By default the iterator destroys the call at its end, answers included.
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
