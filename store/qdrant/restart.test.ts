import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { put, SPACE, TENANT } from '../contract/stores.ts';
import { openStore } from '../open.ts';
import type { Store } from '../store.ts';
import { passageTexts } from '../document.ts';
import type { DocumentWrite } from '../writes.ts';
import { Engine, engineFolder } from './testing/engine.ts';

const { path: python, skip } = optionalTool('qdrant-engine');

const DOCUMENTS = ['a', 'b', 'c', 'd'];

/** Writes to acknowledge before the server is killed, so that the kill hits a different moment each time. */
const KILLS = [1, 4, 6, 9];

function versionOf(documentId: string, version: number): DocumentWrite {
  const passages = 1 + (version % 3);
  return {
    ...put(documentId, [], { version, contentHash: String(version), metadata: { passages } }),
    passages: Array.from({ length: passages }, (_, index) => ({
      vector: Float32Array.of(1, index, version, 0),
      text: `${version}/${index}`,
    })),
  };
}

/** Writes one version after the other until a write fails. Returns the last acknowledged version. */
async function writeOn(
  store: Store,
  documentId: string,
  above: number,
  acknowledged: () => void,
): Promise<number> {
  for (let version = above + 1; ; version++) {
    const written = await store.writeDocuments('docs', [versionOf(documentId, version)]).then(
      ([result]) => result!.outcome,
      () => 'lost',
    );
    if (written === 'lost') return version - 1;
    assert.equal(written, 'indexed');
    acknowledged();
  }
}

describe('a Qdrant server that is killed, and started again', { skip }, () => {
  it('has every write that was acknowledged, and every document whole', async (t) => {
    const folder = engineFolder();
    let engine = await Engine.start(python!, folder.path);
    t.after(async () => {
      await engine.kill();
      folder.remove();
    });
    const { url } = engine;
    const versions = new Map(DOCUMENTS.map((documentId) => [documentId, 0]));
    for (const kills of KILLS) {
      const store = await openStore({ kind: 'qdrant', url, exact: true, timeoutMs: 1000 });
      await store.ensureCollection('docs', SPACE);
      let left = kills * DOCUMENTS.length;
      let killed: Promise<void> | undefined;
      const acknowledged = () => {
        if (--left === 0) killed = engine.kill();
      };
      const last = await Promise.all(
        DOCUMENTS.map((documentId) => writeOn(store, documentId, versions.get(documentId)!, acknowledged)),
      );
      await killed;
      await store.close();
      engine = await Engine.start(python!, folder.path, Number(new URL(url).port));

      const survivor = await openStore({ kind: 'qdrant', url, exact: true });
      const { documents } = await survivor.scroll('docs', TENANT, { limit: 10 });
      assert.deepEqual(documents.map(({ documentId }) => documentId).sort(), DOCUMENTS);
      for (const document of documents) {
        const { documentId, version, contentHash } = document;
        const known = last[DOCUMENTS.indexOf(documentId)]!;
        assert.ok(version === known || version === known + 1, `${documentId}: ${version} after ${known}`);
        assert.equal(contentHash, String(version));
        assert.deepEqual(
          passageTexts(document),
          Array.from({ length: 1 + (version % 3) }, (_, index) => `${version}/${index}`),
        );
        versions.set(documentId, version);
      }
      await survivor.close();
    }
  });
});
