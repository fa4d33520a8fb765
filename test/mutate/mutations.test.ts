import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { AREAS } from './areas.ts';
import { mutationsOf } from './mutations.ts';

/** What a source becomes, one change each. */
function mutants(source: string): string[] {
  return mutationsOf(source).map(
    ({ start, end, replacement }) => source.slice(0, start) + replacement + source.slice(end),
  );
}

test('comparisons, logic and arithmetic become their neighbours', () => {
  assert.deepEqual(mutants('f = a < b;'), ['f = a <= b;']);
  assert.deepEqual(mutants('f = a >= b;'), ['f = a > b;']);
  assert.deepEqual(mutants('f = a === b;'), ['f = a !== b;']);
  assert.deepEqual(mutants('f = a && b;'), ['f = a || b;']);
  assert.deepEqual(mutants('f = a * b - c;'), ['f = a / b - c;', 'f = a * b + c;']);
  assert.deepEqual(mutants('f = a ?? b;'), ['f = a;']);
  assert.deepEqual(mutants('f = !a;'), ['f = a;']);
  assert.deepEqual(mutants('f = a ? b : c;'), ['f = a ? c : b;']);
});

test('conditions hold always or never', () => {
  assert.deepEqual(mutants('if (a) b;'), ['if (true) b;', 'if (false) b;']);
});

test('numbers, truth values and methods with an opposite change', () => {
  assert.deepEqual(mutants('f = 0;'), ['f = 1;']);
  assert.deepEqual(mutants('f = false;'), ['f = true;']);
  assert.deepEqual(mutants('f = Math.min(a, b);'), ['f = Math.max(a, b);']);
  assert.deepEqual(mutants('f = a.every(b);'), ['f = a.some(b);']);
  assert.deepEqual(mutants('f = some(b);'), [], 'a function of that name is no method');
});

test('calls, errors and entries are dropped', () => {
  assert.deepEqual(mutants('f(a);'), [';']);
  assert.deepEqual(mutants('async () => { await f(a); };'), ['async () => { ; };']);
  assert.deepEqual(mutants('throw f(a);'), [';']);
  assert.deepEqual(mutants('f = [a, b];'), ['f = [b];', 'f = [a, ];']);
  assert.deepEqual(mutants('f = { a, b };'), ['f = { b };', 'f = { a,  };']);
});

test('words are left alone: texts, messages of errors, imports', () => {
  assert.deepEqual(mutants('f = "a" + b + `c${1 + 2}`;'), []);
  assert.deepEqual(mutants('throw new Error(a + 1, [b]);'), [';']);
  assert.deepEqual(mutants('import { a } from "b";'), []);
  assert.deepEqual(mutants('f = a + b;'), ['f = a - b;'], 'unlike numbers');
});

test('tuning constants of a file are left alone, those of a function are not', () => {
  assert.deepEqual(mutants('const MAX_BYTES = 4 * 1024;'), []);
  assert.deepEqual(mutants('export const MAX_BYTES = 1;'), []);
  assert.deepEqual(mutants('const limit = 1;'), ['const limit = 2;']);
  assert.deepEqual(mutants('function f() { const MAX = 1; }'), ['function f() { const MAX = 2; }']);
});

test('calls of logs and traces are left alone', () => {
  assert.deepEqual(mutants('class A { #log; f() { this.#log.warn({ a: 1, b }, "gone"); } }'), []);
  assert.deepEqual(mutants('this.trace?.settled(a + b);'), []);
  assert.deepEqual(mutants('log.info(1);'), []);
  assert.deepEqual(mutants('f = log.level > 1;'), ['f = log.level >= 1;', 'f = log.level > 2;']);
  assert.deepEqual(mutants('this.catalog.add(a);'), [';']);
});

test('every mutant of a program can be parsed, and differs from it', () => {
  const source = `
    export class A {
      #n = 0;
      async add(a, { b = 1, ...rest } = {}) {
        if (!a || (b > 0 && rest.every((c) => c === null))) throw new TypeError(\`bad \${a}\`);
        for (let i = 0; i < a.length; i++) this.#n += a[i] * (b - 1);
        await this.save({ n: this.#n, ...rest }, [a, true]);
        return a.length === 0 ? undefined : Math.max(this.#n, b ?? 2);
      }
    }`;
  const all = mutants(source);
  assert.equal(new Set(all).size, all.length);
  assert.ok(all.length > 25);
  for (const mutant of all) {
    assert.notEqual(mutant, source);
    assert.doesNotThrow(() => mutationsOf(mutant), mutant);
  }
});

test('a mutation says what changes, and where', () => {
  const found = mutationsOf('f();\n  g = a < b;').find(({ line }) => line === 1);
  assert.deepEqual(found, {
    start: 11,
    end: 16,
    replacement: 'a <= b',
    change: '"<" becomes "<="',
    line: 1,
    column: 6,
  });
});

test('the files of every area are there', () => {
  for (const { sources, tests } of Object.values(AREAS)) {
    for (const file of [...sources, ...tests])
      assert.ok(existsSync(new URL(`../../${file}`, import.meta.url)), file);
  }
});
