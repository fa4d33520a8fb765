import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heldOutTask } from './held-out.ts';

const pair = (query: string, document: string) => ({ query, document, negatives: [] });

test('held-out documents are searched among as many others as were asked for, each there once', () => {
  const heldOut = [pair('q1', 'own 1'), pair('q2', 'own 2'), pair('q1', 'own 3')];
  const train = Array.from({ length: 40 }, (_, index) => pair(`t${index}`, `Other ${index >> 1}`));
  train.unshift(pair('t', 'OWN  1'));
  const task = heldOutTask(heldOut, train, 13);
  assert.equal(task.documents.length, 13);
  assert.equal(new Set(task.documents).size, 13);
  assert.deepEqual(task.documents.slice(0, 3), ['own 1', 'own 2', 'own 3']);
  assert.deepEqual(
    task.documents.slice(3),
    Array.from({ length: 10 }, (_, index) => `Other ${index * 2}`),
    'from everywhere in the file',
  );
  assert.deepEqual(
    task.answers.map((keys) => [...keys]),
    [['own 1', 'own 3'], ['own 2'], ['own 1', 'own 3']],
  );
});

test('where there are too few documents all are searched, and held-out ones are never left out', () => {
  const heldOut = [pair('q1', 'a'), pair('q2', 'b')];
  assert.equal(heldOutTask(heldOut, [pair('t', 'c')], 9).documents.length, 3);
  assert.equal(heldOutTask(heldOut, [pair('t', 'c')], 1).documents.length, 2);
});
