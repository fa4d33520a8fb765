import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { TowerError } from '../errors.ts';
import { pairFormOf } from './pairs.ts';
import { openReranker } from './reranker.ts';

const template = (pair: object[], specials: object) =>
  JSON.stringify({ post_processor: { type: 'TemplateProcessing', pair, special_tokens: specials } });

const special = (id: string, type = 0) => ({ SpecialToken: { id, type_id: type } });
const sequence = (id: string, type = 0) => ({ Sequence: { id, type_id: type } });

describe('the form of a pair', () => {
  test('is read from templates, and from the processors of BERT and RoBERTa', () => {
    const specials = { '[CLS]': { ids: [101] }, '[SEP]': { ids: [102] } };
    const bert = template(
      [special('[CLS]'), sequence('A'), special('[SEP]'), sequence('B', 1), special('[SEP]', 1)],
      specials,
    );
    const expected = { before: [101], between: [102], after: [102], hasSegments: true };
    assert.deepEqual(pairFormOf(bert), expected);
    const own = { post_processor: { type: 'BertProcessing', cls: ['[CLS]', 101], sep: ['[SEP]', 102] } };
    assert.deepEqual(pairFormOf(JSON.stringify(own)), expected);
    const roberta = { type: 'RobertaProcessing', cls: ['<s>', 0], sep: ['</s>', 2] };
    const within = { post_processor: { type: 'Sequence', processors: [{ type: 'ByteLevel' }, roberta] } };
    assert.deepEqual(pairFormOf(JSON.stringify(within)), {
      before: [0],
      between: [2, 2],
      after: [2],
      hasSegments: false,
    });
  });

  test('is refused where nothing says it', () => {
    for (const tokenizer of ['{}', '{"post_processor":null}', '{"post_processor":{"type":"ByteLevel"}}']) {
      assert.throws(
        () => pairFormOf(tokenizer),
        (error) => error instanceof TowerError && error.reason === 'TOWER_MODEL_UNSUPPORTED',
      );
    }
  });
});

describe('a reranker on a server', () => {
  test('gets the query and the texts, and its scores come in the order of the texts', async (context) => {
    let answer: { status: number; body: string } = {
      status: 200,
      body: '[{"index":1,"score":2.5},{"index":0,"score":-1}]',
    };
    const asked: unknown[] = [];
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        asked.push([request.method, request.url, JSON.parse(body)]);
        response.writeHead(answer.status).end(answer.body);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const reranker = await openReranker(`rerank:http://127.0.0.1:${port}/`, { log: () => {} });
    context.after(async () => {
      await reranker.close();
      server.close();
    });
    const score = () => reranker.score('q', ['a', 'b'], AbortSignal.timeout(10_000));
    assert.deepEqual(await score(), [-1, 2.5]);
    assert.deepEqual(asked, [['POST', '/rerank', { query: 'q', texts: ['a', 'b'], truncate: true }]]);
    for (const [status, body, reason] of [
      [503, 'busy', 'ENDPOINT_UNAVAILABLE'],
      [401, 'who?', 'ENDPOINT_REFUSED'],
      [200, 'text', 'ENDPOINT_ANSWER_INVALID'],
      [200, '{}', 'ENDPOINT_ANSWER_INVALID'],
      [200, '[{"index":0,"score":1}]', 'ENDPOINT_ANSWER_INVALID'],
      [200, '[{"index":0,"score":1},{"index":0,"score":1}]', 'ENDPOINT_ANSWER_INVALID'],
      [200, '[{"index":0,"score":1},{"index":1,"score":null}]', 'ENDPOINT_ANSWER_INVALID'],
    ] as const) {
      answer = { status, body };
      await assert.rejects(score(), (error) => error instanceof TowerError && error.reason === reason, body);
    }
    server.closeAllConnections();
    server.close();
    await assert.rejects(
      score(),
      (error) => error instanceof TowerError && error.reason === 'ENDPOINT_UNAVAILABLE',
    );
  });

  test('what is no reranker is refused with what is one', async () => {
    for (const reference of ['rerank:ftp://host', '/nowhere', 'all-MiniLM-L6-v2']) {
      await assert.rejects(
        openReranker(reference, { log: () => {} }),
        (error) => error instanceof TowerError && /rerank:http/.test(error.message),
      );
    }
  });
});
