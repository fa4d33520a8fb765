import { after, before, describe, test } from 'node:test';
import { optionalTool } from './testing/optional-tool.ts';
import { others, pythonTestFiles, testPython } from './testing/python-client.ts';
import { type Pair, stop, unavailable, up } from './system.ts';

const python = optionalTool('python-client');
const found = python.skip === false ? others(python.path) : [];

describe('the Python client with other versions of Python and of its packages', () => {
  let pair: Pair | undefined;

  before(async () => {
    if (found.length > 0 && !unavailable()) pair = await up('python-versions');
  });

  after(async () => {
    if (pair) await stop(pair.process);
  });

  if (python.skip !== false) test('Python', { skip: python.skip });
  else if (found.length === 0) test('others', { skip: 'there are none: npm run python-client -- --all' });
  // What kills services, and what checks types, depends less on versions, and takes longer.
  const files = pythonTestFiles().filter((file) => !/resume|types/.test(file));
  for (const path of found) for (const file of files) testPython(path, file, () => pair);
});
