import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Lock, type LockedPackage, type Manifest, readJson, ROOT } from './lock.ts';
import { licenceFaults, pythonFaults, SCRIPTS, scriptFaults, versionFaults } from './rules.ts';

const lock = readJson<Lock>('package-lock.json');
const manifest = readJson<Manifest>('package.json');
const npmrc = readFileSync(`${ROOT}.npmrc`, 'utf8');

/** The lock with one more package. */
function withPackage(name: string, added: LockedPackage): Lock {
  return { packages: { ...lock.packages, [`node_modules/${name}`]: { version: '1.0.0', ...added } } };
}

test('every package that is shipped has a licence on the list', () => {
  assert.deepEqual(licenceFaults(lock), []);
});

test('a licence that is not on the list is refused, and so is none', () => {
  const faults = (license?: string): string[] =>
    licenceFaults(withPackage('new', license === undefined ? {} : { license }));
  for (const fine of ['MIT', '(MIT OR GPL-3.0-only)', '(Apache-2.0 AND BSD-3-Clause)']) {
    assert.deepEqual(faults(fine), [], fine);
  }
  for (const refused of [
    'GPL-3.0-only',
    'UNLICENSED',
    'SEE LICENSE IN x',
    '(MIT AND GPL-2.0-only)',
    'MIT*',
    '',
  ]) {
    assert.equal(faults(refused).length, 1, refused);
  }
  assert.match(faults()[0]!, /new@1\.0\.0 says no licence/);
  assert.deepEqual(licenceFaults(withPackage('new', { license: 'GPL-3.0-only', dev: true })), []);
  // What is known of a package counts for what was read of it, not for what it says tomorrow.
  assert.equal(licenceFaults(withPackage('usearch', { license: 'Elastic-2.0' })).length, 1);
});

test('packages of Python are held to the same list', () => {
  const known = { grpcio: 'Apache-2.0', 'typing-extensions': 'PSF-2.0', protobuf: '3-Clause BSD License' };
  assert.deepEqual(pythonFaults(known), []);
  assert.match(pythonFaults({ grpcio: null })[0]!, /grpcio says no licence/);
  assert.match(pythonFaults({ protobuf: 'GPL-3.0-only' })[0]!, /not on the list/);
});

test('no install script runs, and each has a reason', () => {
  assert.deepEqual(scriptFaults(lock, manifest, npmrc), []);
  for (const reason of Object.values(SCRIPTS)) assert.ok(reason.length > 10);
});

test('a new install script is refused until somebody decides on it', () => {
  const faults = scriptFaults(withPackage('new', { hasInstallScript: true }), manifest, npmrc);
  assert.deepEqual(faults, ['new has an install script, and no reason why it may not run']);
  const allowed = { allowScripts: { ...manifest.allowScripts, usearch: true } };
  assert.match(scriptFaults(lock, allowed, npmrc)[0]!, /deny the install script of usearch/);
  assert.match(scriptFaults(lock, manifest, 'audit=false')[0]!, /ignore-scripts/);
  const idle = { allowScripts: { ...manifest.allowScripts, gone: false } };
  assert.match(scriptFaults(lock, idle, npmrc)[0]!, /gone has no install script/);
});

test('there is one version of protobufjs and of undici', () => {
  assert.deepEqual(versionFaults(lock), []);
  const twice = withPackage('@qdrant/js-client-rest/node_modules/undici', {});
  assert.match(versionFaults(twice)[0]!, /undici is there 2 times/);
});
