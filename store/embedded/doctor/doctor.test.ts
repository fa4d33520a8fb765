import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DatabaseSync } from '@photostructure/sqlite';
import { direction, put, search, SPACE, TENANT } from '../../contract/stores.ts';
import { StoreError } from '../../errors.ts';
import { openEmbeddedStore } from '../embedded-store.ts';
import { examine } from './examine.ts';
import { compact, repair } from './repair.ts';
import { salvage } from './salvage.ts';

const CLI = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));

const PAGE = 8192;

let root: string;
let directory: string;
let count = 0;

before(() => {
  root = mkdtempSync(join(tmpdir(), 'scalingnote-doctor-'));
});

beforeEach(() => {
  directory = join(root, String(count++));
});

after(() => rmSync(root, { recursive: true }));

/** A store of documents `d0`, `d1`, ... with two passages each, closed. */
async function fill(documents: number): Promise<void> {
  const store = await openEmbeddedStore({ directory });
  await store.ensureCollection('docs', SPACE);
  const puts = Array.from({ length: documents }, (_, index) =>
    put(`d${index}`, [direction(index), [0, 0, 1, 0]], { title: 'x'.repeat(1000), text: 'The whole text.' }),
  );
  await store.writeDocuments('docs', puts);
  await store.close();
}

function alter(sql: string): void {
  const database = new DatabaseSync(join(directory, 'store.db'));
  database.enableDefensive(false);
  database.exec(sql);
  database.close();
}

/** Names and levels of what is found. */
function checks(): string[] {
  return examine(directory).findings.map(({ check, level }) => `${level} ${check}`);
}

function contents(): Map<string, string> {
  return new Map(
    readdirSync(directory).map((file) => [file, readFileSync(join(directory, file)).toString('base64')]),
  );
}

/** Overwrites pages of the database. */
function damage(first: number, pages: number): void {
  const file = openSync(join(directory, 'store.db'), 'r+');
  writeSync(file, Buffer.alloc(pages * PAGE, 0x5a), 0, undefined, first * PAGE);
  closeSync(file);
}

describe('an examination', () => {
  it('finds nothing in a healthy store, counts it, and changes nothing', async () => {
    await fill(10);
    const before = contents();
    const found = examine(directory);
    assert.deepEqual(found.findings, []);
    assert.equal(found.documents, 10);
    assert.equal(found.passages, 20);
    assert.equal(`${found.storeId}\n`, readFileSync(join(directory, 'store.id'), 'utf8'));
    assert.deepEqual(contents(), before);
  });

  it('reads a store that a process uses, with what it has written last, and names the process', async () => {
    const store = await openEmbeddedStore({ directory });
    await store.ensureCollection('docs', SPACE);
    await store.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
    const found = examine(directory);
    assert.deepEqual(found.findings, []);
    assert.equal(found.documents, 1);
    if (process.platform === 'linux') assert.deepEqual(found.openIn, [process.pid]);
    await store.close();
  });

  it('tells a folder that is not there from an empty one, and makes neither', () => {
    assert.deepEqual(checks(), ['fault folder']);
    assert.equal(existsSync(directory), false);
    mkdirSync(directory);
    assert.deepEqual(checks(), ['note database']);
    assert.deepEqual(readdirSync(directory), []);
  });

  it('finds a marker without its database', async () => {
    await fill(1);
    rmSync(join(directory, 'store.db'));
    assert.deepEqual(checks(), ['damage database']);
  });

  it('finds the database of another store', async () => {
    await fill(1);
    const other = directory;
    directory = join(root, String(count++));
    await fill(1);
    copyFileSync(join(other, 'store.db'), join(directory, 'store.db'));
    assert.deepEqual(checks(), ['damage marker']);
  });

  it('finds a first page that is damaged, and the database of another program', async () => {
    await fill(1);
    damage(0, 1);
    assert.deepEqual(checks(), ['damage header']);
    rmSync(join(directory, 'store.db'));
    alter('CREATE TABLE theirs (a)');
    assert.deepEqual(checks(), ['damage header']);
  });

  it('finds an end that is missing, and pages that are damaged', async () => {
    await fill(300);
    const path = join(directory, 'store.db');
    const bytes = readFileSync(path);
    truncateSync(path, statSync(path).size - 4 * PAGE);
    assert.ok(checks().includes('damage size'));
    writeFileSync(path, bytes);
    damage(20, 10);
    assert.ok(checks().some((check) => ['damage integrity', 'damage readable'].includes(check)));
  });

  it('finds documents without all their passages, bad vectors and bad metadata, by name', async () => {
    await fill(5);
    alter(`DELETE FROM passages_1 WHERE id = 2;
      UPDATE passages_1 SET vector = zeroblob(16) WHERE id = 5;
      UPDATE documents_1 SET metadata = '{' WHERE document_id = CAST('d4' AS BLOB)`);
    const messages = examine(directory).findings.map(({ message }) => message);
    assert.ok(messages.length >= 3, messages.join('\n'));
    assert.ok(
      messages.some((message) => message.endsWith('lost passages: "d0"')),
      messages.join('\n'),
    );
    assert.ok(
      messages.some((message) => message.endsWith('damaged vectors: "d2"')),
      messages.join('\n'),
    );
    assert.ok(
      messages.some((message) => /metadata, .*: "d4"$/.test(message)),
      messages.join('\n'),
    );
  });

  it('finds every value that is not what was written, by name', async () => {
    for (const change of [
      `UPDATE passages_1 SET vector = CAST(x'00' || substr(vector, 2) AS BLOB) WHERE id = 3`,
      `UPDATE passages_1 SET text = CAST('other' AS BLOB) WHERE id = 4`,
      `UPDATE documents_1 SET title = CAST('other' AS BLOB) WHERE document_id = CAST('d1' AS BLOB)`,
      `UPDATE documents_1 SET metadata = '{"a":1}' WHERE document_id = CAST('d1' AS BLOB)`,
      `UPDATE texts_1 SET text = CAST('other' AS BLOB)
         WHERE document = (SELECT id FROM documents_1 WHERE document_id = CAST('d1' AS BLOB))`,
    ]) {
      directory = join(root, String(count++));
      await fill(3);
      alter(change);
      const [finding, ...more] = examine(directory).findings;
      assert.deepEqual(more, []);
      assert.match(finding!.message, /are not what was written.*: "d1"$/, change);
    }
  });

  it('finds documents that vanished without a delete', async () => {
    await fill(5);
    alter(`DELETE FROM documents_1 WHERE document_id = CAST('d3' AS BLOB)`);
    assert.ok(checks().includes('damage changes'));
  });
});

describe('a repair', () => {
  /** A fault, and how it comes about. */
  const faults: [check: string, sql: string][] = [
    ['fault counts', 'UPDATE tenants_1 SET documents = 7'],
    ['fault words', "INSERT INTO words_1 VALUES (1, 'nobody', 2)"],
    ['fault orphans', 'CREATE TABLE passages_99 (id INTEGER PRIMARY KEY)'],
    ['fault passages', "INSERT INTO passages_1 (id, vector) VALUES (1000, x'00')"],
    ['fault deletions', 'INSERT INTO deletions_1 SELECT tenant, document_id, 5 FROM documents_1 LIMIT 1'],
    ['fault aliases', "PRAGMA foreign_keys = OFF; INSERT INTO aliases VALUES ('none', 77)"],
  ];
  for (const [check, sql] of faults) {
    it(`mends: ${check}`, async () => {
      await fill(5);
      alter(sql);
      assert.deepEqual(checks(), [check]);
      assert.equal(repair(directory, examine(directory).findings).length, 1);
      assert.deepEqual(checks(), []);
      assert.equal(examine(directory).documents, 5);
    });
  }

  it('builds an index again that does not agree with its table', async () => {
    await fill(5);
    // An index on an expression that changes its mind is one that does not agree.
    alter(`PRAGMA writable_schema = ON;
      CREATE INDEX sick ON documents_1 (version);
      UPDATE sqlite_schema SET sql = 'CREATE INDEX sick ON documents_1 (passages)' WHERE name = 'sick'`);
    assert.deepEqual(checks(), ['damage indexes']);
    repair(directory, examine(directory).findings);
    assert.deepEqual(checks(), []);
  });

  it('writes the marker again, and removes drafts of it', async () => {
    await fill(1);
    const marker = readFileSync(join(directory, 'store.id'), 'utf8');
    rmSync(join(directory, 'store.id'));
    writeFileSync(join(directory, 'store.id.1-abc'), '');
    repair(directory, examine(directory).findings);
    assert.deepEqual(checks(), []);
    assert.equal(readFileSync(join(directory, 'store.id'), 'utf8'), marker);
    assert.deepEqual(readdirSync(directory).sort(), ['store.db', 'store.id']);
  });
});

describe('compaction', () => {
  it('leaves less than 1 MB once everything has been deleted', async () => {
    await fill(3000);
    const store = await openEmbeddedStore({ directory });
    assert.equal(await store.deleteByFilter('docs', TENANT, {}), 3000);
    await store.close();
    assert.ok(examine(directory).bytes > 1e6);
    assert.deepEqual(checks(), ['note free-space']);
    const { before, after } = compact(directory);
    assert.ok(after < 1e6, `${after} bytes`);
    assert.ok(before > after);
    assert.deepEqual(checks(), []);
  });

  it('keeps what is stored, also for a process that uses the store', async () => {
    await fill(500);
    const store = await openEmbeddedStore({ directory });
    await store.deleteByFilter('docs', TENANT, {
      mustNot: [{ field: 'document_id', equals: 'd7' }],
    });
    compact(directory);
    await store.probe();
    assert.equal((await search(store, 'docs', direction(7)))[0]?.documentId, 'd7');
    await store.writeDocuments('docs', [put('new', [[1, 0, 0, 0]])]);
    await store.close();
    assert.deepEqual(checks(), []);
  });
});

describe('a salvage', () => {
  it('copies a whole store, which then is another one', async () => {
    await fill(50);
    const before = contents();
    const file = join(root, 'copy', 'store.db');
    const { documents, lost } = salvage(directory, file);
    assert.deepEqual({ documents, lost }, { documents: 50, lost: [] });
    assert.deepEqual(contents(), before);
    const { storeId } = examine(directory);
    directory = join(root, 'copy');
    const store = await openEmbeddedStore({ directory });
    assert.equal((await search(store, 'docs', direction(7), { limit: 1 })).length, 1);
    await store.close();
    assert.deepEqual(checks(), []);
    assert.notEqual(examine(directory).storeId, storeId);
  });

  it('keeps the promise of freshness of a collection that is the same', async () => {
    await fill(5);
    const before = await openEmbeddedStore({ directory });
    const atLeast = await before.freshness('docs');
    await before.close();
    salvage(directory, join(root, 'fresh', 'store.db'));
    directory = join(root, 'fresh');
    const store = await openEmbeddedStore({ directory });
    assert.deepEqual(await store.freshness('docs'), atLeast);
    assert.equal((await search(store, 'docs', direction(1), { limit: 1, atLeast })).length, 1);
    await store.close();
    assert.deepEqual(checks(), []);
  });

  it('leaves out what is not what was written, and names it', async () => {
    await fill(5);
    alter(`UPDATE passages_1 SET text = CAST('other' AS BLOB) WHERE id = 4`);
    const { documents, lost } = salvage(directory, join(root, 'part', 'store.db'));
    assert.equal(documents, 4);
    assert.equal(lost.length, 1);
    assert.match(lost[0]!, /^document "d1" of "docs--/);
    directory = join(root, 'part');
    assert.deepEqual(checks(), ['note marker']);
  });

  it('refuses a file that is there', async () => {
    await fill(1);
    assert.throws(() => salvage(directory, join(directory, 'store.db')), /is there already/);
  });

  it('copies what can be read of a damaged store, and names what is lost', async () => {
    await fill(400);
    const pages = statSync(join(directory, 'store.db')).size / PAGE;
    damage(Math.floor(pages / 2), 4);
    assert.ok(checks().some((check) => check.startsWith('damage')));
    const before = contents();
    const file = join(root, 'saved', 'store.db');
    const { documents, lost } = salvage(directory, file);
    assert.deepEqual(contents(), before, 'the old files stay as they are');
    assert.ok(documents > 100 && documents < 400, `${documents} were saved`);
    const names = lost.filter((line) => /^document "d\d+" of "docs--/.test(line));
    assert.equal(documents + names.length, 400, 'each document is saved or named');
    directory = join(root, 'saved');
    const store = await openEmbeddedStore({ directory });
    assert.equal((await store.count('docs', TENANT)).documents, documents);
    assert.equal((await store.scroll('docs', TENANT, { limit: 1000 })).documents.length, documents);
    await store.close();
    assert.deepEqual(checks(), []);
  });

  it('says so where not even the list of tables can be read', async () => {
    await fill(1);
    const path = join(directory, 'store.db');
    const bytes = readFileSync(path);
    bytes.fill(0x5a, 100, PAGE);
    writeFileSync(path, bytes);
    assert.throws(
      () => salvage(directory, join(root, 'none', 'store.db')),
      (error) => error instanceof StoreError && /nothing can be salvaged/.test(error.message),
    );
    assert.equal(existsSync(join(root, 'none', 'store.db')), false);
    assert.deepEqual(readdirSync(join(root, 'none')), []);
  });
});

describe('scalingnote doctor', () => {
  function run(...flags: string[]): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(process.execPath, [CLI, 'doctor', '--data', directory, ...flags], { encoding: 'utf8' });
  }

  it('exits with 0 for a healthy store and with 1 for findings', async () => {
    await fill(3);
    assert.equal(run().status, 0);
    assert.match(run().stdout, /3 documents, 6 passages, .*\nhealthy\n/);
    alter('UPDATE tenants_1 SET documents = 7');
    const sick = run('--json');
    assert.equal(sick.status, 1);
    const report = JSON.parse(sick.stdout) as { findings: { check: string; fix: string }[] };
    assert.deepEqual(
      report.findings.map(({ check }) => check),
      ['counts'],
    );
    assert.match(report.findings[0]!.fix, /doctor --repair/);
    const mended = run('--repair');
    assert.equal(mended.status, 0);
    assert.match(mended.stdout, /repaired {2}the counts/);
  });

  it('compacts, but not a damaged store', async () => {
    await fill(100);
    assert.match(run('--compact').stdout, /compacted: \d+ bytes before, \d+ after/);
    damage(5, 3);
    const refused = run('--compact');
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /not compacted: the store is damaged/);
  });
});
