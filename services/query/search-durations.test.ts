import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLOOR_WINDOW_MS, SearchDurations } from './search-durations.ts';

test('the floor is the fastest of late', () => {
  const pace = new SearchDurations();
  assert.equal(pace.floorMs(0), 0);
  pace.record(30, 1);
  pace.record(10, 2);
  pace.record(20, 3);
  assert.equal(pace.floorMs(4), 10);
});

test('the floor lasts from one window into the next, and no longer', () => {
  const pace = new SearchDurations();
  pace.record(10, 0);
  pace.record(50, FLOOR_WINDOW_MS);
  assert.equal(pace.floorMs(FLOOR_WINDOW_MS + 1), 10);
  assert.equal(pace.floorMs(2 * FLOOR_WINDOW_MS), 50);
});

test('where nothing is measured, the floor is forgotten, so that somebody may try', () => {
  const pace = new SearchDurations();
  pace.record(500, 0);
  assert.equal(pace.floorMs(3 * FLOOR_WINDOW_MS), 0);
  pace.record(700, 3 * FLOOR_WINDOW_MS + 1);
  assert.equal(pace.floorMs(3 * FLOOR_WINDOW_MS + 2), 700);
});

test('the mean follows', () => {
  const pace = new SearchDurations();
  assert.equal(pace.meanMs, 0);
  pace.record(100, 0);
  assert.equal(pace.meanMs, 100);
  for (let index = 0; index < 200; index++) pace.record(10, index);
  assert.ok(Math.abs(pace.meanMs - 10) < 1);
});
