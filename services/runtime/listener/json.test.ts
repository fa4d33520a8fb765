import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromBinary, fromJson, toBinary, toJson, type DescMessage } from '@bufbuild/protobuf';
import type { MethodDefinition } from '@grpc/grpc-js';
import * as fc from 'fast-check';
import { v1 } from '../../../proto/load.ts';
import { decodeStatus, STATUS_DETAILS_TRAILER } from '../../../proto/status.ts';
import { invalidArguments, ServiceError, toGrpcError } from '../errors.ts';
import { jsonMethod, registry } from './json.ts';
import { jsonWriter } from './json-write.ts';
import { messages } from './testing/messages.ts';

type Method = MethodDefinition<object, object>;

/** Every unary method of both services, with its messages. */
const METHODS = [v1.QueryService.service, v1.DocumentService.service].flatMap((service) =>
  (Object.values(service) as unknown as Method[])
    .filter(({ requestStream, responseStream }) => !requestStream && !responseStream)
    .map((method) => {
      const [, owner = '', name] = method.path.split('/');
      const types = registry.getService(owner)!.methods.find((one) => one.name === name)!;
      return { method, name: name!, input: types.input, output: types.output };
    }),
);

test('an answer in JSON is what protobuf makes of its bytes', () => {
  for (const { method, name, output } of METHODS) {
    assert.ok(jsonWriter(output), `${name} is written directly`);
    const json = jsonMethod(method.path)!;
    fc.assert(
      fc.property(messages(output, 4), (message) => {
        const bytes = method.responseSerialize(message);
        const expected = toJson(output, fromBinary(output, bytes), { registry });
        assert.deepEqual(JSON.parse(json.encode(message, method.responseSerialize)), plain(expected));
      }),
      { numRuns: 100 },
    );
  }
});

test('a text that says "0" is written, and a number that is 0 is not', () => {
  const { path, responseSerialize } = v1.QueryService.service.Search as unknown as Method;
  const hit = { documentId: '0', title: '0', text: '0', version: '0', passage: 0, score: 0 };
  const written = jsonMethod(path)!.encode({ hits: [hit] }, responseSerialize);
  assert.deepEqual(JSON.parse(written), { hits: [{ documentId: '0', title: '0', text: '0' }] });
});

test('a message that only protobuf knows how to write is written by it', () => {
  assert.equal(jsonWriter(registry.getMessage('scalingnote.v1.SearchStreamResponse')!), undefined);
});

test('a request in JSON is taken as protobuf takes it, in either spelling', () => {
  for (const { method, input } of METHODS) {
    const json = jsonMethod(method.path)!;
    fc.assert(
      fc.property(messages(input, 4), fc.boolean(), (message, useProtoFieldName) => {
        const decoded = fromBinary(input, method.requestSerialize(message));
        const text = JSON.stringify(toJson(input, decoded, { registry, useProtoFieldName }));
        const expected = toBinary(input, fromJson(input, JSON.parse(text), { registry }));
        assert.deepEqual(Buffer.from(json.decode(text)), Buffer.from(expected));
      }),
      { numRuns: 100 },
    );
  }
});

test('what protobuf does not take is refused with the path of the field', () => {
  const values = [
    -1,
    1.5,
    2 ** 40,
    '',
    'x',
    true,
    [],
    {},
    [null],
    [1],
    1e300,
    'NaN',
    { a: 1 },
    '9'.repeat(40),
  ];
  for (const { method, input } of METHODS) {
    const json = jsonMethod(method.path)!;
    for (const field of input.fields) {
      for (const value of values) {
        const text = JSON.stringify({ [field.jsonName]: value });
        if (takes(input, text)) continue;
        const { message, violations } = refusal(() => json.decode(text));
        const named = violations[0]?.field ?? '';
        assert.ok(named.startsWith(field.jsonName), `${text}: ${message}`);
        assert.ok(!/scalingnote\.v1|cannot decode/.test(message), `${text}: ${message}`);
      }
    }
  }
});

test('a number out of range is refused with the range of the field', () => {
  const cases: [string, unknown, string][] = [
    ['Search', { limit: -1 }, 'limit: is -1; send 1 to 1000, or leave it out for 10'],
    ['Search', { limit: 1.5 }, 'limit: is 1.5; send a whole number from 1 to 1000, or leave it out for 10'],
    [
      'Search',
      { limit: 'ten' },
      'limit: is "ten"; send a whole number from 1 to 1000, or leave it out for 10',
    ],
    ['Search', { limit: 1e10 }, 'limit: is 10000000000; send 1 to 1000, or leave it out for 10'],
    ['Search', { offset: '-5' }, 'offset: is "-5"; send 0 to 10000'],
    ['Search', { snippet_length: -16 }, 'snippetLength: is -16; send 16 to 4096, or 0 for none'],
    [
      'SearchByVector',
      { search: { limit: -1 } },
      'search.limit: is -1; send 1 to 1000, or leave it out for 10',
    ],
    ['SearchByVector', { vector: [0, 1e39] }, 'vector[1]: is 1e+39; send a number that fits into 32 bits'],
    ['ListDocuments', { pageSize: -1 }, 'pageSize: is -1; send 1 to 100, or leave it out for 20'],
    [
      'Search',
      { filter: { must: [{ range: { field: 'version', gte: 'NaN' } }] } },
      'filter.must[0].range.gte: is "NaN"; send a finite number',
    ],
    [
      'Search',
      { filter: { must_not: [{ exists: {}, equals: {} }] } },
      'filter.mustNot[0]: has exists and equals; send one of equals, anyOf, range, exists, filter',
    ],
    ['Search', { mode: 'SEARCH_MODE_DENS' }, 'mode: is "SEARCH_MODE_DENS"; did you mean SEARCH_MODE_DENSE?'],
  ];
  for (const [name, request, message] of cases) {
    const { method } = METHODS.find((one) => one.name === name)!;
    const json = jsonMethod(method.path)!;
    assert.equal(refusal(() => json.decode(JSON.stringify(request))).message, message);
  }
});

test('an error names fields as JSON does, in message and details, and leaves keys of the caller alone', () => {
  const json = jsonMethod(METHODS.find(({ name }) => name === 'Search')!.method.path)!;
  const given = toGrpcError(
    invalidArguments([
      { field: 'score_threshold', description: 'is 2; send less' },
      { field: 'filter.must_not[3].any_of.values', description: 'has 0 values' },
      { field: 'filter.must[0].equals.value.some_key', description: 'is odd' },
    ]),
  );
  const { details, metadata } = json.named(given);
  assert.equal(
    details,
    'scoreThreshold: is 2; send less; filter.mustNot[3].anyOf.values: has 0 values; ' +
      'filter.must[0].equals.value.some_key: is odd',
  );
  const rich = decodeStatus(metadata!.get(STATUS_DETAILS_TRAILER)[0] as Buffer);
  assert.deepEqual(
    rich.violations!.map(({ field }) => field),
    ['scoreThreshold', 'filter.mustNot[3].anyOf.values', 'filter.must[0].equals.value.some_key'],
  );
  assert.deepEqual([rich.reason, rich.message], ['INVALID_ARGUMENT', details]);
});

function refusal(call: () => unknown): ServiceError {
  try {
    call();
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
  throw new Error('it was taken');
}

function takes(type: DescMessage, text: string): boolean {
  try {
    fromJson(type, JSON.parse(text), { registry });
    return true;
  } catch {
    return false;
  }
}

/** As it comes out of JSON text. */
function plain(json: unknown): unknown {
  return JSON.parse(JSON.stringify(json));
}
