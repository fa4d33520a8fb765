import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Breaker } from './breaker.ts';

function fail(breaker: Breaker, times: number): void {
  for (let time = 0; time < times; time++) breaker.failed();
}

describe('a circuit breaker', () => {
  it('opens after failures in a row, not before', () => {
    const breaker = new Breaker(() => 0);
    fail(breaker, 4);
    breaker.succeeded();
    fail(breaker, 4);
    assert.ok(breaker.admit());
    breaker.failed();
    assert.equal(breaker.admit(), false);
    assert.ok(breaker.waitMs > 0);
  });

  it('lets one call try after a pause, and all when that succeeds', () => {
    let now = 0;
    const breaker = new Breaker(() => now);
    fail(breaker, 5);
    now += breaker.waitMs;
    assert.equal(breaker.admit(), true);
    assert.equal(breaker.admit(), false);
    breaker.succeeded();
    assert.ok(breaker.admit() && breaker.admit());
  });

  it('pauses longer after each try in vain, up to a limit', () => {
    let now = 0;
    const breaker = new Breaker(() => now);
    fail(breaker, 5);
    let longest = 0;
    for (let round = 0; round < 20; round++) {
      longest = Math.max(longest, breaker.waitMs);
      now += breaker.waitMs;
      assert.ok(breaker.admit());
      breaker.failed();
    }
    assert.ok(longest > 2500 && longest <= 5000, `${longest} ms`);
  });

  it('lets another call try when the first was given up', () => {
    let now = 0;
    const breaker = new Breaker(() => now);
    fail(breaker, 5);
    now += breaker.waitMs;
    assert.ok(breaker.admit());
    breaker.gaveUp();
    assert.ok(breaker.admit());
  });
});
