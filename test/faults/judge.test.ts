import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type {
  Clocks,
  ClientEvent,
  DocumentState,
  History,
  HistoryEvent,
  PlannedOperation,
  Untimed,
} from './history.ts';
import { judge, type Fault } from './judge.ts';

const IDENTITY = `col_${'1'.repeat(32)}`;
const OTHER = `col_${'2'.repeat(32)}`;
const CLOCKS: Clocks = { least: 1000, most: 1000 };

/** The order of things that happened, as somebody might have seen them. */
class Story {
  readonly events: HistoryEvent[] = [];
  readonly plans = new Map<string, PlannedOperation[]>();

  add(...events: Untimed<HistoryEvent>[]): this {
    for (const event of events) this.events.push({ ...event, at: this.events.length + 1 });
    return this;
  }

  /** A client opens a connection. */
  open(client: string, connection = 1, identity = IDENTITY): this {
    if (connection === 1) this.add({ kind: 'run', client, after: 0 });
    return this.add({ kind: 'opened', client, connection }, { kind: 'ready', client, connection, identity });
  }

  send(client: string, operation: PlannedOperation, connection = 1): this {
    const plan = this.plans.get(client) ?? [];
    if (!plan.some(({ sequence }) => sequence === operation.sequence)) plan.push(operation);
    this.plans.set(client, plan);
    return this.add({ kind: 'sent', client, connection, sequence: operation.sequence });
  }

  answer(
    client: string,
    sequence: number,
    rest: Partial<Extract<ClientEvent, { kind: 'outcome' }>> = {},
  ): this {
    const outcome = {
      kind: 'outcome',
      client,
      connection: 1,
      sequence,
      outcome: 'indexed',
      reason: '',
      ...rest,
    } as const;
    return this.add(outcome, { kind: 'reported', client, sequence, outcome: outcome.outcome });
  }

  cover(client: string, sequence: number, connection = 1): this {
    const token = `${IDENTITY}.${client}-${sequence}`;
    return this.add(
      { kind: 'watermark', client, connection, sequence, token },
      { kind: 'durable', client, sequence },
    );
  }

  /** Sent, answered and covered, one after the other. */
  done(client: string, operation: PlannedOperation): this {
    const outcome = operation.kind === 'delete' ? 'deleted' : 'indexed';
    const { sequence } = operation;
    return this.send(client, operation).answer(client, sequence, { outcome }).cover(client, sequence);
  }

  finish(...clients: string[]): this {
    return this.add(...clients.map((client) => ({ kind: 'finished', client }) as const));
  }

  final(documents: DocumentState[], clocks = CLOCKS): this {
    const passages = documents.reduce((sum, document) => sum + document.passages.length, 0);
    const counted = { documents: documents.length, passages };
    return this.add({ kind: 'final', identity: IDENTITY, tenant: '', clocks, documents, counted });
  }

  read(token: string, documents: DocumentState[]): this {
    const from = this.events.length + 1;
    return this.add({ kind: 'read', from, tenant: '', token, clocks: CLOCKS, documents });
  }

  get history(): History {
    const clients = [...this.plans].map(([client, operations]) => ({ client, tenant: '', operations }));
    return { clients, events: this.events };
  }

  assertFound(...faults: Fault[]): void {
    const { violations } = judge(this.history);
    assert.deepEqual([...new Set(violations.map(({ fault }) => fault))], faults, JSON.stringify(violations));
  }
}

function put(
  sequence: number,
  tag: string,
  version = 0,
  rest: { id?: string; expiresAt?: number } = {},
): PlannedOperation {
  const { id = 'd', ...expiry } = rest;
  return {
    sequence,
    id,
    version,
    kind: 'put',
    content: { title: '', text: `text ${tag}`, metadata: { tag }, ...expiry },
  };
}

function remove(sequence: number, version = 0): PlannedOperation {
  return { sequence, id: 'd', version, kind: 'delete' };
}

function patch(sequence: number, value: string, version = 0): PlannedOperation {
  return { sequence, id: 'd', version, kind: 'patch', set: { k: value }, remove: [] };
}

function state(tag: string, version = 0, metadata: Record<string, string> = {}): DocumentState {
  const text = `text ${tag}`;
  return { id: 'd', version, title: '', text, passages: [text], metadata: { tag, ...metadata } };
}

const single = (): Story =>
  new Story()
    .open('a')
    .done('a', put(1, 'x', 3))
    .finish('a');

describe('in the end', () => {
  test('what was acknowledged is there', () =>
    single()
      .final([state('x', 3)])
      .assertFound());
  test('acknowledged and absent', () => single().final([]).assertFound('lost'));
  test('there twice', () =>
    single()
      .final([state('x', 3), state('x', 3)])
      .assertFound('doubled'));
  test('a passage twice', () => {
    const twice = { ...state('x', 3), passages: ['text x', 'text x'] };
    single().final([twice]).assertFound('doubled');
  });
  test('a passage left over', () => {
    const more = { ...state('x', 3), text: 'text x and more', passages: ['text x', 'and more'] };
    single().final([more]).assertFound('doubled');
  });
  test('counted wrongly', () => {
    const story = single().final([state('x', 3)]);
    Object.assign(story.events.at(-1)!, { counted: { documents: 2, passages: 1 } });
    story.assertFound('doubled');
  });
  test('another version', () =>
    single()
      .final([state('x', 2)])
      .assertFound('older', 'invented'));
  test('nobody sent it', () =>
    single()
      .final([state('y', 3)])
      .assertFound('invented'));
  test('another document', () => {
    single()
      .final([state('x', 3), { ...state('x', 3), id: 'other' }])
      .assertFound('invented');
  });

  const twice = (first: PlannedOperation, second: PlannedOperation): Story =>
    new Story().open('a').done('a', first).done('a', second).finish('a');
  test('the later of one client wins', () => {
    twice(put(1, 'x'), put(2, 'y'))
      .final([state('y')])
      .assertFound();
    twice(put(1, 'x'), put(2, 'y'))
      .final([state('x')])
      .assertFound('older');
  });
  test('a delete is for good', () => {
    twice(put(1, 'x'), remove(2)).final([]).assertFound();
    twice(put(1, 'x'), remove(2))
      .final([state('x')])
      .assertFound('resurrected');
  });
  test('a patch is there, and nothing else is gone', () => {
    twice(put(1, 'x'), patch(2, 'p'))
      .final([state('x', 0, { k: 'p' })])
      .assertFound();
    twice(put(1, 'x'), patch(2, 'p'))
      .final([state('x')])
      .assertFound('older');
    twice(patch(1, 'p'), put(2, 'x'))
      .final([state('x', 0, { k: 'p' })])
      .assertFound('older');
  });
  test('what has expired is gone', () => {
    const expiring = (): Story =>
      new Story()
        .open('a')
        .done('a', put(1, 'x', 0, { expiresAt: 1000 }))
        .finish('a');
    expiring().final([]).assertFound();
    expiring()
      .final([state('x')])
      .assertFound('resurrected');
    expiring()
      .final([state('x')], { least: 900, most: 1100 })
      .assertFound();
    expiring().final([], { least: 900, most: 999 }).assertFound('lost');
  });
});

describe('two clients', () => {
  const both = (): Story => new Story().open('a').open('b');
  test('the higher version wins, whatever came first', () => {
    const story = (): Story =>
      both()
        .done('a', put(1, 'x', 5))
        .done('b', put(1, 'y', 9))
        .finish('a', 'b');
    story()
      .final([state('y', 9)])
      .assertFound();
    story()
      .final([state('x', 5)])
      .assertFound('older');
  });
  test('what was sent after the other was covered wins', () => {
    const story = (): Story => both().done('a', put(1, 'x')).done('b', put(1, 'y')).finish('a', 'b');
    story()
      .final([state('y')])
      .assertFound();
    story()
      .final([state('x')])
      .assertFound('older');
  });
  test('either of those that were under way together may win', () => {
    const story = (): Story =>
      both()
        .send('a', put(1, 'x'))
        .send('b', put(1, 'y'))
        .answer('a', 1)
        .answer('b', 1)
        .cover('a', 1)
        .cover('b', 1)
        .finish('a', 'b');
    story()
      .final([state('x')])
      .assertFound();
    story()
      .final([state('y')])
      .assertFound();
    story().final([]).assertFound('lost');
  });
  test('a version is stale only where somebody sent a higher one', () => {
    const stale = { outcome: 'rejected', reason: 'VERSION_STALE' } as const;
    const story = (version: number): Story =>
      both()
        .done('a', put(1, 'x', version))
        .send('b', put(1, 'y', 4))
        .answer('b', 1, stale)
        .cover('b', 1)
        .finish('a', 'b');
    story(5)
      .final([state('x', 5)])
      .assertFound();
    story(4)
      .final([state('x', 4)])
      .assertFound('refused');
  });
});

describe('on a connection', () => {
  test('a watermark without an outcome', () => {
    new Story()
      .open('a')
      .send('a', put(1, 'x'))
      .cover('a', 1)
      .finish('a')
      .final([state('x')])
      .assertFound('watermark');
  });
  test('an operation that was never sent', () => {
    const story = new Story().open('a').send('a', put(1, 'x'));
    story.plans.get('a')!.push(put(2, 'y', 0, { id: 'e' }));
    story
      .answer('a', 1)
      .add({ kind: 'durable', client: 'a', sequence: 2 })
      .finish('a')
      .final([state('x')]);
    story.assertFound('watermark');
  });
  test('an outcome out of its order', () => {
    const story = new Story().open('a').send('a', put(1, 'x')).send('a', put(2, 'y'));
    story
      .answer('a', 2)
      .answer('a', 1)
      .cover('a', 2)
      .finish('a')
      .final([state('y')]);
    story.assertFound('protocol', 'watermark');
  });
  test('a client that does not come to its end', () => {
    new Story()
      .open('a')
      .done('a', put(1, 'x'))
      .final([state('x')])
      .assertFound('protocol');
  });
  test('progress in a collection that was gone', () => {
    const story = new Story().open('a').done('a', put(1, 'x'));
    story.add({ kind: 'dropped', identity: IDENTITY }).done('a', put(2, 'y')).finish('a').assertFound('lost');
  });
  test('a token of another collection', () => {
    const story = new Story().open('a', 1, OTHER).done('a', put(1, 'x')).finish('a');
    story.assertFound('watermark');
  });
});

describe('a search with a token', () => {
  const token = `${IDENTITY}.a-2`;
  const story = (): Story => new Story().open('a').done('a', put(1, 'x')).done('a', put(2, 'y'));
  test('shows what the token covers', () =>
    story()
      .read(token, [state('y')])
      .finish('a')
      .assertFound());
  test('is stale where it shows less', () =>
    story()
      .read(token, [state('x')])
      .finish('a')
      .assertFound('stale'));
  test('is stale where it shows nothing', () => story().read(token, []).finish('a').assertFound('stale'));
  test('may show less with an older token', () => {
    story()
      .read(`${IDENTITY}.a-1`, [state('x')])
      .finish('a')
      .assertFound();
  });
  test('may show what came later', () => {
    story().done('a', remove(3)).read(token, []).finish('a').assertFound();
  });
  test('has a token that somebody was given', () => {
    story().read(`${IDENTITY}.b-1`, []).finish('a').assertFound('protocol');
  });
});
