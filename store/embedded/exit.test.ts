import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const CHILD = fileURLToPath(new URL('./exit.child.js', import.meta.url));

/** Before gates, almost every second process died of "terminate called" in native code. */
const PROCESSES = 10;

let directory: string;

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'scalingnote-exit-'));
});

after(() => rmSync(directory, { recursive: true }));

describe('a process that ends while its store works', () => {
  for (const how of ['exit', 'throw', 'close', 'closing']) {
    it(`keeps its exit code and prints nothing: ${how}`, async () => {
      for (let run = 0; run < PROCESSES; run++) {
        const child = spawn(process.execPath, [CHILD, directory, how, String(10 + 7 * run)]);
        let output = '';
        child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
        const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
        assert.deepEqual({ code, signal, output }, { code: 3, signal: null, output: '' });
      }
    });
  }
});
