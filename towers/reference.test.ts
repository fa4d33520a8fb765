import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { TowerError } from './errors.ts';
import { KNOWN_TOWERS } from './known.ts';
import { parseReference } from './reference.ts';

test('references of all schemes are understood', () => {
  assert.deepEqual(parseReference('npm:pkg@1.2.3/a/b/').location, {
    scheme: 'npm',
    package: 'pkg',
    version: '1.2.3',
    path: 'a/b',
    model: undefined,
  });
  assert.deepEqual(parseReference('npm:@scope/pkg@1.0.0-rc.1#onnx/model_q4.onnx').location, {
    scheme: 'npm',
    package: '@scope/pkg',
    version: '1.0.0-rc.1',
    path: '',
    model: 'onnx/model_q4.onnx',
  });
  assert.deepEqual(parseReference('hf:org/name').location, {
    scheme: 'hf',
    repository: 'org/name',
    revision: 'main',
    model: undefined,
  });
  assert.deepEqual(parseReference('hf:org/na.me@refs/pr/1#model.onnx').location, {
    scheme: 'hf',
    repository: 'org/na.me',
    revision: 'refs/pr/1',
    model: 'model.onnx',
  });
  for (const [text, directory] of [
    ['file:some/where', resolve('some/where')],
    ['file:/some/where', '/some/where'],
    ['file:///some/wh%20ere', '/some/wh ere'],
    ['./here', resolve('here')],
    ['some/where', resolve('some/where')],
    ['~/towers/t', join(homedir(), 'towers/t')],
    ['.', resolve('.')],
  ] as const) {
    assert.deepEqual(parseReference(text).location, { scheme: 'file', directory }, text);
  }
});

test('the canonical form is equal for equal towers', () => {
  assert.equal(parseReference('hf:org/name').canonical, 'hf:org/name@main');
  assert.equal(parseReference('npm:pkg@1.2.3/a/').canonical, parseReference('npm:pkg@1.2.3/a').canonical);
  assert.equal(parseReference('hf:org/name@v1#m.onnx').canonical, 'hf:org/name@v1#m.onnx');
});

test('a known tower is known by its name and by its reference', () => {
  for (const known of KNOWN_TOWERS) {
    assert.equal(parseReference(known.name).known, known);
    assert.equal(parseReference(known.reference).known, known);
    assert.equal(parseReference(known.name).canonical, known.reference);
  }
});

test('what is no reference is refused with what would be one', () => {
  for (const text of [
    '',
    'no-such-tower',
    'npm:pkg',
    'npm:pkg@latest',
    'hf:name',
    'npm:../x@1.0.0',
    'hf:a/b/c',
  ]) {
    assert.throws(
      () => parseReference(text),
      (error) =>
        error instanceof TowerError &&
        error.reason === 'TOWER_REFERENCE_INVALID' &&
        error.message.includes('all-MiniLM-L6-v2, '),
      text,
    );
  }
});
