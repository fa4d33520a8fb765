import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  fromJson,
  ScalarType,
  toJson,
  type DescField,
  type DescMessage,
  type DescService,
  type JsonValue,
  type MessageShape,
} from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import * as fc from 'fast-check';
import { request } from 'undici';
import { registry } from '../services/runtime/listener/json.ts';
import { startWebSystem, type WebSystem } from './testing/web.ts';

/**
 * The same requests, right and wrong, by every protocol: one answer, or one error with its code, reason and fields. The
 * client is the official one, the service is the real query service over a store in memory.
 */

const SEED = 17;
const REQUESTS = 300;
/** Messages within messages within messages, a filter's for one. */
const DEPTH = 4;

let system: WebSystem;
before(async () => (system = await startWebSystem()));
after(() => system?.stop());

/** Outcomes that differ between two runs of the same request. */
const NOISE = new Set(['timings']);

interface Case {
  method: 'search' | 'searchByVector' | 'encode';
  json: JsonValue;
  /** How many fields of each message were chosen at most. */
  most: number;
}

const PATHS = { search: '/v1/search', searchByVector: '/v1/search-by-vector', encode: '/v1/encode' } as const;

test(`${REQUESTS} requests mean the same by every protocol`, async (context) => {
  const described = registry.getService('scalingnote.v1.QueryService') as DescService;
  const baseUrl = system.service;
  const transports: Record<string, Transport> = {
    grpc: createGrpcTransport({ baseUrl }),
    'grpc-web': createGrpcWebTransport({ baseUrl, httpVersion: '1.1' }),
    'grpc-web json': createGrpcWebTransport({ baseUrl, httpVersion: '2', useBinaryFormat: false }),
    'connect binary': createConnectTransport({ baseUrl, httpVersion: '1.1' }),
    'connect json': createConnectTransport({ baseUrl, httpVersion: '2', useBinaryFormat: false }),
  };
  let answered = 0;
  const codes = new Map<string, number>();
  for (const { method, json, most } of fc.sample(cases(described, system.space), {
    numRuns: REQUESTS,
    seed: SEED,
  })) {
    const { input, output } = described.method[method]!;
    const message = fromJson(input, json, { registry });
    const outcomes: Record<string, unknown> = {};
    for (const [name, transport] of Object.entries(transports)) {
      const client = createClient(described, transport) as unknown as Record<
        string,
        (message: object) => Promise<MessageShape<DescMessage>>
      >;
      outcomes[name] = await client[method]!(message).then(
        (answer) => withoutNoise(toJson(output, answer, { registry })),
        (error: unknown) => failure(ConnectError.from(error)),
      );
    }
    outcomes['plain json'] = await plain(
      `${baseUrl}${PATHS[method]}`,
      toJson(input, message, { registry }),
      output,
    );
    // JSON is checked as it is read, so that of several faults it may name another one first.
    if (most > 1) {
      for (const outcome of Object.values(outcomes))
        if (isFailure(outcome)) Object.assign(outcome, ONE_OF_SEVERAL);
    }
    const [first, ...others] = Object.entries(outcomes);
    for (const [name, outcome] of others) {
      assert.deepEqual(outcome, first![1], `${name} against ${first![0]}: ${method} ${JSON.stringify(json)}`);
    }
    const said = first![1];
    if (isFailure(said)) codes.set(said.code, (codes.get(said.code) ?? 0) + 1);
    else answered++;
  }
  context.diagnostic(`${answered} answered, refused: ${JSON.stringify(Object.fromEntries(codes))}`);
  assert.ok(answered > REQUESTS / 10, `${answered} answered`);
  assert.ok(codes.size > 1, 'only one kind of refusal');
});

interface Failure {
  code: string;
  reason: string | undefined;
  fields: readonly string[];
}
const ONE_OF_SEVERAL: Failure = { code: 'one of several', reason: '', fields: [] };

function isFailure(outcome: unknown): outcome is Failure {
  return Object.hasOwn(outcome as object, 'code');
}

/** What an error says that programs read. */
function failure(error: ConnectError): Failure {
  const found = <Type extends object>(type: string): Type[] =>
    error.findDetails(registry.getMessage(type)!) as unknown as Type[];
  const [info] = found<{ reason: string }>('google.rpc.ErrorInfo');
  const violations = found<{ fieldViolations: { field: string }[] }>('google.rpc.BadRequest');
  return {
    code: Code[error.code],
    reason: info?.reason,
    // In JSON they have the names that JSON has.
    fields: violations.flatMap(({ fieldViolations }) =>
      fieldViolations.map(({ field }) =>
        field.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      ),
    ),
  };
}

async function plain(address: string, body: JsonValue, output: DescMessage): Promise<unknown> {
  const headers = { 'content-type': 'application/json' };
  const answer = await request(address, { method: 'POST', headers, body: JSON.stringify(body) });
  const said = (await answer.body.json()) as JsonValue;
  if (answer.statusCode === 200)
    return withoutNoise(toJson(output, fromJson(output, said, { registry }), { registry }));
  const {
    code,
    message,
    details = [],
  } = said as {
    code: string;
    message: string;
    details?: { type: string; value: string }[];
  };
  const named = code.replace(/(^|_)([a-z])/g, (_, __, letter: string) => letter.toUpperCase());
  const error = new ConnectError(message, Code[named as keyof typeof Code]);
  error.details = details.map(({ type, value }) => ({ type, value: Buffer.from(value, 'base64') }));
  return failure(error);
}

function withoutNoise(answer: JsonValue): JsonValue {
  return Object.fromEntries(
    Object.entries(answer as Record<string, JsonValue>).filter(([name]) => !NOISE.has(name)),
  );
}

/** Requests: each has what it needs, and some of its fields are anything that protobuf can say. */
function cases(service: DescService, space: string): fc.Arbitrary<Case> {
  const vector = Array.from({ length: 384 }, (_, i) => (i === 0 ? 1 : 0));
  const bases: Record<Case['method'], Record<string, JsonValue>> = {
    search: { collection: 'docs', query: 'a person who studies stars' },
    searchByVector: { search: { collection: 'docs' }, space, vector },
    encode: { texts: ['stars'] },
  };
  const methods: Case['method'][] = ['search', 'search', 'search', 'searchByVector', 'encode'];
  return fc.tuple(fc.constantFrom(...methods), fc.constantFrom(1, 3)).chain(([method, most]) =>
    someFields(service.method[method]!.input, DEPTH, most).map((json) => ({
      method,
      most,
      json: { ...bases[method], ...json },
    })),
  );
}

function someFields(type: DescMessage, depth: number, most: number): fc.Arbitrary<Record<string, JsonValue>> {
  const fields = type.fields.filter(
    // Any other vector is wrong in several ways at once.
    ({ fieldKind, name }) => (depth > 0 || fieldKind !== 'message') && name !== 'vector',
  );
  return fc.subarray(fields, { maxLength: Math.min(most, fields.length) }).chain((some) => {
    const groups = new Set<string>();
    const chosen = some.filter(({ oneof }) => {
      const isSecond = oneof !== undefined && groups.has(oneof.name);
      if (oneof) groups.add(oneof.name);
      return !isSecond;
    });
    return fc.record(
      Object.fromEntries(chosen.map((field) => [field.jsonName, ofField(field, depth, most)])),
    );
  });
}

function ofField(field: DescField, depth: number, most: number): fc.Arbitrary<JsonValue> {
  switch (field.fieldKind) {
    case 'scalar':
      return ofScalar(field.scalar);
    case 'enum':
      return fc.constantFrom<JsonValue[]>(...field.enum.values.map(({ name }) => name), 99);
    case 'message':
      return ofMessage(field.message, depth - 1, most);
    case 'list': {
      const item =
        field.listKind === 'message'
          ? ofMessage(field.message, depth - 1, most)
          : field.listKind === 'enum'
            ? fc.constantFrom<JsonValue[]>(...field.enum.values.map(({ name }) => name))
            : ofScalar(field.scalar);
      return fc.array(item, { maxLength: most });
    }
    case 'map':
      return fc.constant({});
  }
}

function ofMessage(type: DescMessage, depth: number, most: number): fc.Arbitrary<JsonValue> {
  if (type.typeName === 'google.protobuf.Value')
    return fc.constantFrom<JsonValue[]>(null, true, 1, 'red', [1], {});
  if (type.typeName === 'google.protobuf.Struct') return fc.constant({ colour: 'red' });
  if (type.typeName === 'google.protobuf.Timestamp') return fc.constant('2026-01-02T03:04:05Z');
  return someFields(type, depth, most);
}

function ofScalar(type: ScalarType): fc.Arbitrary<JsonValue> {
  switch (type) {
    case ScalarType.STRING:
      return fc.constantFrom('', 'docs', 'nowhere', 'metadata.colour', 'title', 'é\u0000', 'x'.repeat(700));
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.BYTES:
      return fc.constantFrom('', 'AAEC');
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return fc.constantFrom<JsonValue[]>(0, 0.5, -1, 1e30, 'NaN', 'Infinity', '-Infinity');
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return fc.constantFrom(0, 1, 3, -1, 5_000, 2 ** 31 - 1, -(2 ** 31));
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return fc.constantFrom(0, 1, 3, 5_000, 2 ** 32 - 1);
    default:
      return fc.constantFrom('0', '7', '9007199254740993');
  }
}
