import assert from 'node:assert/strict';
import { test } from 'node:test';
import { latestToken } from './freshness.ts';

const IDENTITY = `col_${'0'.repeat(32)}`;
const [ONE, OTHER] = ['0123456789ab', 'ba9876543210'];

const latestOf = (...positions: string[]): string | undefined =>
  latestToken(positions.map((position) => position && `${IDENTITY}.${position}`))?.replace(
    `${IDENTITY}.`,
    '',
  );

test('the latest token of several streams covers what all of them wrote, wherever it stands among them', () => {
  assert.equal(latestOf('9', '10', '8'), '10');
  assert.equal(latestOf(`${ONE}-1700000000000123`, `${ONE}-1700000000000122`), `${ONE}-1700000000000123`);
  assert.equal(latestOf(`${ONE}-9`, `${ONE}-10`), `${ONE}-10`);
  assert.equal(latestOf('everywhere', 'everywhere'), 'everywhere');
});

test('a stream that wrote nothing has no say', () => {
  assert.equal(latestOf('', '7', ''), '7');
  assert.equal(latestOf('', ''), '');
});

test('tokens that two services made have no order', () => {
  assert.equal(latestOf(`${ONE}-1`, `${OTHER}-2`), undefined);
  assert.equal(latestOf(`${ONE}-1`, `${OTHER}-2`, `${ONE}-3`), undefined);
  assert.equal(latestOf('everywhere', `${OTHER}-2`), undefined);
});
