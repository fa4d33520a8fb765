import {
  type handleBidiStreamingCall,
  type handleUnaryCall,
  loadPackageDefinition,
  type Metadata,
  Server,
  ServerCredentials,
  type ServiceClientConstructor,
  status as Code,
} from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestContext } from 'node:test';
import protobuf from 'protobufjs';
import { idsOf, vectorOf } from './endpoint.ts';

/** As text-embeddings-inference publishes it, by what a client of embeddings sees: written down apart from our own messages. */
const PROTO = `
syntax = "proto3";
package tei.v1;
service Info { rpc Info(InfoRequest) returns (InfoResponse); }
service Embed { rpc EmbedStream(stream EmbedRequest) returns (stream EmbedResponse); }
service Tokenize { rpc Tokenize(EncodeRequest) returns (EncodeResponse); }
message InfoRequest {}
message InfoResponse {
  string version = 1;
  string model_id = 4;
  optional string model_sha = 5;
  string model_dtype = 6;
  uint32 max_concurrent_requests = 8;
  uint32 max_input_length = 9;
  uint32 max_batch_tokens = 10;
  uint32 max_client_batch_size = 12;
}
enum TruncationDirection { TRUNCATION_DIRECTION_RIGHT = 0; TRUNCATION_DIRECTION_LEFT = 1; }
message EmbedRequest {
  string inputs = 1;
  bool truncate = 2;
  optional bool normalize = 3;
  TruncationDirection truncation_direction = 4;
  optional string prompt_name = 5;
  optional uint32 dimensions = 6;
}
message Metadata {
  uint32 compute_chars = 1;
  uint32 compute_tokens = 2;
  uint64 total_time_ns = 3;
}
message EmbedResponse { repeated float embeddings = 1; Metadata metadata = 2; }
message EncodeRequest { string inputs = 1; bool add_special_tokens = 2; optional string prompt_name = 3; }
message SimpleToken { uint32 id = 1; string text = 2; bool special = 3; optional uint32 start = 4; optional uint32 stop = 5; }
message EncodeResponse { repeated SimpleToken tokens = 1; }
`;

/** A text as it came in. */
export interface TeiRequest {
  inputs: string;
  truncate: boolean;
  normalize?: boolean;
  dimensions?: number;
}

export interface TeiResponse {
  embeddings: number[];
  metadata: { computeTokens: number } | null;
}

/** A stream that came in. */
export interface TeiCall {
  requests: TeiRequest[];
  metadata: Metadata;
  /** From 1. */
  number: number;
}

export interface TeiStatus {
  code: Code;
  details: string;
  metadata?: Metadata;
}

/** How a stand-in behaves; may be changed at any time. */
export interface TeiBehaviour {
  model: string;
  revision: string;
  dimensions: number;
  seed: number;
  key: string | undefined;
  /** Tokens of a text; longer ones are refused, or cut where the client allows that. */
  maxInputLength: number;
  /** Where it cuts a text although it must not. */
  cutAt: number;
  /** Whether it knows `dimensions`. */
  matryoshka: boolean;
  /** What a stream gets instead of an answer, or in its place. */
  fault: (call: TeiCall) => TeiStatus | 'hang' | ((answers: TeiResponse[]) => TeiResponse[]) | undefined;
  /** What one text of a stream gets; those before it are answered. */
  refuse: (text: string) => TeiStatus | undefined;
}

/** A stand-in for the gRPC server of text-embeddings-inference. */
export interface TestTei {
  /** `http://127.0.0.1:PORT` */
  url: string;
  behaviour: TeiBehaviour;
  seen: TeiCall[];
  stop(): void;
  /** Serves again, at the same port. */
  restart(): Promise<void>;
}

const root = protobuf.parse(PROTO, { keepCase: false }).root;
const services = (
  loadPackageDefinition(fromJSON(root.toJSON(), { defaults: false, enums: String })) as unknown as {
    tei: { v1: Record<'Info' | 'Embed' | 'Tokenize', ServiceClientConstructor> };
  }
).tei.v1;

/** Starts a stand-in. It ends with the test. */
export async function startTei(
  context: Pick<TestContext, 'after'>,
  behaviour: Partial<TeiBehaviour> = {},
  credentials = ServerCredentials.createInsecure(),
): Promise<TestTei> {
  let server: Server;
  const listen = async (port: number): Promise<number> => {
    server = serverOf(tei);
    return new Promise((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) =>
        error ? reject(error) : resolve(bound),
      );
    });
  };
  const tei: TestTei = {
    url: '',
    behaviour: {
      model: 'tiny',
      revision: 'abc',
      dimensions: 16,
      seed: 0,
      key: undefined,
      maxInputLength: 64,
      cutAt: Number.POSITIVE_INFINITY,
      matryoshka: true,
      fault: () => undefined,
      refuse: () => undefined,
      ...behaviour,
    },
    seen: [],
    stop: () => server.forceShutdown(),
    restart: async () => void (await listen(Number(new URL(tei.url).port))),
  };
  tei.url = `http://127.0.0.1:${await listen(0)}`;
  context.after(() => tei.stop());
  return tei;
}

function serverOf(tei: TestTei): Server {
  const { behaviour } = tei;
  const server = new Server();
  const refused = (metadata: Metadata): TeiStatus | undefined =>
    behaviour.key === undefined || metadata.get('authorization')[0] === `Bearer ${behaviour.key}`
      ? undefined
      : { code: Code.UNAUTHENTICATED, details: 'No valid auth token' };
  const unary =
    <Request, Response>(
      answer: (request: Request) => Promise<Response>,
    ): handleUnaryCall<Request, Response> =>
    async ({ request, metadata }, callback) => {
      const status = refused(metadata);
      if (status) {
        callback(status);
        return;
      }
      let value: Response;
      try {
        value = await answer(request);
      } catch (error) {
        callback(error as TeiStatus);
        return;
      }
      callback(null, value);
    };
  const embed: handleBidiStreamingCall<TeiRequest, TeiResponse> = (call) => {
    const requests: TeiRequest[] = [];
    call.on('data', (request: TeiRequest) => requests.push(request));
    call.on('end', () => {
      const seen = { requests, metadata: call.metadata, number: tei.seen.push({} as TeiCall) };
      tei.seen[seen.number - 1] = seen;
      const status = refused(call.metadata);
      const fault = behaviour.fault(seen);
      if (fault === 'hang') return;
      void answersOf(behaviour, requests).then(({ answers, failure }) => {
        if (status || typeof fault === 'object') {
          call.emit('error', status ?? fault);
          return;
        }
        for (const answer of fault ? fault(answers) : answers) call.write(answer);
        if (failure) call.emit('error', failure);
        else call.end();
      });
    });
  };
  server.addService(services.Embed.service, { EmbedStream: embed });
  server.addService(services.Info.service, {
    Info: unary(async () => ({
      version: '1.9.0',
      modelId: behaviour.model,
      modelSha: behaviour.revision,
      modelDtype: 'float32',
      maxInputLength: behaviour.maxInputLength,
      maxClientBatchSize: 32,
    })),
  });
  server.addService(services.Tokenize.service, {
    Tokenize: unary(async ({ inputs, addSpecialTokens }: { inputs: string; addSpecialTokens: boolean }) => {
      if (!inputs) throw statusError({ code: Code.INVALID_ARGUMENT, details: '`inputs` cannot be empty' });
      const ids = await idsOf(inputs);
      const tokens = ids.map((id, place) => ({ id, special: place === 0 || place === ids.length - 1 }));
      return { tokens: addSpecialTokens ? tokens : tokens.slice(1, -1) };
    }),
  });
  return server;
}

async function answersOf(
  behaviour: TeiBehaviour,
  requests: readonly TeiRequest[],
): Promise<{ answers: TeiResponse[]; failure?: TeiStatus }> {
  await delay(1);
  const answers: TeiResponse[] = [];
  for (const { inputs, truncate, normalize, dimensions } of requests) {
    const refused = behaviour.refuse(inputs);
    if (refused) return { answers, failure: refused };
    const ids = await idsOf(inputs ?? '');
    if (ids.length > behaviour.maxInputLength && !truncate) {
      const details = `\`inputs\` must have less than ${behaviour.maxInputLength} tokens. Given: ${ids.length}`;
      return { answers, failure: { code: Code.INVALID_ARGUMENT, details } };
    }
    const read = ids.slice(0, Math.min(behaviour.maxInputLength, behaviour.cutAt));
    const vector = vectorOf(read, behaviour);
    if (behaviour.matryoshka && dimensions !== undefined && dimensions > vector.length) {
      const details = '`dimensions` should be smaller than the maximum embedding dimension.';
      return { answers, failure: { code: Code.INVALID_ARGUMENT, details } };
    }
    const kept = [...(behaviour.matryoshka ? vector.subarray(0, dimensions) : vector)];
    const length = normalize === false ? 1 : Math.hypot(...kept);
    answers.push({
      embeddings: kept.map((value) => value / length),
      metadata: { computeTokens: read.length },
    });
  }
  return { answers };
}

function statusError(status: TeiStatus): Error {
  return Object.assign(new Error(status.details), status);
}
