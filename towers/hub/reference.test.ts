import assert from 'node:assert/strict';
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as z from 'zod';
import { TowerError } from '../errors.ts';
import { openTower } from '../open.ts';
import { temporaryFolder, writeFiles } from '../testing/tiny-tower.ts';

/** What `towers/reference/generate.py` wrote: three levels up from the compiled file is the package's folder. */
const REFERENCE = fileURLToPath(new URL('../../../towers/reference/', import.meta.url));

const Rows = z.array(z.array(z.number()));
const Change = z.union([z.strictObject({ json: z.unknown() }), z.strictObject({ base64: z.string() })]);
const Reference = z.object({
  texts: z.array(z.string()),
  cases: z.array(
    z.object({
      name: z.string(),
      files: z.record(z.string(), Change),
      /** What sentence-transformers gives; null where it refuses the folder. */
      vectors: z.object({ document: Rows, query: Rows }).nullable(),
    }),
  ),
});
const { texts, cases } = Reference.parse(JSON.parse(readFileSync(join(REFERENCE, 'hub.json'), 'utf8')));

/** How far a component may be from sentence-transformers'. */
const TOLERANCE = 1e-5;

/** Cases that are refused here, and what the message names. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  word_embedding_dimension: /1_Pooling\/config\.json, word_embedding_dimension: is 24, .* have 16/,
  'default_prompt_name that is not there':
    /config_sentence_transformers\.json, default_prompt_name: .*"none"/,
  'similarity_fn_name without Normalize': /config_sentence_transformers\.json, similarity_fn_name: is dot/,
  'activation of another library': /2_Dense\/config\.json, activation_function: "my\.Swish"/,
  bias: /2_Dense\/config\.json, bias: is false/,
  out_features: /2_Dense\/config\.json, out_features: is 4/,
  'module WeightedLayerPooling': /modules\.json, \[1\]\.type: WeightedLayerPooling/,
  'module CNN': /modules\.json, \[1\]\.type: CNN/,
  'module Router': /modules\.json, \[1\]\.type: Router/,
  "a module of the model's own": /modules\.json, \[1\]\.type: "custom_st\.Pooling"/,
  hidden_size: /config\.json, hidden_size: is 24, .* have 16/,
  'do_lower_case of the tokenizer': /tokenizer_config\.json, do_lower_case: is true/,
};

/** Changes that are meant to move no vector. */
const SAME = new Set(['similarity_fn_name']);

/** Vectors of the texts on both sides, each text alone and all of them in one batch. */
async function encode(
  context: TestContext,
  folder: string,
): Promise<Record<'document' | 'query', number[][]>> {
  const tower = await openTower(folder, { cacheDir: temporaryFolder(context), inline: true, device: 'cpu' });
  context.after(() => tower.close());
  const { prompt, queryPrompt = prompt } = tower.manifest;
  const side = async (before: string): Promise<number[][]> => {
    const tokens = await tower.tokenizeAll(texts, { prompt: before });
    const together = await tower.encodeAll(tokens);
    const rows: number[][] = [];
    for (const [at, each] of tokens.entries()) {
      const { vector } = await tower.encode(each);
      const row = together.slice(at * vector.length, (at + 1) * vector.length);
      assert.ok(furthest([[...row]], [[...vector]]) < TOLERANCE, 'neighbours move a vector');
      rows.push([...vector]);
    }
    return rows;
  };
  return { document: await side(prompt), query: await side(queryPrompt) };
}

function furthest(a: readonly (readonly number[])[], b: readonly (readonly number[])[]): number {
  assert.deepEqual(
    a.map((row) => row.length),
    b.map((row) => row.length),
  );
  return Math.max(...a.flatMap((row, i) => row.map((value, j) => Math.abs(value - b[i]![j]!))));
}

const base = cases.find(({ name }) => name === 'the folder as it is')!.vectors!;

for (const { name, files, vectors } of cases) {
  test(`as sentence-transformers has it, or refused: ${name}`, async (context) => {
    const folder = temporaryFolder(context);
    cpSync(join(REFERENCE, 'hub'), folder, { recursive: true });
    writeFiles(
      folder,
      Object.fromEntries(
        Object.entries(files).map(([path, change]) => [
          path,
          'base64' in change ? Buffer.from(change.base64, 'base64') : (change.json as object),
        ]),
      ),
    );
    const message = REFUSED[name];
    if (message !== undefined) {
      await assert.rejects(encode(context, folder), (error: unknown) => {
        assert.ok(error instanceof TowerError, String(error));
        assert.equal(error.reason, 'TOWER_MODEL_UNSUPPORTED');
        assert.match(error.message, message);
        return true;
      });
      return;
    }
    assert.ok(vectors, 'sentence-transformers refuses it: it is to be refused here, too');
    const found = await encode(context, folder);
    for (const side of ['document', 'query'] as const) {
      const off = furthest(found[side], vectors[side]);
      assert.ok(off < TOLERANCE, `${side}: apart by ${off}`);
    }
    if (Object.keys(files).length === 0 || SAME.has(name)) return;
    const sameWidth = vectors.document[0]!.length === base.document[0]!.length;
    assert.ok(!sameWidth || furthest(vectors.document, base.document) > 1e-3, 'the change moves nothing');
  });
}
