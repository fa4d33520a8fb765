import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { campaign } from './campaign.ts';
import { readCase, written } from './case.ts';
import { Generator, KINDS } from './generate.ts';
import { judge } from './judge.ts';
import { Sender } from './sender.ts';
import { Site } from './site.ts';

/** Cases that broke a service once, a line each. */
const KEPT = fileURLToPath(new URL('../../../test/fuzz/kept.jsonl', import.meta.url));

let site: Site;
before(async () => {
  site = await Site.start();
});
after(() => site.stop());

test('a case is the same again for its seed and index, and as text', () => {
  const generator = new Generator(site.ground, 7, KINDS);
  const text = written(generator.make(40));
  for (let index = 0; index < 40; index++) generator.make(index);
  assert.equal(written(generator.make(40)), text);
  assert.equal(written(readCase(text, site.ground.key)), text);
  assert.notEqual(written(generator.make(41)), text);
  const kinds = new Set(Array.from({ length: 2_000 }, (_, index) => generator.make(index).kind));
  assert.ok(kinds.size > 30, [...kinds].join());
});

test('what broke a service once breaks it no more', async () => {
  const sender = new Sender(site);
  await sender.fill();
  const cases = readFileSync(KEPT, 'utf8').trim().split('\n');
  for (const text of cases) {
    const one = readCase(text, site.ground.key);
    const finding = judge(one, await sender.send(one));
    assert.equal(finding, undefined, `${finding?.what}: ${text.slice(0, 2_000)}`);
  }
  assert.equal(await sender.canary(), undefined);
  sender.close();
});

test('cases of a fixed seed: no crash, no hang, no status that blames the service', async () => {
  const found = await campaign(site, new Generator(site.ground, 1, KINDS), { from: 0, cases: 600 });
  assert.deepEqual(found.failures, []);
  assert.ok(
    Object.values(found.faults).every((count) => count === 0),
    JSON.stringify(found.faults),
  );
  assert.equal(found.cases, 600);
});
