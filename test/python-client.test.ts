import { after, before, describe, test } from 'node:test';
import { optionalTool } from './testing/optional-tool.ts';
import { pythonTestFiles, testPython } from './testing/python-client.ts';
import { type Pair, stop, unavailable, up } from './system.ts';

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
  // The table of cases is in behaviour.test.ts.
  const files = pythonTestFiles().filter((file) => file !== 'test_behaviour.py');
  if (python.skip === false) for (const file of files) testPython(python.path, file, () => pair);
});
