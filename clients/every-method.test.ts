import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { v1 } from '../proto/load.ts';
import { DocumentClient, QueryClient } from './index.ts';

/** Methods of the protocol that clients call by another name. */
const NAMES: Readonly<Record<string, { typescript?: string; python?: string }>> = {
  Export: { typescript: 'exportDocuments', python: 'export' },
  GetTenantUsage: { typescript: 'tenantUsage', python: 'tenant_usage' },
};

const PYTHON = fileURLToPath(new URL('../../clients/python/src/scalingnote/', import.meta.url));

/** What callers of a class of the Python client can call. */
function pythonMethods(file: string, name: string): Set<string> {
  const body = readFileSync(`${PYTHON}${file}`, 'utf8')
    .split(/^class /m)
    .find((each) => each.startsWith(name));
  assert.ok(body, `${file} has ${name}`);
  return new Set([...body.matchAll(/^ {4}(?:async )?def ([a-z]\w*)\(/gm)].map(([, method]) => method!));
}

const CLIENTS = [
  ['document', v1.DocumentService.service, DocumentClient, 'documents.py', 'DocumentClient'],
  ['query', v1.QueryService.service, QueryClient, 'query.py', 'QueryClient'],
] as const;

for (const [name, { ...methods }, Client, file, pythonName] of CLIENTS) {
  describe(`every method of the ${name} service has its call in`, () => {
    const all = Object.keys(methods);
    const typescript = (method: string): string =>
      NAMES[method]?.typescript ?? method.replace(/^\w/, (letter) => letter.toLowerCase());
    const python = (method: string): string =>
      NAMES[method]?.python ?? typescript(method).replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

    test('TypeScript', () => {
      assert.ok(all.length > 5);
      assert.deepEqual(
        all.map(typescript).filter((method) => !(method in Client.prototype)),
        [],
      );
    });

    for (const [where, className] of [
      [file, pythonName],
      ['aio.py', `Async${pythonName}`],
    ] as const) {
      test(`Python, ${className}`, () => {
        const has = pythonMethods(where, className);
        assert.deepEqual(
          all.map(python).filter((method) => !has.has(method)),
          [],
        );
      });
    }
  });
}
