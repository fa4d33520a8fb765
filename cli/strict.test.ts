import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { status } from '@grpc/grpc-js';
import { failure, type Handlers, serve } from '../clients/testing/fake-service.ts';
import { toStruct } from '../proto/struct.ts';
import type { SearchRequest__Output } from '../proto/generated/scalingnote/v1/SearchRequest.ts';

async function run(...parameters: string[]) {
  const main = fileURLToPath(new URL('main.js', import.meta.url));
  const child = spawn(process.execPath, [main, ...parameters]);
  const printed = [text(child.stdout), text(child.stderr), once(child, 'exit')] as const;
  const [stdout, stderr, [code]] = await Promise.all(printed);
  return { code: code as number, stdout, stderr };
}

async function withService(
  answer: (request: SearchRequest__Output) => object | Error,
  use: (search: (...parameters: string[]) => ReturnType<typeof run>) => Promise<void>,
): Promise<void> {
  const handlers: Handlers = {
    Search: (call, callback) => {
      const answered = answer(call.request);
      if (answered instanceof Error) callback(answered);
      else callback(null, answered);
    },
  };
  const service = await serve(handlers);
  try {
    await use((...parameters) => run('search', 'bees', '--query-address', service.address, ...parameters));
  } finally {
    service.close();
  }
}

const refused: [name: string, parameters: string[], message: RegExp][] = [
  [
    'a small grid of models that are cut from one',
    ['scaling-law', '--small'],
    /--small belongs to --from-scratch/,
  ],
  [
    'rates of queries without towers to choose',
    ['scaling-law', '--query-rates', '1,2'],
    /--query-rates belongs to --from-scratch/,
  ],
  [
    'a rate of queries that is none',
    ['scaling-law', '--from-scratch', '--query-rates', '1,0'],
    /--query-rates .*It must be a number above 0/,
  ],
  [
    'an entropy twice',
    ['scaling-law', '--from-scratch', '--entropies', '2,2.0'],
    /--entropies .*A number is given twice/,
  ],
  ['a flag twice', ['search', 'x', '--limit', '3', '--limit', '4'], /--limit is given twice/],
  [
    'a flag twice, once by its short name',
    ['search', 'x', '-n', '3', '--limit', '4'],
    /--limit is given twice/,
  ],
  ['a limit below its range', ['search', 'x', '--limit', '-1'], /from 1 to 1000/],
  ['a limit above its range', ['search', 'x', '--limit', '1001'], /from 1 to 1000/],
  ['a number that is not exact', ['delete', 'x', '--version', '9007199254740993'], /2\^53 - 1/],
  ['a number in hexadecimal', ['search', 'x', '--threshold', '0x1'], /It must be a number/],
  ['a flag that is spelt wrong', ['search', 'x', '--limt', '3'], /Did you mean --limit/],
  ['an empty id to explain', ['search', 'x', '--explain', ''], /--explain .*It is empty/],
  ['one argument too many', ['count', 'docs'], /too many arguments/],
  [
    'an address without what uses it',
    ['search', 'x', '--console-address', 'h:1'],
    /--console-address belongs to --trace/,
  ],
  ['a list flag beside a trace', ['trace', 'f'.repeat(32), '--slowest'], /--slowest is for a list of traces/],
  [
    'the tower of a dry run without one',
    ['ingest', 'x', '-c', 'c', '--document-tower', 't'],
    /--document-tower belongs to/,
  ],
  [
    'a tenant without a collection',
    ['distill', '--texts', 'x', '--out', 'o', '--tenant', 't'],
    /--tenant belongs to --collection/,
  ],
  [
    'two words for one thing',
    ['train', '--pairs', 'x', '--out', 'o', '--steps', '1', '--epochs', '2'],
    /--epochs and --steps/,
  ],
];

for (const [name, parameters, message] of refused) {
  test(`refused: ${name}`, async () => {
    const { code, stderr, stdout } = await run(...parameters);
    assert.match(stderr, message);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, '');
  });
}

test('a flag that collects its values may be repeated', async () => {
  const asked: SearchRequest__Output[] = [];
  await withService(
    (request) => (asked.push(request), { hits: [] }),
    async (search) => {
      const { code, stderr } = await search('-f', 'metadata.a=1', '--filter', 'metadata.b=2');
      assert.equal(code, 0, stderr);
      assert.equal(asked[0]?.filter?.must.length, 2);
    },
  );
});

test('errors of the service speak of flags, and of conditions as they were written', async () => {
  const errors: [field: string, description: string, said: RegExp][] = [
    [
      'at_least_as_fresh_as',
      'is no token; leave at_least_as_fresh_as out',
      /: --fresh: is no token; leave --fresh out/,
    ],
    ['score_threshold', 'is 2', /: --threshold: is 2/],
    ['query', 'is too long', /: <text>: is too long/],
    ['limit', 'is 500; with explain, send 1 to 100', /: --limit: is 500/],
    ['filter.must_not[1].equals.value', 'is odd', /: --filter "metadata.c!=3": is odd/],
    ['filter.must[0].equals.field', 'is odd', /: --filter "metadata.b=2": is odd/],
    ['unheard_of', 'is odd', /: unheard_of: is odd/],
  ];
  for (const [field, description, said] of errors) {
    const error = failure({
      code: status.INVALID_ARGUMENT,
      message: `${field}: ${description}`,
      reason: 'INVALID_ARGUMENT',
    });
    await withService(
      () => error,
      async (search) => {
        const { code, stderr } = await search(
          '-f',
          'metadata.a!=1',
          '-f',
          'metadata.b=2',
          '-f',
          'metadata.c!=3',
        );
        assert.equal(code, 1);
        assert.match(stderr, said);
      },
    );
  }
});

test('search says by what it sorts, and what it did not do', async () => {
  const hit = { documentId: 'a', score: 0.5, text: 'no', metadata: toStruct({ year: 1999 }) };
  const resultSet = { kind: 'RESULT_SET_KIND_BEST', candidates: 1000 };
  let answer: object = { hits: [hit], resultSet, percentileQueries: 2 };
  await withService(
    () => answer,
    async (search) => {
      const shown = async (...flags: string[]): Promise<string> => {
        const { stdout, stderr, code } = await search(...flags);
        assert.equal(code, 0, stderr);
        return stdout;
      };
      assert.match(await shown('--sort', 'metadata.year'), /^metadata\.year +score .*\n1999 +0\.500/);
      const unsorted = await shown('--sort', 'metadata.yaer', '--percentile');
      assert.match(unsorted, /no document has metadata\.yaer/);
      assert.match(unsorted, /percentiles are not known/);
      assert.doesNotMatch(unsorted, /score +percentile/);
      answer = { hits: [], noGoodAnswer: { bestScore: 0.25 } };
      const below = await shown('--threshold', '0.5');
      assert.match(below, /^no good answer: .*score 0\.250/);
      assert.doesNotMatch(below, /nothing found/);
      answer = { hits: [] };
      assert.match(await shown('--offset', '7'), /^nothing comes after the first 7/);
    },
  );
});

test('search shows snippets, reasons, the fate of a document and that a query was cut', async () => {
  const asked: SearchRequest__Output[] = [];
  const place = { score: 0.5, rank: 3, rankBound: 11_000, passage: 1, fusedShare: 0 };
  const explanation = { rank: 3, passages: 4, dense: place, terms: [] };
  await withService(
    (request) => {
      asked.push(request);
      return {
        hits: [{ documentId: 'a', score: 0.5, text: 'no', snippet: { text: 'the best of it' }, explanation }],
        queryTruncation: { tokensRead: 8, maxTokens: 8 },
        explainedDocument: {
          documentId: 'b',
          fate: 'DOCUMENT_FATE_FILTERED_OUT',
          message: 'filter.must[0] removed it: it has no metadata.a',
          filterPath: 'filter.must[0]',
        },
      };
    },
    async (search) => {
      const flags = [
        '--explain',
        'b',
        '--snippet',
        '40',
        '--whole',
        '--threshold',
        '0.25',
        '-f',
        'metadata.a=1',
      ];
      const { stdout, stderr, code } = await search(...flags);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /the best of it/);
      assert.match(stdout, /by meaning 0\.500 \(place 3, passage 2 of 4\)/);
      assert.match(stdout, /"b": --filter "metadata\.a=1" removed it/);
      assert.match(stdout, /the query was cut/);
      const { explain, explainDocumentId, snippetLength, withDocumentText, scoreThreshold } = asked[0]!;
      assert.deepEqual(
        [explain, explainDocumentId, snippetLength, withDocumentText, scoreThreshold],
        [false, 'b', 40, true, 0.25],
      );
      await search('--explain');
      assert.equal(asked[1]?.explain, true);
    },
  );
});
