import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { DatabaseSync } from '@photostructure/sqlite';
import { openEmbeddedStore } from '../embedded/embedded-store.ts';
import { StoreError } from '../errors.ts';
import type { Store } from '../store.ts';
import type { DocumentWrite } from '../writes.ts';
import { backupEmbedded, restoreEmbedded } from './embedded-backup.ts';
import { MANIFEST_FILE } from './manifest.ts';

const root = mkdtempSync(join(tmpdir(), 'scalingnote-backup-'));
after(() => rmSync(root, { recursive: true }));

const SPACE = { fingerprint: `sp1_${'a'.repeat(32)}`, dimensions: 3 };
const OTHER = `sp1_${'b'.repeat(32)}`;

let folder = '';
let count = 0;
beforeEach(() => {
  folder = join(root, String(++count));
  mkdirSync(folder);
});
const at = (...path: string[]): string => join(folder, ...path);

function put(documentId: string, tenant = ''): DocumentWrite {
  const text = `text of ${documentId}`;
  return {
    kind: 'put',
    tenant,
    documentId,
    version: 1,
    contentHash: `hash of ${documentId}`,
    encodingHash: `encoding of ${documentId}`,
    title: 'T',
    text,
    metadata: { of: documentId },
    ingested: { at: 1_700_000_000_000, sequence: documentId.length },
    passages: [{ vector: new Float32Array([1, 2, documentId.length]), text }],
  };
}

const names = (length: number): string[] => Array.from({ length }, (_, index) => `d${index}`);

/** Uses the store of a folder, and closes it. */
async function using<T>(directory: string, use: (store: Store) => Promise<T>): Promise<T> {
  const store = await openEmbeddedStore({ directory });
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** A store with two collections in the folder "data". */
function fill(): Promise<void> {
  return using(at('data'), async (store) => {
    for (const name of ['docs', 'other']) {
      await store.ensureCollection(name, { ...SPACE, goldenVectors: `golden ${name}` });
      await store.writeDocuments(name, [...names(500).map((id) => put(id)), put('x', 'acme')]);
    }
  });
}

async function contents(directory: string): Promise<unknown> {
  return await using(directory, async (store) => {
    const pages = await Promise.all(
      ['', 'acme'].map((tenant) => store.scroll('docs', tenant, { limit: 1000, withVectors: true })),
    );
    const golden = await store.goldenVectors('docs');
    assert.equal(golden, 'golden docs');
    const origins = await store.findOrigins('docs', [{ tenant: 'acme', documentId: 'x' }]);
    assert.equal(origins[0]?.ingested?.at, 1_700_000_000_000);
    const documents = pages.flatMap(({ documents }) => documents);
    return { documents, aliases: await store.aliases(), golden, origins };
  });
}

const identityOf = (directory: string): Promise<string> =>
  using(directory, async (store) => (await store.findCollection('docs')).identity);

const isReason =
  (reason: string, says = /./) =>
  (error: unknown): boolean =>
    error instanceof StoreError && error.reason === reason && says.test(error.message);

test('a backup holds every collection, and what is restored is the same', async () => {
  await fill();
  const { collections, files } = await backupEmbedded(at('data'), at('backup'));
  assert.deepEqual(
    collections.map(({ name, documents, passages, aliases }) => [name, documents, passages, aliases]),
    [
      ['docs', 501, 501, ['docs']],
      ['other', 501, 501, ['other']],
    ],
  );
  // The checksum by a program that is not ours.
  const [sum] = execFileSync('sha256sum', [at('backup', 'store.db')], { encoding: 'utf8' }).split(' ');
  assert.equal(files[0]!.sha256, sum);
  const { replaced } = await restoreEmbedded({ from: at('backup'), directory: at('new') });
  assert.equal(replaced, undefined);
  assert.deepEqual(await contents(at('new')), await contents(at('data')));
});

test('a restored collection has a new identity, whatever it replaces, and each time another', async () => {
  await fill();
  const original = await identityOf(at('data'));
  await backupEmbedded(at('data'), at('backup'));
  await using(at('data'), (store) => store.writeDocuments('docs', [put('after the backup')]));
  const { collections } = await restoreEmbedded({
    from: at('backup'),
    directory: at('data'),
    replace: true,
  });
  const restored = await identityOf(at('data'));
  assert.match(restored, /^col_[0-9a-f]{32}$/);
  assert.notEqual(restored, original);
  assert.equal(collections[0]!.identity, restored);
  await restoreEmbedded({ from: at('backup'), directory: at('again') });
  assert.notEqual(await identityOf(at('again')), restored);
  const deleted = await using(at('data'), (store) =>
    store.lookupDocuments('docs', [{ tenant: '', documentId: 'after the backup' }]),
  );
  assert.deepEqual(deleted, [undefined]);
});

test('a backup is of one moment, while another process writes', async () => {
  await fill();
  await using(at('data'), async (store) => {
    const writing = new AbortController();
    const writer = (async () => {
      // Each write changes two documents together: a backup has both, or neither.
      for (let round = 1; !writing.signal.aborted; round++) {
        const pair = ['left', 'right'].map((id) => ({ ...put(id), version: round }));
        await store.writeDocuments('docs', pair);
      }
    })();
    for (let round = 0; round < 5; round++) await backupEmbedded(at('data'), at(`backup${round}`));
    writing.abort();
    await writer;
  });
  for (let round = 0; round < 5; round++) {
    await restoreEmbedded({ from: at(`backup${round}`), directory: at(`new${round}`) });
    const pair = await using(at(`new${round}`), (store) =>
      store.lookupDocuments(
        'docs',
        ['left', 'right'].map((documentId) => ({ tenant: '', documentId })),
      ),
    );
    assert.equal(pair[0]?.version, pair[1]?.version);
  }
});

test('a flipped byte anywhere in a backup is refused by name, and nothing is restored', async () => {
  await fill();
  await backupEmbedded(at('data'), at('backup'));
  for (const file of ['store.db', MANIFEST_FILE]) {
    const whole = readFileSync(at('backup', file));
    for (const place of [0, 0.3, 0.7, 0.999].map((share) => Math.floor(share * whole.length))) {
      const flipped = Buffer.from(whole);
      flipped[place]! ^= 1;
      writeFileSync(at('backup', file), flipped);
      await assert.rejects(
        restoreEmbedded({ from: at('backup'), directory: at('new') }),
        isReason('BACKUP_DAMAGED', new RegExp(file.replace('.', String.raw`\.`))),
        `byte ${place} of ${file}`,
      );
    }
    writeFileSync(at('backup', file), whole.subarray(0, whole.length - 10));
    await assert.rejects(restoreEmbedded({ from: at('backup'), directory: at('new') }), StoreError);
    rmSync(at('backup', file));
    await assert.rejects(
      restoreEmbedded({ from: at('backup'), directory: at('new') }),
      isReason('BACKUP_DAMAGED'),
    );
    writeFileSync(at('backup', file), whole);
  }
  assert.deepEqual(existsSync(at('new')) ? readdirSync(at('new')) : [], []);
  await restoreEmbedded({ from: at('backup'), directory: at('new') });
});

test('vectors of another space than the expected one are refused', async () => {
  await fill();
  await backupEmbedded(at('data'), at('backup'));
  const restore = (fingerprint: string) =>
    restoreEmbedded({ from: at('backup'), directory: at('new'), fingerprint });
  await assert.rejects(restore(OTHER), isReason('SPACE_MISMATCH', new RegExp(OTHER)));
  assert.ok(!existsSync(at('new')));
  await restore(SPACE.fingerprint);
});

test('a store that is there is refused, and put aside where that is said', async () => {
  await fill();
  const before = await contents(at('data'));
  await backupEmbedded(at('data'), at('backup'));
  await assert.rejects(
    restoreEmbedded({ from: at('backup'), directory: at('data') }),
    isReason('STORE_INVALID_ARGUMENT', /--replace/),
  );
  assert.deepEqual(await contents(at('data')), before);
  await using(at('data'), (store) => store.writeDocuments('docs', [put('late')]));
  const { replaced } = await restoreEmbedded({ from: at('backup'), directory: at('data'), replace: true });
  assert.deepEqual(await contents(at('data')), before);
  // What was put aside is a store like any other.
  const old = await using(replaced!, (store) => store.count('docs', ''));
  assert.equal(old.documents, 501);
});

test('a store with a document that is not what was written is not backed up', async () => {
  await fill();
  const database = new DatabaseSync(at('data', 'store.db'));
  database.exec("UPDATE passages_1 SET text = CAST('other' AS BLOB) WHERE id = 1");
  database.close();
  await assert.rejects(
    backupEmbedded(at('data'), at('backup')),
    isReason('STORE_INTERNAL', /1 documents of "docs--.*" are not what was written.*scalingnote doctor/),
  );
  assert.deepEqual(readdirSync(folder), ['data']);
});

test('at no moment of a restore does the folder look as if there never was a store', async () => {
  await fill();
  await backupEmbedded(at('data'), at('backup'));
  const looks = { empty: 0, moved: 0 };
  let done = false;
  const look = (): void => {
    if (done) return;
    const there = existsSync(at('data', 'store.db'));
    if (!there) looks.moved++;
    if (!there && !existsSync(at('data', 'store.id'))) looks.empty++;
    setImmediate(look);
  };
  look();
  for (let round = 0; round < 5; round++) {
    await restoreEmbedded({ from: at('backup'), directory: at('data'), replace: true });
  }
  done = true;
  assert.ok(looks.moved > 0, 'the moment was seen');
  assert.equal(looks.empty, 0);
});

test('a folder whose database is lost takes the backup, and no log of the lost one', async () => {
  await fill();
  await backupEmbedded(at('data'), at('backup'));
  await using(at('data'), async (store) => {
    await store.writeDocuments('docs', [put('only in the log')]);
    cpSync(at('data'), at('lost'), { recursive: true });
  });
  rmSync(at('lost', 'store.db'));
  assert.ok(existsSync(at('lost', 'store.db-wal')) && existsSync(at('lost', 'store.id')));
  await restoreEmbedded({ from: at('backup'), directory: at('lost') });
  const counted = await using(at('lost'), (store) => store.count('docs', ''));
  assert.equal(counted.documents, 500);
});

test('a damaged store is not backed up as if it were whole', async () => {
  await fill();
  const bytes = readFileSync(at('data', 'store.db'));
  bytes.fill(0xff, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 40_000);
  mkdirSync(at('broken'));
  writeFileSync(at('broken', 'store.db'), bytes);
  await assert.rejects(backupEmbedded(at('broken'), at('backup')), isReason('STORE_INTERNAL'));
  assert.deepEqual(readdirSync(folder).sort(), ['broken', 'data']);
});

test('what is no store, no backup, or a name that is taken is refused', async () => {
  await fill();
  await assert.rejects(backupEmbedded(at('nowhere'), at('backup')), /no embedded store in/);
  assert.ok(!existsSync(at('nowhere')));
  mkdirSync(at('foreign'));
  copyFileSync(process.execPath, at('foreign', 'store.db'));
  await assert.rejects(backupEmbedded(at('foreign'), at('backup')), StoreError);
  await assert.rejects(backupEmbedded(at('data'), at('foreign')), /is there already/);
  await assert.rejects(
    restoreEmbedded({ from: at('data'), directory: at('new') }),
    isReason('BACKUP_DAMAGED', /is no backup/),
  );
});
