import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FLOOR_WINDOW_MS, SearchDurations } from './search-durations.ts';

test('the floor is the fastest of late', () => {
  const durations = new SearchDurations();
  assert.equal(durations.floorMs(0), 0);
  durations.record(30, 1);
  durations.record(10, 2);
  durations.record(20, 3);
  assert.equal(durations.floorMs(4), 10);
});

test('the floor lasts from one window into the next, and no longer', () => {
  const durations = new SearchDurations();
  durations.record(10, 0);
  durations.record(50, FLOOR_WINDOW_MS);
  assert.equal(durations.floorMs(FLOOR_WINDOW_MS + 1), 10);
  assert.equal(durations.floorMs(2 * FLOOR_WINDOW_MS), 50);
});

test('where nothing is measured, the floor is forgotten, so that somebody may try', () => {
  const durations = new SearchDurations();
  durations.record(500, 0);
  assert.equal(durations.floorMs(3 * FLOOR_WINDOW_MS), 0);
  durations.record(700, 3 * FLOOR_WINDOW_MS + 1);
  assert.equal(durations.floorMs(3 * FLOOR_WINDOW_MS + 2), 700);
});

test('the mean follows', () => {
  const durations = new SearchDurations();
  assert.equal(durations.meanMs, 0);
  durations.record(100, 0);
  assert.equal(durations.meanMs, 100);
  durations.record(10, 1);
  assert.equal(durations.meanMs, 91, 'the newest search has a tenth of the weight');
  for (let index = 0; index < 200; index++) durations.record(10, index);
  assert.ok(Math.abs(durations.meanMs - 10) < 1);
});

test('a floor that is two windows old is forgotten, and to ask for it changes nothing', () => {
  const durations = new SearchDurations();
  durations.record(10, 0);
  assert.equal(durations.floorMs(1), 10);
  assert.equal(durations.floorMs(FLOOR_WINDOW_MS + 1), 10);
  const unasked = new SearchDurations();
  unasked.record(10, 0);
  assert.equal(unasked.floorMs(2 * FLOOR_WINDOW_MS - 1), 10);
  const late = new SearchDurations();
  late.record(10, 0);
  assert.equal(late.floorMs(2 * FLOOR_WINDOW_MS), 0);
});
