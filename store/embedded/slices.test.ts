import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { put, SPACE, sparse } from '../contract/stores.ts';
import type { SearchQuery } from '../queries.ts';
import type { ScrollPage } from '../store.ts';
import type { DocumentWrite } from '../writes.ts';
import { Engine } from './engine.ts';
import { prepareWrites } from './prepare.ts';
import { Slice, type Sliced } from './slice.ts';
import { finish } from './testing/finish.ts';

/** Pieces of work in each slice: the clock of these tests moves on with every look at it. */
const PIECES = 2;

/** Rows in a piece, at the most. */
const ROWS = 64;

const DOCUMENTS = 1000;

let root: string;
let directory: string;
let engine: Engine;
let count = 0;

before(() => {
  root = mkdtempSync(join(tmpdir(), 'scalingnote-slices-'));
});

beforeEach(() => {
  directory = join(root, String(count++));
  let looks = 0;
  const slice = new Slice(PIECES, () => looks++);
  engine = new Engine(directory, 5000, () => {}, undefined, Date.now, slice);
  engine.ensureCollection('docs', SPACE);
  write(Array.from({ length: DOCUMENTS }, (_, index) => document('large', index)));
  write([document('small', 1), document('small', 2)]);
});

afterEach(() => engine.close());

after(() => rmSync(root, { recursive: true }));

function document(tenant: string, index: number): DocumentWrite {
  const vectors = [
    [1, index / DOCUMENTS, 0, 0],
    [0, 1, index / DOCUMENTS, 0],
  ];
  return {
    ...put(`d${index}`, vectors, { tenant, metadata: { number: index } }),
    passages: vectors.map((vector) => ({
      vector: Float32Array.from(vector),
      sparse: sparse({ [index % 7]: 1 + index / DOCUMENTS, 99: 1 }),
    })),
  };
}

function write(writes: readonly DocumentWrite[]): void {
  engine.writeDocuments('docs', prepareWrites(writes).prepared);
}

const VECTOR = Float32Array.of(1, 0, 0, 0);

function searchOf(tenant: string, query: Partial<SearchQuery> = { vector: VECTOR }): Sliced<string[]> {
  return mapped(engine.search('docs', { tenant, limit: 5, ...query }));
}

function* mapped(call: ReturnType<Engine['search']>): Sliced<string[]> {
  return (yield* call).map(({ documentId, score }) => `${documentId} ${score.toFixed(6)}`);
}

/** Runs a call slice by slice, with work between. @returns its result, and how many slices it took */
function drive<Result>(
  call: Sliced<Result>,
  between: (slice: number) => void,
): { result: Result; slices: number } {
  for (let slices = 1; ; slices++) {
    const { done, value } = call.next();
    if (done === true) return { result: value, slices };
    between(slices);
  }
}

describe('a delete by filter', () => {
  it('lets other calls in between its slices, and each of these is durable', () => {
    let last = DOCUMENTS;
    const { result, slices } = drive(engine.deleteByFilter('docs', 'large', {}), () => {
      assert.equal(finish(searchOf('small')).length, 2);
      const { documents } = finish(engine.count('docs', 'large', undefined));
      assert.ok(documents < last && documents >= last - (PIECES + 1) * ROWS, `${documents} after ${last}`);
      last = documents;
    });
    assert.equal(result, DOCUMENTS);
    assert.ok(slices >= DOCUMENTS / ((PIECES + 1) * ROWS), `${slices} slices`);
    assert.deepEqual(finish(engine.count('docs', 'large', undefined)), { documents: 0, passages: 0 });
  });

  it('that is cancelled has deleted a part, and the same call deletes the rest', () => {
    const call = engine.deleteByFilter('docs', 'large', {});
    call.next();
    call.next();
    call.return(0);
    const { documents } = finish(engine.count('docs', 'large', undefined));
    assert.ok(documents > 0 && documents < DOCUMENTS);
    assert.equal(finish(engine.deleteByFilter('docs', 'large', {})), documents);
  });

  it('ends where the collection is dropped meanwhile, and spares the one that is made after it', () => {
    const { physicalName } = engine.findCollection('docs');
    const call = engine.deleteByFilter('docs', 'large', {});
    call.next();
    engine.dropCollection(physicalName);
    engine.ensureCollection('docs', SPACE);
    write([document('large', 1)]);
    assert.throws(() => finish(call), { reason: 'COLLECTION_NOT_FOUND' });
    assert.equal(finish(engine.count('docs', 'large', undefined)).documents, 1);
  });
});

describe('a page of documents', () => {
  const pageOf = (request: Parameters<Engine['scroll']>[2]) => engine.scroll('docs', 'large', request);
  const ids = ({ documents }: ScrollPage) => documents.map(({ documentId }) => documentId);
  const all = Array.from({ length: DOCUMENTS }, (_, index) => `d${index}`).sort();

  it('lets other calls in while it looks for what a filter holds for', () => {
    const filter = { must: [{ field: 'metadata.number', anyOf: [3, 998] }] };
    const { result, slices } = drive(pageOf({ limit: 10, filter }), () => {
      assert.equal(finish(searchOf('small')).length, 2);
    });
    assert.deepEqual(ids(result), ['d3', 'd998']);
    assert.equal(result.next, undefined);
    assert.ok(slices >= DOCUMENTS / ((PIECES + 1) * ROWS), `${slices} slices`);
  });

  it('is followed by the next one, wherever its slices end', () => {
    for (const request of [{ limit: 97 }, { limit: 250 }, { limit: 1000 }, { limit: 400, bytes: 2000 }]) {
      const found: string[] = [];
      let after: string | undefined;
      do {
        const page = finish(pageOf({ ...request, ...(after !== undefined && { after }) }));
        assert.ok(page.documents.length > 0 && page.documents.length <= request.limit);
        found.push(...ids(page));
        after = page.next;
      } while (after !== undefined);
      assert.deepEqual(found, all);
    }
  });

  it('ends where the collection is dropped meanwhile', () => {
    const { physicalName } = engine.findCollection('docs');
    const call = pageOf({ limit: 1000 });
    call.next();
    engine.dropCollection(physicalName);
    engine.ensureCollection('docs', SPACE);
    assert.throws(() => finish(call), { reason: 'COLLECTION_NOT_FOUND' });
  });
});

describe('a count with a filter', () => {
  it('counts each document once, whatever is written meanwhile', () => {
    const filter = { must: [{ field: 'metadata.number', range: { gte: 0 } }] };
    const { result, slices } = drive(engine.count('docs', 'large', filter), (slice) => {
      write([document('large', slice * 11), document('large', DOCUMENTS - slice)]);
    });
    assert.deepEqual(result, { documents: DOCUMENTS, passages: 2 * DOCUMENTS });
    assert.ok(slices >= DOCUMENTS / ((PIECES + 1) * ROWS));
  });
});

describe('a first search', () => {
  const kinds: [name: string, query: Partial<SearchQuery>][] = [
    ['dense', { vector: VECTOR }],
    ['sparse', { sparse: sparse({ 3: 1, 99: 0.1 }) }],
    ['hybrid', { vector: VECTOR, sparse: sparse({ 3: 1 }) }],
    ['filtered', { vector: VECTOR, filter: { must: [{ field: 'metadata.number', range: { gte: 250 } }] } }],
  ];
  for (const [name, query] of kinds) {
    it(`finds, ${name}, what is stored when it ends, whatever was written meanwhile`, () => {
      const { result, slices } = drive(searchOf('large', query), (slice) => {
        assert.equal(finish(searchOf('small')).length, 2);
        if (slice > 40) return;
        write([
          { kind: 'delete', tenant: 'large', documentId: `d${slice * 3}`, version: 0 },
          document('large', slice * 5),
          document('large', DOCUMENTS + slice),
          { ...document('large', 250 + slice), version: slice },
        ]);
      });
      assert.ok(slices > DOCUMENTS / PIECES, `${slices} slices`);
      const fresh = new Engine(directory, 5000, () => {});
      const hits = finish(mapped(fresh.search('docs', { tenant: 'large', limit: 5, ...query })));
      fresh.close();
      assert.deepEqual(result, hits);
    });
  }

  it('goes on where one that was cancelled ended', () => {
    const first = searchOf('large');
    for (let slice = 0; slice < 20; slice++) assert.equal(first.next().done, false);
    first.return([]);
    const whole = drive(searchOf('large'), () => {}).slices;
    engine.close();
    engine = new Engine(directory, 5000, () => {}, undefined, Date.now, new Slice(PIECES, ticks()));
    const { slices } = drive(searchOf('large'), () => {});
    assert.ok(whole <= slices - 19, `${whole} slices after 20, where ${slices} load everything`);
  });

  it('shares the work with others of its kind', () => {
    const alone = drive(searchOf('large'), () => {}).slices;
    engine.close();
    engine = new Engine(directory, 5000, () => {}, undefined, Date.now, new Slice(PIECES, ticks()));
    const calls = [searchOf('large'), searchOf('large'), searchOf('large')];
    let slices = 0;
    for (let open = calls; open.length > 0;) {
      slices += open.length;
      open = open.filter((call) => call.next().done !== true);
    }
    assert.ok(slices <= alone + 2 * calls.length, `${slices} slices of three, ${alone} of one`);
  });
});

describe('prepare', () => {
  it('works in slices, and then a search takes one', () => {
    const { slices } = drive(engine.prepare(SPACE.fingerprint), () => {
      assert.equal(finish(searchOf('small')).length, 2);
    });
    assert.ok(slices > DOCUMENTS / PIECES, `${slices} slices`);
    assert.equal(drive(searchOf('large'), () => {}).slices, 1);
  });
});

function ticks(): () => number {
  let looks = 0;
  return () => looks++;
}
