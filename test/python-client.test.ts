import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { optionalTool } from './testing/optional-tool.ts';
import { pythonTestFiles, testPython } from './testing/python-client.ts';
import { type Pair, stop, unavailable, up } from './system.ts';

const TABLE = JSON.parse(
  readFileSync(new URL('../../clients/behaviour/cases.json', import.meta.url), 'utf8'),
) as { cases: unknown[] };

const python = optionalTool('python-client');

describe('the Python client from its wheel', () => {
  let pair: Pair | undefined;

  before(async () => {
    if (python.skip === false && !unavailable()) pair = await up('python-client');
  });

  after(async () => {
    if (pair) await stop(pair.process);
  });

  if (python.skip !== false) test('Python', { skip: python.skip });
  else {
    for (const file of pythonTestFiles()) {
      // The table of cases once with asyncio, and once without.
      const atLeast = file === 'test_behaviour.py' ? 2 * TABLE.cases.length : 1;
      testPython(python.path, file, () => pair, atLeast);
    }
  }
});
