import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { hash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { CliError } from '../../cli/output/print.ts';
import { Documents } from '../../cli/input/documents.ts';
import { hashOf, makeKey } from '../../keys/key.ts';
import { KeyFileError, readKeyFile } from '../../keys/key-file.ts';
import { StoreError } from '../../store/errors.ts';
import { restoreEmbedded, backupEmbedded } from '../../store/maintenance/embedded-backup.ts';
import { MANIFEST_FILE } from '../../store/maintenance/manifest.ts';
import { openStore } from '../../store/open.ts';
import { TowerError } from '../../towers/errors.ts';
import { scanGraph } from '../../towers/hub/graph.ts';
import { readTensors } from '../../towers/lookup/tensors.ts';
import { LookupError } from '../../towers/lookup/errors.ts';
import { openTower } from '../../towers/open.ts';
import { tinyModel, writeTinyTower } from '../../towers/testing/tiny-tower.ts';
import { OnnxError } from '../../training/onnx/errors.ts';
import { decodeModel } from '../../training/onnx/read.ts';
import { readSafetensors, writeSafetensors } from '../../training/onnx/safetensors.ts';
import { float32 } from '../../training/onnx/tensor.ts';
import { mutatedBytes } from './mutate-bytes.ts';
import { randomOf } from './random.ts';

// Files that somebody made to break whoever reads them. Each is read, or refused by an error that says what it is.

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-files-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Reads mutants of bytes. @param read throws one of `kinds`, and nothing else */
async function readMutants(
  bytes: Uint8Array,
  kinds: readonly (new (...parameters: never[]) => Error)[],
  read: (mutant: Buffer, index: number) => unknown,
  { times = 300, within = bytes.length } = {},
): Promise<{ taken: number; refused: number }> {
  const counts = { taken: 0, refused: 0 };
  for (let index = 0; index < times; index++) {
    const mutant = mutatedBytes(bytes, randomOf(11, index), within);
    try {
      await read(mutant, index);
      counts.taken++;
    } catch (error) {
      const isKnown = kinds.some((kind) => error instanceof kind);
      assert.ok(
        isKnown,
        `mutant ${index}: ${(error as Error).stack}\n${mutant.subarray(0, 300).toString('hex')}`,
      );
      assert.ok((error as Error).message.length > 10, String(error));
      counts.refused++;
    }
  }
  return counts;
}

test('manifests of towers', async () => {
  const place = join(folder, 'manifest');
  writeTinyTower(place);
  const file = join(place, 'tower.json');
  const { refused } = await readMutants(
    readFileSync(file),
    [TowerError],
    async (mutant) => {
      writeFileSync(file, mutant);
      await (await openTower(`file:${place}`)).close();
    },
    { times: 40 },
  );
  assert.ok(refused > 20);
});

test('tokenizers and graphs whose hashes fit', async () => {
  const place = join(folder, 'tower');
  writeTinyTower(place);
  const tokenizer = readFileSync(join(place, 'tokenizer.json'));
  const graphs = await readMutants(
    tinyModel(),
    [TowerError],
    async (model) => {
      writeTinyTower(place, { model });
      const tower = await openTower(`file:${place}`);
      await tower.close();
    },
    { times: 12 },
  );
  assert.ok(graphs.refused > 3, JSON.stringify(graphs));
  const tokenizers = await readMutants(
    tokenizer,
    [TowerError],
    async (mutant) => {
      writeTinyTower(place, { tokenizer: mutant });
      const tower = await openTower(`file:${place}`);
      try {
        await tower.tokenize('a red fox');
      } finally {
        await tower.close();
      }
    },
    { times: 12 },
  );
  assert.ok(tokenizers.refused > 3, JSON.stringify(tokenizers));
});

test('graphs, tables of a lookup and safetensors whose lengths lie', async () => {
  const model = tinyModel();
  const file = join(folder, 'model.onnx');
  await readMutants(model, [OnnxError], (mutant) => decodeModel(mutant));
  await readMutants(model, [TowerError], (mutant) => {
    writeFileSync(file, mutant);
    scanGraph(file, 'model.onnx');
  });
  await readMutants(model, [LookupError], (mutant) => readTensors(mutant));
  const tensors = join(folder, 'model.safetensors');
  const values = new Map([['weight', float32([2, 2], new Float32Array(4))]]);
  await writeSafetensors(tensors, { tensors: values, metadata: { format: 'pt' } });
  const bytes = readFileSync(tensors);
  const { refused } = await readMutants(bytes, [OnnxError], async (mutant) => {
    writeFileSync(tensors, mutant);
    await readSafetensors(tensors);
  });
  assert.ok(refused > 100);
});

// Parquet is not among them: hyparquet has no end for some damaged pages. SECURITY.md says so.
test('sources of documents', async () => {
  const rows = Array.from({ length: 8 }, (_, index) => ({
    id: `d${index}`,
    title: 'red',
    text: `a "fox", ${index}`,
  }));
  const csv = [
    'id,title,text',
    ...rows.map(({ id, title, text }) => `${id},${title},"${text.replaceAll('"', '""')}"`),
  ];
  const jsonl = rows.map((row) => JSON.stringify(row)).join('\n');
  const sources: Record<string, Uint8Array> = {
    'a.jsonl': Buffer.from(jsonl),
    'a.json': Buffer.from(JSON.stringify(rows)),
    'a.csv': Buffer.from(csv.join('\n')),
    'a.jsonl.gz': gzipSync(jsonl),
  };
  for (const [name, bytes] of Object.entries(sources)) {
    const file = join(folder, name);
    let whole = 0;
    await readMutants(
      bytes,
      [CliError],
      async (mutant) => {
        writeFileSync(file, mutant);
        const documents = await Documents.open([file]);
        for await (const _ of documents.records()) whole++;
        // What broke in the middle is told at the end.
        for (const failure of documents.failures) assert.ok(failure.includes(name), failure);
      },
      { times: 150 },
    );
    assert.ok(whole > 0, name);
  }
});

test('files of keys', async () => {
  const file = join(folder, 'keys.json');
  const { id, text } = makeKey();
  const sha256 = hashOf(text).toString('hex');
  const key = {
    id,
    name: 'x',
    sha256,
    scopes: ['search'],
    tenants: ['*'],
    collections: ['*'],
    createdAt: new Date().toISOString(),
  };
  const { refused } = await readMutants(
    Buffer.from(JSON.stringify({ version: 1, keys: [key] })),
    [KeyFileError],
    (mutant) => {
      writeFileSync(file, mutant, { mode: 0o600 });
      readKeyFile(file);
    },
  );
  assert.ok(refused > 150);
  for (const odd of [
    'null',
    '[]',
    '{"version":1,"keys":null}',
    '"x"',
    '{"__proto__":{"version":1,"keys":[]}}',
    '',
  ]) {
    writeFileSync(file, odd, { mode: 0o600 });
    assert.throws(() => readKeyFile(file), KeyFileError, odd);
  }
});

test('backups: what is damaged, what leads out of the folder, and what is no file', async () => {
  const data = join(folder, 'data');
  const backup = join(folder, 'backup');
  const store = await openStore({ kind: 'embedded', directory: data });
  await store.close();
  await backupEmbedded(data, backup);
  const manifestFile = join(backup, MANIFEST_FILE);
  const text = readFileSync(manifestFile, 'utf8');
  const outside = join(folder, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'secret');
  symlinkSync(join(outside, 'secret'), join(backup, 'link'));
  let target = 0;
  const restore = async (manifest: unknown): Promise<void> => {
    // Whoever makes a backup by hand can make its hash as well.
    writeFileSync(
      manifestFile,
      JSON.stringify({ manifest, sha256: hash('sha256', JSON.stringify(manifest) ?? '', 'hex') }),
    );
    const directory = join(folder, `restored-${target++}`);
    await assert.rejects(restoreEmbedded({ from: backup, directory }), StoreError, JSON.stringify(manifest));
    assert.deepEqual(
      readdirSync(folder).includes(`restored-${target - 1}`) ? readdirSync(directory) : [],
      [],
    );
  };
  const { manifest } = JSON.parse(text) as {
    manifest: { files: { path: string; bytes: number; sha256: string }[] };
  };
  const [file] = manifest.files;
  const secret = { bytes: 6, sha256: hash('sha256', 'secret', 'hex') };
  for (const path of [
    '../outside/secret',
    join(outside, 'secret'),
    'link',
    '../../../../../../dev/zero',
    '.',
    '',
    'a\0b',
    7,
    null,
  ]) {
    await restore({ ...manifest, files: [{ ...file, ...secret, path }] });
  }
  for (const odd of [
    null,
    7,
    [],
    {},
    { ...manifest, files: null },
    { ...manifest, files: [null] },
    { ...manifest, collections: [null] },
    { ...manifest, collections: 7 },
  ]) {
    await restore(odd);
  }
  for (const odd of ['null', '7', '[]', '', '{"manifest":null}']) {
    writeFileSync(manifestFile, odd);
    await assert.rejects(
      restoreEmbedded({ from: backup, directory: join(folder, 'other') }),
      StoreError,
      odd,
    );
  }
  const { refused } = await readMutants(Buffer.from(text), [StoreError], async (mutant, index) => {
    writeFileSync(manifestFile, mutant);
    await restoreEmbedded({ from: backup, directory: join(folder, `mutant-${index}`) });
  });
  assert.ok(refused > 250);
});
