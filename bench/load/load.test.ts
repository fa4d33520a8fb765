import assert from 'node:assert/strict';
import { createServer, type Http2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { createHistogram } from 'node:perf_hooks';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server, ServerCredentials, status, type handleUnaryCall } from '@grpc/grpc-js';
import { gapMs, seeded } from './arrivals.ts';
import { grpcStatusOf } from './frames.ts';
import { generate } from './generator.ts';
import { Histogram } from './histogram.ts';
import { load, type LoadPlan } from './load.ts';
import { framed } from './messages.ts';
import { Tally } from './tally.ts';

const closers: (() => unknown)[] = [];
after(() => Promise.all(closers.map((close) => close())));

const PATH = '/test.Service/Call';

/** A server of grpc-js, which we did not write, with one method that takes and gives bytes. */
async function grpcServer(handler: handleUnaryCall<Buffer, Buffer>): Promise<number> {
  const server = new Server();
  const bytes = (value: Buffer): Buffer => value;
  server.addService(
    {
      Call: {
        path: PATH,
        requestStream: false,
        responseStream: false,
        requestDeserialize: bytes,
        requestSerialize: bytes,
        responseDeserialize: bytes,
        responseSerialize: bytes,
      },
    },
    { Call: handler },
  );
  closers.push(() => server.forceShutdown());
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    );
  });
}

function plan(port: number, more: Partial<LoadPlan>): LoadPlan {
  return {
    host: '127.0.0.1',
    port,
    path: PATH,
    bodies: [framed(Buffer.from('hello'))],
    headers: {},
    deadlineMs: 5000,
    connections: 3,
    phases: [],
    seed: 1,
    ...more,
  };
}

test('a status of grpc-js is read from its trailers, whichever it is', async () => {
  const port = await grpcServer((call, callback) => {
    const code = Number(call.request.toString());
    if (code === 0) callback(null, Buffer.from('fine'));
    else callback({ code, details: 'as asked, 100 % — and more' });
  });
  const codes = Array.from({ length: 17 }, (_, code) => code);
  const { phases } = await load(
    plan(port, {
      bodies: codes.map((code) => framed(Buffer.from(String(code)))),
      phases: [{ name: 'all', ms: 500, rate: 200, arrivals: 'fixed' }],
    }),
  );
  const { statuses, offered, accepted, refused, failed } = phases[0]!;
  assert.deepEqual(Object.keys(statuses).sort(), codes.map((code) => status[code]).sort());
  assert.equal(accepted.count + refused.count + failed.count, offered);
  assert.equal(accepted.count, statuses['OK']);
  assert.equal(refused.count, statuses['RESOURCE_EXHAUSTED']! + statuses['UNAVAILABLE']!);
});

test('bodies larger than the server’s window arrive whole', async () => {
  const sizes: number[] = [];
  const port = await grpcServer((call, callback) => {
    sizes.push(call.request.length);
    callback(null, Buffer.alloc(300_000));
  });
  const { phases } = await load(
    plan(port, {
      bodies: [framed(Buffer.alloc(200_000, 7))],
      phases: [{ name: 'large', ms: 300, callers: 4 }],
    }),
  );
  assert.ok(phases[0]!.accepted.count >= 4);
  assert.deepEqual(phases[0]!.statuses, { OK: phases[0]!.offered });
  assert.deepEqual([...new Set(sizes)], [200_000]);
});

test('a server that stalls does not hide the calls that would have begun meanwhile', async () => {
  const stallMs = 400;
  let calls = 0;
  const port = await grpcServer((_call, callback) => {
    if (++calls === 20) {
      const end = performance.now() + stallMs;
      while (performance.now() < end);
    }
    callback(null, Buffer.alloc(0));
  });
  // In another process: a stall of this one is no stall of the generator.
  const { phases, cpuShare } = await generate(
    plan(port, { phases: [{ name: 'stall', ms: 1000, rate: 100, arrivals: 'fixed' }] }),
  );
  const { accepted, offered } = phases[0]!;
  assert.ok(offered >= 90 && offered <= 101, `${offered} calls`);
  // Forty calls were to begin in the stall; those of its first half waited for half of it or longer.
  assert.ok(accepted.p90 >= stallMs / 4, `p90 ${accepted.p90}`);
  assert.ok(accepted.max >= stallMs * 0.9, `max ${accepted.max}`);
  assert.ok(cpuShare > 0);
});

test('a call without an answer is given up at its deadline, and the server is told', async () => {
  let cancelled = 0;
  const port = await grpcServer((call) => void call.on('cancelled', () => cancelled++));
  const { phases } = await load(
    plan(port, { deadlineMs: 150, phases: [{ name: 'silent', ms: 200, rate: 50, arrivals: 'fixed' }] }),
  );
  assert.equal(phases[0]!.accepted.count, 0);
  assert.equal(phases[0]!.failed.count, phases[0]!.offered);
  const { GAVE_UP: gaveUp = 0, DEADLINE_EXCEEDED: told = 0 } = phases[0]!.statuses;
  assert.equal(gaveUp + told, phases[0]!.offered);
  while (cancelled < phases[0]!.offered) await sleep(10);
});

test('no more streams are opened than the server takes', async () => {
  let open = 0;
  let most = 0;
  const server: Http2Server = createServer({ settings: { maxConcurrentStreams: 2 } });
  server.on('stream', (stream) => {
    most = Math.max(most, ++open);
    stream.resume();
    setTimeout(() => {
      open--;
      stream.respond({ ':status': 200, 'grpc-status': '0' }, { endStream: true });
    }, 20);
  });
  closers.push(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const { phases } = await load(
    plan(port, {
      connections: 1,
      // The first calls are sent before the server’s settings are known.
      phases: [
        { name: 'first', ms: 100, callers: 1 },
        { name: 'many', ms: 300, callers: 10 },
      ],
    }),
  );
  assert.equal(most, 2);
  assert.deepEqual(phases[1]!.statuses, { OK: phases[1]!.offered });
});

test('a server that is gone counts as refusing nothing', async () => {
  const { phases } = await load(
    plan(1, { phases: [{ name: 'nobody', ms: 100, rate: 100, arrivals: 'fixed' }] }),
  );
  assert.deepEqual(Object.keys(phases[0]!.statuses), ['ECONNREFUSED']);
  assert.equal(phases[0]!.failed.count, phases[0]!.offered);
});

test('a caller that was not answered waits before it calls again, where it is to', async () => {
  const { phases } = await load(
    plan(1, { phases: [{ name: 'nobody', ms: 200, callers: 2, backOffMs: 50 }] }),
  );
  const { offered, failed } = phases[0]!;
  assert.equal(failed.count, offered);
  assert.ok(offered >= 2 && offered <= 2 * (1 + 200 / 50), `${offered} calls`);
});

test('arrivals have their mean, and Poisson’s spread', () => {
  const random = seeded(7);
  const gaps = Array.from({ length: 100_000 }, () => gapMs('poisson', 500, random));
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
  assert.ok(Math.abs(mean - 2) < 0.03, `mean ${mean}`);
  // An exponential distribution spreads as far as its mean.
  assert.ok(Math.abs(Math.sqrt(variance) - 2) < 0.05, `deviation ${Math.sqrt(variance)}`);
  assert.equal(gapMs('fixed', 500, random), 2);
});

test('a tally has the percentiles of what it was given, and bins by when calls began', () => {
  const tally = new Tally('phase', 1);
  for (let index = 1; index <= 1000; index++) {
    tally.sent(0);
    tally.ended(status.OK, index < 500 ? 10 : 210, index);
  }
  tally.ended(status.UNAVAILABLE, 210, 3);
  tally.ended('GOAWAY', 999, 5);
  const { accepted, refused, failed, bins, statuses } = tally.report();
  assert.ok(Math.abs(accepted.p50 - 500) <= 1, `p50 ${accepted.p50}`);
  assert.ok(Math.abs(accepted.p99 - 990) <= 1, `p99 ${accepted.p99}`);
  assert.deepEqual([accepted.count, refused.count, failed.count], [1000, 1, 1]);
  assert.deepEqual(statuses, { OK: 1000, UNAVAILABLE: 1, GOAWAY: 1 });
  assert.equal(bins.length, 10);
  assert.deepEqual(bins[0], { accepted: 499, refused: 0, failed: 0, slowest: 499 });
  assert.deepEqual(bins[2], { accepted: 501, refused: 1, failed: 0, slowest: 1000 });
  assert.deepEqual(bins[9], { accepted: 0, refused: 0, failed: 1, slowest: 0 });
});

test('a header block without a status has none', () => {
  assert.equal(grpcStatusOf(Buffer.from('\x00\x0bgrpc-status\x0214', 'latin1')), 14);
  assert.equal(grpcStatusOf(Buffer.from('\x00\x0bgrpc-status\x02xy', 'latin1')), undefined);
  assert.equal(grpcStatusOf(Buffer.from('\x88\x0bgrpc-statu', 'latin1')), undefined);
});

test('a histogram has the percentiles that HdrHistogram has', () => {
  const random = seeded(3);
  const ours = new Histogram();
  const theirs = createHistogram({ lowest: 1, highest: 2 ** 27, figures: 3 });
  for (let each = 0; each < 20_000; each++) {
    const value = 1 + Math.round(Math.exp(random() * 18));
    ours.record(value);
    theirs.record(value);
  }
  assert.equal(ours.count, theirs.count);
  for (const percent of [1, 10, 50, 90, 99, 99.9, 100]) {
    const [one, other] = [ours.percentile(percent), theirs.percentile(percent)];
    assert.ok(Math.abs(one / other - 1) < 0.002, `${percent}: ${one} and ${other}`);
  }
  assert.ok(Math.abs(ours.mean / theirs.mean - 1) < 0.001);
  assert.equal(new Histogram().percentile(99), 0);
});
