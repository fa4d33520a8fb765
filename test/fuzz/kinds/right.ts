import * as fc from 'fast-check';
import { v1 } from '../../../proto/load.ts';
import type { ServiceName } from '../case.ts';
import type { Ground } from './kind.ts';

/** The collection that stays as it is: its documents are `d0` to `d19`. */
export const STEADY = 'steady';
export const STEADY_DOCUMENTS = 20;
/** Where right requests write. */
export const WRITTEN = 'written';

export const WORDS = ['red', 'fox', 'harbour', 'lantern', 'blue', 'meadow', 'ledger', 'orchard', 'the', 'of'];

/** A method, and a request (several for a stream) that it has to answer well. */
export interface Right {
  readonly service: ServiceName;
  readonly path: string;
  readonly messages: readonly Buffer[];
  readonly isStream: boolean;
  /** How it has to end. */
  readonly status: string;
  readonly check?: string;
}

const phrase = fc
  .array(fc.constantFrom(...WORDS), { minLength: 1, maxLength: 8 })
  .map((words) => words.join(' '));
const steadyId = fc.nat({ max: STEADY_DOCUMENTS - 1 }).map((number) => `d${number}`);
const writtenId = fc.nat({ max: 30 }).map((number) => `w${number}`);
const field = fc.constantFrom('metadata.colour', 'metadata.size', 'metadata.a.b');
const scalar = fc.oneof(
  phrase.map((stringValue) => ({ stringValue })),
  fc.integer({ min: -1000, max: 1000 }).map((numberValue) => ({ numberValue })),
  fc.boolean().map((boolValue) => ({ boolValue })),
);
const condition = fc.oneof(
  fc.record({
    equals: fc.record({ field: fc.constantFrom('metadata.colour', 'metadata.size'), value: scalar }),
  }),
  fc.record({
    anyOf: fc.record({
      field: fc.constantFrom('metadata.colour', 'metadata.size'),
      values: fc.array(
        phrase.map((stringValue) => ({ stringValue })),
        { minLength: 1, maxLength: 5 },
      ),
    }),
  }),
  fc.record({
    range: fc.record({
      field: fc.constantFrom('metadata.size'),
      gte: fc.integer({ max: 0 }),
      lt: fc.double({ min: 1, max: 1e6, noNaN: true }),
    }),
  }),
  fc.record({ exists: fc.record({ field }) }),
);
const conditions = fc.array(condition, { maxLength: 3 });
const filter = fc.option(fc.record({ must: conditions, should: conditions, mustNot: conditions }), {
  nil: undefined,
});

const plainSearch = fc.record({
  collection: fc.constant(STEADY),
  query: phrase,
  limit: fc.integer({ min: 1, max: 60 }),
  offset: fc.nat({ max: 30 }),
  filter,
  mode: fc.nat({ max: 3 }),
  omitText: fc.boolean(),
  omitMetadata: fc.boolean(),
  explain: fc.boolean(),
  snippetLength: fc.constantFrom(0, 16, 100, 4096),
  withDocumentText: fc.boolean(),
  prefix: fc.option(fc.boolean(), { nil: undefined }),
  withPercentile: fc.boolean(),
  withCount: fc.boolean(),
  facets: fc.array(
    field.map((each) => ({ field: each, limit: 3 })),
    { maxLength: 2 },
  ),
});
/** What not every search may say. */
const partial = fc.record({
  language: fc.constantFrom('', 'en', 'de', 'ja', 'none'),
  fusion: fc.oneof(
    fc.constantFrom<object>({ method: 1, k: 7 }, { k: 1000 }),
    fc.record<object>({
      method: fc.nat({ max: 3 }),
      denseWeight: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  ),
  sort: fc.record({ field: fc.oneof(field, fc.constant('version')), descending: fc.boolean() }),
  candidates: fc.integer({ min: 1, max: 10_000 }),
});
const HYBRID = 3;
const DENSE = 1;

/** A search with as much of what not every one may say as this one may. */
const search = fc.tuple(plainSearch, fc.option(partial, { nil: undefined })).map(([plain, more]) => {
  if (!more) return plain;
  const { language, fusion, sort, candidates } = more;
  const sorted = plain.explain ? {} : { sort };
  return {
    ...plain,
    ...(plain.mode > DENSE && { language }),
    ...(plain.mode === HYBRID && { fusion }),
    ...sorted,
    ...(('sort' in sorted || plain.withCount || plain.facets.length > 0) && { candidates }),
  };
});

/** What a search by a vector may not say. */
const WITHOUT_TEXT = {
  query: '',
  mode: DENSE,
  snippetLength: 0,
  explain: false,
  prefix: undefined,
  language: '',
  fusion: undefined,
};

const { service: query } = v1.QueryService;
const { service: document } = v1.DocumentService;

type Serialize = (message: never) => Buffer;

/** All methods of both services. */
export function rightRequests(ground: Ground): fc.Arbitrary<Right> {
  const one = (
    service: ServiceName,
    {
      path,
      requestSerialize,
      requestStream,
      responseStream,
    }: {
      path: string;
      requestSerialize: Serialize;
      requestStream: boolean;
      responseStream: boolean;
    },
    messages: fc.Arbitrary<readonly object[]>,
    more: { status?: string; check?: string } = {},
  ): fc.Arbitrary<Right> =>
    messages.map((all) => ({
      service,
      path,
      messages: all.map((message) => requestSerialize(message as never)),
      isStream: requestStream || responseStream,
      status: more.status ?? 'OK',
      ...(more.check !== undefined && { check: more.check }),
    }));
  const single = (message: fc.Arbitrary<object>): fc.Arbitrary<readonly object[]> =>
    message.map((each) => [each]);
  const vector = fc.array(fc.float({ min: -10, max: 10, noNaN: true }), {
    minLength: ground.dimensions,
    maxLength: ground.dimensions,
  });
  const begin = { begin: { collection: WRITTEN } };
  const operation = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ document: fc.record({ id: writtenId, title: phrase, text: phrase }) }),
    },
    { weight: 1, arbitrary: fc.record({ delete: fc.record({ id: writtenId }) }) },
  );
  return fc.oneof(
    {
      weight: 4,
      arbitrary: one('query', query.Search, single(search), { check: 'hits' }),
    },
    {
      weight: 1,
      arbitrary: one(
        'query',
        query.SearchByVector,
        fc.tuple(search, vector).map(([inside, values]) => [
          {
            search: { ...inside, ...WITHOUT_TEXT },
            space: ground.fingerprint,
            // Zeros have no direction.
            vector: [1, ...values.slice(1)],
          },
        ]),
      ),
    },
    {
      weight: 2,
      arbitrary: one(
        'query',
        query.SearchStream,
        fc
          .array(search, { minLength: 1, maxLength: 4 })
          .map((all) => all.map((inside, index) => ({ sequence: index + 1, search: inside }))),
        { check: 'stream' },
      ),
    },
    {
      weight: 2,
      arbitrary: one(
        'query',
        query.Encode,
        single(fc.record({ texts: fc.array(phrase, { minLength: 1, maxLength: 8 }) })),
        { check: 'embeddings' },
      ),
    },
    {
      weight: 1,
      arbitrary: one('query', query.MeasureFamiliarity, single(fc.constant({ collection: STEADY }))),
    },
    { weight: 1, arbitrary: one('query', query.Describe, fc.constant([{}])) },
    { weight: 1, arbitrary: one('document', document.Describe, fc.constant([{}])) },
    { weight: 1, arbitrary: one('document', document.ListAliases, fc.constant([{}])) },
    { weight: 1, arbitrary: one('document', document.ListCollections, fc.constant([{}])) },
    {
      weight: 1,
      arbitrary: one(
        'document',
        document.Count,
        single(fc.record({ collection: fc.constant(STEADY), filter })),
      ),
    },
    {
      weight: 1,
      arbitrary: one(
        'document',
        document.ListDocuments,
        single(fc.record({ collection: fc.constant(STEADY), pageSize: fc.integer({ min: 1, max: 100 }) })),
      ),
    },
    {
      weight: 1,
      arbitrary: one(
        'document',
        document.GetDocuments,
        single(
          fc.record({
            collection: fc.constant(STEADY),
            documentIds: fc.uniqueArray(steadyId, { minLength: 1, maxLength: 5 }),
            withVectors: fc.boolean(),
          }),
        ),
      ),
    },
    {
      weight: 1,
      arbitrary: one(
        'document',
        document.Export,
        single(fc.record({ collection: fc.constant(STEADY), withVectors: fc.boolean() })),
        { check: 'export' },
      ),
    },
    {
      weight: 3,
      arbitrary: one(
        'document',
        document.Ingest,
        fc
          .array(operation, { minLength: 1, maxLength: 6 })
          .map((all) => [begin, ...all.map((each, index) => ({ sequence: index + 1, ...each }))]),
        { check: 'ingest' },
      ),
    },
    {
      weight: 1,
      arbitrary: one(
        'document',
        document.Delete,
        single(
          fc.record({
            collection: fc.constant(WRITTEN),
            documentIds: fc.uniqueArray(writtenId, { minLength: 1, maxLength: 4 }),
          }),
        ),
      ),
    },
    {
      weight: 1,
      arbitrary: one(
        'document',
        document.DropCollection,
        fc.constant([{ physicalName: 'gone--sp1_00000000' }]),
        { status: 'NOT_FOUND' },
      ),
    },
    {
      weight: 1,
      arbitrary: one(
        'document',
        document.SwitchAlias,
        fc.constant([{ alias: 'other', physicalName: 'gone--sp1_00000000' }]),
        { status: 'NOT_FOUND' },
      ),
    },
  );
}
