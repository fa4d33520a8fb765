import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SPACE, sparse, TENANT, withTerms } from '../contract/stores.ts';
import type { DocumentWrite } from '../writes.ts';
import { Engine } from './engine.ts';
import { prepareWrites } from './prepare.ts';
import { LEAST_PASSAGES, SNAPSHOTS_FOLDER } from './snapshots.ts';
import { finish } from './testing/finish.ts';
import { watchStatements } from './testing/watch-statements.ts';

const MANY = LEAST_PASSAGES + 1000;
const NAME = 'kept';

function folderOf(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-snapshots-'));
  context.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Its vector turns with its number, and its terms name it. */
function numbered(index: number, expiresAt?: number): DocumentWrite {
  const angle = (index * Math.PI) / 2 / MANY;
  return {
    ...withTerms(`d${index}`, { 1: 1, [10 + index]: 1 }),
    ...(expiresAt !== undefined && { expiresAt }),
    passages: [
      {
        vector: Float32Array.of(Math.cos(angle), Math.sin(angle), 0, 0),
        sparse: sparse({ 1: 1, [10 + index]: 1 }),
      },
    ],
  };
}

function put(engine: Engine, numbers: readonly number[], expiresAt?: number): void {
  const writes = numbers.map((index) => numbered(index, expiresAt));
  engine.writeDocuments(NAME, prepareWrites(writes).prepared);
}

function remove(engine: Engine, numbers: readonly number[]): void {
  const writes = numbers.map((index) => ({
    kind: 'delete' as const,
    tenant: TENANT,
    documentId: `d${index}`,
    version: 0,
  }));
  engine.writeDocuments(NAME, writes);
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** What searches find: dense near some numbers, sparse by their own term and by the term of all. */
function answers(engine: Engine, near: readonly number[]): unknown {
  const ask = (query: object): unknown =>
    finish(engine.search(NAME, { tenant: TENANT, limit: 5, ...query })).map(({ documentId, score }) => [
      documentId,
      score,
    ]);
  return near.map((index) => {
    const angle = (index * Math.PI) / 2 / MANY;
    const vector = Float32Array.of(Math.cos(angle), Math.sin(angle), 0, 0);
    return [ask({ vector }), ask({ sparse: sparse({ [10 + index]: 1 }) }), ask({ sparse: sparse({ 1: 1 }) })];
  });
}

/** Prepares until the snapshot is there: its sync goes on beside. */
async function keep(engine: Engine, folder: string, times = 200): Promise<string[]> {
  for (let time = 0; time < times; time++) {
    finish(engine.prepare(SPACE.fingerprint, true));
    const names = filesIn(folder);
    if (names.length > 0 && names.every((name) => name.endsWith('.mirror'))) return names;
    await sleep(5);
  }
  return filesIn(folder);
}

function filesIn(folder: string): string[] {
  const path = join(folder, SNAPSHOTS_FOLDER);
  return existsSync(path) ? readdirSync(path) : [];
}

/** Statements that read vectors or terms of passages, of all stores. */
let rowReads = 0;
watchStatements((sql) => {
  if (/SELECT d\.id AS document, p\.id AS id/.test(sql)) rowReads++;
});

interface Opened {
  engine: Engine;
  warnings: string[];
  /** How many statements have since read vectors or terms of passages. */
  reads: () => number;
}

function open(folder: string, context: TestContext, now?: () => number): Opened {
  const warnings: string[] = [];
  const before = rowReads;
  const engine = new Engine(folder, 5000, (message) => warnings.push(message), undefined, now);
  let open = true;
  const close = engine.close.bind(engine);
  engine.close = () => {
    if (open) close();
    open = false;
  };
  context.after(() => engine.close());
  return { engine, warnings, reads: () => rowReads - before };
}

const NEAR = [2, 71, 2000, MANY - 1];

const original = mkdtempSync(join(tmpdir(), 'scalingnote-snapshots-'));
after(() => rmSync(original, { recursive: true }));
let known: { name: string; before: unknown };

before(async () => {
  const engine = new Engine(original, 5000, assert.fail);
  engine.ensureCollection(NAME, SPACE);
  put(engine, upTo(MANY));
  remove(engine, [3, 70]);
  const [name] = await keep(engine, original);
  known = { name: name!, before: answers(engine, NEAR) };
  engine.close();
});

/** A store of many documents, some of them gone, with its snapshot. */
function kept(context: TestContext): { folder: string; file: string; before: unknown } {
  const folder = folderOf(context);
  cpSync(original, folder, { recursive: true });
  return { folder, file: join(folder, SNAPSHOTS_FOLDER, known.name), before: known.before };
}

test('a start reads vectors and terms from the snapshot alone, and finds the same', (context) => {
  const { folder, before } = kept(context);
  const { engine, warnings, reads } = open(folder, context);
  finish(engine.prepare(SPACE.fingerprint));
  finish(engine.prepare(SPACE.fingerprint, true));
  assert.equal(reads(), 0);
  assert.deepEqual(answers(engine, NEAR), before);
  assert.equal(reads(), 0, 'the first sparse search reads no terms');
  assert.deepEqual(warnings, []);
});

test('what came after the snapshot is applied to it: other documents, deletes, changes, expiry', (context) => {
  const { folder, file } = kept(context);
  const written = statSync(file).mtimeMs;
  const later = open(folder, context).engine;
  put(later, [MANY, MANY + 1, 4]);
  remove(later, [2, 2000]);
  put(later, [71], Date.now() + 3_600_000);
  later.close();

  const plain = folderOf(context);
  cpSync(folder, plain, { recursive: true, filter: (path) => !path.includes(SNAPSHOTS_FOLDER) });
  for (const clock of [Date.now, () => Date.now() + 7_200_000]) {
    const restored = open(folder, context, clock);
    finish(restored.engine.prepare(SPACE.fingerprint));
    assert.ok(restored.reads() <= 2, 'no more than the changes');
    const read = open(plain, context, clock);
    assert.deepEqual(answers(restored.engine, NEAR), answers(read.engine, NEAR));
    restored.engine.close();
    read.engine.close();
  }
  assert.equal(statSync(file).mtimeMs, written, 'so few changes are no reason for another');
});

test('removed documents are not in the file', (context) => {
  const { file } = kept(context);
  const bytes = readFileSync(file);
  assert.equal(bytes.includes('"d3"'), false);
  assert.equal(bytes.includes('"d4"'), true);
  const unit = (index: number): Buffer => {
    const [first] = prepareWrites([numbered(index)]).prepared;
    const { vector } = (first as unknown as { passages: { vector: Float32Array }[] }).passages[0]!;
    return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
  };
  assert.equal(bytes.includes(unit(3)), false);
  assert.equal(bytes.includes(unit(4)), true);
});

const DAMAGE: Record<string, (file: string) => void> = {
  'a byte of a vector': (file) => flip(file, 0.6),
  'a byte of a name': (file) => flip(file, 0.15),
  'a byte of the index': (file) => flip(file, 1, 40),
  'a byte of its end': (file) => flip(file, 1, 3),
  'its last byte gone': (file) => truncateSync(file, statSync(file).size - 1),
  'its second half gone': (file) => truncateSync(file, Math.floor(statSync(file).size / 2)),
  'nothing in it': (file) => truncateSync(file, 0),
  'something else': (file) => writeFileSync(file, 'x'.repeat(100_000)),
};

for (const [what, damage] of Object.entries(DAMAGE)) {
  test(`a damaged snapshot is not used, said once, and made again: ${what}`, async (context) => {
    const { folder, file, before } = kept(context);
    damage(file);
    const { engine, warnings, reads } = open(folder, context);
    finish(engine.prepare(SPACE.fingerprint));
    assert.deepEqual(answers(engine, NEAR), before);
    assert.ok(reads() > 0);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /\.mirror is not used: /);
    await keep(engine, folder);
    engine.close();
    const again = open(folder, context);
    assert.deepEqual(answers(again.engine, NEAR), before);
    assert.equal(again.reads(), 0);
    assert.deepEqual(again.warnings, []);
  });
}

function flip(file: string, share: number, fromEnd = 0): void {
  const bytes = readFileSync(file);
  const at = Math.floor(bytes.length * share) - fromEnd;
  bytes[at] = bytes[at]! ^ 1;
  writeFileSync(file, bytes);
}

test('a database that was brought back takes no snapshot of its lost future', async (context) => {
  const { folder, file } = kept(context);
  const backup = folderOf(context);
  cpSync(folder, backup, { recursive: true });
  const { ino } = statSync(file);
  const lost = upTo(1000).map((index) => MANY + index);
  const future = open(folder, context).engine;
  put(future, lost);
  for (let time = 0; time < 200 && statSync(file).ino === ino; time++) {
    finish(future.prepare(SPACE.fingerprint, true));
    await sleep(5);
  }
  future.close();
  assert.notEqual(statSync(file).ino, ino, 'the future has a snapshot');

  for (const name of readdirSync(folder)) if (name !== SNAPSHOTS_FOLDER) rmSync(join(folder, name));
  for (const name of readdirSync(backup)) {
    if (name !== SNAPSHOTS_FOLDER) cpSync(join(backup, name), join(folder, name));
  }
  const back = open(folder, context);
  // As many changes as in the future that is lost.
  put(back.engine, upTo(1000));
  const sparseHits = lost.flatMap((index) =>
    index % 100 === 0
      ? finish(back.engine.search(NAME, { tenant: TENANT, limit: 1, sparse: sparse({ [10 + index]: 1 }) }))
      : [],
  );
  assert.deepEqual(sparseHits, []);
  assert.equal(back.warnings.length, 1);
  assert.match(back.warnings[0]!, /another state of the store/);
});

test('a collection of the same name that is made again has nothing of the old one', (context) => {
  const { folder } = kept(context);
  const { engine } = open(folder, context);
  const { physicalName } = engine.findCollection(NAME);
  engine.dropCollection(physicalName);
  assert.deepEqual(filesIn(folder), []);
  engine.ensureCollection(NAME, SPACE);
  put(engine, [1]);
  const found = finish(
    engine.search(NAME, { tenant: TENANT, vector: Float32Array.of(1, 0, 0, 0), limit: 5 }),
  );
  assert.deepEqual(
    found.map(({ documentId }) => documentId),
    ['d1'],
  );
});

test('a tenant that is dropped leaves no snapshot, whoever had begun one', async (context) => {
  const { folder } = kept(context);
  const { engine } = open(folder, context);
  finish(engine.dropTenant(NAME, TENANT));
  assert.deepEqual(filesIn(folder), []);

  // The other process has written all of it, and waits for its sync.
  put(engine, upTo(MANY));
  const other = open(folder, context).engine;
  finish(other.prepare(SPACE.fingerprint, true));
  assert.deepEqual(
    filesIn(folder).map((name) => name.endsWith('.new')),
    [true],
  );
  finish(engine.dropTenant(NAME, TENANT));
  put(engine, upTo(10));
  for (let time = 0; time < 20; time++) {
    finish(other.prepare(SPACE.fingerprint, true));
    await sleep(5);
  }
  assert.deepEqual(filesIn(folder), []);
  assert.equal(
    finish(other.search(NAME, { tenant: TENANT, vector: Float32Array.of(1, 0, 0, 0), limit: 50 })).length,
    10,
  );
});

test('a writer that was killed leaves a file that nobody reads, and the next one removes', async (context) => {
  const folder = folderOf(context);
  const { engine } = open(folder, context);
  engine.ensureCollection(NAME, SPACE);
  put(engine, upTo(MANY));
  finish(engine.prepare(SPACE.fingerprint));
  const path = join(folder, SNAPSHOTS_FOLDER);
  cpSync(join(folder, 'store.db'), join(path, '1-1.mirror.new'));
  finish(engine.prepare(SPACE.fingerprint, true));
  assert.deepEqual(filesIn(folder), ['1-1.mirror.new'], 'another process may be writing it');
  const old = new Date(Date.now() - 3_600_000);
  utimesSync(join(path, '1-1.mirror.new'), old, old);
  assert.deepEqual(await keep(engine, folder), ['1-1.mirror']);
});

test('two processes that follow one store write one snapshot, and both go on with it', async (context) => {
  const folder = folderOf(context);
  const writer = open(folder, context).engine;
  writer.ensureCollection(NAME, SPACE);
  put(writer, upTo(MANY));
  const readers = [open(folder, context), open(folder, context)];
  for (let time = 0; time < 50; time++) {
    for (const { engine } of readers) finish(engine.prepare(SPACE.fingerprint, true));
    await sleep(2);
  }
  const [name] = filesIn(folder);
  const { ino, mtimeMs } = statSync(join(folder, SNAPSHOTS_FOLDER, name!));
  put(writer, [MANY + 1]);
  for (let time = 0; time < 10; time++) {
    for (const { engine } of readers) finish(engine.prepare(SPACE.fingerprint, true));
    await sleep(2);
  }
  const now = statSync(join(folder, SNAPSHOTS_FOLDER, name!));
  assert.deepEqual([now.ino, now.mtimeMs], [ino, mtimeMs]);
  assert.deepEqual(filesIn(folder).length, 1);
  const [one, two] = readers.map(({ engine }) => answers(engine, NEAR));
  assert.deepEqual(one, two);
  for (const { warnings } of readers) assert.deepEqual(warnings, []);
});

test('few vectors have no snapshot', async (context) => {
  const folder = folderOf(context);
  const { engine } = open(folder, context);
  engine.ensureCollection(NAME, SPACE);
  put(engine, upTo(100));
  assert.deepEqual(await keep(engine, folder, 3), []);
});
