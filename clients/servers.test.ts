import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import dns from 'node:dns/promises';
import { syncBuiltinESMExports } from 'node:module';
import { after, describe, mock, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { credentials, status as Code } from '@grpc/grpc-js';
import { channelOptions, isLoopback } from './channel.ts';
import { type ClientOptions, DocumentClient, QueryClient, type ScalingnoteError } from './index.ts';
import { failure, type FakeService, type Handlers, serve } from './testing/fake-service.ts';

const SEARCH = { collection: 'c', query: 'q' };

/** A service that counts its searches. */
interface Counted extends FakeService {
  searches: number;
  isServing: boolean;
}

async function counted(search?: Handlers['Search'], port = 0, host = '127.0.0.1'): Promise<Counted> {
  const Search: Handlers['Search'] = (call, callback) => {
    each.searches++;
    if (search) search(call, callback);
    else callback(null, {});
  };
  const each = { searches: 0, isServing: true } as Counted;
  const service = await serve({ Search }, port, { host, isServing: () => each.isServing });
  return Object.assign(each, service);
}

const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(':') + 1));

/** A client of some services, which end with the test. */
async function withServices<Service extends FakeService>(
  services: Service[],
  options: ClientOptions,
  use: (client: QueryClient) => Promise<void>,
): Promise<void> {
  const client = new QueryClient({ addresses: services.map(({ address }) => address), ...options });
  try {
    await use(client);
  } finally {
    client.close();
    for (const service of services) service.close();
  }
}

/** Searches until every service has answered: all connections are open then. */
async function untilAllAnswer(client: QueryClient, services: readonly Counted[]): Promise<void> {
  while (services.some(({ searches }) => searches === 0)) await client.search(SEARCH);
  for (const service of services) service.searches = 0;
}

describe('several servers', () => {
  test('take calls in turn', async () => {
    const services = [await counted(), await counted(), await counted()];
    await withServices(services, {}, async (client) => {
      await untilAllAnswer(client, services);
      for (let call = 0; call < 30; call++) await client.search(SEARCH);
    });
    assert.deepEqual(
      services.map(({ searches }) => searches),
      [10, 10, 10],
    );
  });

  test('the least loaded one of two takes the call, where that is asked for', async () => {
    const held: (() => void)[] = [];
    let isSlow = false;
    const slow = await counted((_, callback) => {
      if (isSlow) held.push(() => callback(null, {}));
      else callback(null, {});
    });
    const services = [slow, await counted()];
    await withServices(services, { balancing: 'least-loaded' }, async (client) => {
      await untilAllAnswer(client, services);
      isSlow = true;
      const waiting: Promise<unknown>[] = [];
      for (let call = 0; call < 60; call++) {
        waiting.push(client.search(SEARCH));
        await sleep(1);
      }
      // A call may still be on its way.
      isSlow = false;
      for (const answer of held) answer();
      await Promise.all(waiting);
      // Both are looked at half of the time; alone by turns, the slow one would hold 30.
      assert.ok(held.length < 25, `${held.length} calls went to the slow one`);
    });
  });

  test('one that says that it does not serve takes no calls until it says that it does', async () => {
    const services = [await counted(), await counted()];
    const [first, second] = services as [Counted, Counted];
    await withServices(services, {}, async (client) => {
      first.isServing = false;
      const wantsOnly = async (service: Counted): Promise<void> => {
        const other = service === first ? second : first;
        for (let quiet = 0; quiet < 10;) {
          const before = other.searches;
          await client.search(SEARCH);
          quiet = other.searches === before ? quiet + 1 : 0;
          await sleep(20);
        }
      };
      await wantsOnly(second);
      first.isServing = true;
      const before = first.searches;
      while (first.searches === before) {
        await client.search(SEARCH);
        await sleep(20);
      }
    });
  });

  test('where none says that it serves, calls still go to one', async () => {
    const services = [await counted(), await counted()];
    for (const service of services) service.isServing = false;
    await withServices(services, {}, async (client) => {
      for (let call = 0; call < 10; call++) {
        await client.search(SEARCH);
        await sleep(5);
      }
    });
  });

  test('a call that one server refused goes to another', async () => {
    const away = await counted((_, callback) =>
      callback(failure({ code: Code.UNAVAILABLE, message: 'away', reason: 'STORE_UNAVAILABLE' })),
    );
    const services = [away, await counted()];
    await withServices(services, { attempts: 2 }, async (client) => {
      // Until it is connected, the other one takes all.
      while (away.searches === 0) await client.search(SEARCH);
      for (let call = 0; call < 10; call++) await client.search(SEARCH);
    });
    assert.ok(away.searches > 1);
  });

  test('an address where nothing listens costs nothing', async () => {
    const service = await counted();
    await withServices(
      [service],
      { addresses: ['127.0.0.1:1', service.address], attempts: 1 },
      async (client) => {
        for (let call = 0; call < 10; call++) await client.search(SEARCH);
      },
    );
  });

  test('all machines behind a name are used, and they follow the DNS', async () => {
    const first = await counted();
    const port = Number(first.address.split(':')[1]);
    const second = await counted(undefined, port, '127.0.0.2');
    let machines = ['127.0.0.1', '127.0.0.2'];
    const looked = mock.method(dns, 'lookup', () =>
      Promise.resolve(machines.map((address) => ({ address, family: 4 }))),
    );
    syncBuiltinESMExports();
    try {
      const addresses = [`search.example:${port}`];
      await withServices([first, second], { addresses }, async (client) => {
        await untilAllAnswer(client, [first, second]);
        for (let call = 0; call < 10; call++) await client.search(SEARCH);
        assert.deepEqual([first.searches, second.searches], [5, 5]);
        machines = ['127.0.0.2'];
        mock.timers.enable({ apis: ['Date'], now: Date.now() + 60_000 });
        await client.search(SEARCH);
        mock.timers.reset();
        await sleep(20);
        first.searches = 0;
        for (let call = 0; call < 10; call++) await client.search(SEARCH);
        assert.equal(first.searches, 0);
      });
      assert.equal(looked.mock.callCount(), 2);
    } finally {
      looked.mock.restore();
      syncBuiltinESMExports();
    }
  });

  test('a connection that its peer accepts and says nothing on is made again', async () => {
    using service = await counted();
    let connections = 0;
    let mute: Socket | undefined;
    const gate = createServer((socket) => {
      socket.on('error', () => {});
      if (++connections > 1) {
        const to = connect(Number(service.address.split(':')[1]), '127.0.0.1');
        socket.pipe(to).pipe(socket);
      } else {
        mute = socket;
      }
    }).listen(0, '127.0.0.1');
    await once(gate, 'listening');
    try {
      const address = `127.0.0.1:${(gate.address() as AddressInfo).port}`;
      using client = new QueryClient({ address });
      const isLate = ({ code }: ScalingnoteError): boolean => code === 'DEADLINE_EXCEEDED';
      await assert.rejects(client.search(SEARCH, { timeoutMs: 50 }), isLate);
      await assert.rejects(client.search(SEARCH, { timeoutMs: 50 }), isLate);
      assert.equal(connections, 1);
      mock.timers.enable({ apis: ['Date'], now: Date.now() + 6000 });
      await client.search(SEARCH);
    } finally {
      mock.timers.reset();
      mute?.destroy();
      gate.close();
    }
  });

  test('a name that leads nowhere fails as such', async () => {
    using client = new QueryClient({ address: 'nowhere.invalid:7402', attempts: 1 });
    await assert.rejects(client.search(SEARCH), ({ code, message }: ScalingnoteError) => {
      assert.equal(code, 'UNAVAILABLE');
      assert.match(message, /Name resolution failed.*nowhere\.invalid/);
      return true;
    });
  });
});

describe('hedged calls', () => {
  test('a read that takes long is made again elsewhere; the first answer counts, the other call is cancelled', async () => {
    let cancelled = 0;
    const mute = await counted((call) => {
      call.on('cancelled', () => cancelled++);
    });
    const services = [mute, await counted()];
    await withServices(services, { hedgeAfterMs: 20 }, async (client) => {
      while (mute.searches === 0) await client.search(SEARCH);
      await client.search(SEARCH);
      for (let wait = 0; wait < 100 && cancelled < mute.searches; wait++) await sleep(10);
      assert.equal(cancelled, mute.searches);
    });
  });

  test('a call may say so itself, and a quick answer makes no second call', async () => {
    const services = [await counted(), await counted()];
    await withServices(services, {}, async (client) => {
      await untilAllAnswer(client, services);
      for (let call = 0; call < 10; call++) await client.search(SEARCH, { hedgeAfterMs: 5000 });
    });
    assert.equal(services[0]!.searches + services[1]!.searches, 10);
  });

  test('a write is made once at a time', async () => {
    let deletes = 0;
    const Delete: Handlers['Delete'] = (_, callback) => {
      deletes++;
      setTimeout(() => callback(null, { documents: '1' }), 100);
    };
    using service = await serve({ Delete });
    using client = new DocumentClient({ address: service.address, hedgeAfterMs: 5 });
    await client.delete({ collection: 'c', documentIds: ['a'] });
    assert.equal(deletes, 1);
  });
});

describe('an outage', () => {
  test('is not multiplied: a service that fails every call is asked a little more often than there are calls', async () => {
    const failing = await counted((_, callback) =>
      callback(failure({ code: Code.UNAVAILABLE, message: 'away', reason: 'STORE_UNAVAILABLE' })),
    );
    const calls = 400;
    const began = Date.now();
    await withServices([failing], { timeoutMs: 3000 }, async (client) => {
      await Promise.allSettled(Array.from({ length: calls }, () => client.search(SEARCH)));
    });
    // A burst of 100, a tenth of the calls, and ten a second.
    const most = calls * 1.1 + 100 + ((Date.now() - began) / 1000) * 10;
    assert.ok(failing.searches <= most, `${failing.searches} attempts for ${calls} calls`);
    assert.ok(failing.searches > calls, 'some are made again');
  });

  test('holds the calls back, which then come a few at a time, those with the nearest deadline first', async () => {
    const { address, close } = await counted();
    close();
    await using client = new QueryClient({ address });
    const order: string[] = [];
    const calls = Array.from({ length: 300 }, (_, index) => {
      const query = index < 200 ? 'later' : 'soon';
      return client.search({ ...SEARCH, query }, { timeoutMs: query === 'soon' ? 10_000 : 20_000 });
    });
    await sleep(300);
    let open = 0;
    let mostOpen = 0;
    const back = await counted((call, callback) => {
      order.push(call.request.query);
      mostOpen = Math.max(mostOpen, ++open);
      setTimeout(() => {
        open--;
        callback(null, {});
      }, 5);
    }, portOf(address));
    // While others wait, a new call waits with them.
    while (order.length === 0) await sleep(1);
    const late = client.search({ ...SEARCH, query: 'new' }, { timeoutMs: 30_000 });
    await Promise.all([...calls, late]);
    back.close();
    assert.deepEqual(new Set(order.slice(0, 100)), new Set(['soon']));
    assert.deepEqual(order.slice(100), [...Array<string>(200).fill('later'), 'new']);
    assert.ok(mostOpen < 100, `${mostOpen} calls were open at a time`);
  });

  test('costs a call that was never sent nothing of the retry budget', async () => {
    const { address, close } = await counted();
    close();
    await using client = new QueryClient({ address });
    // Ten times the budget.
    const calls = Array.from({ length: 1000 }, () => client.search(SEARCH));
    await sleep(200);
    const back = await counted(undefined, portOf(address));
    await Promise.all(calls);
    back.close();
    assert.equal(back.searches, 1000);
  });

  test('ends a call that waits at its deadline with what the connection failed with, or when it is aborted', async () => {
    const { address, close } = await counted();
    close();
    await using client = new QueryClient({ address });
    const first = client.search(SEARCH, { timeoutMs: 200 });
    const others = [1, 2].map(async () => {
      await sleep(50);
      return client.search(SEARCH, { timeoutMs: 100 });
    });
    const isRefused = ({ code, message }: ScalingnoteError): boolean =>
      code === 'UNAVAILABLE' && /ECONNREFUSED/.test(message);
    await Promise.all([first, ...others].map((call) => assert.rejects(call, isRefused)));
    const keeper = assert.rejects(client.search(SEARCH, { timeoutMs: 500 }), isRefused);
    await sleep(50);
    await assert.rejects(
      client.search(SEARCH, { signal: AbortSignal.timeout(20) }),
      ({ name }: Error) => name === 'TimeoutError',
    );
    await keeper;
  });

  test('where a server refuses calls that are too many for it, they go to it as it takes them', async () => {
    let open = 0;
    let refused = 0;
    const small = await counted((_, callback) => {
      if (open >= 4) {
        refused++;
        const full = {
          code: Code.RESOURCE_EXHAUSTED,
          message: 'full',
          reason: 'OVERLOADED',
          retryDelayMs: 20,
        };
        callback(failure(full));
        return;
      }
      open++;
      setTimeout(() => {
        open--;
        callback(null, {});
      }, 2);
    });
    const calls = 500;
    await withServices([small], { timeoutMs: 60_000 }, async (client) => {
      // More than it takes and than the retry budget has.
      await Promise.all(Array.from({ length: calls }, () => client.search(SEARCH)));
    });
    assert.equal(small.searches - refused, calls);
    assert.ok(refused < 2 * calls, `${refused} were refused`);
  });
});

describe('the channel', () => {
  test('what the caller sets wins, and what a call carries arrives', async () => {
    let seen: Record<string, unknown> = {};
    const service = await counted((call, callback) => {
      seen = call.metadata.getMap();
      callback(null, {});
    });
    const own = { 'grpc.primary_user_agent': 'ours/1' };
    await withServices([service], { channelOptions: own }, async (client) => {
      const bytes = Buffer.from([1, 2]);
      await client.search(SEARCH, { metadata: { authorization: 'Bearer x', 'k-bin': bytes } });
      assert.equal(seen['authorization'], 'Bearer x');
      assert.deepEqual(seen['k-bin'], bytes);
      assert.match(String(seen['user-agent']), /^ours\/1 grpc-node-js/);
    });
    const options = channelOptions({ target: '10.0.0.1:1' }, { 'grpc.keepalive_time_ms': 5 });
    assert.equal(options['grpc.keepalive_time_ms'], 5);
    assert.equal(options['grpc.keepalive_permit_without_calls'], 1, 'idle connections stay');
    assert.ok((options['grpc.max_reconnect_backoff_ms'] as number) <= 1000, 'a server that is back is found');
  });

  test('a machine behind a name is asked, and its certificate checked, by that name', () => {
    const options = channelOptions({ target: '10.0.0.1:443', authority: 'search.example:443' });
    assert.equal(options['grpc.default_authority'], 'search.example:443');
    assert.equal(options['grpc.ssl_target_name_override'], 'search.example');
  });

  for (const [address, expected] of [
    ['127.0.0.1:7402', true],
    ['127.8.9.1:7402', true],
    ['localhost:7402', true],
    ['LOCALHOST.:7402', true],
    ['api.localhost:7402', true],
    ['[::1]:7402', true],
    ['::1', true],
    ['[::ffff:127.0.0.1]:7402', true],
    ['0.0.0.0:7402', true],
    ['[::]:7402', true],
    ['10.0.0.1:7402', false],
    ['[fe80::1]:7402', false],
    ['localhost.example:7402', false],
    ['notlocalhost:7402', false],
  ] as const) {
    test(`${address} is ${expected ? '' : 'not '}this machine`, () => {
      assert.equal(isLoopback(address), expected);
      assert.equal(channelOptions({ target: address })['grpc.enable_http_proxy'], expected ? 0 : 1);
    });
  }

  describe('behind a proxy', () => {
    const names = ['grpc_proxy', 'https_proxy', 'http_proxy'];
    const before = names.map((name) => process.env[name]);
    after(() => {
      for (const [index, name] of names.entries()) {
        if (before[index] === undefined) delete process.env[name];
        else process.env[name] = before[index];
      }
    });

    for (const host of ['127.0.0.1', 'localhost', '0.0.0.0']) {
      test(`calls to ${host} do not leave the machine`, async () => {
        for (const name of names) process.env[name] = 'http://127.0.0.1:1';
        const service = await counted();
        const address = service.address.replace('127.0.0.1', host);
        await withServices([service], { addresses: [address], attempts: 1 }, async (client) => {
          await client.search(SEARCH);
        });
      });
    }
  });
});

describe('the end of a client', () => {
  test('a closed client refuses calls, and says so', async () => {
    const client = new QueryClient({ address: '127.0.0.1:1' });
    client.close();
    for (const call of [client.search(SEARCH), client.searchStream().search(SEARCH)]) {
      await assert.rejects(call, ({ code, reason }: ScalingnoteError) => {
        assert.deepEqual([code, reason], ['FAILED_PRECONDITION', 'CLIENT_CLOSED']);
        return true;
      });
    }
  });

  test('an asynchronous dispose waits for the calls that are under way', async () => {
    using service = await counted((_, callback) => {
      setTimeout(() => callback(null, {}), 50);
    });
    let answered = false;
    {
      await using client = new QueryClient({
        address: service.address,
        credentials: credentials.createInsecure(),
      });
      void client.search(SEARCH).then(() => (answered = true));
      while (service.searches === 0) await sleep(5);
    }
    assert.ok(answered);
  });
});
